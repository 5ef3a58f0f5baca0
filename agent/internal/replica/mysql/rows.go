package mysql

import (
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// serverRow is what the server says of itself.
type serverRow struct {
	Version  string
	ServerID uint32
	ReadOnly bool             // read_only or super_read_only
	Executed string           // MySQL: gtid_executed
	Binlog   string           // MariaDB: gtid_binlog_pos; what this server has written
	Threads  int64            // MariaDB: slave_parallel_threads
	GTIDMode sql.Null[string] // MySQL only
	Process  bool             // the account may see other accounts' threads
}

func (s serverRow) mariaDB() bool { return strings.Contains(strings.ToLower(s.Version), "mariadb") }

// atLeast compares the first two numbers of the version.
func (s serverRow) atLeast(major, minor int) bool {
	// MariaDB may put a fixed 5.5.5- before its version, for old clients.
	parts := strings.SplitN(strings.TrimPrefix(s.Version, "5.5.5-"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, errA := strconv.Atoi(parts[0])
	b, errB := strconv.Atoi(parts[1])
	return errA == nil && errB == nil && (a > major || a == major && b >= minor)
}

// mariaRow is one row of SHOW ALL REPLICAS STATUS. Columns are found by name: their order and number change by version.
type mariaRow struct {
	Connection      string
	IORunning       sql.Null[string] // Yes, No, Connecting, Preparing
	SQLRunning      sql.Null[string]
	LogFile         sql.Null[string] // received
	LogPos          sql.Null[int64]
	ExecFile        sql.Null[string] // applied
	ExecPos         sql.Null[int64]
	SecondsBehind   sql.Null[int64]
	IOErrno         sql.Null[int64]
	SQLErrno        sql.Null[int64]
	IOError         sql.Null[string] // read for its kind only; its text is not passed on
	UsingGTID       sql.Null[string]
	IOPos           sql.Null[string]
	AppliedPos      sql.Null[string]
	Delay           sql.Null[int64] // seconds
	RemainingDelay  sql.Null[int64] // NULL when the applier does not wait for the delay
	Heartbeats      sql.Null[int64]
	HeartbeatPeriod sql.Null[float64] // seconds; 0 is off
	Retried         sql.Null[int64]
	RelaySpace      sql.Null[int64]
	SourceID        sql.Null[int64]  // server_id of the source
	Parallel        sql.Null[string] // none, conservative, optimistic, aggressive, minimal
}

// mariaRows reads the answer from its columns and rows of texts; NULL is an invalid text.
func mariaRows(columns []string, answer [][]sql.Null[string]) ([]mariaRow, error) {
	out := make([]mariaRow, 0, len(answer))
	for _, values := range answer {
		if len(values) != len(columns) {
			return nil, fmt.Errorf("replica status has %d columns and %d values", len(columns), len(values))
		}
		f := fields{}
		for i, name := range columns {
			f[strings.ToLower(name)] = values[i]
		}
		row := mariaRow{
			Connection: f["connection_name"].V,
			IORunning:  f["slave_io_running"], SQLRunning: f["slave_sql_running"],
			LogFile: f["master_log_file"], LogPos: f.whole("read_master_log_pos"),
			ExecFile: f["relay_master_log_file"], ExecPos: f.whole("exec_master_log_pos"),
			SecondsBehind: f.whole("seconds_behind_master"),
			IOErrno:       f.whole("last_io_errno"), SQLErrno: f.whole("last_sql_errno"), IOError: f["last_io_error"],
			UsingGTID: f["using_gtid"], IOPos: f["gtid_io_pos"], AppliedPos: f["gtid_slave_pos"],
			Delay: f.whole("sql_delay"), RemainingDelay: f.whole("sql_remaining_delay"),
			Heartbeats: f.whole("slave_received_heartbeats"), HeartbeatPeriod: f.number("slave_heartbeat_period"),
			Retried: f.whole("retried_transactions"), RelaySpace: f.whole("relay_log_space"),
			SourceID: f.whole("master_server_id"), Parallel: f["parallel_mode"],
		}
		out = append(out, row)
	}
	return out, nil
}

// fields are the columns of one row, by name in lower case. A column that the version has not is absent, like NULL.
type fields map[string]sql.Null[string]

func (f fields) whole(name string) sql.Null[int64] {
	v, err := strconv.ParseInt(f[name].V, 10, 64)
	return sql.Null[int64]{V: v, Valid: f[name].Valid && err == nil}
}

func (f fields) number(name string) sql.Null[float64] {
	v, err := strconv.ParseFloat(f[name].V, 64)
	// The comparison is false for NaN and for what no server means.
	return sql.Null[float64]{V: v, Valid: f[name].Valid && err == nil && v >= -1e12 && v <= 1e12}
}

// channelRow is one replication channel of MySQL. Times are seconds since 1970 by the server's conversion, 0 is unset;
// those of the receiver and the worker are by this server's clock, those of commits by the source's.
type channelRow struct {
	Now             float64
	Channel         string
	IOState         string // ON, OFF, CONNECTING
	IOErrno         int64
	IOError         string // read for its kind only
	Heartbeats      int64
	HeartbeatAt     float64
	Received        string // GTID set
	Queued          string // GTID of the newest transaction that came
	QueuedEnd       float64
	QueuedOriginal  float64
	QueuedImmediate float64
	HeartbeatPeriod float64
	Delay           int64
	ApplierState    string
	RemainingDelay  sql.Null[int64]
	CoordState      sql.Null[string] // NULL with a single applier thread
	CoordErrno      sql.Null[int64]
	MemberState     sql.Null[string] // Group Replication only
	Cloning         bool
	Workers         []workerRow
}

// workerRow is one applier thread.
type workerRow struct {
	State             string
	Errno             int64
	Applying          string // GTID
	Applied           string // GTID of the newest one
	ApplyingOriginal  float64
	ApplyingImmediate float64
	AppliedOriginal   float64
	AppliedImmediate  float64
}

// dumpRow is a thread that sends the binary log to a replica.
type dumpRow struct {
	User, Host string
}

// seconds is a length in seconds of a server; what no duration can hold is cut.
func seconds(v float64) time.Duration {
	const most = 1e9 // some thirty years
	return time.Duration(min(max(v, -most), most) * float64(time.Second))
}
