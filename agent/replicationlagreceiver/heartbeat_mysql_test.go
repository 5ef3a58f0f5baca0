package replicationlagreceiver

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

const (
	atoB = "orders:a>b"
	btoA = "orders:b>a"
)

// ring is two MariaDBs or MySQLs that copy each other, and the agents of their sites.
type ring struct {
	t    *testing.T
	db   map[string]*sitetest.SQL
	wire map[string]*replicatest.Wire // to the server of the site
	word string
}

func newRing(t *testing.T, f sitetest.Flavor, extraOfB ...string) *ring {
	t.Helper()
	r := &ring{t: t, db: map[string]*sitetest.SQL{}, wire: map[string]*replicatest.Wire{}, word: secret(t)}
	r.db["a"], r.db["b"] = sitetest.StartSQL(t, f, 1), sitetest.StartSQL(t, f, 2, extraOfB...)
	for site, db := range r.db {
		r.wire[site] = replicatest.NewWire(t, db.Address())
	}
	r.db["a"].Follow(t, r.wire["b"], "")
	r.db["b"].Follow(t, r.wire["a"], "")
	r.db["a"].Do(t, setUp(t, SetUp{Engine: "mysql", Origin: "a", Peers: []string{"b"}}))
	r.db["a"].Do(t, `CREATE TABLE evenkeel.orders (id BIGINT PRIMARY KEY, pad VARCHAR(50)) ENGINE=InnoDB`)
	replicatest.Until(t, "the tables are at b", func() bool {
		return r.db["b"].Number(t, `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'evenkeel' AND table_name = 'orders'`) == 1
	})
	return r
}

// beat is the heartbeat of a site, written by the account that heartbeat-sql makes.
func (r *ring) beat(more map[string]any) map[string]any {
	out := map[string]any{"write": true, "database": "evenkeel", "interval": "250ms", "user": "evenkeel_beat", "password_file": r.word}
	maps.Copy(out, more)
	return out
}

func (r *ring) server(site, at string, more, beat map[string]any) map[string]any {
	s := two(site, map[string]any{"engine": "mysql", "address": r.db[at].Address(), "user": "evenkeel", "password_file": r.word}, r.beat(beat))
	maps.Copy(s, more)
	return s
}

func (r *ring) agent(site string, skew time.Duration, more, beat map[string]any) *agent {
	r.t.Helper()
	return newAgent(r.t, site, skew, r.server(site, site, more, beat))
}

// exposedFor waits until a source says that it exposes no more than so much, and by an echo.
func exposedFor(a *agent, link string, most float64) told {
	a.t.Helper()
	return a.until("little is exposed, by an echo", link, "source", func(v told) bool {
		d, ok := v.of("exposure")
		_, echoed := v.of("echo.rtt")
		return ok && echoed && d > 0 && d < most
	})
}

// underWay is how many seconds the newest of what has arrived may be old when a link is cut, by a busy machine: what is missing then was
// written so much earlier.
const underWay = 5

// holds checks the bounds of a link that was cut, or whose source died.
func holds(t *testing.T, v told, cut time.Time) {
	t.Helper()
	lower, ok := v.of("lag.lower")
	upper, _ := v.of("lag.upper")
	if since := v.at.Sub(cut).Seconds(); !ok || lower > since+underWay || upper < since-0.5 || lower > upper {
		t.Errorf("[%v, %v] after %v s of silence", lower, upper, since)
	}
}

// exposesSince waits until a source says that it exposes what it has written since the link was cut; it never says less.
func (a *agent) exposesSince(cut time.Time) {
	a.t.Helper()
	a.until("the exposure grows", atoB, "source", func(v told) bool {
		d, ok := v.of("exposure")
		if least := v.at.Sub(cut).Seconds() - 0.5; ok && (d <= 0 || d < least) {
			a.t.Fatalf("exposed %v, %s after the cut", d, v.at.Sub(cut))
		}
		return ok && d > 6
	})
}

func alive(v told) bool {
	return v.state() == replica.CaughtUp || v.state() == replica.IdleLinkOK || v.state() == replica.CatchingUp
}

func TestHeartbeatMySQL(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.Flavors(t), sqlBeats)
}

