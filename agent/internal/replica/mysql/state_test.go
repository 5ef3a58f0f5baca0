package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	driverpkg "github.com/go-sql-driver/mysql"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

// columns are those of a MariaDB 10.11 that are read.
var columns = strings.Fields(`Connection_name Slave_IO_Running Slave_SQL_Running Master_Log_File Read_Master_Log_Pos
Relay_Master_Log_File Exec_Master_Log_Pos Last_IO_Errno Last_IO_Error Last_SQL_Errno Using_Gtid Gtid_IO_Pos Gtid_Slave_Pos
SQL_Delay SQL_Remaining_Delay Slave_received_heartbeats Slave_heartbeat_period Seconds_Behind_Master`)

// status is an answer with one row of a healthy replica; changes are pairs of column and value, "NULL" is NULL.
func status(t *testing.T, changes ...string) []mariaRow {
	t.Helper()
	values := map[string]string{
		"Connection_name": "", "Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes", "Master_Log_File": "bin.000007",
		"Read_Master_Log_Pos": "500", "Relay_Master_Log_File": "bin.000007", "Exec_Master_Log_Pos": "500", "Last_IO_Errno": "0",
		"Last_IO_Error": "", "Last_SQL_Errno": "0", "Using_Gtid": "Slave_Pos", "Gtid_IO_Pos": "0-1-10", "Gtid_Slave_Pos": "0-1-10",
		"SQL_Delay": "0", "SQL_Remaining_Delay": "NULL", "Slave_received_heartbeats": "5", "Slave_heartbeat_period": "1.000",
		"Seconds_Behind_Master": "0",
	}
	for i := 0; i < len(changes); i += 2 {
		values[changes[i]] = changes[i+1]
	}
	var row []sql.Null[string]
	for _, c := range columns {
		row = append(row, sql.Null[string]{V: values[c], Valid: values[c] != "NULL"})
	}
	rows, err := mariaRows(columns, [][]sql.Null[string]{row})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestMariaDBStates(t *testing.T) {
	link := LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target}
	server := serverRow{Version: "10.11.6-MariaDB", ServerID: 2, ReadOnly: true}
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	// f looks three times at an idle and healthy replica, a second apart, and then once at rows, a second later.
	f := func(what string, rows []mariaRow, state replica.State, reason replica.Reason) replica.Sighting {
		t.Helper()
		var k kept[mariaPos]
		at := begin
		for i := range 3 {
			_, k = mariaTarget(link, status(t, "Slave_received_heartbeats", fmt.Sprint(2+i)), server, replica.Opt[Beat]{}, k, at, at)
			at = at.Add(time.Second)
		}
		s, _ := mariaTarget(link, rows, server, replica.Opt[Beat]{}, k, at, at)
		if s.State != state || s.Reason != reason {
			t.Errorf("%s: %s(%s) %q, want %s(%s)", what, s.State, s.Reason, s.Detail, state, reason)
		}
		return s
	}
	if s := f("idle", status(t), replica.CaughtUp, ""); s.Upper.V != 2*time.Second || s.Transactions.V != 0 || s.LinkAge.V != 0 {
		t.Errorf("idle: %+v", s)
	}
	if s := f("silent for a second", status(t, "Slave_received_heartbeats", "4"), replica.CaughtUp, ""); s.LinkAge.V != time.Second || s.Upper.V != 3*time.Second {
		t.Errorf("silent for a second: %+v", s)
	}
	if s := f("something waits", status(t, "Gtid_IO_Pos", "0-1-13", "Read_Master_Log_Pos", "900"), replica.CatchingUp, ""); s.Transactions.V != 3 ||
		s.Bytes.V != 400 || s.Lower.V != 0 || s.Upper.V != 3*time.Second {
		t.Errorf("something waits: %+v", s)
	}
	f("no GTIDs, idle", status(t, "Using_Gtid", "No", "Gtid_IO_Pos", ""), replica.CaughtUp, "")
	if s := f("no GTIDs, something waits", status(t, "Using_Gtid", "No", "Gtid_IO_Pos", "", "Master_Log_File", "bin.000010", "Read_Master_Log_Pos", "4"),
		replica.CatchingUp, ""); s.Transactions.OK || s.Bytes.OK {
		t.Errorf("counts that are not known: %+v", s)
	}
	f("connecting", status(t, "Slave_IO_Running", "Connecting"), replica.LinkDown, "")
	f("preparing", status(t, "Slave_IO_Running", "Preparing"), replica.LinkDown, "")
	f("connecting fails", status(t, "Slave_IO_Running", "Connecting", "Last_IO_Errno", "2003"), replica.LinkDown, replica.ReasonError)
	f("stopped", status(t, "Slave_IO_Running", "No"), replica.LinkDown, replica.ReasonPaused)
	f("log gone", status(t, "Slave_IO_Running", "No", "Last_IO_Errno", "1236", "Last_IO_Error",
		"Got fatal error 1236 from master when reading data from binary log: 'Could not find GTID state requested by slave in any binlog files.'"),
		replica.LinkDown, replica.ReasonLost)
	f("receiver error", status(t, "Slave_IO_Running", "No", "Last_IO_Errno", "1236"), replica.LinkDown, replica.ReasonError)
	f("applier stopped", status(t, "Slave_SQL_Running", "No", "Seconds_Behind_Master", "NULL"), replica.ApplierStopped, replica.ReasonPaused)
	f("applier failed", status(t, "Slave_SQL_Running", "No", "Last_SQL_Errno", "1062"), replica.ApplierStopped, replica.ReasonError)
	f("delayed", status(t, "SQL_Delay", "3600", "SQL_Remaining_Delay", "3599", "Gtid_IO_Pos", "0-1-11"), replica.DelayedByDesign, "")
	f("delayed, all there", status(t, "SQL_Delay", "3600"), replica.CaughtUp, "")
	f("heartbeats are off and nothing moves", status(t, "Slave_heartbeat_period", "0.000", "Slave_received_heartbeats", "4"), replica.Unknown, replica.ReasonMisconfigured)
	f("heartbeats are off and something moved", status(t, "Slave_heartbeat_period", "0.000", "Gtid_IO_Pos", "0-1-11", "Gtid_Slave_Pos", "0-1-11"), replica.CatchingUp, "")
	for _, column := range []string{
		"Slave_IO_Running", "Slave_SQL_Running", "Master_Log_File", "Read_Master_Log_Pos", "Relay_Master_Log_File",
		"Exec_Master_Log_Pos", "Using_Gtid", "Slave_received_heartbeats", "Slave_heartbeat_period",
	} {
		f(column+" is NULL", status(t, column, "NULL"), replica.Unknown, replica.ReasonIncomplete)
	}
	f("a position that cannot be read", status(t, "Gtid_IO_Pos", "x"), replica.Unknown, replica.ReasonIncomplete)
	if s := f("hints are NULL", status(t, "Seconds_Behind_Master", "NULL", "Last_IO_Errno", "NULL"), replica.CaughtUp, ""); len(s.Extra) != 1 {
		t.Errorf("a figure that is not there became one: %+v", s.Extra)
	}
	f("another connection", status(t, "Connection_name", "lon"), replica.Unknown, replica.ReasonMisconfigured)
	f("no connection, read-only", nil, replica.Unknown, replica.ReasonMisconfigured)
	server.ReadOnly = false
	f("no connection, writable", nil, replica.Unknown, replica.ReasonRole)
	link.Channel = "lon"
	f("a named connection", status(t, "Connection_name", "LON"), replica.Unknown, replica.ReasonNotMeasured)
}

