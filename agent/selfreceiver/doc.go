// Package selfreceiver is the agent's report about itself: buffer left, what was dropped, which probes were
// skipped, whether it pages by itself. It goes the bulk way, like any other metric of the host.
package selfreceiver
