//go:build remove_all_sd

package scrapefile

import (
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/config"
	_ "github.com/prometheus/prometheus/plugins" // registers the service discoveries that may stand in a file
)

// check reads the file as Prometheus does. bare says that it is a list without scrape_configs: above it.
func check(path string, raw []byte, bare bool) error {
	text := string(raw)
	if bare {
		// A list may stand at the margin below its key; a mark of the document's begin may not.
		text = "scrape_configs:\n" + regexp.MustCompile(`(?m)\A((?:#.*\n|\s*\n)*)---[ \t]*$`).ReplaceAllString(text, "$1")
	}
	_, err := config.Load(text, slog.New(slog.DiscardHandler))
	if err == nil {
		return nil
	}
	// "yaml: unmarshal errors:\n  line 3: field x not found in type config.plain" and such
	why := err.Error()
	if place := regexp.MustCompile(`line (\d+): (.*)`).FindStringSubmatch(why); place != nil {
		line, _ := strconv.Atoi(place[1])
		if bare {
			line--
		}
		path, why = fmt.Sprintf("%s:%d", path, line), place[2]
	}
	if field := regexp.MustCompile(`^field (\w+) not found in type`).FindStringSubmatch(why); field != nil {
		if strings.HasSuffix(field[1], "_sd_configs") {
			return fmt.Errorf("%s: this agent does not have %s: add the build tag of that discovery to TAGS in the Makefile, "+
				"or let file_sd_configs or http_sd_configs name the targets", path, field[1])
		}
		return fmt.Errorf("%s: %s is no field of a scrape config here: see <scrape_config> in Prometheus' documentation", path, field[1])
	}
	return fmt.Errorf("%s: %s; see <scrape_config> in Prometheus' documentation",
		path, strings.Join(strings.Fields(strings.TrimPrefix(why, "yaml: ")), " "))
}
