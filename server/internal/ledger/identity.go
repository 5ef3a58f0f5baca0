package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// fence is the value of the fence key. Its ModRevision is what counts; the value is for people.
type fence struct {
	Epoch       int64  `json:"epoch"`
	Incarnation string `json:"incarnation"` // random, new with every opening
	Replica     string `json:"replica,omitempty"`
}

// readIdentity reads who the ledger is, and on the first start decides it, unless it is one that was restored.
func (l *Ledger) readIdentity(ctx context.Context, restored bool) error {
	if l.lead != nil {
		known, err := l.knownIdentity(ctx)
		if err != nil || known {
			return err
		}
		l.log.LogAttrs(ctx, slog.LevelInfo, "no ledger here yet, waiting until a majority of the replicas answers")
		if l.server != nil {
			if err := awaitEtcd(ctx, l.server); err != nil {
				return err
			}
		}
	}
	fresh := core.Identity{ClusterID: randomID("c_"), Epoch: 1}
	value, err := json.Marshal(fresh)
	if err != nil {
		return fmt.Errorf("encode the identity: %w", err)
	}
	if l.lead == nil {
		if err := l.relieve(ctx); err != nil {
			return err
		}
	}
	if restored {
		known, err := l.knownIdentity(ctx)
		if err == nil && !known {
			err = &core.Error{
				Code: core.CodeInvalid, Message: "the backup is of an etcd that is no ledger", Hint: "use a file written by 'evenkeel-server backup'",
			}
		}
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
		l.ident.Store(&fresh)
		return nil
	}
	ident, err := decode[core.Identity](res.Responses[0].GetResponseRange().GetKvs()[0])
	if err != nil {
		return err
	}
	l.ident.Store(ident)
	return nil
}

// knownIdentity reads the identity from this replica's own disk, which takes nobody else.
func (l *Ledger) knownIdentity(ctx context.Context) (bool, error) {
	res, err := l.client.Get(ctx, keyIdentity, clientv3.WithSerializable())
	if err != nil {
		return false, unavailable("the ledger could not read its identity", err)
	}
	l.saw(res.Header.GetRevision())
	if len(res.Kvs) == 0 {
		return false, nil
	}
	ident, err := decode[core.Identity](res.Kvs[0])
	if err != nil {
		return false, err
	}
	l.ident.Store(ident)
	return true, nil
}

// followIdentity hears of an adoption on any replica, until ctx is done.
func (l *Ledger) followIdentity(ctx context.Context) {
	for ctx.Err() == nil {
		// A watch that begins now and a reading after it miss nothing.
		in := l.client.Watch(ctx, keyIdentity, clientv3.WithCreatedNotify())
		<-in
		if _, err := l.knownIdentity(ctx); err == nil {
			for res := range in {
				if res.Err() != nil {
					break
				}
				for _, ev := range res.Events {
					if ident, err := decode[core.Identity](ev.Kv); err == nil && ev.Type == clientv3.EventTypePut {
						l.ident.Store(ident)
					}
				}
			}
		}
		l.pause(ctx)
	}
}

// retakeFence takes the fence again, unless another process has it by now.
func (l *Ledger) retakeFence(ctx context.Context) error {
	if err := l.mayWrite(); err != nil {
		return err
	}
	res, err := l.client.Get(ctx, keyFence)
	if err != nil {
		return unavailable("the ledger does not answer", err)
	}
	l.saw(res.Header.GetRevision())
	if len(res.Kvs) == 0 {
		return l.loseFence()
	}
	held, err := decode[fence](res.Kvs[0])
	if err != nil {
		return err
	}
	if held.Incarnation != l.incarnation {
		return l.loseFence()
	}
	return l.putFence(ctx, clientv3.Compare(clientv3.ModRevision(keyFence), "=", res.Kvs[0].GetModRevision()))
}

// putFence makes this process the one that may write. The caller holds write.
func (l *Ledger) putFence(ctx context.Context, cmps ...clientv3.Cmp) error {
	value, err := l.fenceValue()
	if err != nil {
		return err
	}
	res, err := l.client.Txn(ctx).If(cmps...).Then(clientv3.OpPut(keyFence, value)).Commit()
	if err != nil {
		return unavailable("the ledger could not take the fence", err)
	}
	l.saw(res.Header.GetRevision())
	if !res.Succeeded {
		// Either a late put of ours or another process: the next try finds out which.
		return unavailable("the fence moved while it was taken", nil)
	}
	l.fence.Store(res.Header.GetRevision())
	l.doubtful = false
	return nil
}

func (l *Ledger) fenceValue() (string, error) {
	f := fence{Epoch: l.Identity().Epoch, Incarnation: l.incarnation}
	if l.self != nil {
		f.Replica = l.self.Name
	}
	value, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("encode the fence: %w", err)
	}
	return string(value), nil
}

// topology is the value of the topology key.
type topology struct {
	Hash     string `json:"hash"`
	Revision int64  `json:"revision"`
}

// TopologyRevision is the number of the topology with this hash: the same as before for the hash given
// last, one more for another. Any replica may ask; a hash that is the last one takes no majority. Another one is waited
// for: replicas are restarted with a new configuration one by one, in the middle of elections, or all at once.
func (l *Ledger) TopologyRevision(ctx context.Context, hash string) (int64, error) {
	last, _, err := l.lastTopology(ctx, clientv3.WithSerializable())
	if err != nil || last.Hash == hash {
		return last.Revision, err
	}
	for told := false; ; {
		revision, err := l.numberTopology(ctx, hash)
		var problem *core.Error
		if err == nil || l.lead == nil || !errors.As(err, &problem) || problem.Code != core.CodeUnavailable {
			return revision, err
		}
		if !told {
			told = true
			l.log.LogAttrs(ctx, slog.LevelWarn, "the configuration is new, and waits for a majority of the replicas to be numbered", errAttr(err))
		}
		select {
		case <-l.Failed():
			return 0, removed(err)
		default:
		}
		l.pause(ctx)
		if ctx.Err() != nil {
			return 0, err
		}
	}
}

func (l *Ledger) numberTopology(ctx context.Context, hash string) (int64, error) {
	for {
		last, mod, err := l.lastTopology(ctx)
		if err != nil || last.Hash == hash {
			return last.Revision, err
		}
		next := topology{Hash: hash, Revision: last.Revision + 1}
		value, err := json.Marshal(next)
		if err != nil {
			return 0, fmt.Errorf("encode the topology revision: %w", err)
		}
		res, err := l.client.Txn(ctx).
			If(clientv3.Compare(clientv3.ModRevision(keyTopology), "=", mod)).
			Then(clientv3.OpPut(keyTopology, string(value))).
			Commit()
		if err != nil {
			return 0, unavailable("the ledger could not number the configuration", err)
		}
		l.saw(res.Header.GetRevision())
		if res.Succeeded {
			return next.Revision, nil
		}
	}
}

func (l *Ledger) lastTopology(ctx context.Context, opts ...clientv3.OpOption) (last topology, mod int64, err error) {
	res, err := l.client.Get(ctx, keyTopology, opts...)
	if err != nil {
		return last, 0, unavailable("the ledger does not answer", err)
	}
	l.saw(res.Header.GetRevision())
	if len(res.Kvs) == 0 {
		return last, 0, nil
	}
	t, err := decode[topology](res.Kvs[0])
	if err != nil {
		return last, 0, err
	}
	return *t, res.Kvs[0].GetModRevision(), nil
}

// randomID is a prefix and 128 random bits.
func randomID(prefix string) string {
	return prefix + strings.ToLower(rand.Text())
}
