// Package clock measures how far this host's clock is from a server's, by four timestamps, and how far it
// could be wrong.
//
// It is pure: times come in as values. Measurements are kept against the monotonic clock, so that a step of
// the wall clock moves the offset at once and spoils nothing.
package clock
