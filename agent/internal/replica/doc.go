// Package replica says how far a copy of a store is behind, and is right about it when the link fails.
//
// An engine (the packages below this one) looks at one end of its replication links and tells what it saw as one Sighting a
// link: a pure function of the rows it read. Settle turns sightings into what is reported, one link at a time and the same
// way for all engines: it keeps when the copy was last complete, widens every figure by what the clocks may be wrong, and
// never turns "not known" into 0.
//
// The lag of a link at a moment is the age of the oldest transaction that is committed at the source and cannot be read at
// the target yet, and 0 when there is none. Lower and Upper enclose the lag at Status.At. A target that cannot hear its
// source does not know whether anything is missing: then Lower is the time since the link was last alive,
// which is the lag of a source that goes on writing, it grows, and there is no Upper.
package replica
