//go:build !remove_all_sd

package main

import "go.opentelemetry.io/collector/receiver"

// canScrape says that this build is without the scraper: a build without tags would link the SDKs of every cloud.
const canScrape = false

func scrapers() []receiver.Factory { return nil }
