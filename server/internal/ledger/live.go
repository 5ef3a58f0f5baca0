package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// orderTTL is how long an order that nobody answers, and an answer that nobody reads, stay.
const orderTTL = 30 // seconds

// live is what the replicas tell each other now: observations and orders. Beats are in lead.
type live struct {
	mu      sync.Mutex
	views   map[string]core.ReplicaView
	orders  map[string]core.Order
	waiting map[string]chan core.Reply // orders given here
	ordered chan struct{}              // one pending sign that there is an order
	marks   []mark                     // own publications, oldest first
	spoke   time.Time                  // At of the last own publication
}

// mark is one publication of our own: whatever has a higher revision was written after it was begun. So the age of
// another replica's word is known by this machine's clock alone, also when it reaches us late, in a backlog.
type mark struct {
	rev   int64
	began time.Time
}

const keptMarks = 120

// writtenAfter is a time, by the monotonic clock, after which the revision was written; zero when none is known.
func (v *live) writtenAfter(rev int64) time.Time {
	for _, m := range slices.Backward(v.marks) {
		if m.rev < rev {
			return m.began
		}
	}
	return time.Time{}
}

func newLive() *live {
	return &live{
		views: map[string]core.ReplicaView{}, orders: map[string]core.Order{}, waiting: map[string]chan core.Reply{},
		ordered: make(chan struct{}, 1),
	}
}

// Publish tells the other replicas what this one sees.
func (l *Ledger) Publish(ctx context.Context, v core.ReplicaView) error {
	if l.lead == nil {
		return nil
	}
	v.Replica, v.Heard = l.self.Name, time.Time{}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode the observation: %w", err)
	}
	began := time.Now()
	res, err := l.client.Put(ctx, liveObservation+part(l.self.Name), string(value))
	if err != nil {
		return unavailable("the observation could not be published", err)
	}
	l.saw(res.Header.GetRevision())
	l.live.mu.Lock()
	l.live.marks = append(l.live.marks, mark{rev: res.Header.GetRevision(), began: began})
	l.live.marks = l.live.marks[max(0, len(l.live.marks)-keptMarks):]
	l.live.spoke = v.At
	l.live.mu.Unlock()
	l.lead.mu.Lock()
	l.lead.wrote = time.Now()
	l.lead.mu.Unlock()
	return nil
}

// Views are the last words of all replicas, sorted by name. How old a word is at the most says Heard, by this machine's
// clock; it is zero when nobody knows.
func (l *Ledger) Views() []core.ReplicaView {
	l.live.mu.Lock()
	defer l.live.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.live.views), func(a, b core.ReplicaView) int {
		return cmp.Compare(a.Replica, b.Replica)
	})
}

// Order hands a command to the replica that leads and waits for its reply until ctx is done. An error with
// CodeUnavailable means that it is not known whether it was carried out.
func (l *Ledger) Order(ctx context.Context, c core.Command) (core.Reply, error) {
	o := core.Order{ID: randomID("ord_"), Command: c, From: l.self.Name, Given: time.Now().UTC()}
	value, err := json.Marshal(o)
	if err != nil {
		return core.Reply{}, fmt.Errorf("encode the order: %w", err)
	}
	reply := make(chan core.Reply, 1)
	l.live.mu.Lock()
	l.live.waiting[o.ID] = reply
	l.live.mu.Unlock()
	defer func() {
		l.live.mu.Lock()
		delete(l.live.waiting, o.ID)
		l.live.mu.Unlock()
	}()
	lease, err := l.client.Grant(ctx, orderTTL)
	if err != nil {
		return core.Reply{}, unavailable("the order could not be handed to the leader, and was not", err)
	}
	if _, err := l.client.Put(ctx, liveOrder+part(o.ID), string(value), clientv3.WithLease(lease.ID)); err != nil {
		return core.Reply{}, unavailable("it is not known whether the leader got the order; look at the timeline", err)
	}
	select {
	case r := <-reply:
		return r, nil
	case <-ctx.Done():
		// Taken back, so that it is not carried out when nobody waits any more; unless it just was.
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		res, err := l.client.Delete(back, liveOrder+part(o.ID))
		if err == nil && res.Deleted == 1 {
			return core.Reply{}, unavailable("the leader did not answer in time; the order was taken back", ctx.Err())
		}
		return core.Reply{}, unavailable("it is not known whether the order was carried out; look at the timeline", ctx.Err())
	}
}

