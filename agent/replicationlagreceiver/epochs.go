package replicationlagreceiver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/evenkeel/evenkeel/agent/internal/topology"
)

// epochFile holds the highest epoch that a writer of this agent has begun.
const epochFile = "heartbeat.epoch"

// epochs keeps the highest epoch of all writers over restarts. A writer also begins above what is stored at its server, and above
// the time of its start, so that the loss of the file does no harm.
type epochs struct {
	path string // empty: it is not kept
	fail func(error)

	mu      sync.Mutex
	highest int64
	broken  bool
}

// openEpochs reads what an earlier run has kept; fail hears of what cannot be read or written, once at a time.
func openEpochs(dir string, fail func(error)) *epochs {
	e := &epochs{fail: fail}
	if dir == "" {
		return e
	}
	e.path = filepath.Join(dir, epochFile)
	raw, err := os.ReadFile(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		return e
	}
	if err == nil {
		e.highest, err = strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	}
	if err != nil || e.highest < 0 {
		e.highest = 0
		fail(fmt.Errorf("%s cannot be read, and is begun anew: %w", e.path, err))
	}
	return e
}

func (e *epochs) last() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.highest
}

// keep writes an epoch down before it is used, if it is a new one.
func (e *epochs) keep(epoch int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if epoch <= e.highest {
		return
	}
	e.highest = epoch
	if e.path == "" {
		return
	}
	err := topology.WriteFile(e.path, []byte(strconv.FormatInt(epoch, 10)+"\n"))
	if err != nil && !e.broken {
		e.fail(fmt.Errorf("the epoch of the heartbeat was not written down: %w", err))
	}
	e.broken = err != nil
}
