package redis

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

const storyPing = time.Second

// watcher looks through one engine and settles what it sees.
type watcher struct {
	t      *testing.T
	name   string
	engine *Engine
	memory replica.Memory
	last   replica.Status
	seen   replica.Sighting
}

func newWatcher(t *testing.T, name string, o Options) *watcher {
	t.Helper()
	o.PingPeriod, o.Timeout = storyPing, time.Second
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return &watcher{t: t, name: name, engine: engine}
}

func (w *watcher) look() replica.Status {
	w.t.Helper()
	r := w.engine.Look(w.t.Context())
	if len(r.Sightings) != 1 {
		w.t.Fatalf("%s: %d sightings", w.name, len(r.Sightings))
	}
	w.seen = r.Sightings[0]
	w.last, w.memory = replica.Settle(w.seen, w.memory, replica.Look{
		Began: r.Began, Ended: r.Ended, Interval: 100 * time.Millisecond, ClockKnown: true,
	})
	if strings.Contains(fmt.Sprintf("%+v", r), canary) {
		w.t.Fatalf("%s: the password is shown: %+v", w.name, r)
	}
	if w.last.State == replica.LinkDown && (w.last.Lower.V <= 0 || w.last.Upper.OK) {
		w.t.Errorf("%s: link down with lag %v..%v", w.name, w.last.Lower, w.last.Upper)
	}
	if w.last.State == replica.Unknown && (w.last.Lower.OK || w.last.Upper.OK || w.last.Reason == "") {
		w.t.Errorf("%s: unknown with a figure or without a reason: %+v", w.name, w.last)
	}
	return w.last
}

func (w *watcher) show() string {
	return fmt.Sprintf("%s: %v %s %q lag %v..%v bytes %v age %v", w.name, w.last.State, w.last.Reason, w.last.Detail,
		w.last.Lower, w.last.Upper, w.last.Bytes, w.last.LinkAge)
}

// becomes looks until it sees the state.
func (w *watcher) becomes(limit time.Duration, state replica.State, reason replica.Reason) {
	w.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		if st := w.look(); st.State == state && st.Reason == reason {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("not %v %s within %s: %s", state, reason, limit, w.show())
		}
	}
}

// grows checks that the lower bound follows the clock.
func (w *watcher) grows() {
	w.t.Helper()
	from := w.look()
	until(w.t, "the lower bound grows: "+w.name, 5*time.Second, func() bool {
		to := w.look()
		if to.State != replica.LinkDown {
			w.t.Fatalf("no longer down: %s", w.show())
		}
		return to.Lower.V >= from.Lower.V+300*time.Millisecond
	})
}

// stays checks the state and the upper bound for a while.
func (w *watcher) stays(d time.Duration, upper time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		st := w.look()
		alive := st.State == replica.CaughtUp || st.State == replica.CatchingUp || st.State == replica.IdleLinkOK
		if !alive || !st.Upper.OK || st.Upper.V > upper {
			w.t.Errorf("want alive and within %s: %s", upper, w.show())
		}
	}
}

