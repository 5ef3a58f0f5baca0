// Package postgresql looks at one end of the replication links of a PostgreSQL server.
//
// # What is read
//
// Target of physical streaming: pg_stat_wal_receiver, the replay position and the commit time of the newest transaction
// replayed. Source of any link: pg_stat_replication, pg_replication_slots, the current position. Target of logical
// replication: pg_subscription, pg_stat_subscription, pg_subscription_rel, and from version 15 on
// pg_stat_subscription_stats. At every end: pg_prepared_xacts (transactions in doubt) and, on a standby,
// pg_stat_database_conflicts. Physical ends need version 10 or later, a logical target 14, where pg_subscription's oid is
// readable by all. primary_conninfo and subconninfo are never read: they may hold a password.
//
// The stories run with Debian's version, and with 10, 14 and 18 by make postgresql-majors. 12.22 has passed them by hand, with PG_BIN.
//
// # What the account needs
//
//	CREATE ROLE evenkeel LOGIN PASSWORD '...';
//	GRANT pg_monitor TO evenkeel;                    -- less hides rows, columns and settings as NULL: unknown(privilege)
//	GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO evenkeel;  -- optional, logical targets only
//
// The heartbeat has an account of its own: HeartbeatSetUp. With logical replication each site publishes its own rows of the
// three tables, from version 15 on, or they would come back and go round.
//
// A logical target is looked at in the subscription's own database. Without the right to read the origin's progress, a
// subscription that fails over and over is told by its worker never being caught up.
//
// # What cannot be known
//
// A silent link may be idle or dead. Until wal_receiver_timeout (60 s) has passed a standby is caught_up with an Upper that
// grows with the silence, up to half that time on an idle link. A lower timeout, or a heartbeat with Silence at 5 s, makes it short.
//
// A subscription is complete as of the last but one keepalive that was seen, so an idle one has an Upper of up to
// wal_receiver_timeout, and is caught_up only after the second one of a connection; with a heartbeat that is seconds.
//
// With synchronous_commit=off a transaction is visible before its log is written, for up to three times wal_writer_delay:
// no position shows it before. Commit stamps of transactions that commit at once may be out of order by the time between
// stamp and log record. The log does not say whether what is missing holds a commit: Lower takes it to, a second after 16 MB of it
// were written, or 64 kB while replay is paused.
// A standby that feeds others (cascading) is a source that is complete up to what it has received itself.
//
// Nothing at one end says whether both are on the same timeline: both ends report the number, and a target whose number differs
// must not take over.
//
// # Sources
//
// PostgreSQL manual: 28.2 The Cumulative Statistics System (pg_stat_replication, pg_stat_wal_receiver,
// pg_stat_subscription, pg_stat_subscription_stats, pg_stat_database_conflicts), 9.27.4 Recovery Control Functions, 9.27.6
// Replication Management Functions, 54.19 pg_replication_slots, 54.16 pg_prepared_xacts, 20.6 Replication settings, 22.5
// Predefined Roles, appendix A; server code: walreceiver.c, walsender.c, worker.c.
package postgresql
