package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Commit writes all changes or none and returns the revision at which they stand: the Seq of the intents
// and lines among them. When it returns without an error the changes are on the disk.
//
// Of two changes to one record the later stands. Nothing is written for an empty list. Errors are
// *core.Error: CodeNotFound when an order that is answered is not there any more, CodeConflict when an intent is already recorded, when another process took the ledger over, or when this one began
// to lead anew since it has loaded,
// CodeTooLarge when the changes do not fit into one transaction, CodeInvalid for a change that is none,
// CodeUnavailable when the ledger cannot write or it is not known whether it did. After the last the
// caller must Load before it goes on; that settles the doubt.
func (l *Ledger) Commit(ctx context.Context, changes []core.Change) (revision int64, err error) {
	if len(changes) == 0 {
		return l.Revision(), nil
	}
	start := time.Now()
	l.write.Lock()
	defer l.write.Unlock()
	defer func() { l.metrics.commit(err, time.Since(start)) }()
	if err := l.settle(ctx); err != nil {
		return 0, err
	}
	if l.lead != nil && l.loaded != "" && l.loaded != l.incarnation {
		return 0, &core.Error{
			Code: core.CodeConflict, Message: "this replica began to lead anew since it has loaded the ledger, and another may have led between",
			Hint: "load the ledger again and go on from what it says",
		}
	}
	b, err := l.batch(changes)
	if err != nil {
		return 0, err
	}
	return l.apply(ctx, b)
}

// batch is a transaction in the making.
type batch struct {
	ops   map[string]clientv3.Op
	order []string // keys in the order of their first appearance
	once  []string
	taken []string
	bytes int
}

func (b *batch) put(key, value string) { b.set(key, clientv3.OpPut(key, value)) }
func (b *batch) remove(key string)     { b.set(key, clientv3.OpDelete(key)) }

// set keeps the last of several operations on one key: etcd refuses two in one transaction.
func (b *batch) set(key string, op clientv3.Op) {
	if b.ops == nil {
		b.ops = map[string]clientv3.Op{}
	}
	old, ok := b.ops[key]
	if !ok {
		b.order = append(b.order, key)
		b.bytes += len(key)
	}
	b.bytes += len(op.ValueBytes()) - len(old.ValueBytes())
	b.ops[key] = op
}

// batch encodes the changes.
func (l *Ledger) batch(changes []core.Change) (*batch, error) {
	b := &batch{}
	// A commit that fails for sure leaves the revision for the next; one in doubt is settled before the
	// next, which uses the revision up.
	rev, n := l.Revision()+1, 0
	nextLine := func() string {
		key := lineKey(rev, n)
		n++
		return key
	}
	for i, c := range changes {
		r, err := toRecord(c, nextLine)
		if err != nil {
			return nil, &core.Error{Code: core.CodeInvalid, Message: fmt.Sprintf("change %d of %d", i+1, len(changes)), Err: err}
		}
		if r.takes != "" {
			b.remove(r.takes)
			b.taken = append(b.taken, r.takes)
		}
		value, err := json.Marshal(r.value)
		if err != nil {
			return nil, &core.Error{Code: core.CodeInvalid, Message: "the record " + r.key + " cannot be written", Err: err}
		}
		if _, twice := b.ops[r.key]; twice && r.once {
			return nil, recorded(r.key)
		}
		if r.once {
			b.once = append(b.once, r.key)
		}
		b.put(r.key, string(value))
		switch {
		case r.index == "":
		case r.ended:
			b.remove(r.index)
		default:
			b.put(r.index, r.id)
		}
	}
	if len(b.order) > maxOps || b.bytes > maxBytes {
		return nil, &core.Error{
			Code: core.CodeTooLarge,
			Message: fmt.Sprintf("%d records of %d bytes do not fit into one commit of at most %d records and %d bytes",
				len(b.order), b.bytes, maxOps, maxBytes),
			Hint: "this is a defect: report it with the number of sites and services",
		}
	}
	return b, nil
}

// apply runs the batch as one transaction under the fence. The caller holds write.
func (l *Ledger) apply(ctx context.Context, b *batch) (int64, error) {
	if err := l.mayWrite(); err != nil {
		return 0, err
	}
	cmps := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(keyFence), "=", l.fence.Load())}
	for _, key := range b.once {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
	}
	for _, key := range b.taken {
		cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), ">", 0))
	}
	ops := make([]clientv3.Op, 0, len(b.order))
	for _, key := range b.order {
		ops = append(ops, b.ops[key])
	}
	why := []clientv3.Op{clientv3.OpGet(keyFence)}
	for _, key := range b.once {
		why = append(why, clientv3.OpGet(key, clientv3.WithKeysOnly()))
	}
	res, err := l.client.Txn(ctx).If(cmps...).Then(ops...).Else(why...).Commit()
	if err != nil {
		return 0, l.writeFailed(err)
	}
	rev := res.Header.GetRevision()
	l.saw(rev)
	if res.Succeeded {
		return rev, nil
	}
	if fence := res.Responses[0].GetResponseRange().GetKvs(); len(fence) == 0 || fence[0].GetModRevision() != l.fence.Load() {
		return 0, l.loseFence()
	}
	for i, key := range b.once {
		if len(res.Responses[i+1].GetResponseRange().GetKvs()) > 0 {
			return 0, recorded(key)
		}
	}
	if len(b.taken) > 0 {
		return 0, &core.Error{
			Code: core.CodeNotFound, Message: "the order is gone: it was answered, or its giver took it back",
			Hint: "it is not carried out",
		}
	}
	return 0, &core.Error{Code: core.CodeInternal, Message: "the ledger refused a commit without a reason"}
}

// writeFailed notes whether the write may have happened after all.
func (l *Ledger) writeFailed(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace), errors.Is(err, rpctypes.ErrCorrupt):
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return &core.Error{Code: core.CodeTooLarge, Message: "the changes do not fit into one commit", Err: err}
	default:
		l.doubtful = true
	}
	return unavailable("the ledger could not record", err)
}

// settle ends the doubt about earlier writes: once the fence is taken anew, a write still under way fails
// its comparison. The caller holds write.
func (l *Ledger) settle(ctx context.Context) error {
	if !l.doubtful {
		return nil
	}
	return l.retakeFence(ctx)
}

func recorded(key string) error {
	return &core.Error{
		Code: core.CodeConflict, Message: "the intent " + key[len(prefixIntent):] + " is already recorded",
		Hint: "an intent is written once; load the ledger again and go on from what it says",
	}
}

// mayWrite is nil while this process is the one that writes.
func (l *Ledger) mayWrite() error {
	switch {
	case l.fenceLost.Load():
		return l.lostFence()
	case l.lead != nil && !l.Leading():
		return l.lostFence()
	}
	return nil
}

// loseFence notes that another process writes now.
func (l *Ledger) loseFence() error {
	l.fenceLost.Store(true)
	if l.lead != nil {
		l.lead.demote()
	}
	return l.lostFence()
}

func (l *Ledger) lostFence() error {
	if l.lead != nil {
		return &core.Error{
			Code: core.CodeConflict, Message: "this replica does not lead",
			Hint: "the leader decides and writes; see who that is with: evenkeel-server replica list",
		}
	}
	return &core.Error{
		Code: core.CodeConflict, Message: "another server took this ledger over",
		Hint: "stop this server; only the newest opening of a ledger may write",
	}
}