func sqlBeats(t *testing.T, f sitetest.Flavor) {
	r := newRing(t, f)
	a, b := r.agent("a", 0, nil, nil), r.agent("b", 0, nil, nil)
	v := b.until("the beats of a bound the link", atoB, "target", func(v told) bool {
		upper, ok := v.of("lag.upper")
		checked, _ := v.of("canary.checked")
		return alive(v) && ok && upper < 3 && checked > 50
	})
	if n, ok := v.of("canary.diverged"); !ok || n != 0 {
		t.Errorf("diverged %v %v", n, ok)
	}
	v = exposedFor(a, atoB, 5)
	if rtt, ok := v.of("echo.rtt"); !ok || rtt <= 0 || rtt > 10 {
		t.Errorf("round trip %v %v", rtt, ok)
	}
	if n, _ := v.of("writer.state"); Writing(n) != WritingOn {
		t.Errorf("writer is %s", Writing(n))
	}
	exposedFor(b, btoA, 5)

	r.isCut(a, b)
	r.isChanged(b)
	r.isReadOnly(b)
	r.isRestarted(a, b)
	a.losesAll(atoB, func() {
		for _, table := range []string{"heartbeat", "canary"} {
			r.db["a"].Local(t, `DELETE FROM evenkeel.evenkeel_`+table+` WHERE origin_site = 'a'`)
		}
	})
	exposedFor(a, atoB, 5)
	if v := b.last(atoB, "target"); v.reason == string(replica.ReasonSplitBrain) {
		t.Error("a writer that lost all is no split brain")
	}
	r.isClaimedTwice(a, newAgent(t, "a", 0, r.server("a", "a", nil, nil)), b)
	r.meet(a, b)
	r.isInDoubt(a)
	r.isLocked(a)
	a.quiet()
	b.quiet()
}

// isCut: b hears nothing of a any more.
func (r *ring) isCut(a, b *agent) {
	r.wire["a"].Cut(true)
	cut := time.Now()
	b.until("the link is down", atoB, "target", func(v told) bool { return v.state() == replica.LinkDown })
	a.exposesSince(cut)
	v := b.until("the bounds hold the silence", atoB, "target", func(v told) bool {
		upper, ok := v.of("lag.upper")
		return v.state() == replica.LinkDown && ok && upper > 6
	})
	holds(r.t, v, cut)
	r.wire["a"].Cut(false)
	b.until("the link is well", atoB, "target", alive)
	exposedFor(a, atoB, 5)
}

// isChanged: rows of a are changed and deleted at b.
func (r *ring) isChanged(b *agent) {
	diverged := func() float64 { n, _ := b.last(atoB, "target").of("canary.diverged"); return n }
	before := diverged()
	// A row is written anew with each tenth beat, which may be before somebody looks.
	replicatest.Until(r.t, "the changed rows are told", func() bool {
		r.db["b"].Local(r.t, `UPDATE evenkeel.evenkeel_canary SET value = 'other' WHERE origin_site = 'a'`)
		return diverged() > before
	})
	before = diverged()
	remove := func() { r.db["b"].Local(r.t, `DELETE FROM evenkeel.evenkeel_canary WHERE origin_site = 'a'`) }
	if r.db["b"].MariaDB() {
		replicatest.Until(r.t, "the missing rows are told", func() bool { remove(); return diverged() > before })
	} else {
		remove() // its binary log has rows, not statements: what is missing cannot be changed
		b.until("the missing rows stop the applier", atoB, "target", func(v told) bool {
			return v.state() == replica.ApplierStopped && v.reason == string(replica.ReasonError)
		})
		r.db["b"].Local(r.t, `INSERT INTO evenkeel.evenkeel_canary
SELECT 'a', slot, writer_epoch, seq, value FROM evenkeel.evenkeel_canary WHERE origin_site = 'b'`)
		r.db["b"].Do(r.t, "START SLAVE")
	}
	if n, ok := b.last(btoA, "source").of("canary.diverged"); !ok || n != 0 {
		r.t.Errorf("b's own rows diverged: %v %v", n, ok)
	}
	b.until("the link is well", atoB, "target", alive)
}

func (r *ring) isReadOnly(b *agent) {
	writer := func(want Writing) func(told) bool {
		return func(v told) bool { n, ok := v.of("writer.state"); return ok && Writing(n) == want }
	}
	r.db["b"].Do(r.t, `SET GLOBAL read_only=1`)
	v := b.until("the writer pauses", btoA, "source", writer(WritingPaused))
	if _, ok := v.of("exposure"); !ok {
		r.t.Error("what was known of the exposure is forgotten")
	}
	seq := r.db["b"].Number(r.t, `SELECT seq FROM evenkeel.evenkeel_heartbeat WHERE origin_site = 'b'`)
	b.until("the beats of a still arrive", atoB, "target", func(v told) bool { d, ok := v.of("lag.upper"); return ok && d < 3 })
	if n := r.db["b"].Number(r.t, `SELECT seq FROM evenkeel.evenkeel_heartbeat WHERE origin_site = 'b'`); n != seq {
		r.t.Errorf("written into a read-only server: %d, %d", seq, n)
	}
	r.db["b"].Do(r.t, `SET GLOBAL read_only=0`)
	b.until("the writer goes on", btoA, "source", writer(WritingOn))
	exposedFor(b, btoA, 5)
}

