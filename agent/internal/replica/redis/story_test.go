package redis

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

const storyPing = time.Second

// watcher looks through one engine.
type watcher struct {
	*replicatest.Watcher
	engine *Engine
}

func newWatcher(t *testing.T, name string, o Options) *watcher {
	t.Helper()
	o.PingPeriod, o.Timeout = storyPing, 5*time.Second
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return &watcher{replicatest.NewWatcher(t, name, func(ctx context.Context) replicatest.Glance {
		r := engine.Look(ctx)
		return replicatest.Glance{Began: r.Began, Ended: r.Ended, Sightings: r.Sightings}
	}, canary), engine}
}

// pair is a primary, a replica behind a relay, and all the agents that may look at them.
type pair struct {
	primary, copy      *server
	relay              *replicatest.Wire
	both, alone, giver *watcher
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{primary: startServer(t), copy: startServer(t)}
	p.relay = replicatest.NewWire(t, p.primary.address())
	link := func(end replica.End, peer string) []LinkSpec {
		return []LinkSpec{{Store: "cache", From: "a", To: "b", End: end, Peer: peer}}
	}
	upstream := p.primary.as(t, canary)
	peer := fmt.Sprintf("127.0.0.1:%d", p.relay.Port())
	p.both = newWatcher(t, "both ends", Options{Server: p.copy.as(t, canary), Source: &upstream, Links: link(replica.Target, peer)})
	p.alone = newWatcher(t, "target alone", Options{Server: p.copy.as(t, canary), Links: link(replica.Target, peer)})
	p.giver = newWatcher(t, "source", Options{Server: upstream, Links: link(replica.Source, fmt.Sprintf("127.0.0.1:%d", p.copy.port))})
	return p
}

func (p *pair) follow(t *testing.T) {
	t.Helper()
	p.copy.do(t, "REPLICAOF", "127.0.0.1", p.relay.Port())
}

// complete waits until all agents that can see it see the copy complete.
func (p *pair) complete() {
	p.both.Complete()
	p.giver.Complete()
	p.alone.Becomes(replica.CatchingUp, replica.ReasonNotMeasured)
}

func (p *pair) write(t *testing.T, key string, bytes int) {
	t.Helper()
	p.primary.do(t, "SET", key, strings.Repeat("x", bytes))
}