// Orders are those that wait for the leader, oldest first.
func (l *Ledger) Orders() []core.Order {
	l.live.mu.Lock()
	defer l.live.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.live.orders), func(a, b core.Order) int {
		return cmp.Or(a.Given.Compare(b.Given), cmp.Compare(a.ID, b.ID))
	})
}

// Ordered gives a sign when an order has come.
func (l *Ledger) Ordered() <-chan struct{} { return l.live.ordered }

// followLive keeps the memory of what is said now, until ctx is done.
func (l *Ledger) followLive(ctx context.Context) {
	for ctx.Err() == nil {
		res, err := l.client.Get(ctx, liveRoot, clientv3.WithPrefix(), clientv3.WithSerializable())
		if err != nil {
			l.pause(ctx)
			continue
		}
		l.saw(res.Header.GetRevision())
		l.forget(res.Kvs)
		for _, kv := range res.Kvs {
			l.takeLive(ctx, kv)
		}
		// Whoever is cut off from etcd's leader is to be told at once: a watch without it would say nothing.
		for res := range l.client.Watch(ctx, liveRoot, clientv3.WithPrefix(), clientv3.WithRev(res.Header.GetRevision()+1)) {
			if res.Err() != nil {
				break
			}
			l.saw(res.Header.GetRevision())
			for _, ev := range res.Events {
				if ev.Type == clientv3.EventTypeDelete {
					l.dropLive(string(ev.Kv.GetKey()))
					continue
				}
				l.takeLive(ctx, ev.Kv)
			}
		}
		l.pause(ctx)
	}
}

// forget drops the orders that are not among the keys.
func (l *Ledger) forget(kvs []*mvccpb.KeyValue) {
	there := map[string]bool{}
	for _, kv := range kvs {
		there[string(kv.GetKey())] = true
	}
	l.live.mu.Lock()
	defer l.live.mu.Unlock()
	maps.DeleteFunc(l.live.orders, func(id string, _ core.Order) bool { return !there[liveOrder+part(id)] })
}

func (l *Ledger) takeLive(ctx context.Context, kv *mvccpb.KeyValue) {
	key := string(kv.GetKey())
	var err error
	switch {
	case key == liveLead:
		l.sawBeat(kv)
	case strings.HasPrefix(key, liveObservation):
		var v *core.ReplicaView
		if v, err = decode[core.ReplicaView](kv); err == nil {
			l.live.mu.Lock()
			v.Heard = l.live.writtenAfter(kv.GetModRevision())
			l.live.views[v.Replica] = *v
			l.live.mu.Unlock()
		}
	case strings.HasPrefix(key, liveOrder):
		var o *core.Order
		if o, err = decode[core.Order](kv); err == nil {
			l.live.mu.Lock()
			o.After = l.live.writtenAfter(kv.GetModRevision())
			l.live.orders[o.ID] = *o
			l.live.mu.Unlock()
			poke(l.live.ordered)
		}
	case strings.HasPrefix(key, liveAnswer):
		var r *core.Reply
		if r, err = decode[core.Reply](kv); err == nil {
			l.live.mu.Lock()
			if c := l.live.waiting[strings.TrimPrefix(key, liveAnswer)]; c != nil {
				select {
				case c <- *r:
				default:
				}
			}
			l.live.mu.Unlock()
		}
	}
	if err != nil {
		l.log.LogAttrs(ctx, slog.LevelWarn, "word of another replica ignored", errAttr(err))
	}
}

func (l *Ledger) dropLive(key string) {
	l.live.mu.Lock()
	defer l.live.mu.Unlock()
	if id, ok := strings.CutPrefix(key, liveOrder); ok {
		delete(l.live.orders, id)
	}
	if name, ok := strings.CutPrefix(key, liveObservation); ok {
		delete(l.live.views, name)
	}
}
