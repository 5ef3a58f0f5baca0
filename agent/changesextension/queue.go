package changesextension

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/topology"
)

const (
	fileName = "changes.json"
	// mostWaiting bounds what is kept; it is on disk and in memory, half a kilobyte each.
	mostWaiting = 200
	// worthTelling is how long after its end a change is still told of.
	worthTelling = time.Hour
)

// waiting is a change and the servers that have not heard of it.
type waiting struct {
	Change  Change   `json:"change"`
	Servers []string `json:"servers"`
}

var (
	errFull  = errors.New("too many changes wait for a server: see the agent's log for why none takes them")
	errOther = errors.New("another change has this id: give a new change a new id")
)

// queue is what was taken and not delivered, oldest first. It is safe for concurrent use.
type queue struct {
	mu   sync.Mutex
	path string
	list []waiting
}

// openQueue takes up what an earlier run has left. Servers that are not configured any more are forgotten. A file that
// cannot be read costs what was in it, not the start.
func openQueue(dir string, servers []string) (*queue, error) {
	q := &queue{path: filepath.Join(dir, fileName)}
	raw, err := os.ReadFile(q.path)
	if errors.Is(err, fs.ErrNotExist) {
		return q, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &q.list)
	}
	if err != nil {
		q.list = nil
		return q, err
	}
	for i := range q.list {
		q.list[i].Servers = slices.DeleteFunc(q.list[i].Servers, func(s string) bool { return !slices.Contains(servers, s) })
	}
	q.tidy()
	return q, nil
}

// add keeps a change for the servers. It is on disk when add returns without an error. The same change again is the same.
func (q *queue) add(c Change, servers []string, now time.Time) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire(now)
	for _, w := range q.list {
		if w.Change.ID == c.ID {
			if w.Change.What != c.What || w.Change.Service != c.Service {
				return errOther
			}
			return nil
		}
	}
	if len(q.list) >= mostWaiting {
		return errFull
	}
	q.list = append(q.list, waiting{Change: c, Servers: slices.Clone(servers)})
	if err := q.keep(); err != nil {
		q.list = q.list[:len(q.list)-1]
		return err
	}
	return nil
}

// next is the oldest change that a server has not heard of; ok is false when there is none.
func (q *queue) next(server string, now time.Time) (c Change, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.expire(now)
	for _, w := range q.list {
		if slices.Contains(w.Servers, server) {
			return w.Change, true
		}
	}
	return Change{}, false
}

// done takes a server off a change.
func (q *queue) done(id, server string) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.list {
		if w.Change.ID == id {
			q.list[i].Servers = slices.DeleteFunc(w.Servers, func(s string) bool { return s == server })
		}
	}
	q.tidy()
	return q.keep()
}

// all is what waits.
func (q *queue) all() []waiting {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make([]waiting, len(q.list))
	for i, w := range q.list {
		out[i] = waiting{Change: w.Change, Servers: slices.Clone(w.Servers)}
	}
	return out
}

func (q *queue) tidy() {
	q.list = slices.DeleteFunc(q.list, func(w waiting) bool { return len(w.Servers) == 0 })
}

func (q *queue) expire(now time.Time) {
	q.list = slices.DeleteFunc(q.list, func(w waiting) bool { return now.Sub(w.Change.End) > worthTelling })
}

func (q *queue) keep() error {
	raw, err := json.Marshal(q.list)
	if err != nil {
		return err
	}
	return topology.WriteFile(q.path, raw)
}