func TestStory(t *testing.T) {
	t.Parallel()
	p := newPair(t)

	// Not told to replicate yet: each end says what is wrong, and no figure.
	p.both.Becomes(replica.Unknown, replica.ReasonRole)
	p.giver.Becomes(replica.LinkDown, replica.ReasonLost)

	p.follow(t)
	p.write(t, "first", 10)
	p.complete()
	if p.alone.Last.Upper.OK || p.alone.Last.LastCaughtUp != (time.Time{}) {
		t.Errorf("a target alone knows no figure: %s", p.alone.Show())
	}

	// Steady writes.
	for i := range 40 {
		p.write(t, "steady", 100)
		if i%4 == 0 {
			p.both.Stays(time.Millisecond, 5*time.Second)
			p.giver.Stays(time.Millisecond, 5*time.Second)
		}
		time.Sleep(25 * time.Millisecond)
	}
	// A link that takes its time hides nothing: what was on its way arrives during the look.
	p.relay.Slow(5000)
	arrived := 0
	replicatest.Until(t, "seen complete five times over a link of 30 ms", func() bool {
		p.write(t, "delayed", 100)
		if p.both.Look().State == replica.CaughtUp {
			arrived++
		}
		return arrived == 5
	})
	p.relay.Slow(0)
	p.complete()

	// Idle, but for PINGs, and then one write: no spike.
	idle := time.Now()
	replicatest.Until(t, "idle", func() bool {
		both, giver := p.both.Look(), p.giver.Look()
		return both.State == replica.IdleLinkOK && giver.State == replica.IdleLinkOK && time.Since(idle) > 12*time.Second
	})
	p.write(t, "after idle", 10)
	p.both.Stays(300*time.Millisecond, 5*time.Second)
	p.giver.Stays(300*time.Millisecond, 5*time.Second)
	p.complete()

	// The link goes silent: connected, nothing arrives. With writes the lag is there at once, and it grows.
	p.relay.Hold(true)
	before := time.Now()
	p.write(t, "in the silence", 10)
	after := time.Now()
	st := p.both.Becomes(replica.CatchingUp, "")
	for lag := time.Duration(0); lag < 300*time.Millisecond && st.State == replica.CatchingUp; st = p.both.Look() { // until it is called down
		if lag = st.Lower.V; lag > st.At.Sub(before) || !st.Upper.OK || st.Upper.V < st.At.Sub(after) {
			t.Errorf("missing for %s to %s: %s", st.At.Sub(after), st.At.Sub(before), p.both.Show())
		}
	}
	replicatest.Until(t, "the lag grows", func() bool { return p.both.Look().Lower.V > time.Second })
	if needed, ok := p.both.Measure("redis.resync.needed"); !ok || needed != 0 {
		t.Errorf("a full resync is said to be needed: %v %v", needed, ok)
	}
	p.giver.Becomes(replica.LinkDown, replica.ReasonStale)
	p.both.Becomes(replica.LinkDown, replica.ReasonStale)
	p.alone.Becomes(replica.LinkDown, replica.ReasonStale)
	p.both.Grows(300 * time.Millisecond)
	p.giver.Grows(300 * time.Millisecond)
	p.relay.Hold(false)
	p.complete()

	// Cut, without writes.
	p.relay.Cut(true)
	p.both.Becomes(replica.LinkDown, "")
	p.alone.Becomes(replica.LinkDown, "")
	p.giver.Becomes(replica.LinkDown, "")
	p.both.Grows(300 * time.Millisecond)
	p.giver.Grows(300 * time.Millisecond)

	// Cut, with more writes than the source keeps. What is there already makes the full copy take its time.
	for range 20 {
		p.write(t, "lost", 10_000)
	}
	for i := range 40 {
		p.write(t, fmt.Sprint("bulk", i), 10_000)
	}
	p.both.Becomes(replica.LinkDown, replica.ReasonLost)
	p.giver.Becomes(replica.LinkDown, replica.ReasonLost)
	if room, ok := p.both.Measure("redis.backlog.headroom"); !ok || room >= 0 {
		t.Errorf("headroom %v %v", room, ok)
	}
	p.primary.do(t, "CONFIG", "SET", "rdbcompression", "no", "repl-diskless-sync-delay", "1")
	p.relay.Slow(30_000) // until all have seen it
	p.relay.Cut(false)
	saw := map[*watcher]bool{}
	replicatest.Until(t, "all see the full copy", func() bool {
		for _, w := range []*watcher{p.both, p.alone, p.giver} {
			saw[w] = saw[w] || w.Look().State == replica.Resyncing
		}
		return saw[p.both] && saw[p.alone] && saw[p.giver]
	})
	if syncs, ok := p.giver.Measure("redis.sync.full"); !ok || syncs < 2 {
		t.Errorf("full syncs %v %v", syncs, ok)
	}
	p.relay.Slow(0)
	p.complete()
	p.primary.do(t, "CONFIG", "SET", "repl-diskless-sync-delay", "0")

	// The applier stops, and with it the whole server.
	p.copy.signal(t, syscall.SIGSTOP)
	t.Cleanup(func() { _ = p.copy.process.Signal(syscall.SIGCONT) })
	p.both.Becomes(replica.Unknown, replica.ReasonTimeout)
	p.giver.Becomes(replica.LinkDown, replica.ReasonStale)
	p.copy.signal(t, syscall.SIGCONT)
	p.complete()

	// REPLICAOF somewhere else, promotion, and back.
	p.copy.do(t, "REPLICAOF", "127.0.0.1", "1")
	p.both.Becomes(replica.Unknown, replica.ReasonMisconfigured)
	p.copy.do(t, "REPLICAOF", "NO", "ONE")
	p.both.Becomes(replica.Unknown, replica.ReasonRole)
	p.giver.Becomes(replica.LinkDown, "")
	p.follow(t)
	p.complete()

	// A wrong masterauth looks like a cut link, and does not heal.
	p.copy.do(t, "CONFIG", "SET", "masterauth", "wrong")
	p.relay.Cut(true)
	p.both.Becomes(replica.LinkDown, "")
	p.relay.Cut(false)
	p.both.Grows(300 * time.Millisecond)
	p.giver.Becomes(replica.LinkDown, "")
	p.copy.do(t, "CONFIG", "SET", "masterauth", adminPassword)
	p.complete()

	// The primary dies.
	p.primary.signal(t, syscall.SIGKILL)
	p.both.Becomes(replica.LinkDown, "")
	p.giver.Becomes(replica.Unknown, replica.ReasonConnect)
	p.both.Grows(300 * time.Millisecond)
}
