// Package scrapefile reads what an operator wants scraped: scrape configs as Prometheus writes them, and plain
// addresses. What is wrong is said with file, line and remedy before anything starts.
package scrapefile
