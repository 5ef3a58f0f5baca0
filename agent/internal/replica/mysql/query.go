package mysql

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

func readServer(ctx context.Context, conn *sql.Conn) (serverRow, error) {
	var row serverRow
	if err := conn.QueryRowContext(ctx, "SELECT VERSION()").Scan(&row.Version); err != nil {
		return row, fmt.Errorf("ask for the version: %w", err)
	}
	var err error
	if row.mariaDB() {
		err = conn.QueryRowContext(ctx, "SELECT @@global.server_id, @@global.read_only, @@global.gtid_binlog_pos, @@global.slave_parallel_threads").
			Scan(&row.ServerID, &row.ReadOnly, &row.Binlog, &row.Threads)
	} else {
		err = conn.QueryRowContext(ctx, `SELECT @@global.server_id, @@global.read_only OR @@global.super_read_only,
@@global.gtid_executed, @@global.gtid_mode`).Scan(&row.ServerID, &row.ReadOnly, &row.Executed, &row.GTIDMode)
	}
	if err != nil {
		return row, fmt.Errorf("ask for the server's settings: %w", err)
	}
	// Every account sees its own privileges.
	err = conn.QueryRowContext(ctx,
		"SELECT COUNT(*) > 0 FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'PROCESS'").Scan(&row.Process)
	if err != nil {
		return row, fmt.Errorf("ask for privileges: %w", err)
	}
	return row, nil
}

// readMaria asks with the words of the version: REPLICA is known from 10.5.1 on.
func readMaria(ctx context.Context, conn *sql.Conn, server serverRow) ([]mariaRow, error) {
	word := "SLAVES"
	if server.atLeast(10, 6) {
		word = "REPLICAS"
	}
	rows, err := conn.QueryContext(ctx, "SHOW ALL "+word+" STATUS")
	if err != nil {
		return nil, fmt.Errorf("ask for the replica status: %w", err)
	}
	defer func() { _ = rows.Close() }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, fmt.Errorf("read the replica status: %w", err)
	}
	var texts [][]sql.Null[string]
	for rows.Next() {
		values := make([]sql.Null[string], len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, fmt.Errorf("read the replica status: %w", err)
		}
		texts = append(texts, values)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the replica status: %w", err)
	}
	return mariaRows(columns, texts)
}

// channelQuery joins from the left: without coordinator (a single applier thread) or workers the channel must not vanish.
// The server converts its timestamps: they come in the session's time zone.
const channelQuery = `SELECT UNIX_TIMESTAMP(NOW(6)), c.CHANNEL_NAME, c.SERVICE_STATE, c.LAST_ERROR_NUMBER, c.LAST_ERROR_MESSAGE,
c.COUNT_RECEIVED_HEARTBEATS, UNIX_TIMESTAMP(c.LAST_HEARTBEAT_TIMESTAMP), c.RECEIVED_TRANSACTION_SET,
c.LAST_QUEUED_TRANSACTION, UNIX_TIMESTAMP(c.LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP),
UNIX_TIMESTAMP(c.LAST_QUEUED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP),
UNIX_TIMESTAMP(c.LAST_QUEUED_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP),
f.HEARTBEAT_INTERVAL, d.DESIRED_DELAY, a.SERVICE_STATE, a.REMAINING_DELAY, k.SERVICE_STATE, k.LAST_ERROR_NUMBER,
w.SERVICE_STATE, w.LAST_ERROR_NUMBER, w.APPLYING_TRANSACTION, w.LAST_APPLIED_TRANSACTION,
UNIX_TIMESTAMP(w.APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP),
UNIX_TIMESTAMP(w.APPLYING_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP),
UNIX_TIMESTAMP(w.LAST_APPLIED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP),
UNIX_TIMESTAMP(w.LAST_APPLIED_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP)
FROM performance_schema.replication_connection_status c
JOIN performance_schema.replication_connection_configuration f USING (CHANNEL_NAME)
JOIN performance_schema.replication_applier_configuration d USING (CHANNEL_NAME)
JOIN performance_schema.replication_applier_status a USING (CHANNEL_NAME)
LEFT JOIN performance_schema.replication_applier_status_by_coordinator k USING (CHANNEL_NAME)
LEFT JOIN performance_schema.replication_applier_status_by_worker w USING (CHANNEL_NAME)
ORDER BY c.CHANNEL_NAME, w.WORKER_ID`

// joinedRow is a row of channelQuery: a channel and one of its workers, or none.
type joinedRow struct {
	channelRow
	state     sql.Null[string]
	errno     sql.Null[int64]
	applying  sql.Null[string]
	applied   sql.Null[string]
	applyingO sql.Null[float64]
	applyingI sql.Null[float64]
	appliedO  sql.Null[float64]
	appliedI  sql.Null[float64]
}

func (j *joinedRow) into() []any {
	return []any{
		&j.Now, &j.Channel, &j.IOState, &j.IOErrno, &j.IOError, &j.Heartbeats, &j.HeartbeatAt, &j.Received, &j.Queued, &j.QueuedEnd,
		&j.QueuedOriginal, &j.QueuedImmediate, &j.HeartbeatPeriod, &j.Delay, &j.ApplierState, &j.RemainingDelay, &j.CoordState,
		&j.CoordErrno, &j.state, &j.errno, &j.applying, &j.applied, &j.applyingO, &j.applyingI, &j.appliedO, &j.appliedI,
	}
}

