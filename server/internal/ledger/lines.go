package ledger

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Lines are the lines of the story with a Seq above afterSeq, oldest first, at most limit (0: all). The
// lines of one revision are never parted: there may be a few more than limit, so that the Seq of the last
// one is where to go on.
func (l *Ledger) Lines(ctx context.Context, afterSeq int64, limit int) ([]core.Line, error) {
	from := lineKey(max(afterSeq, 0)+1, 0)
	out := []core.Line{}
	end := clientv3.GetPrefixRangeEnd(prefixLine)
	rev := int64(0)
	for {
		res, err := l.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(pageSize), clientv3.WithRev(rev))
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
