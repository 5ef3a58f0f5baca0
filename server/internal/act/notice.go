package act

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Pager hands one notice to people, or to whoever wakes them. It makes one attempt; its errors are those of
// package remediations, and one of no known type is tried again.
type Pager interface {
	Page(ctx context.Context, n core.Notice) (Paged, error)
}

// Paged is what a Pager was answered.
type Paged struct {
	Status    int    // HTTP status, 0 without one
	Detail    string // redacted
	Cancelled bool   // not sent: something newer with the same deduplication key took its place
}

// Kinds of notices.
const (
	noticeUpdate  = "update"
	noticeResolve = "resolve"
)

// line is the queue of one deduplication key.
type line struct {
	queue []*core.Notice // the first one is being tried
	wake  chan struct{}  // the queue has changed
}

// Notify delivers a notice. It returns at once. A notice whose id is under way is not taken twice; of a finished one
// the state is reported again.
func (h *Hand) Notify(n core.Notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	round := h.ctx
	if state, ok := h.notices[n.ID]; ok {
		if state != "" {
			h.wg.Go(func() { h.tellNotice(round, n.ID, nil, state) })
		}
		return
	}
	h.notices[n.ID] = ""
	if h.o.Pager == nil {
		h.wg.Go(func() { h.settle(round, n.ID, nil, noticeNoChannel) })
		return
	}
	l, ok := h.lines[n.DedupKey]
	if !ok {
		l = &line{wake: make(chan struct{}, 1)}
		h.lines[n.DedupKey] = l
		key := n.DedupKey
		defer h.wg.Go(func() { h.work(round, key, l) })
	}
	l.queue = append(l.queue, &n)
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// work delivers the notices of one key, one after the other, and ends when there is none left.
func (h *Hand) work(ctx context.Context, key string, l *line) {
	for ctx.Err() == nil {
		n := h.head(ctx, key, l)
		if n == nil {
			return
		}
		h.deliverNotice(ctx, key, l, n)
	}
}

// head cancels what has been overtaken and returns the notice to be tried now; nil when the line is empty, which ends
// it.
func (h *Hand) head(ctx context.Context, key string, l *line) *core.Notice {
	h.mu.Lock()
	cancelled := l.prune()
	var first *core.Notice
	if len(l.queue) > 0 {
		first = l.queue[0]
	} else if h.lines[key] == l {
		delete(h.lines, key)
	}
	h.mu.Unlock()
	for _, n := range cancelled {
		h.settle(ctx, n.ID, nil, noticeCancelled)
	}
	return first
}

// prune takes out of the queue what need not be sent any more: everything before a resolve, and every update that
// a newer update follows. A trigger before an update stays: it opens the alert with its own words.
func (l *line) prune() (cancelled []*core.Notice) {
	var keep []*core.Notice
	resolved, updated := false, false
	for _, n := range slices.Backward(l.queue) {
		if resolved && n.Kind != noticeResolve || updated && n.Kind == noticeUpdate {
			cancelled = append([]*core.Notice{n}, cancelled...)
			continue
		}
		resolved = resolved || n.Kind == noticeResolve
		updated = n.Kind == noticeUpdate
		keep = append([]*core.Notice{n}, keep...)
	}
	l.queue = keep
	return cancelled
}

// deliverNotice tries one notice until it is accepted, cannot work, is overtaken or a day has passed.
func (h *Hand) deliverNotice(ctx context.Context, key string, l *line, n *core.Notice) {
	giveUp := time.Now().Add(h.timing.NoticeFor)
	before := 0 // attempts of an earlier process, whose numbers are taken
	for _, a := range n.Attempts {
		before = max(before, a.N)
	}
	for attempt := 1; ; attempt++ {
		if !h.allowed(ctx) {
			return
		}
		start := time.Now()
		bounded, cancel := context.WithTimeout(ctx, h.timing.Attempt)
		paged, err := h.o.Pager.Page(bounded, *n)
		cancel()
		if ctx.Err() != nil {
			return
		}
		a := &core.Attempt{N: before + attempt, At: start, LatencyMS: millis(time.Since(start)), Status: paged.Status, Detail: cut(paged.Detail, maxDetail)}
		wait, state := h.readPaged(a, paged, err)
		if state == "" && time.Now().Add(wait).After(giveUp) {
			state = noticeFailed
		}
		if state != "" {
			h.leave(l, n)
			h.settle(ctx, n.ID, a, state)
			return
		}
		if attempt == 1 {
			h.log.Warn("notice not delivered, trying again", slog.String("notice", n.ID), slog.String("detail", a.Detail))
		}
		h.tellNotice(ctx, n.ID, a, "")
		wait = max(wait, nth(h.timing.NoticeWaits, attempt-1))
		if !h.waitNotice(ctx, key, l, n, wait+jitter(wait)) {
			return
		}
	}
}

// readPaged fills in the attempt's result; state is empty when it is to be tried again, not before wait.
func (h *Hand) readPaged(a *core.Attempt, paged Paged, err error) (wait time.Duration, state string) {
	var (
		transient *remediations.Transient
		permanent *remediations.Permanent
	)
	switch {
	case err == nil && paged.Cancelled:
		a.Result = resultDone
		return 0, noticeCancelled
	case err == nil:
		a.Result = resultDone
		return 0, noticeSent
	case errors.As(err, &permanent):
		a.Result, a.Detail, a.Status = resultFailed, cut(err.Error(), maxDetail), permanent.Status
		h.log.Error("people cannot be paged", slog.String("detail", a.Detail))
		return 0, noticeFailed
	case errors.As(err, &transient):
		a.Result, a.Detail, a.Status = resultRetry, cut(err.Error(), maxDetail), transient.Status
		return transient.RetryAfter, ""
	}
	// Sending again is safe here: the deduplication key makes one alert of both.
	a.Result, a.Detail = resultUnknown, cut(err.Error(), maxDetail)
	return 0, ""
}

// waitNotice waits for the next attempt. It reports false when the notice was overtaken meanwhile or the hand
// is being closed.
func (h *Hand) waitNotice(ctx context.Context, key string, l *line, n *core.Notice, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		case <-l.wake:
			if h.head(ctx, key, l) != n {
				return false
			}
		}
	}
}

// leave takes a finished notice out of its queue, wherever newer ones have put it.
func (h *Hand) leave(l *line, n *core.Notice) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, q := range l.queue {
		if q == n {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			return
		}
	}
}

// settle reports and remembers the final state of a notice.
func (h *Hand) settle(ctx context.Context, id string, a *core.Attempt, state string) {
	h.mu.Lock()
	if ctx.Err() == nil {
		h.notices[id] = state
		h.told = append(h.told, id)
		if len(h.told) > remembered {
			delete(h.notices, h.told[0])
			h.told = h.told[1:]
		}
	}
	h.mu.Unlock()
	h.metrics.notices.WithLabelValues(state).Inc()
	h.tellNotice(ctx, id, a, state)
}

func (h *Hand) tellNotice(ctx context.Context, id string, a *core.Attempt, state string) {
	if ctx.Err() != nil {
		return
	}
	h.o.NoticeOutcomes(core.NoticeOutcome{NoticeID: id, At: time.Now(), Attempt: a, State: state})
}