// isRestarted: what is exposed is not known until an echo of a new beat comes.
func (r *ring) isRestarted(a, b *agent) {
	epoch := func() int64 {
		return r.db["a"].Number(r.t, `SELECT writer_epoch FROM evenkeel.evenkeel_heartbeat WHERE origin_site = 'a'`)
	}
	before := epoch()
	a.stop()
	r.wire["a"].Cut(true) // so that no new beat is echoed
	b.until("the link is down", atoB, "target", func(v told) bool { return v.state() == replica.LinkDown })
	a.start(0)
	v := a.until("it writes", atoB, "source", func(v told) bool { n, _ := v.of("writer.beats"); return n > 3 })
	if d, ok := v.of("exposure"); ok {
		r.t.Errorf("exposed %v, by an echo of another run", d)
	}
	if after := epoch(); after <= before {
		r.t.Errorf("the epoch was %d and is %d", before, after)
	}
	replicatest.Until(r.t, "what is kept is what is stored", func() bool { return a.kept() == epoch() })
	r.wire["a"].Cut(false)
	exposedFor(a, atoB, 5)
	if v := b.last(atoB, "target"); v.reason == string(replica.ReasonSplitBrain) {
		r.t.Error("a restart is no split brain")
	}
}

// torn waits until an end is unknown for two writers.
func torn(a *agent, link, end string) {
	a.t.Helper()
	a.until("two writers are found", link, end, func(v told) bool {
		return v.state() == replica.Unknown && v.reason == string(replica.ReasonSplitBrain)
	})
}

// isClaimedTwice: another agent writes the heartbeat of the same site into the same primary.
func (r *ring) isClaimedTwice(a, other, b *agent) {
	torn(a, atoB, "source")
	v := a.until("it does not write", atoB, "source", func(v told) bool { n, _ := v.of("writer.state"); return Writing(n) == WritingRefused })
	if n, ok := v.of("writer.conflicts"); !ok || n < 1 {
		r.t.Errorf("conflicts %v %v", n, ok)
	}
	other.stop()
	a.until("it takes over when the other one is still", atoB, "source", func(v told) bool {
		n, _ := v.of("writer.state")
		return Writing(n) == WritingOn && v.reason != string(replica.ReasonSplitBrain)
	})
	b.until("and b sees its beats", atoB, "target", func(v told) bool {
		d, ok := v.of("lag.upper")
		return alive(v) && ok && d < 3
	})
}

// meet: while the two servers do not hear each other, somebody makes b the primary of site a too. When they do again, each gets
// the other's row.
func (r *ring) meet(a, b *agent) {
	r.wire["a"].Cut(true)
	r.wire["b"].Cut(true)
	other := newAgent(r.t, "a", 0, r.server("a", "b", nil, nil))
	defer other.stop()
	other.until("it writes", atoB, "source", func(v told) bool { n, _ := v.of("writer.beats"); return n > 8 })
	r.wire["a"].Cut(false)
	r.wire["b"].Cut(false)
	replicatest.Until(r.t, "one of the two writers finds the other", func() bool {
		x, y := a.last(atoB, "source"), other.last(atoB, "source")
		return x.reason == string(replica.ReasonSplitBrain) || y.reason == string(replica.ReasonSplitBrain)
	})
	other.stop()
	a.until("one is left", atoB, "source", func(v told) bool {
		n, _ := v.of("writer.state")
		return Writing(n) == WritingOn && v.reason != string(replica.ReasonSplitBrain)
	})
	b.until("and b sees its beats", atoB, "target", func(v told) bool {
		d, ok := v.of("lag.upper")
		return alive(v) && ok && d < 3
	})
}

