package nats

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

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
	o.Timeout, o.Silence = time.Second, 2500*time.Millisecond
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return &watcher{t: t, name: name, engine: engine}
}

func (w *watcher) look() replica.Status {
	w.t.Helper()
	r := w.engine.Look(w.t.Context())
	if len(r.Sightings) != 1 || len(r.Beats) != 1 {
		w.t.Fatalf("%s: %d sightings", w.name, len(r.Sightings))
	}
	w.seen = r.Sightings[0]
	w.last, w.memory = replica.Settle(w.seen, w.memory, replica.Look{
		Began: r.Began, Ended: r.Ended, Interval: 100 * time.Millisecond, ClockKnown: true, Heartbeat: r.Beats[0],
	})
	if strings.Contains(fmt.Sprintf("%+v", r), canary) {
		w.t.Fatalf("%s: the password is shown: %+v", w.name, r)
	}
	if w.last.State == replica.LinkDown && !r.Beats[0] && (w.last.Lower.V <= 0 || w.last.Upper.OK) {
		w.t.Errorf("%s: link down with lag %v..%v", w.name, w.last.Lower, w.last.Upper)
	}
	if w.last.State == replica.Unknown && (w.last.Lower.OK || w.last.Upper.OK || w.last.Reason == "") {
		w.t.Errorf("%s: unknown with a figure or without a reason: %+v", w.name, w.last)
	}
	return w.last
}

