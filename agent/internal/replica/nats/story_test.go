package nats

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// watcher looks through one engine.
type watcher struct {
	*replicatest.Watcher
	t      *testing.T
	engine *Engine
}

// lookTimeout is what a busy machine keeps with a server that answers.
const lookTimeout = 5 * time.Second

func newWatcher(t *testing.T, name string, o Options) *watcher {
	t.Helper()
	o.Timeout = lookTimeout
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return &watcher{replicatest.NewWatcher(t, name, func(ctx context.Context) replicatest.Glance {
		r := engine.Look(ctx)
		return replicatest.Glance{Began: r.Began, Ended: r.Ended, Sightings: r.Sightings, Beat: r.Beats[0]}
	}, canary), t, engine}
}

// pair is an origin, a site that copies over a relay, and all the agents that may look at them.
type pair struct {
	origin, copied *node
	relay          *replicatest.Wire
	// both looks at the mirror and its origin, alone at the mirror, giver from the origin, fan at a stream with two sources.
	both, alone, giver, fan *watcher
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{origin: startNode(t, "a", 0)}
	p.relay = replicatest.NewWire(t, fmt.Sprintf("127.0.0.1:%d", p.origin.Leaf))
	p.copied = startNode(t, "b", p.relay.Port())
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
func (p *pair) complete() {
	for _, w := range p.sighted() {
		w.Complete()
	}
}

// missing publishes a message that does not arrive, and returns what checks the figures of a look at a copy that lacks it.
func (p *pair) missing(subject string) func(*watcher) {
	before := time.Now()
	p.origin.publish(subject, 10)
	after := time.Now()
	return func(w *watcher) {
		w.t.Helper()
		if st := w.Last; !st.Upper.OK || st.Upper.V < st.At.Sub(after) || w.Seen.Lower.V > st.At.Sub(before) {
			w.t.Errorf("missing for %s to %s: %s", st.At.Sub(after), st.At.Sub(before), w.Show())
		}
	}
}

func TestStory(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.origin.publish("orders.first", 10)
	p.complete()
	p.alone.Becomes(replica.CatchingUp, replica.ReasonNotMeasured)
	if p.alone.Last.Upper.OK || !p.alone.Last.LastCaughtUp.IsZero() {
		t.Errorf("a copy alone knows no figure: %s", p.alone.Show())
	}

	// Steady writes.
	for i := range 40 {
		p.origin.publish("orders.steady", 100)
		p.copied.publish("local.steady", 100)
		if i%4 == 0 {
			for _, w := range p.sighted() {
				w.Stays(time.Millisecond, 5*time.Second)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.complete()
	p.fan.positions(41)
	// Idle, and then one write: no spike.
	idle := time.Now()
	replicatest.Until(t, "idle", func() bool {
		done := true
		for _, w := range p.sighted() {
			done = w.Look().State == replica.IdleLinkOK && done
		}
		return done && time.Since(idle) > 11*time.Second
	})
	p.origin.publish("orders.after", 10)
	for _, w := range p.sighted() {
		w.Stays(200*time.Millisecond, 5*time.Second)
	}
	p.complete()

	// The link goes silent: connected, nothing arrives. With writes the lag is there at once, and it grows.
	p.relay.Hold(true)
	missing := p.missing("orders.silence")
	for _, w := range p.sighted() {
		w.Until("behind", func(st replica.Status) bool { return st.Messages.V == 1 })
		missing(w)
	}
	for _, w := range append(p.sighted(), p.alone) {
		w.Becomes(replica.LinkDown, replica.ReasonStale)
		w.Grows(300 * time.Millisecond)
	}
	p.relay.Hold(false)
	p.complete()
	p.alone.Becomes(replica.CatchingUp, replica.ReasonNotMeasured)

	// Cut, without writes.
	p.relay.Cut(true)
	for _, w := range append(p.sighted(), p.alone) {
		w.Becomes(replica.LinkDown, replica.ReasonStale)
		if w.Last.Upper.OK {
			t.Errorf("down and idle has no upper bound: %s", w.Show())
		}
	}
	p.both.Grows(300 * time.Millisecond)
	// With writes the first of them is the lag.
	missing = p.missing("orders.cut")
	replicatest.Until(t, "the lag follows the first missing message", func() bool {
		st := p.both.Look()
		return st.State == replica.LinkDown && st.Lower.V > 300*time.Millisecond && st.Messages.V == 1
	})
	missing(p.both)
	p.relay.Cut(false)

	// The copying server starts anew, and goes on at once.
	p.copied.stop()
	p.both.Becomes(replica.Unknown, replica.ReasonConnect)
	p.giver.Becomes(replica.Unknown, replica.ReasonConnect)
	p.copied.start()
	p.complete()

	// The copy is deleted, replaced by a stream that copies nothing, as a promotion leaves it, and made anew: a full copy.
	for range 200 {
		p.origin.publish("orders.bulk", 10_000)
	}
	p.both.Complete()
	p.copied.drop("ORDERS")
	p.both.Becomes(replica.Unknown, replica.ReasonMisconfigured)
	p.copied.make(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"other"}})
	p.both.Becomes(replica.Unknown, replica.ReasonRole)
	p.giver.Becomes(replica.Unknown, replica.ReasonRole)
	p.copied.drop("ORDERS")
	p.relay.Slow(50_000) // until it is seen
	p.copied.make(jetstream.StreamConfig{Name: "ORDERS", Mirror: p.origin.from("ORDERS")})
	p.both.Becomes(replica.Resyncing, "")
	p.giver.Becomes(replica.Resyncing, "")
	p.relay.Slow(0)
	p.complete()

	// What the origin removes while the link is cut never comes.
	p.relay.Cut(true)
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
		w.Becomes(replica.LinkDown, replica.ReasonLost)
		if n, ok := w.Measure("nats.messages.lost"); !ok || n != 5 {
			t.Errorf("%s: %v messages lost", w.Name, n)
		}
	}
	p.relay.Cut(false)
	p.complete()

	// The origin dies.
	p.origin.stop()
	p.both.Becomes(replica.LinkDown, replica.ReasonStale)
	p.giver.Becomes(replica.Unknown, replica.ReasonConnect)
	p.alone.Becomes(replica.LinkDown, replica.ReasonStale)
	p.fan.Becomes(replica.LinkDown, replica.ReasonStale)
	p.fan.Grows(300 * time.Millisecond)
}
