package postgresql

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// watcher looks at one end of a link and settles what it saw, as the agent does.
type watcher struct {
	engine   *Engine
	memory   replica.Memory
	began    time.Time
	interval time.Duration
	clockErr time.Duration
}

func watch(t *testing.T, dsn string, link LinkSpec) *watcher {
	t.Helper()
	e, err := New(Options{DSN: dsn, Links: []LinkSpec{link}, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return &watcher{engine: e, interval: 100 * time.Millisecond}
}

func (w *watcher) look(t *testing.T) (replica.Sighting, replica.Status) {
	t.Helper()
	began := time.Now()
	report := w.engine.Look(t.Context())
	look := replica.Look{Began: began, Ended: time.Now(), Interval: w.interval, ClockErr: w.clockErr, ClockKnown: true}
	if !w.began.IsZero() {
		look.Interval = max(w.interval, began.Sub(w.began))
	}
	w.began = began
	if len(report.Sightings) != 1 {
		t.Fatalf("%d sightings of one link", len(report.Sightings))
	}
	s := report.Sightings[0]
	noSecret(t, fmt.Sprintf("%+v", report))
	var st replica.Status
	st, w.memory = replica.Settle(s, w.memory, look)
	if s.State == replica.Unknown && (st.Lower.OK || st.Upper.OK) {
		t.Errorf("unknown with a bound: %+v", st)
	}
	if s.State == replica.LinkDown && (!st.Lower.OK || st.Lower.V <= 0 || st.Upper.OK) {
		t.Errorf("link_down must have a lower bound above 0 and no upper one: %+v", st)
	}
	return s, st
}

// reach looks until the link is in a state with a reason.
func (w *watcher) reach(t *testing.T, what string, state replica.State, reason replica.Reason) (replica.Sighting, replica.Status) {
	t.Helper()
	var s replica.Sighting
	var st replica.Status
	deadline := time.Now().Add(replicatest.Patience)
	for {
		s, st = w.look(t)
		if s.State == state && s.Reason == reason {
			return s, st
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v(%s) %q, want %v(%s)", what, s.State, s.Reason, s.Detail, state, reason)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// grows looks until the lower bound of a link that is down has grown by some time.
func (w *watcher) grows(t *testing.T, by time.Duration) {
	t.Helper()
	_, first := w.reach(t, "down", replica.LinkDown, w.memoryReason(t))
	replicatest.Until(t, "the lower bound grows", func() bool {
		_, st := w.look(t)
		return st.State == replica.LinkDown && st.Lower.V >= first.Lower.V+by
	})
}

func (w *watcher) memoryReason(t *testing.T) replica.Reason {
	t.Helper()
	s, _ := w.look(t)
	return s.Reason
}

func measure(s replica.Sighting, name string) (float64, bool) {
	for _, m := range s.Extra {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

// world is a primary and its standby with a wire between, and a watcher at each end.
type world struct {
	primary, standby *server
	wire             *replicatest.Wire
	source, target   *watcher
	next             int64
}

func (w *world) write(t *testing.T) int64 {
	t.Helper()
	w.next++
	w.primary.do(t, "postgres", `INSERT INTO load VALUES ($1, 'x')`, w.next)
	return w.next
}

// arrive writes a row and looks until the target is caught up with it: it must never say so before the row can be read.
func (w *world) arrive(t *testing.T, what string) {
	t.Helper()
	w.write(t)
	w.target.reach(t, what, replica.CaughtUp, "")
	replicatest.Until(t, what+": the row arrives", func() bool { return w.standby.has(t, "postgres", w.next) })
	w.source.reach(t, what, replica.CaughtUp, "")
	w.target.reach(t, what, replica.CaughtUp, "")
}

var (
	atSource = LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Source, Peer: "ams"}
	atTarget = LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target, Peer: "ams_slot"}
)

func newWorld(t *testing.T, bin string) *world {
	t.Helper()
	w := &world{primary: newServer(t, bin), standby: prepare(t, bin)}
	w.primary.do(t, "postgres", `SELECT pg_create_physical_replication_slot('ams_slot', true)`)
	w.wire = replicatest.NewWire(t, fmt.Sprintf("127.0.0.1:%d", w.primary.port))
	w.standby.copyOf(t, w.primary)
	w.standby.follow(t, w.wire)
	w.source = watch(t, w.primary.dsn("evenkeel", canary, "postgres"), atSource)
	w.target = watch(t, w.standby.dsn("evenkeel", canary, "postgres"), atTarget)
	return w
}

// TestStory is the life of a link, from steady writes to a promotion, with each version of the server.
func TestStory(t *testing.T) {
	each(t, func(t *testing.T, bin string) {
		t.Parallel() // it waits most of the time
		story(t, newWorld(t, bin))
	})
}

func story(t *testing.T, w *world) {
	t.Helper()
	for _, chapter := range []struct {
		name  string
		tell  func(*testing.T, *world)
		since int // version of the server
	}{
		{"steady writes", steady, 0},
		{"an idle link, then one write", idle, 0},
		{"the wire is cut and nothing is written", cutIdle, 0},
		{"the wire is cut and writes go on", cutBusy, 0},
		{"the wire is silent", silentWire, 0},
		{"replay is paused", paused, 0},
		{"a standby that is told to be late", delayed, 12},
		{"accounts that may not", accounts, 0},
		{"transactions in doubt", inDoubt, 0},
		{"heartbeat", heartbeats, 0},
		{"logical replication", logical, 14},
		{"the slot is lost, and a full copy", lost, 13},
		{"the primary dies and the standby takes over", promotion, 0},
	} {
		if w.primary.major < chapter.since {
			t.Logf("%s: not before version %d", chapter.name, chapter.since)
			continue
		}
		began := time.Now()
		if !t.Run(chapter.name, func(t *testing.T) { chapter.tell(t, w) }) {
			t.FailNow()
		}
		t.Logf("%s: %v", chapter.name, time.Since(began).Round(10*time.Millisecond))
	}
}

func steady(t *testing.T, w *world) {
	w.arrive(t, "first")
	for range 20 {
		w.write(t)
		for end, one := range map[string]*watcher{"source": w.source, "target": w.target} {
			s, st := one.look(t)
			if s.State != replica.CaughtUp && s.State != replica.CatchingUp {
				t.Errorf("%s: %v(%s) %s", end, s.State, s.Reason, s.Detail)
			}
			if !st.Upper.OK || st.Upper.V > 10*time.Second {
				t.Errorf("%s: upper %v with a write each few milliseconds", end, st.Upper)
			}
		}
	}
	s, _ := w.source.look(t)
	if v, ok := measure(s, "slot.active"); !ok || v != 1 {
		t.Errorf("slot.active is %v %v", v, ok)
	}
	ours, _ := w.target.look(t)
	one, ok := measure(s, "timeline")
	two, also := measure(ours, "timeline")
	if !ok || !also || one != 1 || two != 1 {
		t.Errorf("timelines %v %v, want 1 and 1", one, two)
	}
}

// idle: the receiver pings at half of its timeout of 6 s, so no bound may exceed that by more than a busy machine stands still;
// the age of the newest transaction is four times as much.
func idle(t *testing.T, w *world) {
	w.arrive(t, "before the rest")
	rested := time.Now()
	high := time.Duration(0)
	saw := map[replica.State]bool{}
	look := func() {
		for _, one := range []*watcher{w.source, w.target} {
			s, st := one.look(t)
			saw[st.State] = true
			if (s.State != replica.CaughtUp && s.State != replica.CatchingUp) || !st.Upper.OK {
				t.Fatalf("idle: %v(%s) %s", s.State, s.Reason, s.Detail)
			}
			high = max(high, st.Upper.V)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for time.Since(rested) < 12*time.Second || !saw[replica.IdleLinkOK] && time.Since(rested) < replicatest.Patience {
		look()
	}
	if !saw[replica.IdleLinkOK] {
		t.Errorf("an idle link was never called idle: %v", saw)
	}
	w.write(t)
	for wrote := time.Now(); time.Since(wrote) < time.Second; {
		look()
	}
	if high > 9*time.Second {
		t.Errorf("the upper bound rose to %v on an idle link", high)
	}
	t.Logf("highest upper bound while idle: %v", high)
}

func cutIdle(t *testing.T, w *world) {
	w.arrive(t, "before the cut")
	w.source.reach(t, "before the cut", replica.CaughtUp, "")
	saw := w.source.began
	w.wire.Cut(true)
	w.target.reach(t, "target", replica.LinkDown, "")
	w.target.grows(t, 500*time.Millisecond)
	// The log's own housekeeping may go on, so the source cannot always say that nothing is exposed.
	s, st := w.source.reach(t, "source", replica.LinkDown, "")
	if !s.Exposure.OK || s.Exposure.V > st.At.Sub(saw)+500*time.Millisecond {
		t.Errorf("exposure %v, but the copy was complete %v ago", s.Exposure, st.At.Sub(saw))
	}
	w.wire.Cut(false)
	w.arrive(t, "after the cut")
}

func cutBusy(t *testing.T, w *world) {
	w.wire.Cut(true)
	w.target.reach(t, "target", replica.LinkDown, "")
	w.source.reach(t, "source", replica.LinkDown, "")
	id := w.write(t)
	wrote := time.Now()
	w.target.grows(t, 700*time.Millisecond)
	w.source.grows(t, 700*time.Millisecond)
	s, _ := w.source.look(t)
	if age := w.source.began.Sub(wrote); !s.Exposure.OK || s.Exposure.V < age {
		t.Errorf("exposure %v, but a commit is missing for %v", s.Exposure, age)
	}
	if v, ok := measure(s, "slot.active"); !ok || v != 0 {
		t.Errorf("slot.active is %v %v with the wire cut", v, ok)
	}
	if v, ok := measure(s, "slot.retained"); !ok || v <= 0 {
		t.Errorf("slot.retained is %v %v with a commit missing", v, ok)
	}
	w.wire.Cut(false)
	w.target.reach(t, "healed", replica.CaughtUp, "")
	if !w.standby.has(t, "postgres", id) {
		t.Error("caught up, but a row that was committed before the link came back cannot be read")
	}
}

func silentWire(t *testing.T, w *world) {
	w.arrive(t, "before the silence")
	w.wire.Hold(true)
	w.write(t)
	wrote := time.Now()
	for {
		s, st := w.target.look(t)
		if s.State == replica.LinkDown {
			break
		}
		if age := st.At.Sub(wrote); !st.Upper.OK || st.Upper.V < age {
			t.Fatalf("%v with upper %v, but a commit is missing for %v", s.State, st.Upper, age)
		}
		if time.Since(wrote) > replicatest.Patience {
			t.Fatalf("a silent wire was not noticed in %s", replicatest.Patience)
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("noticed after %v", time.Since(wrote))
	w.source.reach(t, "source", replica.LinkDown, "")
	w.wire.Cut(true)
	w.wire.Hold(false)
	w.wire.Cut(false)
	w.arrive(t, "after the silence")
}

func paused(t *testing.T, w *world) {
	w.arrive(t, "before the pause")
	w.standby.do(t, "postgres", `SELECT pg_wal_replay_pause()`)
	id := w.write(t)
	wrote := time.Now()
	replicatest.Until(t, "the row is received and not applied", func() bool {
		s, st := w.target.reach(t, "paused", replica.ApplierStopped, replica.ReasonPaused)
		age := st.At.Sub(wrote)
		if s.Bytes.V > 0 && (!st.Upper.OK || st.Upper.V < age) {
			t.Errorf("upper %v, but a commit is missing for %v", st.Upper, age)
		}
		return s.Bytes.V > 0 && age > time.Second
	})
	s, _ := w.source.reach(t, "source", replica.CatchingUp, "")
	if age := w.source.began.Sub(wrote); !s.Upper.OK || s.Upper.V < age {
		t.Errorf("upper %v at the source, but a commit is missing for %v", s.Upper, age)
	}
	if w.standby.has(t, "postgres", id) {
		t.Error("a paused standby has replayed")
	}
	// More than pausedGap missing: now the lower bound counts.
	w.primary.do(t, "postgres", `INSERT INTO load SELECT -g, repeat('x', 100) FROM generate_series(1, 2000) g`)
	replicatest.Until(t, "a lower bound", func() bool {
		_, st := w.target.look(t)
		return st.Lower.V > 300*time.Millisecond && st.Lower.V <= st.Upper.V
	})
	w.standby.do(t, "postgres", `SELECT pg_wal_replay_resume()`)
	w.arrive(t, "after the pause")
}

func delayed(t *testing.T, w *world) {
	w.standby.do(t, "postgres", `ALTER SYSTEM SET recovery_min_apply_delay = '2s'`)
	w.standby.do(t, "postgres", `SELECT pg_reload_conf()`)
	replicatest.Until(t, "the delay is set", func() bool {
		s, _ := w.target.look(t)
		v, ok := measure(s, "apply_delay")
		return ok && v == 2
	})
	id := w.write(t)
	s, st := w.target.reach(t, "delayed", replica.DelayedByDesign, "")
	if !st.Upper.OK || s.Upper.V > 10*time.Second {
		t.Errorf("upper %v with a delay of 2 s", st.Upper)
	}
	if w.standby.has(t, "postgres", id) {
		t.Error("a delayed standby has replayed")
	}
	w.standby.do(t, "postgres", `ALTER SYSTEM RESET recovery_min_apply_delay`)
	w.standby.do(t, "postgres", `SELECT pg_reload_conf()`)
	w.arrive(t, "no delay any more")
}

func accounts(t *testing.T, w *world) {
	blind := func(dsn string, link LinkSpec, reason replica.Reason) {
		t.Helper()
		s, st := watch(t, dsn, link).look(t)
		if s.State != replica.Unknown || s.Reason != reason || st.Upper.OK {
			t.Errorf("%s: %v(%s) %s, want unknown(%s)", link.End, s.State, s.Reason, s.Detail, reason)
		}
	}
	blind(w.primary.dsn("bare", canary, "postgres"), atSource, replica.ReasonPrivilege)
	blind(w.standby.dsn("bare", canary, "postgres"), atTarget, replica.ReasonPrivilege)
	blind(w.primary.dsn("evenkeel", canary+"x", "postgres"), atSource, replica.ReasonAuth)
	blind(w.standby.dsn("evenkeel", canary+"x", "postgres"), atTarget, replica.ReasonAuth)
	blind(w.primary.dsn("evenkeel", canary, "nowhere"), atSource, replica.ReasonMisconfigured)
	blind(w.primary.dsn("evenkeel", canary, "postgres"), atTarget, replica.ReasonRole)
	blind(w.standby.dsn("evenkeel", canary, "postgres"), atSource, replica.ReasonRole)
	other := atTarget
	other.Peer = "other_slot"
	blind(w.standby.dsn("evenkeel", canary, "postgres"), other, replica.ReasonMisconfigured)
	blind(fmt.Sprintf("postgres://evenkeel:%s@127.0.0.1:%d/postgres", canary, replicatest.FreePort(t)), atTarget, replica.ReasonConnect)

	// A password that is changed and put into the file is used at the next connection.
	file := t.TempDir() + "/password"
	e, err := New(Options{
		DSN:          fmt.Sprintf("host=127.0.0.1 port=%d user=evenkeel dbname=postgres sslmode=disable", w.primary.port),
		PasswordFile: file, Links: []LinkSpec{atSource},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if s := e.Look(t.Context()).Sightings[0]; s.Reason != replica.ReasonMisconfigured {
		t.Errorf("no password file: %v(%s)", s.State, s.Reason)
	}
	for word, want := range map[string]replica.Reason{canary + "\n": "", "wrong": replica.ReasonAuth} {
		if err := os.WriteFile(file, []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
		e.Close()
		if s := e.Look(t.Context()).Sightings[0]; s.Reason != want {
			t.Errorf("password file: %v(%s), want %q", s.State, s.Reason, want)
		}
	}
}

func inDoubt(t *testing.T, w *world) {
	conn := w.primary.conn(t, "postgres")
	w.next++
	for _, sql := range []string{`BEGIN`, fmt.Sprintf(`INSERT INTO load VALUES (%d, 'x')`, w.next), `PREPARE TRANSACTION 'ours'`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	replicatest.Until(t, "the oldest in doubt gets older", func() bool {
		s, _ := w.source.look(t)
		n, ok := measure(s, "in_doubt")
		age, also := measure(s, "in_doubt.oldest")
		return ok && also && n == 1 && age > 0.2
	})
	w.primary.do(t, "postgres", `COMMIT PREPARED 'ours'`)
	s, _ := w.source.look(t)
	if n, ok := measure(s, "in_doubt"); !ok || n != 0 {
		t.Errorf("in_doubt is %v %v after the commit", n, ok)
	}
	if _, ok := measure(s, "in_doubt.oldest"); ok {
		t.Error("an age of nothing")
	}
	s, _ = w.target.look(t)
	if n, ok := measure(s, "standby.conflicts"); !ok || n != 0 {
		t.Errorf("standby.conflicts is %v %v", n, ok)
	}
}

// beatOf is a beat of fra.
func beatOf(epoch, seq int64) heartbeat.Beat {
	return heartbeat.Beat{Origin: "fra", Epoch: epoch, Seq: seq, At: time.Now(), Interval: time.Second}
}

// refused checks why a store did not do what it was asked.
func refused(t *testing.T, what string, err error, want replica.Reason) {
	t.Helper()
	if f, ok := errors.AsType[*heartbeat.Failure](err); !ok || f.Reason != want {
		t.Errorf("%s: %v, want %s", what, err, want)
		return
	}
	noSecret(t, err.Error())
}

func heartbeats(t *testing.T, w *world) {
	open := func(s *server) *Heartbeat {
		h, err := NewHeartbeat(HeartbeatOptions{DSN: s.dsn("evenkeel", canary, "postgres")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		return h
	}
	here, there := open(w.primary), open(w.standby)
	var sent heartbeat.Sent
	for seq := int64(1); seq <= 3; seq++ {
		at, b := time.Now(), beatOf(7, seq)
		if err := here.Put(t.Context(), b, nil); err != nil {
			t.Fatal(err)
		}
		sent.Note(b, at)
	}
	refused(t, "a standby", there.Put(t.Context(), beatOf(7, 4), nil), replica.ReasonRole)
	refused(t, "the same seq again", here.Put(t.Context(), beatOf(7, 3), nil), replica.ReasonSplitBrain)
	refused(t, "an older epoch", here.Put(t.Context(), beatOf(6, 9), nil), replica.ReasonSplitBrain)
	rows := func(h *Heartbeat) heartbeat.Rows {
		t.Helper()
		out, err := h.Rows(t.Context(), heartbeat.Names{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	var beat heartbeat.Beat
	replicatest.Until(t, "the heartbeat arrives", func() bool {
		got := rows(there)
		if !got.ReadOnly || !got.Whole {
			t.Errorf("a standby's rows are %+v", got)
		}
		beat = got.Beat("fra").V
		return len(got.Beats) == 1 && beat.Seq == 3
	})
	if beat.Epoch != 7 || beat.Interval != time.Second {
		t.Errorf("read %+v", beat)
	}
	// The echo comes back by way of any link the other way round; here the same server stands for it.
	observer := beatOf(1, 1)
	observer.Origin = "ams"
	if err := here.Put(t.Context(), observer, []heartbeat.Echo{{Observer: "ams", Origin: "fra", Epoch: beat.Epoch, Seq: beat.Seq, At: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	got := rows(here)
	echo := got.Echo("ams", "fra")
	if !echo.OK || len(got.Echoes) != 1 || got.ReadOnly {
		t.Fatalf("the rows are %+v", got)
	}
	if before := sent.Before(echo.V); !before.OK || time.Since(before.V) <= 0 || time.Since(before.V) > replicatest.Patience {
		t.Errorf("complete by the echo since %v", before)
	}
	// With the wire cut the heartbeat still bounds the lag from above.
	w.wire.Cut(true)
	w.target.reach(t, "cut", replica.LinkDown, "")
	s, _ := w.target.look(t)
	now := time.Now()
	s, beaten := beat.Merge(s, false, now, 0)
	st, _ := replica.Settle(s, w.target.memory, replica.Look{Began: now, Ended: now, Interval: time.Second, ClockKnown: true, Heartbeat: beaten})
	if st.State != replica.LinkDown || !st.Upper.OK || !st.Lower.OK || st.Lower.V > st.Upper.V {
		t.Errorf("down with a heartbeat: %+v", st)
	}
	w.wire.Cut(false)
	w.arrive(t, "after the heartbeat")
	bad, err := NewHeartbeat(HeartbeatOptions{DSN: w.primary.dsn("evenkeel", canary+"x", "postgres")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bad.Close)
	_, err = bad.Rows(t.Context(), heartbeat.Names{})
	refused(t, "a wrong password", err, replica.ReasonAuth)
}

func lost(t *testing.T, w *world) {
	w.arrive(t, "before the loss")
	w.standby.kill()
	w.target.reach(t, "the standby is dead", replica.Unknown, replica.ReasonConnect)
	w.source.reach(t, "the standby is dead", replica.LinkDown, "")
	w.primary.do(t, "postgres", `ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'`)
	w.primary.do(t, "postgres", `SELECT pg_reload_conf()`)
	replicatest.Until(t, "the slot is lost", func() bool {
		w.write(t)
		w.primary.do(t, "postgres", `SELECT pg_switch_wal()`)
		w.primary.do(t, "postgres", `CHECKPOINT`)
		s, _ := w.source.look(t)
		return s.State == replica.LinkDown && s.Reason == replica.ReasonLost
	})
	w.primary.do(t, "postgres", `ALTER SYSTEM RESET max_slot_wal_keep_size`)
	w.primary.do(t, "postgres", `SELECT pg_reload_conf()`)
	w.standby.start(t)
	w.target.reach(t, "a standby that lost its place", replica.LinkDown, "")
	w.standby.kill()
	w.primary.do(t, "postgres", `SELECT pg_drop_replication_slot('ams_slot')`)
	w.primary.do(t, "postgres", `SELECT pg_create_physical_replication_slot('ams_slot', true)`)
	if err := os.RemoveAll(w.standby.dir); err != nil {
		t.Fatal(err)
	}
	w.recopy(t)
	w.standby.follow(t, w.wire)
	w.arrive(t, "after the full copy")
}

// recopy replaces the standby's data, which the source must tell.
func (w *world) recopy(t *testing.T) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	copied := make(chan error, 1)
	as := account(t)
	_, err := os.Stat(filepath.Join(w.standby.bin, "pg_basebackup"))
	byHand := err != nil
	if byHand {
		go func() { copied <- backup(ctx, w.wire, w.primary.major) }()
	} else {
		go func() { copied <- w.standby.basebackup(ctx, as, w.wire, "20M") }()
	}
	s, _ := w.source.reach(t, "a full copy", replica.Resyncing, "")
	if s.Exposure.OK {
		t.Errorf("a copy in the making protects nothing: %v", s.Exposure)
	}
	if byHand {
		stop()
	}
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	if byHand {
		w.standby.copyOf(t, w.primary)
	}
}

func promotion(t *testing.T, w *world) {
	w.arrive(t, "before the end")
	w.primary.kill()
	w.source.reach(t, "the primary is dead", replica.Unknown, replica.ReasonConnect)
	w.target.reach(t, "the primary is dead", replica.LinkDown, "")
	w.target.grows(t, 500*time.Millisecond)
	w.standby.promote(t)
	s, _ := w.target.reach(t, "promoted", replica.Unknown, replica.ReasonRole)
	if !strings.Contains(s.Detail, "takes writes") {
		t.Errorf("detail %q", s.Detail)
	}
	// The server that was promoted holds what the old writer wrote; the two writers find each other out.
	h, err := NewHeartbeat(HeartbeatOptions{DSN: w.standby.dsn("evenkeel", canary, "postgres")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	if err := h.Put(t.Context(), beatOf(8, 1), nil); err != nil {
		t.Errorf("a new writer: %v", err)
	}
	refused(t, "the old writer", h.Put(t.Context(), beatOf(7, 100), nil), replica.ReasonSplitBrain)
}