// A link that is heard again is not complete because it was so before.
func TestMariaDBReconnects(t *testing.T) {
	link := LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target}
	server := serverRow{Version: "10.11.6-MariaDB", ServerID: 2, ReadOnly: true}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var k kept[mariaPos]
	look := func(what string, state replica.State, changes ...string) (s replica.Sighting) {
		t.Helper()
		if s, k = mariaTarget(link, status(t, changes...), server, replica.Opt[Beat]{}, k, at, at); s.State != state {
			t.Errorf("%s: %s(%s), want %s", what, s.State, s.Reason, state)
		}
		at = at.Add(time.Second)
		return s
	}
	look("first", replica.Unknown, "Slave_received_heartbeats", "1")
	look("one heartbeat", replica.CatchingUp, "Slave_received_heartbeats", "2")
	look("two heartbeats", replica.CaughtUp, "Slave_received_heartbeats", "3")
	look("cut", replica.LinkDown, "Slave_IO_Running", "Connecting", "Slave_received_heartbeats", "3")
	look("joined, nothing heard", replica.LinkDown, "Slave_received_heartbeats", "0")
	look("a backlog comes", replica.CatchingUp, "Slave_received_heartbeats", "0", "Gtid_IO_Pos", "0-1-20", "Gtid_Slave_Pos", "0-1-20")
	look("a heartbeat after it", replica.CaughtUp, "Slave_received_heartbeats", "1", "Gtid_IO_Pos", "0-1-20", "Gtid_Slave_Pos", "0-1-20")

	// The source's history begins anew: old positions say nothing of the new ones.
	if s := look("reset", replica.CatchingUp, "Gtid_IO_Pos", "0-1-2", "Gtid_Slave_Pos", "0-1-1", "Slave_received_heartbeats", "1"); s.Upper.OK || s.Lower.V != 0 {
		t.Errorf("reset: %+v", s)
	}
}

