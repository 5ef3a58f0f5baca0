// Package replicationlagreceiver is the Collector receiver that looks at the site's databases and reports, for each end of
// each replication link that stands in its configuration, the state of the link and how far the copy is behind. What it
// promises of the figures is written at package replica; what each engine reads and which rights it needs, at the engine.
//
// Where a server's settings have a heartbeat, it is read with each look, and written each second by a goroutine and, if wanted,
// an account of its own; what heartbeats prove is merged into what the engine saw before it is settled.
//
// Each server is looked at by a goroutine of its own, with one connection, so that one that hangs holds up no other. A
// state is reported after every look, also when the server does not answer.
package replicationlagreceiver
