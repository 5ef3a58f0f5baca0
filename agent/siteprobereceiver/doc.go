// Package siteprobereceiver is the vantage: it makes the probes that the servers ask for and hands on each
// result at once.
//
// It doubts itself before it accuses: a probe during which this process stood still is unknown, and so is
// one that failed for want of our own resources. Every probe opens a fresh connection.
package siteprobereceiver
