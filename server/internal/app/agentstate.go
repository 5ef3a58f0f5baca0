package app

import (
	"sync"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// world is the topology of now, and wakes those who wait for it to change.
type world struct {
	mu       sync.Mutex
	topology core.Topology
	changed  chan struct{} // closed and replaced at each change
}

func newWorld(t core.Topology) *world {
	return &world{topology: t, changed: make(chan struct{})}
}

// get is the topology, and a channel that closes when there is a newer one.
func (w *world) get() (core.Topology, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.topology, w.changed
}

func (w *world) current() core.Topology {
	t, _ := w.get()
	return t
}

// change makes it another one, and gives that.
func (w *world) change(f func(*core.Topology)) core.Topology {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.topology)
	close(w.changed)
	w.changed = make(chan struct{})
	return w.topology
}
