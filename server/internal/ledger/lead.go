package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// beat is what a leader writes again and again. That its ModRevision grows is the proof; the values are for people.
type beat struct {
	Replica string    `json:"replica"` // empty: whoever led has resigned
	Dir     string    `json:"dir,omitempty"`
	N       int64     `json:"n"`
	Since   time.Time `json:"since"`
}

// lead is what this replica knows of the leadership. See timing for why two never lead at the same time.
type lead struct {
	t       timing
	changed chan struct{} // one pending sign that something here changed

	mu     sync.Mutex
	until  time.Time // we lead until then, by the monotonic clock; zero: we do not
	mine   int64     // beats of our own so far
	since  time.Time // since when the present leader leads, as far as known here
	seen   beat      // the last beat of anybody
	rev    int64     // its ModRevision
	seenAt time.Time // when it was seen, by the monotonic clock
	wrote  time.Time // when this process last proved that a majority is there
	unfit  string    // why this replica had better not lead
	nudge  chan struct{}
}

func newLead(t timing) *lead {
	// Nothing seen yet counts as seen now: a process that has just begun waits a whole term.
	return &lead{t: t, changed: make(chan struct{}, 1), nudge: make(chan struct{}, 1), seenAt: time.Now()}
}

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Leading reports whether this process may decide and act now. It costs nothing; ask it again before each thing
// that others will feel. A server that is alone leads unless another took its ledger over.
func (l *Ledger) Leading() bool {
	if l.lead == nil {
		return !l.fenceLost.Load()
	}
	l.lead.mu.Lock()
	defer l.lead.mu.Unlock()
	return l.lead.leads(time.Now())
}

func (d *lead) leads(now time.Time) bool { return !d.until.IsZero() && now.Before(d.until) }

// LeadershipChanged gives a sign when somebody else leads, or nobody. Several changes may give one sign.
func (l *Ledger) LeadershipChanged() <-chan struct{} {
	if l.lead == nil {
		return nil
	}
	return l.lead.changed
}

// Leadership is who leads, as this replica knows it. It costs nothing.
func (l *Ledger) Leadership() core.Leadership {
	if l.lead == nil {
		out := core.Leadership{Quorum: !l.fenceLost.Load(), Leads: !l.fenceLost.Load()}
		if !out.Leads {
			out.Reason = "another server took this ledger over"
		}
		return out
	}
	d, now := l.lead, time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	out := core.Leadership{Self: l.self.Name, Quorum: !d.wrote.IsZero() && now.Sub(d.wrote) < d.t.term/2}
	switch {
	case d.leads(now):
		out.Leads, out.Leader, out.Since = true, l.self.Name, d.since
	case d.seen.Replica != "" && d.seen.Replica != l.self.Name && now.Sub(d.seenAt) < d.t.term:
		out.Leader, out.Since = d.seen.Replica, d.seen.Since
	}
	switch {
	case !out.Quorum && d.wrote.IsZero():
		out.Reason = "this replica has not reached a majority of the replicas since it started; when the others have one, and their ledger was " +
			"restored or begun anew meanwhile, this one joins them by replica replace"
	case !out.Quorum:
		out.Reason = fmt.Sprintf("this replica has not reached a majority of the replicas for %.0f s", now.Sub(d.wrote).Seconds())
	case out.Leader == "":
		out.Reason = "no replica leads now; one that sees well takes over " + d.t.term.String() + " after the last word of the leader, any other after twice that"
	}
	return out
}

// demote ends our leadership.
func (d *lead) demote() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.until.IsZero() {
		return
	}
	d.until = time.Time{}
	poke(d.changed)
}

