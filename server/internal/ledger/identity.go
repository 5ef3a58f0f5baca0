package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// fence is the value of the fence key. Its ModRevision is what counts; the value is for people.
type fence struct {
	Epoch       int64  `json:"epoch"`
	Incarnation string `json:"incarnation"` // random, new with every opening
}

// readIdentity reads who the ledger is, and on the first start decides it.
func (l *Ledger) readIdentity(ctx context.Context) error {
	fresh := core.Identity{ClusterID: randomID("c_"), Epoch: 1}
	value, err := json.Marshal(fresh)
	if err != nil {
		return fmt.Errorf("encode the identity: %w", err)
	}
	if err := l.relieve(ctx); err != nil {
		return err
	}
	res, err := l.client.Txn(ctx).
		If(clientv3.Compare(clientv3.CreateRevision(keyIdentity), "=", 0)).
		Then(clientv3.OpPut(keyIdentity, string(value))).
		Else(clientv3.OpGet(keyIdentity)).
		Commit()
	if err != nil {
		return unavailable("the ledger could not read its identity", err)
	}
	l.saw(res.Header.GetRevision())
	if res.Succeeded {
		l.ident = fresh
		return nil
	}
	ident, err := decode[core.Identity](res.Responses[0].GetResponseRange().GetKvs()[0])
	if err != nil {
		return err
	}
	l.ident = *ident
	return nil
}

// retakeFence takes the fence again, unless another process has it by now.
func (l *Ledger) retakeFence(ctx context.Context) error {
	if l.fenceLost {
		return lostFence()
	}
	res, err := l.client.Get(ctx, keyFence)
	if err != nil {
		return unavailable("the ledger does not answer", err)
	}
	l.saw(res.Header.GetRevision())
	if len(res.Kvs) == 0 {
		l.fenceLost = true
		return lostFence()
	}
	held, err := decode[fence](res.Kvs[0])
	if err != nil {
		return err
	}
	if held.Incarnation != l.incarnation {
		l.fenceLost = true
		return lostFence()
	}
	return l.putFence(ctx, clientv3.Compare(clientv3.ModRevision(keyFence), "=", res.Kvs[0].GetModRevision()))
}

// putFence makes this process the one that may write. The caller holds write.
func (l *Ledger) putFence(ctx context.Context, cmps ...clientv3.Cmp) error {
	value, err := json.Marshal(fence{Epoch: l.ident.Epoch, Incarnation: l.incarnation})
	if err != nil {
		return fmt.Errorf("encode the fence: %w", err)
	}
	res, err := l.client.Txn(ctx).If(cmps...).Then(clientv3.OpPut(keyFence, string(value))).Commit()
	if err != nil {
		return unavailable("the ledger could not take the fence", err)
	}
	l.saw(res.Header.GetRevision())
	if !res.Succeeded {
		// Either a late put of ours or another process: the next try finds out which.
		return unavailable("the fence moved while it was taken", nil)
	}
	l.fence, l.doubtful = res.Header.GetRevision(), false
	return nil
}

// topology is the value of the topology key.
type topology struct {
	Hash     string `json:"hash"`
	Revision int64  `json:"revision"`
}

// TopologyRevision is the number of the topology with this hash: the same as before for the hash given
// last, one more for another.
func (l *Ledger) TopologyRevision(ctx context.Context, hash string) (int64, error) {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.settle(ctx); err != nil {
		return 0, err
	}
	res, err := l.client.Get(ctx, keyTopology)
	if err != nil {
		return 0, unavailable("the ledger does not answer", err)
	}
	next := topology{Hash: hash, Revision: 1}
	if len(res.Kvs) > 0 {
		last, err := decode[topology](res.Kvs[0])
		if err != nil {
			return 0, err
		}
		if last.Hash == hash {
			return last.Revision, nil
		}
		next.Revision = last.Revision + 1
	}
	value, err := json.Marshal(next)
	if err != nil {
		return 0, fmt.Errorf("encode the topology revision: %w", err)
	}
	b := &batch{}
	b.put(keyTopology, string(value))
	if _, err := l.apply(ctx, b); err != nil {
		return 0, err
	}
	return next.Revision, nil
}

// randomID is a prefix and 128 random bits.
func randomID(prefix string) string {
	return prefix + strings.ToLower(rand.Text())
}