func (w *watcher) measure(name string) (float64, bool) {
	for _, m := range w.seen.Extra {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

// pair is a primary, a replica behind a relay, and all the agents that may look at them.
type pair struct {
	primary, copy      *server
	relay              *relay
	both, alone, giver *watcher
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{primary: startServer(t), copy: startServer(t)}
	p.relay = newRelay(t, p.primary.address())
	link := func(end replica.End, peer string) []LinkSpec {
		return []LinkSpec{{Store: "cache", From: "a", To: "b", End: end, Peer: peer}}
	}
	upstream := p.primary.as(t, canary)
	peer := fmt.Sprintf("127.0.0.1:%d", p.relay.port())
	p.both = newWatcher(t, "both ends", Options{Server: p.copy.as(t, canary), Source: &upstream, Links: link(replica.Target, peer)})
	p.alone = newWatcher(t, "target alone", Options{Server: p.copy.as(t, canary), Links: link(replica.Target, peer)})
	p.giver = newWatcher(t, "source", Options{Server: upstream, Links: link(replica.Source, fmt.Sprintf("127.0.0.1:%d", p.copy.port))})
	return p
}

func (p *pair) follow(t *testing.T) {
	t.Helper()
	p.copy.do(t, "REPLICAOF", "127.0.0.1", p.relay.port())
}

// complete waits until all agents that can see it see the copy complete.
func (p *pair) complete() {
	p.both.t.Helper()
	for _, w := range []*watcher{p.both, p.giver} {
		until(w.t, "complete: "+w.name, 10*time.Second, func() bool {
			st := w.look()
			return st.State == replica.CaughtUp || st.State == replica.IdleLinkOK
		})
	}
	p.alone.becomes(5*time.Second, replica.CatchingUp, replica.ReasonNotMeasured)
}

func (p *pair) write(t *testing.T, key string, bytes int) {
	t.Helper()
	p.primary.do(t, "SET", key, strings.Repeat("x", bytes))
}

func TestStory(t *testing.T) {
	t.Parallel()
	p := newPair(t)

	// Not told to replicate yet: each end says what is wrong, and no figure.
	p.both.becomes(time.Second, replica.Unknown, replica.ReasonRole)
	p.giver.becomes(time.Second, replica.LinkDown, replica.ReasonLost)

	p.follow(t)
	p.write(t, "first", 10)
	p.complete()
	if p.alone.last.Upper.OK || p.alone.last.LastCaughtUp != (time.Time{}) {
		t.Errorf("a target alone knows no figure: %s", p.alone.show())
	}

	// Steady writes.
	for i := range 40 {
		p.write(t, "steady", 100)
		if i%4 == 0 {
			p.both.stays(time.Millisecond, 500*time.Millisecond)
			p.giver.stays(time.Millisecond, 2500*time.Millisecond)
		}
		time.Sleep(25 * time.Millisecond)
	}
	// A link that takes its time hides nothing: what was on its way arrives during the look.
	p.relay.rate.Store(5000)
	arrived := 0
	for range 8 {
		p.write(t, "delayed", 100)
		if p.both.look().State == replica.CaughtUp {
			arrived++
		}
	}
	if arrived < 5 {
		t.Errorf("seen complete %d of 8 times over a link of 30 ms", arrived)
	}
	p.relay.rate.Store(0)
	p.complete()

	// Idle, but for PINGs, and then one write: no spike.
	idle := time.Now()
	until(t, "idle", 15*time.Second, func() bool {
		both, giver := p.both.look(), p.giver.look()
		return both.State == replica.IdleLinkOK && giver.State == replica.IdleLinkOK && time.Since(idle) > 12*time.Second
	})
	p.write(t, "after idle", 10)
	p.both.stays(300*time.Millisecond, time.Second)
	p.giver.stays(300*time.Millisecond, 2*time.Second)
	p.complete()

	// The link goes silent: connected, nothing arrives. With writes the lag is there at once, and it grows.
	p.relay.silent.Store(true)
	p.write(t, "in the silence", 10)
	silent := time.Now()
	p.both.becomes(2*time.Second, replica.CatchingUp, "")
	until(t, "the lag grows", 5*time.Second, func() bool { return p.both.look().Lower.V > time.Second })
	if lag := time.Since(silent); p.both.last.Lower.V > lag || p.both.last.Upper.V < lag-200*time.Millisecond {
		t.Errorf("lag %s: %s", lag, p.both.show())
	}
	if needed, ok := p.both.measure("redis.resync.needed"); !ok || needed != 0 {
		t.Errorf("a full resync is said to be needed: %v %v", needed, ok)
	}
	p.giver.becomes(10*time.Second, replica.LinkDown, replica.ReasonStale)
	p.both.becomes(10*time.Second, replica.LinkDown, replica.ReasonStale)
	p.alone.becomes(10*time.Second, replica.LinkDown, replica.ReasonStale)
	p.both.grows()
	p.giver.grows()
	p.relay.silent.Store(false)
	p.complete()

	// Cut, without writes.
	p.relay.setCut(true)
	p.both.becomes(5*time.Second, replica.LinkDown, "")
	p.alone.becomes(5*time.Second, replica.LinkDown, "")
	p.giver.becomes(5*time.Second, replica.LinkDown, "")
	p.both.grows()
	p.giver.grows()

	// Cut, with more writes than the source keeps. What is there already makes the full copy take its time.
	for range 20 {
		p.write(t, "lost", 10_000)
	}
	for i := range 40 {
		p.write(t, fmt.Sprint("bulk", i), 10_000)
	}
	p.both.becomes(5*time.Second, replica.LinkDown, replica.ReasonLost)
	p.giver.becomes(5*time.Second, replica.LinkDown, replica.ReasonLost)
	if room, ok := p.both.measure("redis.backlog.headroom"); !ok || room >= 0 {
		t.Errorf("headroom %v %v", room, ok)
	}
	p.primary.do(t, "CONFIG", "SET", "rdbcompression", "no", "repl-diskless-sync-delay", "1")
	p.relay.rate.Store(300_000)
	p.relay.setCut(false)
	saw := map[*watcher]bool{}
	until(t, "all see the full copy", 10*time.Second, func() bool {
		for _, w := range []*watcher{p.both, p.alone, p.giver} {
			saw[w] = saw[w] || w.look().State == replica.Resyncing
		}
		return saw[p.both] && saw[p.alone] && saw[p.giver]
	})
	if syncs, ok := p.giver.measure("redis.sync.full"); !ok || syncs < 2 {
		t.Errorf("full syncs %v %v", syncs, ok)
	}
	p.relay.rate.Store(0)
	p.complete()
	p.primary.do(t, "CONFIG", "SET", "repl-diskless-sync-delay", "0")

	// The applier stops, and with it the whole server.
	p.copy.signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { _ = p.copy.process.Signal(syscall.SIGCONT) })
	p.both.becomes(5*time.Second, replica.Unknown, replica.ReasonTimeout)
	p.giver.becomes(10*time.Second, replica.LinkDown, replica.ReasonStale)
	p.copy.signal(t, syscall.SIGCONT)
	p.complete()

	// REPLICAOF somewhere else, promotion, and back.
	p.copy.do(t, "REPLICAOF", "127.0.0.1", "1")
	p.both.becomes(5*time.Second, replica.Unknown, replica.ReasonMisconfigured)
	p.copy.do(t, "REPLICAOF", "NO", "ONE")
	p.both.becomes(5*time.Second, replica.Unknown, replica.ReasonRole)
	p.giver.becomes(5*time.Second, replica.LinkDown, "")
	p.follow(t)
	p.complete()

	// A wrong masterauth looks like a cut link, and does not heal.
	p.copy.do(t, "CONFIG", "SET", "masterauth", "wrong")
	p.relay.setCut(true)
	p.both.becomes(5*time.Second, replica.LinkDown, "")
	p.relay.setCut(false)
	p.both.grows()
	p.giver.becomes(time.Second, replica.LinkDown, "")
	p.copy.do(t, "CONFIG", "SET", "masterauth", adminPassword)
	p.complete()

	// The primary dies.
	p.primary.signal(t, syscall.SIGKILL)
	p.both.becomes(5*time.Second, replica.LinkDown, "")
	p.giver.becomes(5*time.Second, replica.Unknown, replica.ReasonConnect)
	p.both.grows()
}
