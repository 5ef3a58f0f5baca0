// Package mysql looks at the replication of MariaDB and MySQL: what one server knows of its links, and nothing else. It
// writes only heartbeats, by an account of its own.
//
// MariaDB, from 10.5 on, run against 10.11: SHOW ALL REPLICAS STATUS (SLAVES before 10.6), one row a named connection,
// columns by name. Applied is Gtid_Slave_Pos, received Gtid_IO_Pos, compared domain by domain; without GTIDs the
// coordinates of the binary log. MySQL, from 8.0.2 on, run against 9.7 (make mysql), of 8.0 only on recorded answers
// (testdata): the performance schema's replication tables, one row a channel and worker, with the commit times that the
// source wrote into each transaction. It needs gtid_mode=ON. Older servers of MySQL are unknown(misconfigured).
//
// # Accounts
//
// The one that looks, at a target:
//
//	MariaDB 10.5.9 on    GRANT SLAVE MONITOR ON *.* TO evenkeel
//	MariaDB 10.5.2 - 8   GRANT REPLICATION SLAVE ADMIN ON *.* TO evenkeel
//	MySQL 8 and 9        GRANT SELECT ON performance_schema.* TO evenkeel
//
// At a source, to see the threads that serve replicas, on both: GRANT PROCESS ON *.*. BINLOG MONITOR is not needed: the
// position comes from a variable that everybody may read. To count
// transactions in doubt on MySQL: GRANT XA_RECOVER_ADMIN ON *.*; without it they are absent, not 0. The writer of
// heartbeats: HeartbeatSetUp, and never READ_ONLY ADMIN or SUPER.
//
// # What a target knows
//
// It does not know what its source has committed and not sent. Two things prove that nothing is missing. A source sends a
// heartbeat of the protocol when it has had nothing to send for a period: what is received then holds all that was
// committed before. And a row of the heartbeat table holds what was committed before it was written. Seconds_Behind_Master
// proves nothing: it is 0 while the receiver is behind, NULL when it matters and frozen when the link is dead; it is passed
// on as a hint.
//
// So a MariaDB whose source never pauses, without a heartbeat table, is catching_up without an upper bound of its own,
// however fast it is. Set MASTER_HEARTBEAT_PERIOD (SOURCE_HEARTBEAT_PERIOD) to 1 s, in every CHANGE MASTER: what is left
// out goes back to half of slave_net_timeout, 30 s by default, and a link that is half-open is only found after three
// periods. Off, an idle link proves nothing and is unknown(misconfigured).
//
// MariaDB counts heartbeats and does not say when they came: it takes two looks to know that a link is alive. A heartbeat
// that waited on its way, in a slow network, is believed to be younger than it is; only the heartbeat table sees that.
//
// A source of MySQL also sends heartbeats while it skips what the replica has, after it connects again: till it has read the
// rest of that binary log, caught_up by heartbeats of the protocol alone may be too early. The heartbeat table sees it.
//
// With several applier threads of MySQL a later transaction may be applied before an earlier one. The lower bound is then the
// age of the oldest one that a worker is in, the upper one that of the newest applied before the first hole. A row of the heartbeat
// table may have overtaken what it should prove as well: without the order of commits (replica_preserve_commit_order, off by
// default before 8.0.27) while there is a hole in what is executed, and in MariaDB, where the source writes in several domains and
// slave_parallel_threads apply them, while something waits. It then bounds nothing, and is not echoed: use one domain, or
// preserve the order, to have bounds under load. Between the members of a group that all write it is not noticed.
//
// A channel of Group Replication has no such heartbeats: without a heartbeat table a member that is ONLINE is caught_up only
// after a fresh transaction, and catching_up without an upper bound before the first one.
//
// # What a source knows
//
// Who fetches its binary log, not what they applied: unknown(not_measured), or link_down when nobody fetches. A half-open
// link keeps its thread. With the echo of an observer it knows for how long at most something is exposed, by its own clock.
//
// # What is not looked at
//
// Galera; the counters of Group Replication besides the state of the member; whether semi-synchronous replication fell back
// to asynchronous. XA transactions in doubt are counted for the server, not for a link; the server does not say since when
// they are prepared, so that their age is since the agent first saw them.
//
// Sources: MariaDB documentation, SHOW REPLICA STATUS, Global Transaction ID, CHANGE MASTER TO; MySQL 8.0 reference manual
// 29.12.11 (performance schema replication tables), 19.1.3 (GTIDs), 15.4.2.3 (CHANGE REPLICATION SOURCE TO);
// mysql-server, sql/rpl_binlog_sender.cc (heartbeats while skipping).
package mysql
