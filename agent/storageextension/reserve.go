package storageextension

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	reserveName = "reserve"
	reserveSize = 4 << 20
	// retake is how long a full disk is left alone before the room is asked for again.
	retake = 10 * time.Second
)

// reserve is a file that is only there to be given up: its room lets the queues go on with what they hold when the
// disk is full. It is safe for concurrent use.
type reserve struct {
	path  string
	mu    sync.Mutex
	held  bool
	tried time.Time
}

// hold takes the room if it is not held, and reports whether it is.
func (r *reserve) hold(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held || now.Sub(r.tried) < retake {
		return r.held
	}
	r.tried = now
	if info, err := os.Stat(r.path); err == nil && info.Size() == reserveSize {
		r.held = true
		return true
	}
	// Something has to be written: a file that is only long takes no room.
	if err := os.WriteFile(r.path, bytes.Repeat([]byte("reserve\n"), reserveSize/8), 0o600); err != nil {
		_ = os.Remove(r.path) // what was written of it
		return false
	}
	r.held = true
	return true
}

// whole reports whether the room is held, as far as is known.
func (r *reserve) whole() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held
}

// release gives the room up, also that of an earlier run.
func (r *reserve) release(now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tried, r.held = now, false
	if err := os.Remove(r.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("give up the reserve: %w", err)
	}
	return nil
}
