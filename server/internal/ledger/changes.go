package ledger

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// maxChanges bounds the declared changes that are kept of one site: a pipeline that runs wild must not fill the ledger.
	maxChanges = 2000
	// dropChanges is how many go at once when a site has too many: the oldest of those that ended a day ago or earlier.
	dropChanges = 200
)

func changeKey(site, id string) string { return prefixChange + part(site) + "/" + part(id) }
func toldKey(site, id string) string   { return prefixTold + part(site) + "/" + part(id) }

// Declare keeps a declared change under its site and id, and returns what is kept; fresh is false when it was there. One
// that says something else under the same id is refused with CodeConflict. Of several replicas any may write it: it
// at most makes those who decide wait. c is checked by the caller.
func (l *Ledger) Declare(ctx context.Context, c core.DeclaredChange) (kept core.DeclaredChange, fresh bool, err error) {
	value, err := json.Marshal(c)
	if err != nil {
		return kept, false, fmt.Errorf("encode the change: %w", err)
	}
	if err := l.roomForChange(ctx, c.Site); err != nil {
		return kept, false, err
	}
	guard, done, err := l.freeGuard(ctx)
	if err != nil {
		return kept, false, err
	}
	defer done()
	key := changeKey(c.Site, c.ID)
	res, err := l.client.Txn(ctx).
		If(guard, clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).
		Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return kept, false, unavailable("the ledger could not record the change", err)
	}
	l.saw(res.Header.GetRevision())
	if res.Succeeded {
		return c, true, nil
	}
	kvs := res.Responses[0].GetResponseRange().GetKvs()
	if len(kvs) == 0 {
		return kept, false, l.lostFence()
	}
	old, err := decode[core.DeclaredChange](kvs[0])
	if err != nil {
		return kept, false, err
	}
	if !sameChange(*old, c) {
		return kept, false, &core.Error{
			Code: core.CodeConflict, Message: "another change has the id " + c.ID, Hint: "give a new change a new id",
		}
	}
	return *old, false, nil
}

// EndChange ends a declared change at a time, by somebody, and returns what is kept. One that is over stays as it is, but for an
// incident, which is taken back. Errors have
// CodeNotFound when the site has no change of the id.
func (l *Ledger) EndChange(ctx context.Context, site, id, by string, at time.Time) (core.DeclaredChange, error) {
	var none core.DeclaredChange
	key := changeKey(site, id)
	for {
		guard, done, err := l.freeGuard(ctx)
		if err != nil {
			return none, err
		}
		kept, ended, err := l.endChange(ctx, guard, key, by, at)
		done()
		if err != nil || ended {
			return kept, err
		}
	}
}

// endChange is one attempt; ended is false when somebody else wrote the record meanwhile.
func (l *Ledger) endChange(ctx context.Context, guard clientv3.Cmp, key, by string, at time.Time) (c core.DeclaredChange, ended bool, err error) {
	res, err := l.client.Get(ctx, key)
	if err != nil {
		return c, false, unavailable("the ledger does not answer", err)
	}
	if len(res.Kvs) == 0 {
		return c, false, &core.Error{Code: core.CodeNotFound, Message: "the site has no declared change of that id", Hint: "see evenkeel-server change list"}
	}
	kept, err := decode[core.DeclaredChange](res.Kvs[0])
	if err != nil {
		return c, false, err
	}
	if kept.Incident { // it is over; it is taken back
		at = kept.Start
	}
	if !at.Before(kept.Until()) {
		return *kept, true, nil
	}
	kept.EndedAt, kept.EndedBy = at, by
	value, err := json.Marshal(kept)
	if err != nil {
		return c, false, fmt.Errorf("encode the change: %w", err)
	}
	put, err := l.client.Txn(ctx).
		If(guard, clientv3.Compare(clientv3.ModRevision(key), "=", res.Kvs[0].GetModRevision())).
		Then(clientv3.OpPut(key, string(value))).
		Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		return c, false, unavailable("the ledger could not record the end of the change", err)
	}
	l.saw(put.Header.GetRevision())
	if put.Succeeded {
		return *kept, true, nil
	}
	if kvs := put.Responses[0].GetResponseRange().GetKvs(); len(kvs) == 1 && kvs[0].GetModRevision() == res.Kvs[0].GetModRevision() {
		return c, false, l.lostFence() // the record is as it was, so it was the guard
	}
	return c, false, nil
}

