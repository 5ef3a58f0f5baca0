package mysql

import (
	"database/sql"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// recorded reads an answer as the client prints it with \G, after its origin in comments.
func recorded(t *testing.T, name string) (rows []map[string]string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		column, value, ok := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		switch {
		case strings.HasPrefix(line, "# "):
		case strings.HasPrefix(line, "***"):
			rows = append(rows, map[string]string{})
		case ok && len(rows) > 0:
			rows[len(rows)-1][strings.TrimSpace(column)] = value
		default:
			t.Fatalf("%s: line %q", name, line)
		}
	}
	return rows
}

// epoch is UNIX_TIMESTAMP of a text in UTC.
func epoch(t *testing.T, text string) float64 {
	t.Helper()
	if strings.HasPrefix(text, "0000-") {
		return 0
	}
	at, err := time.Parse("2006-01-02 15:04:05.000000", text)
	if err != nil {
		t.Fatal(err)
	}
	return float64(at.UnixMicro()) / 1e6
}

func number(t *testing.T, text string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// workers makes what channelQuery joins of recorded rows of the worker table.
func workers(t *testing.T, channel channelRow, rows []map[string]string) channelRow {
	t.Helper()
	var joined []joinedRow
	for _, r := range rows {
		number := func(name string) sql.Null[float64] { return sql.Null[float64]{V: epoch(t, r[name]), Valid: true} }
		joined = append(joined, joinedRow{
			channelRow: channel,
			state:      sql.Null[string]{V: r["SERVICE_STATE"], Valid: true},
			errno:      sql.Null[int64]{V: errnoOf(t, r), Valid: true},
			applying:   sql.Null[string]{V: r["APPLYING_TRANSACTION"], Valid: true},
			applied:    sql.Null[string]{V: r["LAST_APPLIED_TRANSACTION"], Valid: true},
			applyingO:  number("APPLYING_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP"),
			applyingI:  number("APPLYING_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP"),
			appliedO:   number("LAST_APPLIED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP"),
			appliedI:   number("LAST_APPLIED_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP"),
		})
	}
	all := gather(joined)
	if len(all) != 1 {
		t.Fatalf("%d channels", len(all))
	}
	return all[0]
}

func errnoOf(t *testing.T, r map[string]string) int64 { return number(t, r["LAST_ERROR_NUMBER"]) }

func on(text string) sql.Null[string] { return sql.Null[string]{V: text, Valid: true} }

func TestMySQLRecorded(t *testing.T) {
	at := time.Date(2026, 9, 16, 12, 0, 0, 0, time.UTC)
	link := LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target}
	server := serverRow{Version: "8.0.34", ReadOnly: true, GTIDMode: on("ON")}

	// One worker is 71 minutes into a transaction of 29 million rows that began 20 minutes after it was committed.
	const uuid = "5afdc24b-bf77-11f0-b5d9-42010a6e5ec9"
	rows := recorded(t, "workers_large_transaction.txt")
	now := epoch(t, "2026-09-16 04:58:34.246959") + 4248
	channel := channelRow{
		Now: now, IOState: "ON", ApplierState: "ON", CoordState: on("ON"), HeartbeatPeriod: 30, QueuedEnd: now - 1,
		Received: uuid + ":1-303264310",
	}
	server.Executed = uuid + ":1-303264301"
	s, _ := mysqlTarget(link, []channelRow{workers(t, channel, rows)}, server, replica.Opt[Beat]{}, kept[gtidSet]{}, at, at)
	lag := seconds(now - epoch(t, "2026-09-16 04:38:41.884315"))
	if s.State != replica.CatchingUp || s.Lower.V != lag-committing || s.Upper.V != lag || !s.SourceClock || s.Transactions.V != 9 ||
		s.LinkAge.V.Round(time.Millisecond) != time.Second {
		t.Errorf("large transaction: %+v", s)
	}
	if got := lag.Round(time.Second); got != 90*time.Minute+40*time.Second {
		t.Errorf("the recorded lag is %s", got)
	}

	// A worker failed, and everything received since waits.
	rows = recorded(t, "worker_failed.txt")
	now = epoch(t, "2024-03-02 23:30:54.000000")
	channel = channelRow{
		Now: now, IOState: "ON", ApplierState: "OFF", CoordState: on("OFF"), HeartbeatPeriod: 30, QueuedEnd: now - 1,
		Received: rows[1]["Retrieved_Gtid_Set"],
	}
	server.Executed = rows[1]["Executed_Gtid_Set"]
	s, _ = mysqlTarget(link, []channelRow{workers(t, channel, rows[:1])}, server, replica.Opt[Beat]{}, kept[gtidSet]{}, at, at)
	if s.State != replica.ApplierStopped || s.Reason != replica.ReasonError || s.Transactions.V != 426568-424254 ||
		!strings.Contains(s.Detail, "1410") || s.Lower.V < 32*24*time.Hour {
		t.Errorf("failed worker: %+v", s)
	}

	// A member of a group, idle: there are no heartbeats on its channel.
	rows = recorded(t, "connection_group.txt")
	var channels []channelRow
	for _, r := range rows {
		channels = append(channels, channelRow{
			Now: epoch(t, "2025-01-03 15:16:58.500000"), Channel: r["CHANNEL_NAME"], IOState: r["SERVICE_STATE"],
			IOErrno: errnoOf(t, r), Heartbeats: number(t, r["COUNT_RECEIVED_HEARTBEATS"]),
			HeartbeatAt: epoch(t, r["LAST_HEARTBEAT_TIMESTAMP"]), Received: r["RECEIVED_TRANSACTION_SET"],
			QueuedEnd:       epoch(t, r["LAST_QUEUED_TRANSACTION_END_QUEUE_TIMESTAMP"]),
			QueuedImmediate: epoch(t, r["LAST_QUEUED_TRANSACTION_IMMEDIATE_COMMIT_TIMESTAMP"]),
			QueuedOriginal:  epoch(t, r["LAST_QUEUED_TRANSACTION_ORIGINAL_COMMIT_TIMESTAMP"]),
			HeartbeatPeriod: 30, ApplierState: "ON", MemberState: on("ONLINE"), Workers: []workerRow{{State: "ON"}},
		})
	}
	server.Executed = channels[0].Received
	link.Channel = "group_replication_applier"
	s, _ = mysqlTarget(link, channels, server, replica.Opt[Beat]{}, kept[gtidSet]{}, at, at)
	if s.State != replica.CaughtUp || s.Transactions.V != 0 || s.Upper.V.Round(time.Millisecond) != 574*time.Millisecond {
		t.Errorf("idle member: %+v", s)
	}
	link.Channel = "group_replication_recovery"
	if s, _ = mysqlTarget(link, channels, server, replica.Opt[Beat]{}, kept[gtidSet]{}, at, at); s.State != replica.LinkDown {
		t.Errorf("recovery channel at rest: %+v", s)
	}
}

