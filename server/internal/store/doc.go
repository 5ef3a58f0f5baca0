// Package store is the memory: the only room that knows VictoriaMetrics.
//
// It runs VictoriaMetrics inside this process, or talks to a single node elsewhere. Either way a query sees
// what was appended a second ago (a remote node shows it by its own clock, after about five seconds), NaN and stale values are dropped, and an answer that
// may be incomplete is an error, never a number.
//
// VictoriaMetrics keeps its state in package variables and flags: one embedded store per process. It exits
// the process when its directory is not usable, so Open checks path, permissions, free space and lock first.
package store