func TestBeatBounds(t *testing.T) {
	written := time.UnixMicro(1_700_000_000_000_000)
	b := Beat{Origin: "fra", Epoch: 1, Seq: 5, At: written, Interval: time.Second}
	f := func(age, lower, upper time.Duration) {
		t.Helper()
		if l, u := b.Bounds(written.Add(age)); l != lower || u != upper {
			t.Errorf("read after %s: [%s, %s]", age, l, u)
		}
	}
	f(0, 0, 0)
	f(400*time.Millisecond, 0, 400*time.Millisecond)
	f(3*time.Second, 2*time.Second, 3*time.Second)
	f(-5*time.Second, 0, -5*time.Second) // the clocks contradict each other: Settle sees it
	torn := func(what string, before, after Beat, want bool) {
		t.Helper()
		_, k, _ := judgeBeat(replica.Some(before), beatKept{}, written)
		if _, _, got := judgeBeat(replica.Some(after), k, written); got != want {
			t.Errorf("%s: two writers %t", what, got)
		}
	}
	torn("same", b, b, false)
	torn("goes on", b, Beat{Epoch: 1, Seq: 6}, false)
	torn("a new writer", b, Beat{Epoch: 2, Seq: 1}, false)
	torn("the old writer again", b, Beat{Epoch: 0, Seq: 900}, true)
	torn("goes back", b, Beat{Epoch: 1, Seq: 4}, true)
}

func TestExposed(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	writes := []write{{1, 8, at.Add(-9 * time.Second)}, {2, 1, at.Add(-3 * time.Second)}, {2, 3, at.Add(-time.Second)}}
	f := func(epoch, seq int64, want replica.Opt[time.Duration]) {
		t.Helper()
		if got := exposed(Echo{Epoch: epoch, Seq: seq}, writes, at); got != want {
			t.Errorf("echo of %d/%d: %v, want %v", epoch, seq, got, want)
		}
	}
	f(2, 3, replica.Some(time.Second))
	f(2, 2, replica.Some(3*time.Second)) // that write is not remembered: the one before bounds it
	f(2, 1, replica.Some(3*time.Second))
	f(1, 8, replica.Some(9*time.Second))
	f(1, 7, replica.Opt[time.Duration]{})
	f(2, 4, replica.Opt[time.Duration]{}) // never written by us
	f(3, 1, replica.Opt[time.Duration]{})
	if got := exposed(Echo{}, nil, at); got.OK {
		t.Errorf("no write: %v", got)
	}
}

func TestMarks(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var m marks[int]
	for i := range 10_000 {
		m = m.add(at.Add(time.Duration(i)*time.Second), i)
		if len(m) > keepMarks {
			t.Fatalf("%d marks", len(m))
		}
	}
	if m[0].pos != 0 || m[len(m)-1].pos != 9999 {
		t.Errorf("first %d, last %d", m[0].pos, m[len(m)-1].pos)
	}
	when, rest, ok := m.last(func(p int) bool { return p <= 9990 })
	if !ok || rest[0].pos > 9990 || rest[1].pos <= 9990 || !when.Equal(at.Add(time.Duration(rest[0].pos)*time.Second)) {
		t.Errorf("last reached: %v %v", when, rest[0])
	}
	if _, rest, ok := m.last(func(int) bool { return false }); ok || len(rest) != len(m) {
		t.Errorf("none reached: %t, %d left", ok, len(rest))
	}
}