// TestRecorded plays what real servers answered: each version that was recorded must read alike.
func TestRecorded(t *testing.T) {
	target := LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target}
	f := func(what string, link LinkSpec, state replica.State, reason replica.Reason, also func(replica.Sighting) bool) {
		t.Helper()
		files, err := filepath.Glob("testdata/mysql-*-" + what + ".txt")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s was never recorded: %v", what, err)
		}
		for _, file := range files {
			s := play(t, filepath.Base(file), Options{Links: []LinkSpec{link}}).Look(t.Context()).Sightings[0]
			if s.State != state || s.Reason != reason || !also(s) {
				t.Errorf("%s: %+v", file, s)
			}
		}
	}
	extra := func(s replica.Sighting, name string) float64 {
		for _, m := range s.Extra {
			if m.Name == name {
				return m.Value
			}
		}
		return -1
	}
	// One look does not know whether all was received.
	f("idle", target, replica.CatchingUp, "", func(s replica.Sighting) bool {
		return s.Transactions == replica.Some(int64(0)) && !s.Lower.OK && s.Upper.V > 10*time.Second && s.SourceClock &&
			s.LinkAge.OK && s.LinkAge.V < time.Second && extra(s, "applier.workers") == 4 && extra(s, "transactions.in_doubt") == 0
	})
	source := target
	source.End = replica.Source
	f("source", source, replica.Unknown, replica.ReasonNotMeasured, func(s replica.Sighting) bool {
		return s.Written != "" && extra(s, "source.dump_threads") == 1
	})
	f("worker-hangs", target, replica.CatchingUp, "", func(s replica.Sighting) bool {
		return s.Transactions == replica.Some(int64(2)) && s.Lower.V > time.Second && s.Lower.V == s.Upper.V-committing
	})
	f("worker-failed", target, replica.ApplierStopped, replica.ReasonError, func(s replica.Sighting) bool {
		return s.Transactions == replica.Some(int64(2)) && extra(s, "applier.error") == 1062 && strings.Contains(s.Detail, "1062")
	})
	f("link-cut", target, replica.LinkDown, replica.ReasonError, func(s replica.Sighting) bool {
		return extra(s, "receiver.error") > 2000 && !strings.Contains(s.Detail, "repl")
	})
	f("log-purged", target, replica.LinkDown, replica.ReasonLost, func(s replica.Sighting) bool {
		return extra(s, "receiver.error") == fatalRead8
	})
	group := target
	group.Channel = groupApplier
	f("group", group, replica.CaughtUp, "", func(s replica.Sighting) bool { return s.Transactions == replica.Some(int64(0)) })
}

