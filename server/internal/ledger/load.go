package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	pageSize  = 500
	recentFor = 48 * time.Hour // how far back a snapshot keeps what has ended
)

// Load reads everything decide needs to go on, as it stood at one revision. Doubts about earlier commits
// are settled first: what is not in the snapshot will not appear later.
func (l *Ledger) Load(ctx context.Context) (core.Snapshot, error) {
	l.write.Lock()
	defer l.write.Unlock()
	var s core.Snapshot
	if err := l.settle(ctx); err != nil {
		return s, err
	}
	res, err := l.client.Get(ctx, keyBrake)
	if err != nil {
		return s, unavailable("the ledger does not answer", err)
	}
	s.Revision = res.Header.GetRevision()
	l.saw(s.Revision)
	l.loaded = l.incarnation
	if len(res.Kvs) > 0 {
		if s.Brake, err = decode[core.Brake](res.Kvs[0]); err != nil {
			return s, err
		}
	}
	return s, l.fill(ctx, &s, time.Now().Add(-recentFor))
}

func (l *Ledger) fill(ctx context.Context, s *core.Snapshot, since time.Time) error {
	known, open, inUse := map[string]bool{}, map[string]bool{}, map[string]bool{}
	err := cmp.Or(
		scan(ctx, l, prefixEpisode, s.Revision, decode, func(e core.Episode) {
			open[e.ID] = e.ClosedAt == nil
			if e.ClosedAt == nil || e.ClosedAt.After(since) {
				s.Episodes = append(s.Episodes, e)
			}
		}),
		scan(ctx, l, prefixRouting, s.Revision, decode, func(r core.Routing) {
			inUse[r.ActionID] = true
			s.Routing = append(s.Routing, r)
		}),
		// However old: who drained what is still drained says who may restore it.
		scan(ctx, l, prefixAction, s.Revision, decode, func(a core.Action) {
			if !a.State.Final() || a.EndedAt == nil || a.EndedAt.After(since) || open[a.EpisodeID] || inUse[a.ID] {
				s.Actions = append(s.Actions, a)
				known[a.ID] = true
			}
		}),
		scan(ctx, l, prefixIntent, s.Revision, decodeIntent, func(i core.Intent) {
			if known[i.ActionID] {
				s.Intents = append(s.Intents, i)
			}
		}),
		scan(ctx, l, prefixNotice, s.Revision, decode, func(n core.Notice) {
			if n.State == "pending" {
				s.Notices = append(s.Notices, n)
			}
		}),
		scan(ctx, l, prefixTold, s.Revision, decode, func(c core.ToldChange) { s.Told = append(s.Told, c) }),
	)
	slices.SortFunc(s.Episodes, func(a, b core.Episode) int {
		return cmp.Or(a.OpenedAt.Compare(b.OpenedAt), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(s.Actions, func(a, b core.Action) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(s.Intents, func(a, b core.Intent) int {
		return cmp.Or(cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
	})
	slices.SortFunc(s.Routing, func(a, b core.Routing) int { return a.Subject.Compare(b.Subject) })
	slices.SortFunc(s.Notices, func(a, b core.Notice) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID))
	})
	return err
}

// scan decodes every record under the prefix as of the revision, 0 for now, page by page.
func scan[T any](
	ctx context.Context, l *Ledger, prefix string, rev int64, dec func(*mvccpb.KeyValue) (*T, error), take func(T),
) error {
	return l.pages(ctx, prefix, rev, func(kv *mvccpb.KeyValue) error {
		v, err := dec(kv)
		if err != nil {
			return err
		}
		take(*v)
		return nil
	})
}

func (l *Ledger) pages(ctx context.Context, prefix string, rev int64, take func(*mvccpb.KeyValue) error) error {
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	for {
		opts := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(rev)}
		if rev == 0 {
			opts = append(opts, clientv3.WithSerializable()) // what is here is good enough, also without a majority
		}
		res, err := l.client.Get(ctx, from, opts...)
		if err != nil {
			return unavailable("the ledger does not answer", err)
		}
		for _, kv := range res.Kvs {
			if err := take(kv); err != nil {
				return err
			}
		}
		if !res.More {
			return nil
		}
		rev = res.Header.GetRevision() // the same picture on every page
		from = string(res.Kvs[len(res.Kvs)-1].GetKey()) + "\x00"
	}
}