// campaign leads when it can and tries when it may, until ctx is done.
func (l *Ledger) campaign(ctx context.Context) {
	d := l.lead
	for ctx.Err() == nil {
		d.mu.Lock()
		until := d.until
		d.mu.Unlock()
		switch {
		case until.IsZero():
			l.consider(ctx)
		case time.Now().After(until):
			d.demote()
			l.log.LogAttrs(ctx, slog.LevelWarn, "leadership given up: no majority answered in time")
			continue
		default:
			l.prove(ctx)
		}
		wait := d.t.beat
		if !until.IsZero() {
			wait = min(wait, max(time.Until(until), time.Millisecond))
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-d.nudge:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// prove writes the next beat under our fence. What counts is when it was begun.
func (l *Ledger) prove(ctx context.Context) {
	d, began := l.lead, time.Now()
	d.mu.Lock()
	d.mine++
	next, until := beat{Replica: l.self.Name, Dir: l.dirID, N: d.mine, Since: d.since}, d.until
	d.mu.Unlock()
	value, err := json.Marshal(next)
	if err != nil {
		return // it holds nothing that could fail to encode
	}
	// What was proposed to a member of etcd that has died is lost: one beat must leave time for another.
	if soon := began.Add(d.t.stop / 2); soon.Before(until) {
		until = soon
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	res, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(keyFence), "=", l.fence.Load())).
		Then(clientv3.OpPut(liveLead, string(value))).
		Else(clientv3.OpGet(keyFence)).
		Commit()
	if err != nil {
		return // until runs out, or the next beat gets through
	}
	l.saw(res.Header.GetRevision())
	if !res.Succeeded {
		kvs := res.Responses[0].GetResponseRange().GetKvs()
		if len(kvs) > 0 {
			if held, err := decode[fence](kvs[0]); err == nil && held.Incarnation == l.incarnation {
				return // settled in between: the fence is still ours, the next beat knows the new one
			}
		}
		_ = l.loseFence()
		l.log.LogAttrs(ctx, slog.LevelWarn, "leadership lost: another replica took over")
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.until.IsZero() {
		d.until, d.wrote = began.Add(d.t.stop), time.Now()
	}
}

// consider takes over when the leader has been silent for a term, or has resigned. A replica that had better not lead
// leaves the others a term more.
func (l *Ledger) consider(ctx context.Context) {
	d, now := l.lead, time.Now()
	d.mu.Lock()
	seen, rev, silent := d.seen, d.rev, now.Sub(d.seenAt)
	need := d.t.term + rand.N(d.t.beat/2)
	if seen.Replica == "" || (seen.Dir == l.dirID && seen.Replica == l.self.Name) {
		// Resigned, or nobody ever led; or our own from before a restart: we hold the lock on the directory, so it is over.
		// A copy of the directory under another name is another replica, and proves nothing of the first.
		need = rand.N(d.t.beat / 4)
	}
	if d.unfit != "" {
		need += d.t.term
	}
	d.mu.Unlock()
	if silent < need {
		return
	}
	if err := l.takeOver(ctx, rev, silent); err != nil && ctx.Err() == nil {
		l.log.LogAttrs(ctx, slog.LevelDebug, "leadership not taken", errAttr(err))
	}
}

// takeOver makes this replica the leader unless anybody has proved itself since the beat with the revision.
func (l *Ledger) takeOver(ctx context.Context, rev int64, silent time.Duration) error {
	l.write.Lock()
	defer l.write.Unlock()
	d, began := l.lead, time.Now()
	l.incarnation = randomID("")
	fence, err := l.fenceValue()
	if err != nil {
		return err
	}
	first := beat{Replica: l.self.Name, Dir: l.dirID, Since: began.UTC()}
	value, err := json.Marshal(first)
	if err != nil {
		return fmt.Errorf("encode a beat: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, d.t.stop/2)
	defer cancel()
	res, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(liveLead), "=", rev)).
		Then(clientv3.OpPut(keyFence, fence), clientv3.OpPut(liveLead, string(value))).
		Else(clientv3.OpGet(liveLead)).
		Commit()
	if err != nil {
		return unavailable("the ledger did not take the new leader", err)
	}
	l.saw(res.Header.GetRevision())
	if !res.Succeeded {
		for _, kv := range res.Responses[0].GetResponseRange().GetKvs() {
			l.sawBeat(kv)
		}
		return nil
	}
	l.fence.Store(res.Header.GetRevision())
	l.fenceLost.Store(false)
	l.doubtful = false
	d.mu.Lock()
	d.until, d.since, d.mine, d.wrote = began.Add(d.t.stop), first.Since, 0, time.Now()
	d.mu.Unlock()
	poke(d.changed)
	l.log.LogAttrs(ctx, slog.LevelInfo, "this replica leads now", slog.Duration("silent_for", silent))
	return nil
}

// sawBeat takes in the last beat, of whoever it is.
func (l *Ledger) sawBeat(kv *mvccpb.KeyValue) {
	b, err := decode[beat](kv)
	if err != nil {
		b = &beat{Replica: "?"} // of a version that writes it otherwise: somebody is there
	}
	d := l.lead
	d.mu.Lock()
	defer d.mu.Unlock()
	if kv.GetModRevision() <= d.rev {
		return
	}
	if d.seen.Replica != b.Replica {
		poke(d.changed)
	}
	d.seen, d.rev, d.seenAt = *b, kv.GetModRevision(), time.Now()
	if b.Replica == "" {
		poke(d.nudge)
	}
}

// resign ends our leadership so that another need not wait for a term; without one nothing happens. When it returns we
// do not lead.
func (l *Ledger) resign() {
	if l.lead == nil || !l.Leading() {
		return
	}
	l.write.Lock() // what is being written is written first
	defer l.write.Unlock()
	l.lead.demote()
	value, err := json.Marshal(beat{})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if _, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(keyFence), "=", l.fence.Load())).
		Then(clientv3.OpPut(liveLead, string(value))).
		Commit(); err != nil {
		l.log.LogAttrs(ctx, slog.LevelInfo, "resignation not written; the others take over after a term", errAttr(err))
	}
}

// Fit says whether this replica sees well enough to lead: unfit is why not, empty when it does. A leader that does not
// hands over when another replica could take its place; it stays when it is the only one, since operators' orders
// need somebody to take them.
func (l *Ledger) Fit(unfit string) {
	if l.lead == nil {
		return
	}
	l.lead.mu.Lock()
	l.lead.unfit = unfit
	l.lead.mu.Unlock()
	if unfit != "" && l.Leading() && l.anotherIsFit() {
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "leadership handed over", slog.String("why", unfit))
		l.resign()
	}
}

// anotherIsFit reports whether a replica that was heard lately counts and could lead.
func (l *Ledger) anotherIsFit() bool {
	for _, v := range l.Views() {
		if v.Replica != l.self.Name && v.Doubt() == "" && time.Since(v.Heard) < l.lead.t.term/2 {
			return true
		}
	}
	return false
}