func TestMySQLStates(t *testing.T) {
	const uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	link := LinkSpec{Store: "orders", From: "fra", To: "ams", Channel: "fra", End: replica.Target}
	f := func(what string, change func(*channelRow, *serverRow), state replica.State, reason replica.Reason) replica.Sighting {
		t.Helper()
		row := channelRow{
			Now: 1e9, Channel: "fra", IOState: "ON", Heartbeats: 3, HeartbeatAt: 1e9 - 1, Received: uuid + ":1-10",
			QueuedEnd: 1e9 - 2, QueuedImmediate: 1e9 - 2, HeartbeatPeriod: 1, ApplierState: "ON", CoordState: on("ON"),
			Workers: []workerRow{{State: "ON", Applied: uuid + ":9", AppliedImmediate: 1e9 - 2}, {State: "ON"}},
		}
		server := serverRow{Version: "8.4.2", Executed: uuid + ":1-10", GTIDMode: on("ON"), ReadOnly: true}
		change(&row, &server)
		s, _ := mysqlTarget(link, []channelRow{row}, server, replica.Opt[Beat]{}, kept[gtidSet]{}, at, at)
		if s.State != state || s.Reason != reason {
			t.Errorf("%s: %s(%s) %q, want %s(%s)", what, s.State, s.Reason, s.Detail, state, reason)
		}
		return s
	}
	f("all there", func(*channelRow, *serverRow) {}, replica.CaughtUp, "")
	f("one applier thread", func(c *channelRow, _ *serverRow) {
		c.CoordState = sql.Null[string]{}
		c.Workers = c.Workers[:1]
	}, replica.CaughtUp, "")
	f("connecting", func(c *channelRow, _ *serverRow) { c.IOState = "CONNECTING" }, replica.LinkDown, "")
	f("connecting fails", func(c *channelRow, _ *serverRow) { c.IOState, c.IOErrno = "CONNECTING", 2003 }, replica.LinkDown, replica.ReasonError)
	f("stopped", func(c *channelRow, _ *serverRow) { c.IOState = "OFF" }, replica.LinkDown, replica.ReasonPaused)
	f("log purged", func(c *channelRow, _ *serverRow) {
		c.IOState, c.IOErrno = "OFF", 1236
		c.IOError = "Cannot replicate because the source purged required binary logs."
	}, replica.LinkDown, replica.ReasonLost)
	f("packet too large", func(c *channelRow, _ *serverRow) { c.IOState, c.IOErrno = "OFF", 1236 }, replica.LinkDown, replica.ReasonError)
	f("half-open", func(c *channelRow, _ *serverRow) {
		c.HeartbeatAt, c.QueuedEnd, c.QueuedImmediate = 1e9-60, 1e9-61, 1e9-61
	}, replica.LinkDown, replica.ReasonStale)
	f("a worker hangs after the others stopped", func(c *channelRow, _ *serverRow) {
		c.Workers[1] = workerRow{State: "OFF", Errno: 1062}
	}, replica.ApplierStopped, replica.ReasonError)
	f("no worker", func(c *channelRow, _ *serverRow) { c.Workers = nil }, replica.ApplierStopped, replica.ReasonPaused)
	behind := func(c *channelRow, _ *serverRow) {
		c.Received = uuid + ":1-12"
		c.Workers[0].Applying, c.Workers[0].ApplyingImmediate, c.Workers[0].ApplyingOriginal = uuid+":12", 1e9-3, 1e9-30
		c.Workers[1].Applying, c.Workers[1].ApplyingImmediate = uuid+":11", 1e9-5
	}
	if s := f("two workers apply", behind, replica.CatchingUp, ""); s.Lower.V != 5*time.Second-committing || s.Upper.V != 5*time.Second || s.Transactions.V != 2 {
		t.Errorf("two workers apply: %+v", s)
	}
	if s := f("between two transactions", func(_ *channelRow, r *serverRow) { r.Executed = uuid + ":1-9" }, replica.CatchingUp, ""); s.Lower.OK && s.Lower.V > 0 || s.Upper.V != 2*time.Second {
		t.Errorf("between: %+v", s)
	}
	// Worker 0 is in 12, and 11 waits: nobody knows when it was committed, only that it was after 10.
	hole := func(c *channelRow, _ *serverRow) {
		c.Received = uuid + ":1-12"
		c.Workers[0].AppliedImmediate, c.Workers[0].Applying, c.Workers[0].ApplyingImmediate = 1e9-9, uuid+":12", 1e9-3
		c.Workers[1].Applied, c.Workers[1].AppliedImmediate = uuid+":10", 1e9-8
	}
	if s := f("a later one is applied first", hole, replica.CatchingUp, ""); s.Lower.V != 3*time.Second-committing || s.Upper.V != 8*time.Second {
		t.Errorf("a later one is applied first: %+v", s)
	}
	if s := f("12 was done meanwhile", func(c *channelRow, r *serverRow) {
		hole(c, r)
		r.Executed = uuid + ":1-10:12"
	}, replica.CatchingUp, ""); s.Lower.Or(0) != 0 || s.Upper.V != 8*time.Second || s.Transactions.V != 1 {
		t.Errorf("12 was done meanwhile: %+v", s)
	}
	// A heartbeat bounds the lag from above, but not while what it would prove may have been overtaken.
	beat := Beat{Origin: "fra", Epoch: 1, Seq: 1, At: at, Interval: time.Second}
	for executed, want := range map[string]time.Duration{":1-10": 0, ":1-10:12": 8 * time.Second} {
		row := channelRow{
			Now: 1e9, Channel: "fra", IOState: "ON", Heartbeats: 3, HeartbeatAt: 1e9 - 1, Received: uuid + ":1-12",
			QueuedEnd: 1e9 - 2, HeartbeatPeriod: 1, ApplierState: "ON", CoordState: on("ON"),
			Workers: []workerRow{{State: "ON", Applied: uuid + ":10", AppliedImmediate: 1e9 - 8}},
		}
		server := serverRow{Version: "8.4.2", Executed: uuid + executed, GTIDMode: on("ON"), ReadOnly: true}
		s, _ := mysqlTarget(link, []channelRow{row}, server, replica.Some(beat), kept[gtidSet]{}, at, at)
		if s.State != replica.CatchingUp || s.Upper.V != want || s.Overtaken != (want > 0) || s.Overtaken != strings.Contains(s.Detail, "heartbeat") {
			t.Errorf("%s of 12 is there: %+v", executed, s)
		}
	}
	f("one came while the row was read", func(c *channelRow, _ *serverRow) {
		c.Queued, c.QueuedImmediate = uuid+":11", 1e9-1
	}, replica.CatchingUp, "")
	if s := f("the cause, not its consequences", func(c *channelRow, _ *serverRow) {
		c.ApplierState, c.CoordState, c.CoordErrno = "OFF", on("OFF"), sql.Null[int64]{V: 3030, Valid: true}
		c.Workers[0] = workerRow{State: "OFF", Errno: 1062}
		c.Workers[1] = workerRow{State: "OFF", Errno: 3030}
	}, replica.ApplierStopped, replica.ReasonError); !strings.Contains(s.Detail, "1062") {
		t.Errorf("the cause: %q", s.Detail)
	}
	f("delayed", func(c *channelRow, r *serverRow) {
		r.Executed = uuid + ":1-9"
		c.Delay, c.RemainingDelay = 3600, sql.Null[int64]{V: 3500, Valid: true}
	}, replica.DelayedByDesign, "")
	f("beyond the delay", func(c *channelRow, r *serverRow) { behind(c, r); c.Delay = 1 }, replica.CatchingUp, "")
	if s := f("no commit times", func(c *channelRow, r *serverRow) {
		r.Executed = uuid + ":1-9"
		c.Workers[0].AppliedImmediate = 0
	}, replica.CatchingUp, replica.ReasonNotMeasured); s.Upper.OK {
		t.Errorf("no commit times: %+v", s)
	}
	f("being cloned", func(c *channelRow, _ *serverRow) { c.Cloning = true }, replica.Resyncing, "")
	f("member recovers", func(c *channelRow, _ *serverRow) { c.MemberState = on("RECOVERING") }, replica.Resyncing, "")
	f("member was expelled", func(c *channelRow, _ *serverRow) { c.MemberState = on("ERROR") }, replica.LinkDown, replica.ReasonError)
	f("no GTIDs", func(_ *channelRow, r *serverRow) { r.GTIDMode = on("OFF") }, replica.Unknown, replica.ReasonMisconfigured)
	f("a set that cannot be read", func(c *channelRow, _ *serverRow) { c.Received = "x" }, replica.Unknown, replica.ReasonIncomplete)
	f("another channel", func(c *channelRow, _ *serverRow) { c.Channel = "lon" }, replica.Unknown, replica.ReasonMisconfigured)
}
