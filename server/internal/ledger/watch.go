package ledger

import (
	"context"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	levelError  = slog.LevelError
	watchBuffer = 256
	// A watcher that takes nothing for so long is cut off: etcd would keep everything for it in memory.
	watchPatience = 10 * time.Second
)

// Watch sends every change after the revision, in order; 0 is from now on. Removals are not sent.
//
// The channel is closed when ctx is done, when the ledger closes, when the reader does not keep up, and at
// once when the history after the revision is no longer kept. A reader whose ctx is not done has then
// missed something: read the records again and watch from Revision.
func (l *Ledger) Watch(ctx context.Context, afterRev int64) <-chan core.Event {
	out := make(chan core.Event, watchBuffer)
	rev := int64(0)
	if afterRev > 0 {
		rev = afterRev + 1
	}
	ctx, cancel := context.WithCancel(ctx)
	in := l.client.Watch(ctx, keyRoot, clientv3.WithPrefix(), clientv3.WithRev(rev), clientv3.WithFilterDelete(),
		clientv3.WithCreatedNotify())
	// Whoever asked from now on must not miss what is written after this call returns.
	first := <-in
	go func() {
		defer close(out)
		defer cancel()
		patience := time.NewTimer(watchPatience)
		defer patience.Stop()
		if l.forward(ctx, first, out, patience) != nil {
			return
		}
		for res := range in {
			if l.forward(ctx, res, out, patience) != nil {
				return
			}
		}
	}()
	return out
}

func (l *Ledger) forward(
	ctx context.Context, res clientv3.WatchResponse, out chan<- core.Event, patience *time.Timer,
) error {
	if err := res.Err(); err != nil {
		return err
	}
	if len(res.Events) > 0 {
		l.saw(res.Header.GetRevision())
	}
	events := make([]core.Event, 0, len(res.Events))
	for _, ev := range res.Events {
		change, ok, err := toChange(ev.Kv)
		if err != nil {
			l.log.LogAttrs(ctx, levelError, "record not sent to a watcher", errAttr(err))
			continue
		}
		if ok {
			events = append(events, core.Event{Rev: ev.Kv.GetModRevision(), Change: change})
		}
	}
	for i := range events {
		events[i].More = i+1 < len(events) && events[i+1].Rev == events[i].Rev
		patience.Reset(watchPatience)
		select {
		case out <- events[i]:
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			l.log.LogAttrs(ctx, slog.LevelWarn, "watcher cut off: it does not keep up")
			return context.DeadlineExceeded
		}
	}
	return nil
}

// pause keeps a loop over something broken from spinning.
func (l *Ledger) pause(ctx context.Context) {
	t := time.NewTimer(200 * time.Millisecond)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func errAttr(err error) slog.Attr { return slog.String("error", err.Error()) }