// sameChange says whether b is a retry of a. Who declared it and when is left out, as a retry may come through another
// token; so is a start that was not given, which is the time of the declaration.
func sameChange(a, b core.DeclaredChange) bool {
	if a.Service != b.Service || a.What != b.What || a.Source != b.Source || a.Maintenance != b.Maintenance || a.Incident != b.Incident {
		return false
	}
	return a.Start.Equal(b.Start) && a.End.Equal(b.End) ||
		b.Start.Equal(b.DeclaredAt) && (a.End.Equal(b.End) || a.End.Sub(a.Start) == b.End.Sub(b.Start))
}

// freeGuard is the condition of a write that is not the leader's alone; done must be called after it. A server that is
// alone must hold the fence as for every other write.
func (l *Ledger) freeGuard(ctx context.Context) (guard clientv3.Cmp, done func(), err error) {
	if l.lead != nil {
		return clientv3.Compare(clientv3.CreateRevision(keyIdentity), ">", 0), func() {}, nil
	}
	l.write.Lock()
	if err := l.settle(ctx); err != nil {
		l.write.Unlock()
		return guard, nil, err
	}
	return clientv3.Compare(clientv3.ModRevision(keyFence), "=", l.fence.Load()), l.write.Unlock, nil
}

// roomForChange drops old changes of a site that has too many.
func (l *Ledger) roomForChange(ctx context.Context, site string) error {
	prefix := prefixChange + part(site) + "/"
	res, err := l.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithSerializable())
	if err != nil {
		return unavailable("the ledger does not answer", err)
	}
	if res.Count < maxChanges {
		return nil
	}
	var old []core.DeclaredChange
	limit := time.Now().Add(-24 * time.Hour)
	if err := scan(ctx, l, prefix, 0, decode, func(c core.DeclaredChange) {
		if c.Until().Before(limit) && !c.Incident { // which is over from the start
			old = append(old, c)
		}
	}); err != nil {
		return err
	}
	if len(old) == 0 {
		return &core.Error{
			Code: core.CodeTooLarge, Message: fmt.Sprintf("%d changes of %s are kept already", maxChanges, site),
			Hint: "see with evenkeel-server change list what declares so many",
		}
	}
	slices.SortFunc(old, func(a, b core.DeclaredChange) int { return a.Until().Compare(b.Until()) })
	guard, done, err := l.freeGuard(ctx)
	if err != nil {
		return err
	}
	defer done()
	var ops []clientv3.Op
	for _, c := range old[:min(len(old), dropChanges)] {
		ops = append(ops, clientv3.OpDelete(changeKey(c.Site, c.ID)), clientv3.OpDelete(toldKey(c.Site, c.ID)))
	}
	if _, err := l.client.Txn(ctx).If(guard).Then(ops...).Commit(); err != nil {
		return unavailable("the ledger could not drop old changes", err)
	}
	return nil
}

// Changes are the newest declared changes by their start, newest first; limit 0 is all of them.
func (l *Ledger) Changes(ctx context.Context, limit int) ([]core.DeclaredChange, error) {
	out := []core.DeclaredChange{}
	if err := scan(ctx, l, prefixChange, 0, decode, func(c core.DeclaredChange) { out = append(out, c) }); err != nil {
		return nil, err
	}
	slices.SortFunc(out, func(a, b core.DeclaredChange) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(a.Site, b.Site), cmp.Compare(a.ID, b.ID))
	})
	if limit > 0 && len(out) > limit {
		out = out[:limit]
	}
	return out, nil
}
