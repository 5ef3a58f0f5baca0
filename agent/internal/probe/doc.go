// Package probe asks one endpoint one question, with a deadline, and says how far it got.
//
// A probe is a function: no goroutine outlives it, nothing is kept between two of them, every connection is
// fresh. What is our own fault (no file descriptor, no local address, no resolver) is unknown, never down.
// The package knows nothing of the Collector.
package probe