func TestBlame(t *testing.T) {
	f := func(err error, want replica.Reason) {
		t.Helper()
		got, detail := blame(fmt.Errorf("ask: %w", err))
		if got != want || detail == "" || strings.Contains(detail, sitetest.Word) {
			t.Errorf("%v: %s, %q", err, got, detail)
		}
	}
	answer := func(n uint16) error { return &driverpkg.MySQLError{Number: n, Message: sitetest.Word} }
	f(answer(1045), replica.ReasonAuth)
	f(answer(1227), replica.ReasonPrivilege)
	f(answer(1142), replica.ReasonPrivilege)
	f(answer(1969), replica.ReasonTimeout)
	f(answer(3024), replica.ReasonTimeout)
	f(answer(1040), replica.ReasonConnect)
	f(answer(1146), replica.ReasonMisconfigured)
	f(answer(1064), replica.ReasonQuery)
	f(context.DeadlineExceeded, replica.ReasonTimeout)
	f(&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, replica.ReasonTimeout)
	f(&net.OpError{Op: "dial", Err: errors.New(sitetest.Word)}, replica.ReasonConnect)
	f(driverpkg.ErrInvalidConn, replica.ReasonConnect)
	f(errPassword, replica.ReasonMisconfigured)
	f(errors.New(sitetest.Word), replica.ReasonQuery)
}

func TestVersions(t *testing.T) {
	f := func(version string, maria, ten6, eight bool) {
		t.Helper()
		s := serverRow{Version: version}
		if s.mariaDB() != maria || s.atLeast(10, 6) != ten6 || s.atLeast(8, 0) != eight {
			t.Errorf("%s: %t %t %t", version, s.mariaDB(), s.atLeast(10, 6), s.atLeast(8, 0))
		}
	}
	f("10.11.6-MariaDB-0+deb12u1-log", true, true, true)
	f("5.5.5-10.5.9-MariaDB", true, false, true)
	f("11.8.2-MariaDB", true, true, true)
	f("8.0.34", false, false, true)
	f("8.4.2-log", false, false, true)
	f("5.7.44-log", false, false, false)
	f("", false, false, false)
}

func TestNew(t *testing.T) {
	good := LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target}
	f := func(o Options, want string) {
		t.Helper()
		_, err := New(o)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
	server := Server{Address: "127.0.0.1:3306", User: "evenkeel"}
	f(Options{Server: server, Links: []LinkSpec{good}}, "")
	f(Options{}, "address")
	f(Options{Server: server, Links: []LinkSpec{{Store: "orders"}}}, "neither")
	f(Options{Server: server, Links: []LinkSpec{good, good}}, "twice")
}

// Whatever a server answers, a look has a state and no panic, and NULL is never a figure.
func FuzzMariaRow(f *testing.F) {
	f.Add("Yes", "Yes", "bin.000001", "4", "0-1-2", "0-1-2", "1.000", "3")
	f.Add("Connecting", "No", "", "-1", "x", "", "NaN", "99999999999999999999")
	link := LinkSpec{End: replica.Target}
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, io, applier, file, offset, received, applied, period, beats string) {
		rows := status(t, "Slave_IO_Running", io, "Slave_SQL_Running", applier, "Master_Log_File", file, "Read_Master_Log_Pos", offset,
			"Gtid_IO_Pos", received, "Gtid_Slave_Pos", applied, "Slave_heartbeat_period", period, "Slave_received_heartbeats", beats,
			"SQL_Delay", offset)
		var k kept[mariaPos]
		var s replica.Sighting
		for i := range 3 {
			s, k = mariaTarget(link, rows, serverRow{}, replica.Opt[Beat]{}, k, at.Add(time.Duration(i)*time.Second), at)
			if s.Transactions.V < 0 || s.Bytes.V < 0 || s.Lower.V < 0 || (s.State == replica.Unknown && s.Reason == "") {
				t.Errorf("%+v", s)
			}
		}
	})
}

// TestLacks: of what a server writes only the privilege and the table are passed on.
func TestLacks(t *testing.T) {
	f := func(number uint16, text, want string) {
		t.Helper()
		if got := lacks(&driverpkg.MySQLError{Number: number, Message: text}); got != want {
			t.Errorf("%d %q: %q, want %q", number, text, got, want)
		}
	}
	f(1142, "SELECT command denied to user 'bare'@'127.0.0.1' for table 'replication_connection_status'", "SELECT on replication_connection_status")
	f(1142, "INSERT, UPDATE command denied to user 'a'@'b' for table `evenkeel`.`evenkeel_echo`", "INSERT, UPDATE on evenkeel_echo")
	f(1142, "SELECT with locking clause command denied to user 'a'@'b' for table 'evenkeel_heartbeat'", "UPDATE on evenkeel_heartbeat")
	f(1227, "Access denied; you need (at least one of) the SLAVE MONITOR privilege(s) for this operation", "SLAVE MONITOR")
	f(1227, "something else", "")
	f(1142, "no command denied to user 'x' for table 'a b@c'", "")
	f(1045, "Access denied for user 'x'@'y' (using password: YES)", "")
}
