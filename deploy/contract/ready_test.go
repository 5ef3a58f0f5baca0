package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// readyMadeHaveSeries: every question of the ready-made watches has an answer where everybody writes.
func readyMadeHaveSeries(t *testing.T, s *server, names map[string]row) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "evenkeel.yaml")
	text := `
sites: [{name: fra}, {name: ams}, {name: lon}]
services: [{name: checkout, entries: {fra: "http://fra/"}, objective: {success: 99.9%}}]
watches: [{ready: hosts}, {ready: http}, {ready: links}, {ready: store}, {ready: self}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	shown, err := exec.Command(binary("evenkeel-server"), "config", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Watches []struct {
			Name, Query, Bad, Total string
			Metrics                 map[string]string
		}
	}
	if err := yaml.Unmarshal(shown, &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Watches) < 30 {
		t.Fatalf("%d watches in\n%s", len(config.Watches), shown)
	}
	var silent []string
	for end := time.Now().Add(patience); ; time.Sleep(time.Second) {
		silent = nil
		for _, w := range config.Watches {
			queries := []string{w.Query, w.Bad, w.Total}
			for _, query := range w.Metrics {
				queries = append(queries, query)
			}
			for _, query := range queries {
				if query != "" && len(s.query(query)) == 0 && !conditional(query, names, arrived(t, s)) {
					silent = append(silent, w.Name+": "+query)
				}
			}
		}
		if len(silent) == 0 || time.Now().After(end) {
			break
		}
	}
	if len(silent) > 0 {
		t.Errorf("no series for\n%s", strings.Join(silent, "\n"))
	}
}

// conditional reports whether a query asks for what this machine need not have, and has not.
func conditional(query string, names, there map[string]row) bool {
	asked := regexp.MustCompile(`\b(?:evenkeel|system)_[a-z0-9_]+`).FindAllString(query, -1)
	return slices.ContainsFunc(asked, func(name string) bool {
		_, ok := there[name]
		return !ok && names[name].when != ""
	})
}
