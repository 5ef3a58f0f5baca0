package replicatest

import (
	"sort"
	"sync"
	"time"
)

// Journal is when each write of one writer was committed: the first, the second and so on. Safe for concurrent use.
type Journal struct {
	mu     sync.Mutex
	writes []span
}

// span is a moment that is known to lie between two others. A zero end: it may not have come.
type span struct{ began, ended time.Time }

// Commit notes one write. One that fails may have been committed, or not.
func (j *Journal) Commit(write func() error) error {
	j.mu.Lock()
	i := len(j.writes)
	j.writes = append(j.writes, span{began: time.Now()})
	j.mu.Unlock()
	err := write()
	j.mu.Lock()
	defer j.mu.Unlock()
	if err == nil {
		j.writes[i].ended = time.Now()
	}
	return err
}

// write is the n-th one, from 0 on.
func (j *Journal) write(n int) (span, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if n >= len(j.writes) {
		return span{}, false
	}
	return j.writes[n], true
}

// Copy is what was seen of a journal's writes at a copy. Safe for concurrent use.
type Copy struct {
	of *Journal

	mu    sync.Mutex
	reads []sight // in the order of time
}

// sight is a look at a copy: at some moment of it the first n writes could be read and no others.
type sight struct {
	span
	n int
}

// Copy is a new one of which nothing was seen yet.
func (j *Journal) Copy() *Copy { return &Copy{of: j} }

// Saw notes how many writes there were at a moment between two.
func (c *Copy) Saw(n int, began, ended time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads = append(c.reads, sight{span{began, ended}, n})
}

// Applied notes that at a moment between two the copy got what it lacked of n writes, where it tells that by itself.
func (c *Copy) Applied(n int, began, ended time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := 0
	if len(c.reads) > 0 {
		before = c.reads[len(c.reads)-1].n
	}
	c.reads = append(c.reads, sight{span{began, began}, before}, sight{span{ended, ended}, n})
}

// Lag encloses the true lag at a moment: the age of the oldest write that is committed and not at the copy, 0 when there is
// none. False: the copy was not seen before or not after the moment.
func (c *Copy) Lag(at time.Time) (least, most time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// What was read before the moment was there; what was not read by a look that began after it was not there.
	after := sort.Search(len(c.reads), func(i int) bool { return !c.reads[i].ended.Before(at) })
	later := after + sort.Search(len(c.reads)-after, func(i int) bool { return !c.reads[after+i].began.Before(at) })
	if after == 0 || later == len(c.reads) {
		return 0, 0, false
	}
	if w, ok := c.of.write(c.reads[after-1].n); ok {
		most = max(at.Sub(w.began), 0)
	}
	if w, ok := c.of.write(c.reads[later].n); ok && !w.ended.IsZero() {
		least = max(at.Sub(w.ended), 0)
	}
	return least, most, true
}

// arrived is since when at least the copy had at a moment what it had then: the link delivered something at that time.
func (c *Copy) arrived(at time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	after := sort.Search(len(c.reads), func(i int) bool { return !c.reads[i].ended.Before(at) })
	if after == 0 {
		return at
	}
	has := c.reads[after-1].n
	first := sort.Search(after, func(i int) bool { return c.reads[i].n >= has })
	return c.reads[max(first-1, 0)].began
}