// gather makes one row a channel of the joined ones, which are ordered by channel.
func gather(joined []joinedRow) []channelRow {
	var out []channelRow
	for _, j := range joined {
		if n := len(out); n == 0 || out[n-1].Channel != j.Channel {
			out = append(out, j.channelRow)
		}
		if j.state.Valid {
			c := &out[len(out)-1]
			c.Workers = append(c.Workers, workerRow{
				State: j.state.V, Errno: j.errno.V, Applying: j.applying.V, Applied: j.applied.V, ApplyingOriginal: j.applyingO.V,
				ApplyingImmediate: j.applyingI.V, AppliedOriginal: j.appliedO.V, AppliedImmediate: j.appliedI.V,
			})
		}
	}
	return out
}

// readChannels also brings what is executed up to date.
func readChannels(ctx context.Context, conn *sql.Conn, executed *string) ([]channelRow, error) {
	rows, err := conn.QueryContext(ctx, channelQuery)
	if err != nil {
		return nil, fmt.Errorf("ask for the replication channels: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var joined []joinedRow
	for rows.Next() {
		var j joinedRow
		if err := rows.Scan(j.into()...); err != nil {
			return nil, fmt.Errorf("read the replication channels: %w", err)
		}
		joined = append(joined, j)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the replication channels: %w", err)
	}
	if err := readExecuted(ctx, conn, executed); err != nil {
		return nil, err
	}
	out := gather(joined)
	// A server without the plugin or the privilege has no such row: then it is not told, and nothing hangs on it.
	var cloning bool
	_ = conn.QueryRowContext(ctx,
		"SELECT COUNT(*) > 0 FROM performance_schema.clone_status WHERE STATE = 'In Progress'").Scan(&cloning)
	var member sql.Null[string]
	_ = conn.QueryRowContext(ctx,
		"SELECT MEMBER_STATE FROM performance_schema.replication_group_members WHERE MEMBER_ID = @@global.server_uuid").Scan(&member)
	for i := range out {
		out[i].Cloning = cloning
		if strings.HasPrefix(out[i].Channel, "group_replication_") {
			out[i].MemberState = member
		}
	}
	return out, nil
}

// readExecuted is asked after channelQuery: what a worker seemed to apply may be applied by then, and is not missing.
func readExecuted(ctx context.Context, conn *sql.Conn, executed *string) error {
	if err := conn.QueryRowContext(ctx, "SELECT @@global.gtid_executed").Scan(executed); err != nil {
		return fmt.Errorf("ask for what is executed: %w", err)
	}
	return nil
}

// readDumps finds the threads that serve replicas; without PROCESS an account sees only its own threads.
func readDumps(ctx context.Context, conn *sql.Conn) ([]dumpRow, error) {
	rows, err := conn.QueryContext(ctx,
		"SELECT USER, HOST FROM information_schema.PROCESSLIST WHERE COMMAND IN ('Binlog Dump', 'Binlog Dump GTID')")
	if err != nil {
		return nil, fmt.Errorf("ask for the threads: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []dumpRow
	for rows.Next() {
		var d dumpRow
		if err := rows.Scan(&d.User, &d.Host); err != nil {
			return nil, fmt.Errorf("read the threads: %w", err)
		}
		out = append(out, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the threads: %w", err)
	}
	return out, nil
}

// readInDoubt names the prepared transactions whose coordinator has not decided. Without the privilege they are not known.
func readInDoubt(ctx context.Context, conn *sql.Conn) replica.Opt[[]string] {
	rows, err := conn.QueryContext(ctx, "XA RECOVER")
	if err != nil {
		return replica.Opt[[]string]{}
	}
	defer func() { _ = rows.Close() }()
	names := []string{}
	for rows.Next() {
		var format, global, branch int64
		var data []byte
		if err := rows.Scan(&format, &global, &branch, &data); err != nil {
			return replica.Opt[[]string]{}
		}
		names = append(names, fmt.Sprintf("%d %d %d %s", format, global, branch, data))
	}
	if rows.Err() != nil {
		return replica.Opt[[]string]{}
	}
	return replica.Some(names)
}

// quote makes a name of a database safe to stand in a statement.
func quote(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

func readBeats(ctx context.Context, conn *sql.Conn, database string) (map[string]Beat, []Echo, error) {
	beats := map[string]Beat{}
	rows, err := conn.QueryContext(ctx,
		"SELECT origin_site, writer_epoch, seq, ts_us, interval_ms FROM "+quote(database)+".evenkeel_heartbeat")
	if err != nil {
		return nil, nil, fmt.Errorf("ask for the heartbeats: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var b Beat
		var at, every int64
		if err := rows.Scan(&b.Origin, &b.Epoch, &b.Seq, &at, &every); err != nil {
			return nil, nil, fmt.Errorf("read the heartbeats: %w", err)
		}
		b.At, b.Interval = time.UnixMicro(at), time.Duration(every)*time.Millisecond
		beats[b.Origin] = b
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("read the heartbeats: %w", err)
	}
	echoes, err := readEchoes(ctx, conn, database)
	return beats, echoes, err
}

func readEchoes(ctx context.Context, conn *sql.Conn, database string) ([]Echo, error) {
	rows, err := conn.QueryContext(ctx,
		"SELECT observer_site, origin_site, origin_epoch, origin_seq, observer_ts_us FROM "+quote(database)+".evenkeel_echo")
	if err != nil {
		return nil, fmt.Errorf("ask for the echoes: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Echo
	for rows.Next() {
		var e Echo
		var at int64
		if err := rows.Scan(&e.Observer, &e.Origin, &e.Epoch, &e.Seq, &at); err != nil {
			return nil, fmt.Errorf("read the echoes: %w", err)
		}
		e.At = time.UnixMicro(at)
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the echoes: %w", err)
	}
	return out, nil
}
