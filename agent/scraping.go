//go:build remove_all_sd

package main

import (
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/prometheusreceiver"
	"go.opentelemetry.io/collector/receiver"
)

// canScrape says that this build holds the scraper of Prometheus targets. The build tag is Prometheus' own: with
// it only the service discoveries that the Makefile names are linked, not the SDKs of every cloud.
const canScrape = true

func scrapers() []receiver.Factory { return []receiver.Factory{prometheusreceiver.NewFactory()} }
