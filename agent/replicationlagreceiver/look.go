package replicationlagreceiver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Watcher looks at one server and remembers of each link what has to be remembered. One goroutine uses it; another one may write
// heartbeats meanwhile.
type Watcher struct {
	server Server
	engine engine
	memory map[string]replica.Memory // by the key of the link's end
	beats  *beats                    // nil: the server has no heartbeat
	wall   func() time.Time          // the agent's wall clock
	awake  awake
	stale  bool // the engine remembers times by a clock that stood still
}

// NewWatcher makes a watcher of a server whose configuration was validated. It does not connect.
func NewWatcher(ctx context.Context, s Server) (*Watcher, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	e, err := s.engine(ctx)
	if err != nil {
		return nil, err
	}
	w := &Watcher{server: s, engine: e, memory: map[string]replica.Memory{}, wall: time.Now}
	if e.heartbeats != nil {
		w.beats = newBeats(&w.server, e.heartbeats, openEpochs("", nil))
		if e.beatsFrom != nil {
			e.beatsFrom(w.beats.look)
		}
	}
	return w, nil
}

// Look looks once and tells the status of each link's end, in the order of the configuration, whatever happens.
func (w *Watcher) Look(ctx context.Context) []replica.Status {
	stood := w.awake.gained(time.Now(), w.wall())
	look := replica.Look{Began: time.Now(), Interval: w.server.Interval, ClockErr: w.server.ClockError, ClockKnown: true}
	var reading sync.WaitGroup
	if w.beats != nil && w.engine.beatsFrom == nil {
		reading.Go(func() { _, _ = w.beats.look(ctx) }) // what it finds is true whenever the look ends; tell says why it finds nothing
	}
	seen := w.engine.look(ctx)
	reading.Wait()
	look.Ended = time.Now()
	if again := w.awake.gained(look.Ended, w.wall()); stood+again > 0 || w.stale {
		w.forget(ctx, stood+again)
		for i := range seen {
			seen[i].unknown(replica.ReasonClockSkew, fmt.Sprintf("this host stood still, or its clock was set forward, by %s: what was known before is forgotten", (stood+again).Round(time.Millisecond)))
			seen[i].Exposure, seen[i].LinkAge = replica.Opt[time.Duration]{}, replica.Opt[time.Duration]{}
		}
	} else if w.beats != nil {
		w.beats.tell(ctx, w.server.Links, w.server.Engine, seen, w.server.ClockError)
	}
	out := make([]replica.Status, 0, len(seen))
	for i, s := range seen {
		key := w.server.Links[i].key()
		look.Heartbeat = s.beat
		status, memory := replica.Settle(s.Sighting, w.memory[key], look)
		w.memory[key] = memory
		out = append(out, status)
	}
	return out
}

// forget takes away what is only known by the clock that stood still for so long: what the engine remembers, when the own beats
// were written, and until when copies were complete, which may have been so much earlier. What bounds a lag from below stays: it
// may only be too low.
func (w *Watcher) forget(ctx context.Context, stood time.Duration) {
	for key, m := range w.memory {
		if !m.CompleteTo.IsZero() {
			m.CompleteTo = m.CompleteTo.Add(-stood)
		}
		w.memory[key] = m
	}
	w.stale = w.renew(ctx) != nil // the next look tries again
	if w.beats != nil && w.beats.enter(ctx) {
		w.beats.sent, w.beats.echoed = heartbeat.Sent{}, map[string]echoed{}
		w.beats.leave()
	}
}

// renew replaces the engine by one that remembers nothing.
func (w *Watcher) renew(ctx context.Context) error {
	e, err := w.server.engine(ctx)
	if err != nil {
		return err
	}
	if e.heartbeats != nil {
		e.heartbeats.Close() // that of the old one goes on
	}
	w.engine.close()
	e.heartbeats = w.engine.heartbeats
	if w.engine = e; w.beats != nil && e.beatsFrom != nil {
		e.beatsFrom(w.beats.look)
	}
	return nil
}

// awake notices that the monotonic clock stood still, as it does while a host is suspended and often while a virtual machine is
// paused, by the wall clock that did not, or was set right afterwards. A wall clock that is set forward for another reason looks alike.
type awake struct {
	at, wall time.Time
}

// standstill is the least gain of the wall clock between two calls that counts: more than clocks are slewed by in ten seconds.
const standstill = 200 * time.Millisecond

// gained is by how much the wall clock gained on the monotonic one since the call before; 0 when it is no more than it may.
func (a *awake) gained(at, wall time.Time) time.Duration {
	before := *a
	a.at, a.wall = at, wall.Round(0)
	if before.at.IsZero() {
		return 0
	}
	if gain := a.wall.Sub(before.wall) - at.Sub(before.at); gain >= standstill {
		return gain
	}
	return 0
}

// Close ends the connections.
func (w *Watcher) Close() {
	w.engine.close()
	if w.beats != nil {
		w.beats.store.Close()
	}
}
