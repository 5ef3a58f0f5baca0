package ledger

import (
	"context"
	"math"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Lines are the lines of the story with a Seq above afterSeq, oldest first, at most limit (0: all). The
// lines of one revision are never parted: there may be a few more than limit, so that the Seq of the last
// one is where to go on.
func (l *Ledger) Lines(ctx context.Context, afterSeq int64, limit int) ([]core.Line, error) {
	from, err := l.linesFrom(ctx, min(max(afterSeq, 0), math.MaxInt64-1))
	if err != nil {
		return nil, err
	}
	out := []core.Line{}
	end := clientv3.GetPrefixRangeEnd(prefixLine)
	rev := int64(0)
	for {
		res, err := l.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(rev),
			clientv3.WithSerializable())
		if err != nil {
			return nil, unavailable("the ledger does not answer", err)
		}
		for _, kv := range res.Kvs {
			seq := kv.GetCreateRevision()
			if limit > 0 && len(out) >= limit && out[len(out)-1].Seq != seq {
				return out, nil
			}
			line, err := decodeLine(kv)
			if err != nil {
				return nil, err
			}
			out = append(out, *line)
		}
		if !res.More {
			return out, nil
		}
		rev = res.Header.GetRevision()
		from = string(res.Kvs[len(res.Kvs)-1].GetKey()) + "\x00"
	}
}

// linesFrom is the key of the first line with a Seq above afterSeq, or one before which there is none. The revision in
// a key is a lower bound of the line's Seq, and both grow together: a line with a key before the bound and a Seq after
// it can only be among the last before the bound.
func (l *Ledger) linesFrom(ctx context.Context, afterSeq int64) (string, error) {
	from := lineKey(afterSeq+1, 0)
	for {
		res, err := l.client.Get(ctx, prefixLine, clientv3.WithRange(from), clientv3.WithLimit(64), clientv3.WithSerializable(),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
		if err != nil {
			return "", unavailable("the ledger does not answer", err)
		}
		for _, kv := range res.Kvs {
			if kv.GetCreateRevision() <= afterSeq {
				return from, nil
			}
			from = string(kv.GetKey())
		}
		if !res.More {
			return from, nil
		}
	}
}

// LastLines are the newest lines, at most limit, oldest first.
func (l *Ledger) LastLines(ctx context.Context, limit int) ([]core.Line, error) {
	if limit <= 0 {
		return []core.Line{}, nil
	}
	for back := int64(4 * limit); ; back *= 8 {
		from := max(l.Revision()-back, 0)
		lines, err := l.Lines(ctx, from, 0)
		if err != nil {
			return nil, err
		}
		if len(lines) >= limit || from == 0 {
			return lines[max(len(lines)-limit, 0):], nil
		}
	}
}