// isInDoubt: a prepared transaction that nobody decides.
func (r *ring) isInDoubt(a *agent) {
	conn, err := r.db["a"].Conn(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	defer conn.Close()
	do := func(statement string) {
		if _, err := conn.ExecContext(r.t.Context(), statement); err != nil {
			r.t.Fatalf("%s: %v", statement, err)
		}
	}
	for _, one := range []string{"XA START 'x'", "INSERT INTO evenkeel.orders VALUES (-1, 'x')", "XA END 'x'", "XA PREPARE 'x'"} {
		do(one)
	}
	a.until("it gets old", atoB, "source", func(v told) bool {
		n, _ := v.of("transactions.in_doubt")
		oldest, _ := v.of("transactions.in_doubt.oldest")
		return n == 1 && oldest > 2
	})
	do("XA ROLLBACK 'x'")
	a.until("it is decided", atoB, "source", func(v told) bool {
		n, ok := v.of("transactions.in_doubt")
		_, old := v.of("transactions.in_doubt.oldest")
		return ok && n == 0 && !old
	})
}

// isLocked: the account can do nothing but beat, and says so when it cannot even do that.
func (r *ring) isLocked(a *agent) {
	db := r.db["a"].As(r.t, "evenkeel_beat")
	for _, statement := range []string{
		"SELECT * FROM evenkeel.orders", "INSERT INTO evenkeel.orders VALUES (1, 'x')", "DELETE FROM evenkeel.evenkeel_heartbeat",
		"DROP TABLE evenkeel.evenkeel_echo", "ALTER TABLE evenkeel.evenkeel_canary ADD x INT", "CREATE TABLE evenkeel.mine (id INT)",
		"SELECT * FROM mysql.user", "SHOW SLAVE STATUS", "STOP SLAVE", "SET GLOBAL read_only=0", "CREATE USER x", "TRUNCATE evenkeel.evenkeel_echo",
		"SHOW MASTER STATUS", "SELECT 1 INTO OUTFILE '/tmp/evenkeel-x'", "GRANT SELECT ON evenkeel.evenkeel_echo TO bare@'%'", "LOCK TABLES evenkeel.evenkeel_echo WRITE",
	} {
		_, err := db.Exec(r.db["a"].Say(statement))
		if err == nil || strings.Contains(err.Error(), "syntax") {
			r.t.Errorf("the account may %s: %v", r.db["a"].Say(statement), err)
		}
	}
	r.db["a"].Local(r.t, `REVOKE UPDATE ON evenkeel.evenkeel_canary FROM evenkeel_beat@'%'`)
	a.until("the writer fails", atoB, "source", func(v told) bool { n, _ := v.of("writer.state"); return Writing(n) == WritingFailed })
	replicatest.Until(r.t, "the log says why", func() bool { return strings.Contains(a.said(), "reason=privilege") })
	r.db["a"].Local(r.t, `GRANT UPDATE ON evenkeel.evenkeel_canary TO evenkeel_beat@'%'`)
	a.until("the writer goes on", atoB, "source", func(v told) bool { n, _ := v.of("writer.state"); return Writing(n) == WritingOn })
}

// TestHeartbeatClocks: the wall clock of a is wrong by five seconds, one way and the other. With an error that covers it the
// bounds hold the truth, and what is exposed does not hang on it.
func TestHeartbeatClocks(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.Flavors(t), sqlClocks)
}

func sqlClocks(t *testing.T, f sitetest.Flavor) {
	r := newRing(t, f)
	wide := map[string]any{"clock_error": "6s"}
	b := r.agent("b", 0, wide, nil)
	for _, skew := range []time.Duration{5 * time.Second, -5 * time.Second} {
		a := r.agent("a", skew, wide, nil)
		if v := exposedFor(a, atoB, 5); v.reason == string(replica.ReasonSplitBrain) {
			t.Errorf("clock off by %s: %v", skew, v)
		}
		b.until("bounds", atoB, "target", func(v told) bool { _, ok := v.of("lag.upper"); return alive(v) && ok })
		r.wire["a"].Cut(true)
		cut := time.Now()
		v := b.until("down for a while", atoB, "target", func(v told) bool {
			return v.state() == replica.LinkDown && v.at.Sub(cut) > 4*time.Second
		})
		lower, lok := v.of("lag.lower")
		upper, uok := v.of("lag.upper")
		if since := v.at.Sub(cut).Seconds(); !lok || !uok || lower > since+underWay || upper < since-0.5 {
			t.Errorf("clock off by %s: [%v %v, %v %v] after %v s", skew, lower, lok, upper, uok, since)
		}
		s := a.last(atoB, "source")
		if d, ok := s.of("exposure"); !ok || d < s.at.Sub(cut).Seconds()-0.5 || d > s.at.Sub(cut).Seconds()+2*underWay {
			t.Errorf("clock off by %s: exposed %v %v after %s", skew, d, ok, s.at.Sub(cut))
		}
		r.wire["a"].Cut(false)
		b.until("the link is well", atoB, "target", alive)
		a.stop()
	}
}

// TestHeartbeatLeftOut: a filter drops the table.
func TestHeartbeatLeftOut(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.Flavors(t), sqlLeftOut)
}

func sqlLeftOut(t *testing.T, f sitetest.Flavor) {
	r := newRing(t, f, "--replicate-ignore-table=evenkeel.evenkeel_heartbeat")
	r.agent("a", 0, nil, nil)
	// The filter left out how the table was made, too.
	table := strings.SplitAfter(setUp(t, SetUp{Engine: "mysql", Origin: "a", Peers: []string{"b"}}), ";")[2]
	r.db["b"].Local(t, "USE evenkeel; "+table+" GRANT SELECT, INSERT, UPDATE ON evenkeel.evenkeel_heartbeat TO evenkeel_beat@'%'")
	b := r.agent("b", 0, nil, nil)
	b.until("it is told", atoB, "target", func(v told) bool {
		_, upper := v.of("lag.upper")
		return v.state() == replica.Unknown && v.reason == string(replica.ReasonMisconfigured) && !upper
	})
}
