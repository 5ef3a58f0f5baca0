package pagerduty

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

// turn is one event on its way out.
type turn struct {
	action   Action
	priority int
	arrived  uint64
	index    int           // in the heap, -1 when not in it
	key      string        // deduplication key
	verdict  chan struct{} // closed once the event may be sent, or never will be
	state    State         // Replaced or Cancelled, StateUnknown when it may be sent
	orphan   bool          // a resolve whose trigger was not accepted
}

// lane is the order within one deduplication key: one event out, at most two behind it (an update and a resolve).
type lane struct {
	out    *turn   // being sent, or in the heap
	behind []*turn // in order of arrival
}

// waiting is the heap of events that need a token.
type waiting []*turn

func (w waiting) Len() int { return len(w) }
func (w waiting) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(w[i].priority, w[j].priority), cmp.Compare(w[i].arrived, w[j].arrived)) < 0
}

func (w waiting) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].index, w[j].index = i, j
}

// Push is for container/heap.
func (w *waiting) Push(x any) {
	t, _ := x.(*turn)
	t.index = len(*w)
	*w = append(*w, t)
}

// Pop is for container/heap.
func (w *waiting) Pop() any {
	old := *w
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	t.index = -1
	return t
}

func priority(e Event) int {
	switch {
	case e.Action == Resolve, e.Severity == Critical:
		return 0
	case e.Severity == Error:
		return 1
	case e.Severity == Warning:
		return 2
	}
	return 3
}

// wait returns the turn once the event may be sent; no turn when it will not be.
func (c *Client) wait(ctx context.Context, e Event) (*turn, State, error) {
	t := &turn{action: e.Action, priority: priority(e), index: -1, key: fitKey(e.DedupKey), verdict: make(chan struct{})}
	c.mu.Lock()
	c.enqueue(t)
	c.pump()
	c.mu.Unlock()
	select {
	case <-t.verdict:
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		select {
		case <-t.verdict: // it came at the same moment
			if t.state == StateUnknown && !t.orphan {
				c.finish(t, false)
			}
		default:
			c.remove(t)
		}
		return nil, StateUnknown, &remediations.Transient{Err: fmt.Errorf("not sent, waited for its turn: %w", ctx.Err())}
	}
	switch {
	case t.orphan:
		return nil, StateUnknown, &remediations.Transient{Err: ErrTriggerNotAccepted}
	case t.state != StateUnknown:
		return nil, t.state, nil
	}
	return t, StateUnknown, nil
}

// done ends a turn and lets the next event of its key go on.
func (c *Client) done(t *turn, accepted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish(t, accepted)
}

// enqueue finds the event's place. What still waits for a token gives way to it.
func (c *Client) enqueue(t *turn) {
	c.arrived++
	t.arrived = c.arrived
	l, ok := c.keys[t.key]
	if !ok {
		l = &lane{}
		c.keys[t.key] = l
	}
	gone := Replaced
	if t.action == Resolve {
		gone = Cancelled
	}
	yields := func(old *turn) bool {
		if old.action == Resolve && t.action != Resolve {
			return false // a trigger after a resolve is a new alert
		}
		old.state = gone
		if t.action != Resolve {
			// The newer words keep the older place and urgency: coalescing must not starve an alert.
			t.priority, t.arrived = min(t.priority, old.priority), old.arrived
		}
		close(old.verdict)
		return true
	}
	for n := len(l.behind); n > 0 && yields(l.behind[n-1]); n-- {
		l.behind = l.behind[:n-1]
	}
	if l.out != nil && l.out.index >= 0 && len(l.behind) == 0 && yields(l.out) {
		heap.Remove(&c.waiting, l.out.index)
		l.out = nil
	}
	if l.out != nil {
		l.behind = append(l.behind, t)
		return
	}
	l.out = t
	heap.Push(&c.waiting, t)
}

// pump hands out the tokens there are, and sets the timer for the next one.
func (c *Client) pump() {
	now := time.Now()
	for c.waiting.Len() > 0 && c.limiter.AllowN(now, 1) {
		t, _ := heap.Pop(&c.waiting).(*turn)
		close(t.verdict)
	}
	if c.waiting.Len() == 0 || c.timer != nil {
		return
	}
	missing := 1 - c.limiter.TokensAt(now)
	delay := time.Duration(missing/float64(c.limiter.Limit())*float64(time.Second)) + time.Millisecond
	c.timer = time.AfterFunc(delay, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timer = nil
		c.pump()
	})
}

// finish ends the event that is out and moves the lane on.
func (c *Client) finish(t *turn, accepted bool) {
	l := c.keys[t.key]
	if l == nil || l.out != t {
		return
	}
	l.out = nil
	for len(l.behind) > 0 && l.out == nil {
		next := l.behind[0]
		l.behind = l.behind[1:]
		if next.action == Resolve && t.action == Trigger && !accepted {
			next.orphan = true
			close(next.verdict)
			continue
		}
		l.out = next
		heap.Push(&c.waiting, next)
	}
	if l.out == nil {
		delete(c.keys, t.key)
	}
	c.pump()
}

// remove takes out an event whose caller has gone.
func (c *Client) remove(t *turn) {
	l := c.keys[t.key]
	if l == nil {
		return
	}
	if l.out == t {
		heap.Remove(&c.waiting, t.index)
		c.finish(t, false)
		return
	}
	for i, b := range l.behind {
		if b == t {
			l.behind = append(l.behind[:i], l.behind[i+1:]...)
			return
		}
	}
}
