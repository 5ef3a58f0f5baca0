package mysql

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
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

func TestStory(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.Flavors(t), story)
}

func story(t *testing.T, f sitetest.Flavor) {
	p := newPair(t, f)
	w := newWatch(t, Options{Server: p.server(p.replica, "evenkeel")}, replica.Target)
	src := newWatch(t, Options{Server: p.server(p.primary, "evenkeel")}, replica.Source)
	id := 0
	insert := func() {
		id++
		p.primary.Do(t, "INSERT INTO evenkeel.load_test VALUES (?, 'x')", id)
	}

	if s := w.Look(); f.MariaDB() && (s.State != replica.Unknown || s.Reason != replica.ReasonNotMeasured) {
		t.Errorf("the first look cannot know whether the link is alive, and says %s", w.Show())
	}
	w.Complete()
	if s := src.Look(); s.State != replica.Unknown || s.Reason != replica.ReasonNotMeasured || src.Seen.Written == "" {
		t.Errorf("the source sees its replica: %s", w.Show())
	}

	// Steady writes: whatever is said, it is no spike.
	for range 10 {
		insert()
		time.Sleep(every)
		if s := w.Look(); (s.State != replica.CaughtUp && s.State != replica.CatchingUp) || s.Upper.Or(time.Hour) > 8*time.Second {
			t.Errorf("steady writes: %s", w.Show())
		}
	}

	// Idle, then one write.
	w.Becomes(replica.IdleLinkOK, "")
	insert()
	for range 10 {
		if s := w.Look(); s.Upper.Or(time.Hour) > 8*time.Second {
			t.Errorf("one write after idling: %s", w.Show())
		}
		time.Sleep(every)
	}

	// Half-open: both ends stay connected. First nothing is written, then something.
	w.Complete()
	p.link.Hold(true)
	s := w.Becomes(replica.LinkDown, replica.ReasonStale)
	if age, limit := s.LinkAge.Or(0), 1500*time.Millisecond; age < limit {
		t.Errorf("the link was given up after %s", age)
	}
	w.Grows(3 * every)
	insert()
	w.Grows(3 * every)
	if got := p.replica.Text(t, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE RLIKE '^Waiting for (master|source) to send event$'"); got != "1" {
		t.Errorf("the receiver gave up by itself (%s): the test does not show a half-open link", got)
	}
	p.link.Hold(false)
	w.Complete()

	// Cut.
	p.link.Cut(true)
	w.Until("cut", func(s replica.Status) bool { return s.State == replica.LinkDown })
	insert()
	w.Grows(3 * every)
	src.Becomes(replica.LinkDown, "")
	p.link.Cut(false)
	w.Complete()

	// The applier stops, by order and by an error.
	p.replica.Do(t, "STOP SLAVE SQL_THREAD")
	insert()
	w.Until("applier stopped", func(s replica.Status) bool {
		return s.State == replica.ApplierStopped && s.Reason == replica.ReasonPaused && s.Transactions.Or(0) == 1 &&
			(s.Bytes.Or(0) > 0) == f.MariaDB() && s.Lower.Or(0) > time.Second && s.Upper.Or(0) > s.Lower.V
	})
	p.replica.Do(t, "START SLAVE SQL_THREAD")
	w.Complete()
	p.replica.Do(t, "SET SESSION sql_log_bin=0; INSERT INTO evenkeel.load_test VALUES (?, 'foreign')", id+1)
	insert()
	s = w.Becomes(replica.ApplierStopped, replica.ReasonError)
	if got, _ := w.Measure("applier.error"); got != 1062 {
		t.Errorf("error of the applier is %v", got)
	}
	if strings.Contains(s.Detail, "foreign") || !strings.Contains(s.Detail, "1062") {
		t.Errorf("detail is %q", s.Detail)
	}
	p.replica.Do(t, "SET SESSION sql_log_bin=0; DELETE FROM evenkeel.load_test WHERE id = ?; START SLAVE", id)
	w.Complete()

	// Delay by design. A change that does not name the heartbeat period puts it back to half of slave_net_timeout.
	p.replica.Do(t, "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=2, MASTER_HEARTBEAT_PERIOD=0.5; START SLAVE")
	w.Complete()
	insert()
	s = w.Becomes(replica.DelayedByDesign, "")
	if !s.Upper.OK || s.Upper.V > 10*time.Second {
		t.Errorf("delayed: %s", w.Show())
	}
	w.Complete()
	p.replica.Do(t, "STOP SLAVE; CHANGE MASTER TO MASTER_DELAY=0, MASTER_HEARTBEAT_PERIOD=0.5; START SLAVE")
	w.Complete()

	// A prepared transaction without a coordinator.
	conn, err := p.primary.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, one := range []string{"XA START 'x'", "INSERT INTO evenkeel.load_test VALUES (-1, 'x')", "XA END 'x'", "XA PREPARE 'x'"} {
		if _, err := conn.ExecContext(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	src.Look()
	if got, ok := src.Measure("transactions.in_doubt"); !ok || got != 1 {
		t.Errorf("in doubt at the source: %v", got)
	}
	w.Until("in doubt at the target", func(replica.Status) bool { n, _ := w.Measure("transactions.in_doubt"); return n == 1 })
	if _, err := conn.ExecContext(t.Context(), "XA ROLLBACK 'x'"); err != nil {
		t.Fatal(err)
	}
	w.Until("no longer in doubt", func(replica.Status) bool { n, ok := w.Measure("transactions.in_doubt"); return ok && n == 0 })

	refusals(t, p)

	// The binary log that the replica needs is deleted; then it is copied anew.
	p.purge(t, insert)
	s = w.Becomes(replica.LinkDown, replica.ReasonLost)
	want := map[bool]float64{true: fatalRead, false: fatalRead8}[f.MariaDB()]
	if got, _ := w.Measure("receiver.error"); got != want {
		t.Errorf("error of the receiver is %v", got)
	}
	copied := "SET GLOBAL gtid_slave_pos"
	if !f.MariaDB() {
		copied = "RESET BINARY LOGS AND GTIDS; SET GLOBAL gtid_purged"
	}
	p.replica.Do(t, "STOP SLAVE; "+copied+" = '"+p.primary.Wrote(t)+"'; START SLAVE")
	w.Complete()

	// The primary dies, and the replica is promoted.
	p.primary.Kill()
	w.Until("primary killed", func(s replica.Status) bool { return s.State == replica.LinkDown })
	w.Grows(3 * every)
	if s := src.Look(); s.State != replica.Unknown || s.Reason != replica.ReasonConnect {
		t.Errorf("the dead primary: %s", w.Show())
	}
	p.replica.Do(t, "STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only=0")
	w.Becomes(replica.Unknown, replica.ReasonRole)
}

// refusals are looks that cannot succeed; none may tell the password.
func refusals(t *testing.T, p *pair) {
	t.Helper()
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("wrong-"+sitetest.Word), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(what string, o Options, end replica.End, reason replica.Reason) {
		t.Helper()
		w := newWatch(t, o, end)
		began := time.Now()
		s := w.Look()
		if s.State != replica.Unknown || s.Reason != reason || s.Lower.OK || s.Upper.OK {
			t.Errorf("%s: %s", what, w.Show())
		}
		if took := time.Since(began); took > replicatest.Patience/2 {
			t.Errorf("%s took %s", what, took)
		}
		if all := fmt.Sprintf("%+v %+v", w.Seen, s); strings.Contains(all, sitetest.Word) {
			t.Errorf("%s tells the password: %s", what, all)
		}
	}
	with := func(user, file, address string) Options {
		return Options{Server: Server{Address: address, User: user, PasswordFile: file, Timeout: 10 * time.Second}}
	}
	f("wrong password", with("evenkeel", wrong, p.replica.Address()), replica.Target, replica.ReasonAuth)
	f("no such account", with("nobody-here", wrong, p.replica.Address()), replica.Source, replica.ReasonAuth)
	f("no password file", with("evenkeel", wrong+"-not", p.replica.Address()), replica.Target, replica.ReasonMisconfigured)
	f("no right to see the status", with("bare", p.secret, p.replica.Address()), replica.Target, replica.ReasonPrivilege)
	f("no right to see threads", with("bare", p.secret, p.primary.Address()), replica.Source, replica.ReasonPrivilege)
	f("nobody listens", with("evenkeel", p.secret, fmt.Sprintf("127.0.0.1:%d", replicatest.FreePort(t))), replica.Target, replica.ReasonConnect)
	f("not a replica", with("evenkeel", p.secret, p.primary.Address()), replica.Target, replica.ReasonRole)

	slow := replicatest.NewWire(t, p.replica.Address())
	w := newWatch(t, with("evenkeel", p.secret, fmt.Sprintf("127.0.0.1:%d", slow.Port())), replica.Target)
	w.Complete()
	slow.Hold(true)
	if s := w.Look(); s.State != replica.Unknown || s.Reason != replica.ReasonTimeout {
		t.Errorf("a server that does not answer: %s", w.Show())
	}
	slow.Hold(false)
	w.Complete()
}

func TestHeartbeatStory(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.Flavors(t), heartbeatStory)
}

func heartbeatStory(t *testing.T, f sitetest.Flavor) {
	p := newPair(t, f)
	writer, err := NewHeartbeat(p.server(p.primary, "beats"), "evenkeel")
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	every := 200 * time.Millisecond
	o := Options{Server: p.server(p.replica, "evenkeel"), HeartbeatDatabase: "evenkeel"}
	w := newWatch(t, o, replica.Target)
	src := newWatch(t, Options{Server: p.server(p.primary, "evenkeel"), HeartbeatDatabase: "evenkeel", Heartbeat: writer}, replica.Source)
	w.Until("no beat yet", func(s replica.Status) bool { return strings.Contains(s.Detail, "no heartbeat") })

	stop := beating(t, writer, 1, every, 0, func(write func() error) error { return write() })
	w.Until("beats arrive", func(s replica.Status) bool {
		return s.State == replica.CaughtUp && w.Seen.SourceClock && s.Upper.Or(time.Hour) < time.Second
	})

	// The observer's echo gives the source a bound by its own clock.
	beats, _, err := writer.Read(t.Context())
	if err != nil || len(beats) != 1 {
		t.Fatalf("read beats: %v, %v", beats, err)
	}
	echo := Echo{Observer: "ams", Origin: "fra", Epoch: 1, Seq: beats[0].Seq, At: time.Now()}
	if err := writer.WriteEcho(t.Context(), []Echo{echo}); err != nil {
		t.Fatal(err)
	}
	first := src.Look()
	if !first.Exposure.OK || first.Exposure.V > replicatest.Patience {
		t.Errorf("exposure by echo: %v", first.Exposure)
	}
	src.Until("more is exposed without another echo", func(s replica.Status) bool { return s.Exposure.OK && s.Exposure.V > first.Exposure.V+every })

	// A stalled link keeps its upper bound.
	p.link.Hold(true)
	s := w.Until("held", func(s replica.Status) bool { return s.State == replica.LinkDown && s.Lower.V > 500*time.Millisecond })
	if !s.Upper.OK || s.Upper.V < s.Lower.V {
		t.Errorf("held with beats: %s", w.Show())
	}
	p.link.Hold(false)
	w.Complete()

	// Two writers, and one where nobody may write.
	other, err := NewHeartbeat(p.server(p.primary, "beats"), "evenkeel")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	old := Beat{Origin: "fra", Epoch: 0, Seq: 1 << 40, At: time.Now(), Interval: every}
	if err := other.Write(t.Context(), old); !errors.Is(err, ErrSplitBrain) {
		t.Errorf("an older writer: %v", err)
	}
	below, err := NewHeartbeat(p.server(p.replica, "beats"), "evenkeel")
	if err != nil {
		t.Fatal(err)
	}
	defer below.Close()
	if err := below.Write(t.Context(), Beat{Origin: "ams", Epoch: 1, Seq: 1, At: time.Now(), Interval: every}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a write at the replica: %v", err)
	}
	stop()
	p.primary.Do(t, "UPDATE evenkeel.evenkeel_heartbeat SET seq = 1")
	w.Becomes(replica.Unknown, replica.ReasonSplitBrain)

	// The writer's clock is wrong by five seconds. With an error that covers it the bounds stay true; without, a lag below
	// zero is found out.
	for i, skew := range []time.Duration{-5 * time.Second, 5 * time.Second} {
		stop = beating(t, writer, int64(2+i), every, skew, func(write func() error) error { return write() })
		w.ClockErr = 6 * time.Second
		for range 8 {
			time.Sleep(every)
			if s := w.Look(); s.State == replica.Unknown || s.Lower.Or(0) > time.Second || !s.Upper.OK {
				t.Errorf("clock off by %s: %s", skew, w.Show())
			}
		}
		if w.ClockErr = 20 * time.Millisecond; skew > 0 {
			w.Becomes(replica.Unknown, replica.ReasonClockSkew)
		}
		stop()
	}

	// A failed write tells no secret.
	bad, err := NewHeartbeat(Server{Address: p.primary.Address(), User: "bare", PasswordFile: p.secret}, "evenkeel")
	if err != nil {
		t.Fatal(err)
	}
	defer bad.Close()
	if err := bad.Write(context.Background(), old); err == nil || strings.Contains(err.Error(), sitetest.Word) || !strings.Contains(err.Error(), "privilege") {
		t.Errorf("a write without the right: %v", err)
	}
}

// TestOvertakingStory: a source that writes in two domains, which several threads of its replica apply. What it commits in one hangs
// there, while its heartbeats go on in the other one.
func TestOvertakingStory(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, []sitetest.Flavor{sitetest.MariaDB()}, func(t *testing.T, f sitetest.Flavor) {
		p := newPair(t, f, "--slave-parallel-threads=4")
		writer, err := NewHeartbeat(p.server(p.primary, "beats"), "evenkeel")
		if err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
		w := newWatch(t, Options{Server: p.server(p.replica, "evenkeel"), HeartbeatDatabase: "evenkeel"}, replica.Target)
		beating(t, writer, 1, 100*time.Millisecond, 0, func(write func() error) error { return write() })
		insert := func(id int) {
			t.Helper()
			p.primary.Do(t, "SET SESSION gtid_domain_id=2; INSERT INTO evenkeel.load_test VALUES (?, 'x'); SET SESSION gtid_domain_id=0", id)
		}
		insert(1)
		w.Until("two domains, and the beats bound the link", func(s replica.Status) bool {
			return p.replica.Number(t, "SELECT COUNT(*) FROM evenkeel.load_test") == 1 && w.Seen.SourceClock && s.Upper.Or(time.Hour) < 5*time.Second
		})
		release := p.lock(t, 2)
		insert(2)
		hangs := time.Now()
		seq := func() int64 { return p.replica.Number(t, "SELECT seq FROM evenkeel.evenkeel_heartbeat") }
		first := seq()
		replicatest.Until(t, "the beats overtake", func() bool { return seq() > first+20 })
		for range 5 {
			lag := time.Since(hangs)
			if s := w.Look(); s.Upper.OK && s.Upper.V < lag {
				t.Errorf("%s after what hangs was committed: %s", lag, w.Show())
			}
		}
		if !w.Seen.Overtaken || !strings.Contains(w.Last.Detail, "the heartbeat proves nothing") {
			t.Errorf("nobody says why the beats do not count: %s", w.Show())
		}
		release()
		w.Until("the beats count again", func(s replica.Status) bool { return w.Seen.SourceClock && s.Upper.Or(time.Hour) < 5*time.Second })
	})
}
