package replicationlagreceiver

import (
	"context"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Watcher looks at one server and remembers of each link what has to be remembered. One goroutine uses it; another one may write
// heartbeats meanwhile.
type Watcher struct {
	server Server
	engine engine
	memory map[string]replica.Memory // by the key of the link's end
	beats  *beats                    // nil: the server has no heartbeat
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
	w := &Watcher{server: s, engine: e, memory: map[string]replica.Memory{}}
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
	look := replica.Look{Began: time.Now(), Interval: w.server.Interval, ClockErr: w.server.ClockError, ClockKnown: true}
	var reading sync.WaitGroup
	if w.beats != nil && w.engine.beatsFrom == nil {
		reading.Go(func() { _, _ = w.beats.look(ctx) }) // what it finds is true whenever the look ends; tell says why it finds nothing
	}
	seen := w.engine.look(ctx)
	reading.Wait()
	look.Ended = time.Now()
	if w.beats != nil {
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

// Close ends the connections.
func (w *Watcher) Close() {
	w.engine.close()
	if w.beats != nil {
		w.beats.store.Close()
	}
}
