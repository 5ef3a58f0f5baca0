// Package store is the memory: the only room that knows VictoriaMetrics.
//
// It runs VictoriaMetrics inside this process, or talks to a single node or a cluster elsewhere. Either way a query
// sees what was appended a moment ago, NaN and stale values are dropped, and an answer that may be incomplete is an
// error, never a number.
//
// Embedded, a moment is a second. A remote node shows samples by its own clock: of a known series after about four
// seconds, of a new one after up to eleven, or four when it runs with -storage.cacheSizeIndexDBTagFilters=1 (the
// vmstorage of old clusters wants 2 there). A cluster is one more way of the same kind: every replica of the server
// can share it, and what it lacks while a storage node is away is ErrPartial.
//
// A kill of the process loses at most about six seconds of what was acknowledged: that is how long
// VictoriaMetrics may keep samples in memory alone. Close loses nothing. vminsert acknowledges into its own memory,
// also while no storage node is there to send them to.
//
// VictoriaMetrics keeps its state in package variables and flags: one embedded store per process. It exits
// the process when its directory is not usable, so Open checks path, permissions, free space and lock first.
package store
