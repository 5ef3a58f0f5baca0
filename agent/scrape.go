package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"go.opentelemetry.io/collector/confmap"

	"github.com/evenkeel/evenkeel/agent/internal/scrapefile"
	"github.com/evenkeel/evenkeel/agent/internal/transport"
	"github.com/evenkeel/evenkeel/agent/seriescapprocessor"
)

// schemeScrape is the confmap scheme of what is scraped. The file is no part of the rendered pipeline, which can be
// printed: there may be secrets in it.
const schemeScrape = "scrape"

// scraperName is the program beside this one that is the same agent with the scraper in it.
const scraperName = "evenkeel-agent-scraper"

var errNoScraper = errors.New("--scrape and --scrape-target: there is no " + scraperName + " beside this program: `make build` makes both; " +
	"or build the agent with go build -tags remove_all_sd, and enable_NAME_sd for each service discovery it shall have")

// withScraper goes on as the agent that has the scraper, when that is what is missing. It returns only when it cannot.
func withScraper(err error) error {
	if !errors.Is(err, errNoScraper) {
		return err
	}
	self, findErr := os.Executable()
	if findErr != nil {
		return err
	}
	other := filepath.Join(filepath.Dir(self), scraperName)
	if _, statErr := os.Stat(other); statErr != nil {
		return err
	}
	return fmt.Errorf("go on as %s: %w", other, become(other))
}

// scraped is the confmap provider of the scraper's configuration. It reads the file anew with each reload.
type scraped struct {
	file    string
	targets []string
}

var _ confmap.Provider = scraped{}

func (s scraped) Retrieve(context.Context, string, confmap.WatcherFunc) (*confmap.Retrieved, error) {
	config, err := scrapefile.Config(s.file, s.targets)
	if err != nil {
		return nil, err
	}
	return confmap.NewRetrieved(scrapefile.Escape(config))
}

func (scraped) Scheme() string                 { return schemeScrape }
func (scraped) Shutdown(context.Context) error { return nil }

// Scraping says whether anything is scraped.
func (s settings) Scraping() bool { return s.Scrape != "" || len(s.Targets) > 0 }

func (s *settings) checkScrape() error {
	if !s.Scraping() {
		return nil
	}
	if !canScrape {
		return errNoScraper
	}
	for _, target := range s.Targets {
		if err := transport.CheckURL(target); err != nil {
			return fmt.Errorf("--scrape-target: an address %w; write it like http://127.0.0.1:9100/metrics", err)
		}
	}
	if s.Scrape != "" {
		path, err := filepath.Abs(s.Scrape)
		if err != nil {
			return fmt.Errorf("--scrape: %w", err)
		}
		s.Scrape = path
	}
	if _, err := scrapefile.Config(s.Scrape, s.Targets); err != nil {
		return fmt.Errorf("--scrape: %w", err)
	}
	return nil
}

func seriesSetting(n int) error {
	if err := seriescapprocessor.CheckSeries(n); err != nil {
		return fmt.Errorf("--max-series %w", err)
	}
	return nil
}

func number(value string) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil {
		return 0, errors.New("must be a whole number")
	}
	return n, nil
}