func (w *watcher) show() string {
	return fmt.Sprintf("%s: %v %s %q lag %v..%v messages %v age %v", w.name, w.last.State, w.last.Reason, w.last.Detail,
		w.last.Lower, w.last.Upper, w.last.Messages, w.last.LinkAge)
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
	until(w.t, "the lower bound grows: "+w.name, 3*time.Second, func() bool {
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

func (w *watcher) complete(limit time.Duration) {
	w.t.Helper()
	end := time.Now().Add(limit)
	for st := w.look(); st.State != replica.CaughtUp && st.State != replica.IdleLinkOK; st = w.look() {
		if time.Now().After(end) {
			w.t.Fatalf("not complete within %s: %s", limit, w.show())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// measure is a further figure of the last look.
func (w *watcher) measure(name string) (float64, bool) {
	for _, m := range w.seen.Extra {
		if m.Name == name {
			return m.Value, true
		}
	}
	return 0, false
}

// pair is an origin, a site that copies over a relay, and all the agents that may look at them.
type pair struct {
	origin, copied *node
	relay          *relay
	// both looks at the mirror and its origin, alone at the mirror, giver from the origin, fan at a stream with two sources.
	both, alone, giver, fan *watcher
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{origin: startNode(t, "a", 0)}
	p.relay = newRelay(t, p.origin.leaf)
	p.copied = startNode(t, "b", p.relay.port())
	p.origin.make(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>", "evenkeel.hb.a"}})
	p.copied.make(jetstream.StreamConfig{Name: "LOCAL", Subjects: []string{"local.>"}})
	p.copied.make(jetstream.StreamConfig{Name: "ORDERS", Mirror: p.origin.from("ORDERS")})
	p.copied.make(jetstream.StreamConfig{Name: "ALL", Sources: []*jetstream.StreamSource{{Name: "LOCAL"}, p.origin.from("ORDERS")}})
	link := func(end replica.End, peer string) []LinkSpec {
		return []LinkSpec{{Store: "bus", From: "a", To: "b", Channel: "ORDERS", End: end, Peer: peer}}
	}
	upstream, downstream := p.origin.as(canary), p.copied.as(canary)
	p.both = newWatcher(t, "both ends", Options{Server: downstream, Peer: &upstream, Links: link(replica.Target, "")})
	p.alone = newWatcher(t, "target alone", Options{Server: downstream, Links: link(replica.Target, "")})
	p.giver = newWatcher(t, "source", Options{Server: upstream, Peer: &downstream, Links: link(replica.Source, "")})
	p.fan = newWatcher(t, "fan-in", Options{Server: downstream, Peer: &upstream, Links: link(replica.Target, "ALL")})
	return p
}

func (p *pair) sighted() []*watcher { return []*watcher{p.both, p.giver, p.fan} }

// complete waits until all agents that can see it see the copies complete.
func (p *pair) complete(limit time.Duration) {
	p.both.t.Helper()
	for _, w := range p.sighted() {
		w.complete(limit)
	}
}

func TestStory(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.origin.publish("orders.first", 10)
	p.complete(20 * time.Second)
	p.alone.becomes(5*time.Second, replica.CatchingUp, replica.ReasonNotMeasured)
	if p.alone.last.Upper.OK || !p.alone.last.LastCaughtUp.IsZero() {
		t.Errorf("a copy alone knows no figure: %s", p.alone.show())
	}

	// Steady writes.
	for i := range 40 {
		p.origin.publish("orders.steady", 100)
		p.copied.publish("local.steady", 100)
		if i%4 == 0 {
			for _, w := range p.sighted() {
				w.stays(time.Millisecond, 500*time.Millisecond)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.complete(5 * time.Second)
	p.fan.positions(41)
	// Idle, and then one write: no spike.
	idle := time.Now()
	until(t, "idle", 16*time.Second, func() bool {
		done := true
		for _, w := range p.sighted() {
			done = w.look().State == replica.IdleLinkOK && done
		}
		return done && time.Since(idle) > 11*time.Second
	})
	p.origin.publish("orders.after", 10)
	for _, w := range p.sighted() {
		w.stays(200*time.Millisecond, time.Second)
	}
	p.complete(5 * time.Second)

	// The link goes silent: connected, nothing arrives. With writes the lag is there at once, and it grows.
	p.relay.silent.Store(true)
	silent := time.Now()
	p.origin.publish("orders.silence", 10)
	for _, w := range p.sighted() {
		w.becomes(2*time.Second, replica.CatchingUp, "")
		if lag := time.Since(silent); w.last.Lower.V > lag || w.last.Upper.V < lag-200*time.Millisecond {
			t.Errorf("lag %s: %s", lag, w.show())
		}
	}
	for _, w := range append(p.sighted(), p.alone) {
		w.becomes(8*time.Second, replica.LinkDown, replica.ReasonStale)
		w.grows()
	}
	p.relay.silent.Store(false)
	p.complete(8 * time.Second)
	p.alone.becomes(5*time.Second, replica.CatchingUp, replica.ReasonNotMeasured)

	// Cut, without writes.
	p.relay.setCut(true)
	for _, w := range append(p.sighted(), p.alone) {
		w.becomes(8*time.Second, replica.LinkDown, replica.ReasonStale)
		if w.last.Upper.OK {
			t.Errorf("down and idle has no upper bound: %s", w.show())
		}
	}
	p.both.grows()
	// With writes the first of them is the lag.
	cut := time.Now()
	p.origin.publish("orders.cut", 10)
	until(t, "the lag follows the first missing message", 3*time.Second, func() bool {
		st := p.both.look()
		return st.State == replica.LinkDown && st.Lower.V > 300*time.Millisecond && st.Messages.V == 1
	})
	if lag := time.Since(cut); !p.both.last.Upper.OK || p.both.last.Upper.V < lag-200*time.Millisecond || p.both.seen.Lower.V > lag {
		t.Errorf("lag %s: %s", lag, p.both.show())
	}
	p.relay.setCut(false)

	// The copying server starts anew, and goes on at once.
	p.copied.stop()
	p.both.becomes(3*time.Second, replica.Unknown, replica.ReasonConnect)
	p.giver.becomes(3*time.Second, replica.Unknown, replica.ReasonConnect)
	p.copied.start()
	p.complete(15 * time.Second)

	// The copy is deleted, replaced by a stream that copies nothing, as a promotion leaves it, and made anew: a full copy.
	for range 200 {
		p.origin.publish("orders.bulk", 10_000)
	}
	p.both.complete(5 * time.Second)
	p.copied.drop("ORDERS")
	p.both.becomes(2*time.Second, replica.Unknown, replica.ReasonMisconfigured)
	p.copied.make(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"other"}})
	p.both.becomes(2*time.Second, replica.Unknown, replica.ReasonRole)
	p.giver.becomes(2*time.Second, replica.Unknown, replica.ReasonRole)
	p.copied.drop("ORDERS")
	p.relay.rate.Store(1_000_000)
	p.copied.make(jetstream.StreamConfig{Name: "ORDERS", Mirror: p.origin.from("ORDERS")})
	p.both.becomes(3*time.Second, replica.Resyncing, "")
	p.giver.becomes(time.Second, replica.Resyncing, "")
	p.relay.rate.Store(0)
	p.complete(5 * time.Second)

	// What the origin removes while the link is cut never comes.
	p.relay.setCut(true)
	for range 5 {
		p.origin.publish("orders.lost", 10)
	}
	stream, err := p.origin.js.Stream(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.origin.publish("orders.kept", 10)
	for _, w := range p.sighted() {
		w.becomes(8*time.Second, replica.LinkDown, replica.ReasonLost)
		if n, ok := w.measure("nats.messages.lost"); !ok || n != 5 {
			t.Errorf("%s: %v messages lost", w.name, n)
		}
	}
	p.relay.setCut(false)
	p.complete(15 * time.Second)

	// The origin dies.
	p.origin.stop()
	p.both.becomes(8*time.Second, replica.LinkDown, replica.ReasonStale)
	p.giver.becomes(2*time.Second, replica.Unknown, replica.ReasonConnect)
	p.alone.becomes(8*time.Second, replica.LinkDown, replica.ReasonStale)
	p.fan.becomes(8*time.Second, replica.LinkDown, replica.ReasonStale)
	p.fan.grows()
}
