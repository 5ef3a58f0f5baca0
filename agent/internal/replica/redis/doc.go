// Package redis tells what one end of a Redis or Valkey replication link shows, and never claims more than it proves.
//
// # What is read
//
// One INFO a server and look, which is one snapshot: the server runs one command at a time. Of it: role, replication IDs
// and offsets, the replica's view of its link, one line a replica at the source, the backlog and the counters of full and
// partial resynchronisations. Nothing is written, and no other command is sent than HELLO, AUTH and INFO (and MGET and
// MSET for heartbeats). The fields are there since Redis 4.0; slave_read_repl_offset since 7.0; a field that is missing is
// absent, never 0. Valkey answers with the same fields.
//
// # Least privilege
//
//	ACL SETUSER evenkeel on >password +info
//
// and HeartbeatSetUp, which is for an account of its own, where heartbeats are used. Before 6.0 there are no users: the password is that of the server.
//
// # What is proven, and by what
//
// Offsets count the bytes of the replication stream, and those of two servers compare when both follow the same history
// (master_replid, or master_replid2 up to second_repl_offset).
//
//   - The source's end: a replica acknowledges what it has applied once a second, and the same snapshot holds the source's
//     own offset. The figures are thus up to a second old and say too much rather than too little.
//   - The target's end with the source in sight (Options.Source): the source is read first. A target that then has that
//     offset had, during the look, all that the source had at its begin.
//   - The target's end alone: a replica is not told its source's offset. That all that arrived is applied says nothing of
//     what is still on its way, so the link is catching_up(not_measured) without an upper bound: only the other end or a
//     heartbeat gives a figure.
//
// Time comes from a memory of when the source was seen at which offset. The oldest missing byte was written after the last
// look at which the source had not more than the target has now, and before the first at which it had more. This compares
// no two clocks, and the first write after an idle hour is no older than one look. A PING to the replicas is part of the
// stream; it is 14 bytes long, no write is as short, and it counts as nothing written. Heartbeats are writes: with them a
// link is caught_up, never idle_link_ok.
//
// A link is alive while the target heard something within the source's ping period and 5 seconds, or, at the source, while
// the last acknowledgement is at most 5 seconds old. Redis itself gives up after repl-timeout, 60 seconds.
//
// # What cannot be known
//
// Why a link is down: a wrong masterauth, a refused connection and a cut cable look alike in INFO. How much of the stream
// a replica had received when the source lost it: reason lost is given only when even all of it would not do. Whether a
// writable replica differs from its source: replica writes are not in the stream (metric redis.replica.writable). Sentinel
// and Redis Cluster are not asked: who should be primary is not decided here. Active-Active (CRDT) databases have other
// figures, and are measured by heartbeats only.
//
// Sources: redis.io, INFO (section replication), "Redis replication" (how it works, partial resynchronisation), ACL, and
// genRedisInfoString, masterTryPartialResynchronization and replicationCron in the source of Redis 7.0.
package redis
