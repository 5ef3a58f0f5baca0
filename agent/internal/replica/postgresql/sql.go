package postgresql

// Columns that newer versions have are read by name out of the row's JSON form, so that one text serves all versions: what
// a version lacks is NULL. Every name is qualified or in pg_catalog, which is the session's whole search path.

const standbySQL = `
SELECT pg_is_in_recovery() AS in_recovery,
  COALESCE(r.received_tli, (SELECT timeline_id FROM pg_control_checkpoint()))::bigint AS timeline,
  CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text END AS replay_lsn,
  pg_last_xact_replay_timestamp() AS last_xact,
  CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() END AS paused,
  COALESCE((SELECT setting::bigint * 1000000 FROM pg_settings WHERE name = 'recovery_min_apply_delay'), 0) AS apply_delay,
  COALESCE((SELECT setting <> '' FROM pg_settings WHERE name = 'restore_command'), false) AS archive,
  (EXTRACT(EPOCH FROM current_setting('wal_receiver_timeout')::interval) * 1000000000)::bigint AS silence,
  (SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup' LIMIT 1) AS applier_waits,
  r.pid::bigint AS receiver_pid, r.status, r.slot_name, to_jsonb(r)->>'sender_host' AS sender_host,
  r.latest_end_lsn::text AS latest_end, r.latest_end_time, r.last_msg_send_time AS msg_sent, r.last_msg_receipt_time AS msg_received,
  clock_timestamp() AS now
FROM (SELECT 1) one LEFT JOIN pg_stat_wal_receiver r ON true`

const sourceSQL = `
SELECT server.*, r.pid::bigint AS pid, r.application_name AS app_name, host(r.client_addr) AS client_addr, r.state, r.sync_state,
  r.sent_lsn::text AS sent_lsn, r.flush_lsn::text AS flush_lsn, r.replay_lsn::text AS replay_lsn,
  EXTRACT(EPOCH FROM r.write_lag)::float8 AS write_lag, EXTRACT(EPOCH FROM r.flush_lag)::float8 AS flush_lag,
  EXTRACT(EPOCH FROM r.replay_lag)::float8 AS replay_lag, (to_jsonb(r)->>'reply_time')::timestamptz AS reply_time,
  clock_timestamp() AS now
FROM (SELECT pg_is_in_recovery() AS in_recovery,
    CASE WHEN NOT pg_is_in_recovery() THEN ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END AS timeline,
    CASE WHEN pg_is_in_recovery() THEN GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END::text AS newest,
    (EXTRACT(EPOCH FROM current_setting('wal_sender_timeout')::interval) * 1000000000)::bigint AS silence) server
LEFT JOIN pg_stat_replication r ON true`

const slotSQL = `
SELECT s.slot_name AS name, s.slot_type AS kind, s.active, s.active_pid::bigint AS active_pid,
  to_jsonb(s)->>'wal_status' AS wal_status, (to_jsonb(s)->>'safe_wal_size')::bigint AS safe_size,
  pg_wal_lsn_diff(cur.lsn, s.restart_lsn)::bigint AS retained,
  pg_wal_lsn_diff(cur.lsn, s.confirmed_flush_lsn)::bigint AS unconfirmed,
  to_jsonb(s)->>'invalidation_reason' AS invalid
FROM pg_replication_slots s,
  (SELECT CASE WHEN pg_is_in_recovery() THEN GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_lsn() END AS lsn) cur`

// The first gap is the applied position, the second the statistics: each needs a right or a version.
const subscriptionSQL = `
SELECT s.oid::bigint AS id, s.subname AS name, s.subenabled AS enabled,
  (SELECT count(*) FROM pg_subscription_rel t WHERE t.srsubid = s.oid AND t.srsubstate NOT IN ('r', 's')) AS copying,
  (EXTRACT(EPOCH FROM current_setting('wal_receiver_timeout')::interval) * 1000000000)::bigint AS silence,
  %s::text AS applied, %s::text AS stats,
  v.pid::bigint AS pid, v.received_lsn::text AS received, v.last_msg_send_time AS msg_sent, v.last_msg_receipt_time AS msg_received,
  v.latest_end_lsn::text AS latest_end, v.latest_end_time, clock_timestamp() AS now
FROM pg_subscription s
LEFT JOIN pg_stat_subscription v ON v.subid = s.oid AND v.relid IS NULL AND to_jsonb(v)->>'leader_pid' IS NULL
WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`

const (
	appliedSQL = `pg_replication_origin_progress('pg_' || s.oid, false)`
	statsSQL   = `(SELECT to_jsonb(c) - 'subid' FROM pg_stat_subscription_stats c WHERE c.subid = s.oid)`
)

const originRightSQL = `SELECT has_function_privilege('pg_replication_origin_progress(text, boolean)', 'EXECUTE')`

const extraSQL = `
SELECT (SELECT count(*) FROM pg_prepared_xacts) AS in_doubt,
  (SELECT EXTRACT(EPOCH FROM clock_timestamp() - min(prepared))::float8 FROM pg_prepared_xacts) AS in_doubt_oldest,
  CASE WHEN pg_is_in_recovery() THEN (SELECT jsonb_object_agg(cause, n) FROM (
    SELECT substr(e.key, 7) AS cause, sum(e.value::bigint) AS n
    FROM pg_stat_database_conflicts c, jsonb_each_text(to_jsonb(c)) e WHERE e.key LIKE 'confl\_%' GROUP BY e.key) x)::text END AS conflicts`
