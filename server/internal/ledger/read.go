package ledger

import (
	"context"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Episodes are the newest episodes, newest first; limit 0 is all of them.
func (l *Ledger) Episodes(ctx context.Context, limit int) ([]core.Episode, error) {
	return newest(ctx, l, prefixEpisode, limit, decode[core.Episode])
}

// OpenEpisodes are the newest of the episodes that are not closed, newest first; limit 0 is all of them. It
// costs as much as there are open ones, however long the history is.
func (l *Ledger) OpenEpisodes(ctx context.Context, limit int) ([]core.Episode, error) {
	res, err := l.client.Get(ctx, prefixOpen, clientv3.WithPrefix(), clientv3.WithSerializable(), clientv3.WithLimit(int64(max(limit, 0))),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend))
	if err != nil {
		return nil, unavailable("the ledger does not answer", err)
	}
	return follow(ctx, l, res, prefixEpisode, decode[core.Episode])
}

// Episode is one episode; the error has CodeNotFound when there is none.
func (l *Ledger) Episode(ctx context.Context, id string) (core.Episode, error) {
	return one(ctx, l, prefixEpisode, "episode", id, decode[core.Episode])
}

// Decision is one decision; the error has CodeNotFound when there is none.
func (l *Ledger) Decision(ctx context.Context, id string) (core.Decision, error) {
	return one(ctx, l, prefixDecision, "decision", id, decode[core.Decision])
}

// Decisions are the decisions of an episode in their order.
func (l *Ledger) Decisions(ctx context.Context, episodeID string) ([]core.Decision, error) {
	return pointed(ctx, l, prefixDecisionsOf, prefixDecision, episodeID, decode[core.Decision])
}

// Notices are the notices of an episode in their order.
func (l *Ledger) Notices(ctx context.Context, episodeID string) ([]core.Notice, error) {
	return pointed(ctx, l, prefixNoticesOf, prefixNotice, episodeID, decode[core.Notice])
}

// Actions are the newest actions, newest first; limit 0 is all of them.
func (l *Ledger) Actions(ctx context.Context, limit int) ([]core.Action, error) {
	return newest(ctx, l, prefixAction, limit, decode[core.Action])
}

// Action is one action; the error has CodeNotFound when there is none.
func (l *Ledger) Action(ctx context.Context, id string) (core.Action, error) {
	return one(ctx, l, prefixAction, "action", id, decode[core.Action])
}

type decoder[T any] func(*mvccpb.KeyValue) (*T, error)

func one[T any](ctx context.Context, l *Ledger, prefix, noun, id string, dec decoder[T]) (out T, err error) {
	res, err := l.client.Get(ctx, prefix+part(id), clientv3.WithSerializable())
	if err != nil {
		return out, unavailable("the ledger does not answer", err)
	}
	if len(res.Kvs) == 0 {
		return out, &core.Error{
			Code: core.CodeNotFound, Message: "there is no " + noun + " " + id,
			Hint: "closed records are kept for 90 days",
		}
	}
	v, err := dec(res.Kvs[0])
	if err != nil {
		return out, err
	}
	return *v, nil
}

// newest sorts by the time of creation: ids are hashes and have no order.
func newest[T any](ctx context.Context, l *Ledger, prefix string, limit int, dec decoder[T]) ([]T, error) {
	res, err := l.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithSerializable(), clientv3.WithLimit(int64(max(limit, 0))),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend))
	if err != nil {
		return nil, unavailable("the ledger does not answer", err)
	}
	return decodeAll(res.Kvs, dec)
}

func pointed[T any](ctx context.Context, l *Ledger, index, prefix, id string, dec decoder[T]) ([]T, error) {
	res, err := l.client.Get(ctx, index+part(id)+"/", clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		return nil, unavailable("the ledger does not answer", err)
	}
	return follow(ctx, l, res, prefix, dec)
}

// follow reads the records that the keys of an index point at, as of the same revision.
func follow[T any](
	ctx context.Context, l *Ledger, res *clientv3.GetResponse, prefix string, dec decoder[T],
) ([]T, error) {
	kvs := make([]*mvccpb.KeyValue, 0, len(res.Kvs))
	for _, kv := range res.Kvs {
		got, err := l.client.Get(ctx, prefix+part(string(kv.GetValue())), clientv3.WithRev(res.Header.GetRevision()),
			clientv3.WithSerializable())
		if err != nil {
			return nil, unavailable("the ledger does not answer", err)
		}
		kvs = append(kvs, got.Kvs...)
	}
	return decodeAll(kvs, dec)
}

func decodeAll[T any](kvs []*mvccpb.KeyValue, dec decoder[T]) ([]T, error) {
	out := make([]T, 0, len(kvs))
	for _, kv := range kvs {
		v, err := dec(kv)
		if err != nil {
			return nil, err
		}
		out = append(out, *v)
	}
	return out, nil
}

// Routing is what was commanded, by subject; what is absent is active with weight 100.
func (l *Ledger) Routing(ctx context.Context) ([]core.Routing, error) {
	out := []core.Routing{}
	err := scan(ctx, l, prefixRouting, 0, decode, func(r core.Routing) { out = append(out, r) })
	slices.SortFunc(out, func(a, b core.Routing) int { return a.Subject.Compare(b.Subject) })
	return out, err
}

// Brake is the brake as it was last put; nil when it never was.
func (l *Ledger) Brake(ctx context.Context) (*core.Brake, error) {
	res, err := l.client.Get(ctx, keyBrake, clientv3.WithSerializable())
	if err != nil {
		return nil, unavailable("the ledger does not answer", err)
	}
	if len(res.Kvs) == 0 {
		return nil, nil //nolint:nilnil // absent is not an error
	}
	return decode[core.Brake](res.Kvs[0])
}
