package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// KeepFor is how long closed records are kept.
const KeepFor = 90 * 24 * time.Hour

// trimBatch bounds what one Trim removes.
const trimBatch = 1000

// Trim removes some of the records that ended before the given time and returns how many keys that were;
// call it again until it is 0. What is removed: closed episodes with their decisions and notices, ended
// actions with their intents unless their episode is open or a routing state rests on them, declared changes, feedback, and lines.
// It works on a ledger that is full.
//
// Before anything is removed it is written to archive, a line of JSON for each record: key, revision and value. An error
// there keeps all of it. What was written may be written once more when the removal fails after it. A nil archive
// keeps nothing.
func (l *Ledger) Trim(ctx context.Context, before time.Time, archive io.Writer) (removed int, err error) {
	l.write.Lock()
	defer l.write.Unlock()
	if err := l.settle(ctx); err != nil {
		return 0, err
	}
	keys, err := l.old(ctx, before)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	// An episode's own key comes after its company, so a cut leaves it for the next call.
	keys = keys[:min(len(keys), maxOps)]
	if err := l.export(ctx, keys, archive); err != nil {
		return 0, err
	}
	b := &batch{}
	for _, key := range keys {
		b.remove(key)
	}
	if _, err := l.apply(ctx, b); err != nil {
		return 0, err
	}
	return len(keys), nil
}

// exported is one record in an archive.
type exported struct {
	Key      string          `json:"key"`
	Revision int64           `json:"revision"` // of its last change
	Value    json.RawMessage `json:"value"`
}

// export writes the records under the keys; what only points at records is left out.
func (l *Ledger) export(ctx context.Context, keys []string, archive io.Writer) error {
	if archive == nil {
		return nil
	}
	var out bytes.Buffer // one write, so that the archive is synced once
	enc := json.NewEncoder(&out)
	for _, key := range keys {
		if strings.HasPrefix(key, prefixDecisionsOf) || strings.HasPrefix(key, prefixNoticesOf) || strings.HasPrefix(key, prefixTold) {
			continue
		}
		res, err := l.client.Get(ctx, key, clientv3.WithSerializable())
		if err != nil {
			return unavailable("the ledger does not answer", err)
		}
		for _, kv := range res.Kvs {
			if err := enc.Encode(exported{Key: key, Revision: kv.GetModRevision(), Value: kv.GetValue()}); err != nil {
				return fmt.Errorf("encode the record %s: %w", key, err)
			}
		}
	}
	if _, err := archive.Write(out.Bytes()); err != nil {
		return &core.Error{
			Code: core.CodeUnavailable, Message: "old records could not be archived, so they are kept", Err: err,
			Hint: "see whether the disk of the data directory is full",
		}
	}
	return nil
}

// old are the keys to remove. What belongs together is removed together, so there may be a few more than
// trimBatch.
func (l *Ledger) old(ctx context.Context, before time.Time) ([]string, error) {
	var keys []string
	open, inUse := map[string]bool{}, map[string]bool{}
	var closed []core.Episode
	if err := scan(ctx, l, prefixEpisode, 0, decode, func(e core.Episode) {
		if e.ClosedAt != nil && e.ClosedAt.Before(before) {
			closed = append(closed, e)
			return
		}
		open[e.ID] = true
	}); err != nil {
		return nil, err
	}
	if err := scan(ctx, l, prefixRouting, 0, decode, func(r core.Routing) { inUse[r.ActionID] = true }); err != nil {
		return nil, err
	}
	for _, e := range closed {
		if len(keys) >= trimBatch {
			return keys, nil
		}
		for _, index := range []struct{ of, to string }{
			{prefixDecisionsOf, prefixDecision},
			{prefixNoticesOf, prefixNotice},
		} {
			if err := l.pages(ctx, index.of+part(e.ID)+"/", 0, func(kv *mvccpb.KeyValue) error {
				keys = append(keys, string(kv.GetKey()), index.to+part(string(kv.GetValue())))
				return nil
			}); err != nil {
				return nil, err
			}
		}
		keys = append(keys, prefixEpisode+part(e.ID))
	}
	gone := map[string]bool{}
	if err := scan(ctx, l, prefixAction, 0, decode, func(a core.Action) {
		if a.State.Final() && a.EndedAt != nil && a.EndedAt.Before(before) && !open[a.EpisodeID] && !inUse[a.ID] &&
			len(gone) < trimBatch {
			gone[a.ID] = true
			keys = append(keys, prefixAction+part(a.ID))
		}
	}); err != nil {
		return nil, err
	}
	if err := scan(ctx, l, prefixIntent, 0, decodeIntent, func(i core.Intent) {
		if gone[i.ActionID] {
			keys = append(keys, prefixIntent+part(i.ID))
		}
	}); err != nil {
		return nil, err
	}
	if err := scan(ctx, l, prefixChange, 0, decode, func(c core.DeclaredChange) {
		if c.Until().Before(before) && len(keys) < trimBatch {
			key := changeKey(c.Site, c.ID)
			gone[key] = true
			keys = append(keys, key)
		}
	}); err != nil {
		return nil, err
	}
	if err := scan(ctx, l, prefixFeedback, 0, decode, func(f core.Feedback) {
		if f.At.Before(before) && len(keys) < trimBatch {
			keys = append(keys, feedbackKey(f))
		}
	}); err != nil {
		return nil, err
	}
	if err := scan(ctx, l, prefixTold, 0, decode, func(c core.ToldChange) {
		if gone[changeKey(c.Site, c.ID)] {
			keys = append(keys, toldKey(c.Site, c.ID))
		}
	}); err != nil {
		return nil, err
	}
	return l.oldLines(ctx, before, keys)
}

// oldLines adds lines, oldest first, until one is young enough or there are enough of them.
func (l *Ledger) oldLines(ctx context.Context, before time.Time, keys []string) ([]string, error) {
	res, err := l.client.Get(ctx, prefixLine, clientv3.WithPrefix(), clientv3.WithLimit(trimBatch))
	if err != nil {
		return nil, unavailable("the ledger does not answer", err)
	}
	for _, kv := range res.Kvs {
		line, err := decodeLine(kv)
		if err != nil {
			return nil, err
		}
		if len(keys) >= trimBatch || !line.At.Before(before) {
			break
		}
		keys = append(keys, string(kv.GetKey()))
	}
	return keys, nil
}

// relieve brings a ledger that is full, or nearly, back to service: superseded revisions are dropped, the
// file is rewritten without them, and the alarm is taken back. When it is still full, the next write raises
// the alarm again.
func (l *Ledger) relieve(ctx context.Context) error {
	if l.server == nil {
		return nil
	}
	size, quota := l.server.Server.Backend().Size(), l.server.Config().QuotaBackendBytes
	if l.alarm() == nil && size < quota-quota/8 {
		return nil
	}
	res, err := l.client.Get(ctx, keyIdentity)
	if err != nil {
		return unavailable("the ledger does not answer", err)
	}
	// Compaction at a revision that is compacted already is no trouble.
	_, _ = l.client.Compact(ctx, res.Header.GetRevision(), clientv3.WithCompactPhysical())
	if err := l.server.Server.Backend().Defrag(); err != nil {
		return unavailable("the ledger could not give space free", err)
	}
	if _, err := l.client.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		return unavailable("the ledger could not take its alarm back", err)
	}
	return nil
}
