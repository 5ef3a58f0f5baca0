package topology

import (
	"errors"
	"fmt"
	"sync"
)

// Errors of Offer that a caller may want to tell apart.
var (
	// ErrOlder means that the state is older than what the agent already works on.
	ErrOlder = errors.New("older than the state in use")
	// ErrSame means that the state is the one in use.
	ErrSame = errors.New("already in use")
	// ErrSite means that the state is meant for another site than this agent stands at.
	ErrSite = errors.New("meant for another site")
	// ErrCluster means that no fewer servers answer for the cluster in use.
	ErrCluster = errors.New("from another cluster")
)

// Board is where the current state hangs. The control extension puts it up, the probe receiver reads it. It
// outlives a reload of the pipeline. The zero value is an empty board. All methods may be called
// concurrently.
type Board struct {
	mu      sync.Mutex
	state   State
	known   bool
	changed chan struct{}
	// answers holds the cluster of each server's latest answer. Empty is a server that was not heard yet: it speaks
	// for the state in use. One that does not answer is not in it.
	answers map[string]string
}

// Current returns the state in use, whether there is one, and a channel that closes when it changes.
func (b *Board) Current() (State, bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.state, b.known, b.changed
}

// Expect says that the server is being asked from now on.
func (b *Board) Expect(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.answers[server]; !ok {
		b.answer(server, "")
	}
}

// Confirm notes that the server has nothing newer than the revision it was asked about.
func (b *Board) Confirm(server string, asked Revision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answer(server, asked.ClusterID)
}

// Offer puts up the state that a server answered with, if it is newer; server is empty for the state from
// disk. A state of another cluster (a server rebuilt from nothing, a ledger that was adopted under another name) is
// taken when more servers answer for that cluster than for the one in use. site is where this agent stands. keep is
// called with the raw answer before the state becomes visible; its error refuses the state, so what is in use
// is always on disk.
func (b *Board) Offer(server, site string, s State, keep func(raw []byte) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.Site != site {
		return fmt.Errorf("%w: the server takes this agent for %q, its settings say %q", ErrSite, s.Site, site)
	}
	if b.known {
		if err := b.judge(server, s); err != nil {
			return err
		}
	}
	if keep != nil {
		if err := keep(s.raw); err != nil {
			return fmt.Errorf("keep state: %w", err)
		}
	}
	b.answer(server, s.At.ClusterID)
	b.state, b.known = s, true
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return nil
}

func (b *Board) judge(server string, s State) error {
	b.answer(server, s.At.ClusterID)
	if s.At.ClusterID != b.state.At.ClusterID {
		offered, inUse := 0, 0
		for _, cluster := range b.answers {
			switch cluster {
			case s.At.ClusterID:
				offered++
			case b.state.At.ClusterID, "":
				inUse++
			}
		}
		if offered <= inUse {
			return fmt.Errorf("%w: offered %v by %d, have %v by %d", ErrCluster, s.At, offered, b.state.At, inUse)
		}
		return nil
	}
	switch s.At.Compare(b.state.At) {
	case -1:
		return fmt.Errorf("%w: offered %v, have %v", ErrOlder, s.At, b.state.At)
	case 0:
		return ErrSame
	}
	return nil
}

func (b *Board) answer(server, cluster string) {
	if server == "" {
		return
	}
	if b.answers == nil {
		b.answers = map[string]string{}
	}
	b.answers[server] = cluster
}

// Lost forgets what the server last answered: it does not answer any more.
func (b *Board) Lost(server string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.answers, server)
}
