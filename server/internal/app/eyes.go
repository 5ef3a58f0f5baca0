package app

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/health"
)

// eyes is the shared view on the tracker: facts and signals come in from many goroutines, one judges, and the
// hand looks at the edge. It holds its lock only for as long as the tracker computes.
type eyes struct {
	mu      sync.Mutex
	tracker *health.Tracker
	latest  atomic.Pointer[core.Observation]
	changed chan struct{} // one pending sign that there is something new
	now     func() time.Time
	lastRun time.Time
	// others are the configured number of replicas and their last words; nil: this server is alone.
	others func() (int, []core.ReplicaView)
}

func newEyes(replica string, topology core.Topology, now func() time.Time) *eyes {
	e := &eyes{tracker: health.New(replica, topology), changed: make(chan struct{}, 1), now: now}
	e.latest.Store(&core.Observation{Replica: replica, At: now()})
	return e
}

// Facts takes in what the fast lane brought.
func (e *eyes) Facts(facts []core.Fact) {
	at := e.now()
	e.mu.Lock()
	for _, f := range facts {
		e.tracker.Fact(f, at)
	}
	e.mu.Unlock()
	e.sign()
}

// Signals takes in what a detector says of some of its series.
func (e *eyes) Signals(signals []core.Signal) {
	matters := false
	e.mu.Lock()
	for _, s := range signals {
		if e.tracker.Signal(s) {
			matters = true
		}
	}
	e.mu.Unlock()
	if matters {
		e.sign()
	}
}

// Canary takes in whether this replica can reach what it ought to reach.
func (e *eyes) Canary(ok bool) {
	e.mu.Lock()
	e.tracker.Canary(ok, e.now())
	e.mu.Unlock()
}

// changes tells the tracker what is declared.
func (e *eyes) changes(declared []core.DeclaredChange) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tracker.Declared(declared)
}

func (e *eyes) sign() { poke(e.changed) }

// poke leaves one sign in a channel that holds one; a sign that is there already serves as well.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pulse keeps count of time, until ctx ends. The loop alone would not do: it waits for the ledger, and that is no pause.
func (e *eyes) pulse(ctx context.Context) {
	every(ctx, judgeEvery, func(time.Time) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.beat(e.now())
	})
}

// beat tells the tracker that this process was paused when it comes much later than it should, and that the clock jumped
// when the wall clock ran apart from the monotonic one. The lock is held.
func (e *eyes) beat(at time.Time) {
	if !e.lastRun.IsZero() {
		elapsed := at.Sub(e.lastRun) // monotonic
		if pause := elapsed - judgeEvery; pause > time.Second {
			e.tracker.Paused(pause, at)
		}
		wall := at.Round(0).Sub(e.lastRun.Round(0))
		if jump := (wall - elapsed).Abs(); jump > time.Second {
			e.tracker.ClockJumped(jump, at)
		}
	}
	e.lastRun = at
}

// judge makes the observation of now. It counts as a beat: it must not judge by what a pause has made old.
func (e *eyes) judge(routing []core.Routing) core.Observation {
	at := e.now()
	e.mu.Lock()
	e.beat(at)
	observation := e.tracker.Judge(at, routing)
	e.mu.Unlock()
	if e.others != nil {
		observation.Members, observation.Replicas = e.others()
	}
	e.latest.Store(&observation)
	return observation
}

// Observation is the latest one.
func (e *eyes) Observation() core.Observation { return *e.latest.Load() }

// Traffic is what the edge says now.
func (e *eyes) Traffic(site, service string) core.Traffic {
	for _, t := range e.latest.Load().Traffic {
		if t.Site == site && t.Service == service {
			return t
		}
	}
	return core.Traffic{Site: site, Service: service}
}

// TrafficSince is what the edge says of the time after since alone.
func (e *eyes) TrafficSince(site, service string, since time.Time) core.Traffic {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tracker.TrafficSince(site, service, since)
}

// reckoning is what came of the alarms of detectors.
func (e *eyes) reckoning() core.Reckoning {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tracker.Reckoning()
}

// counts are the facts that were not judged, by why.
func (e *eyes) counts() health.Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tracker.Counts()
}
