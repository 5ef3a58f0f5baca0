package postgresql

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

var _ heartbeat.Store = (*Heartbeat)(nil)

// storeSQL is one statement, so that its rows are of one moment.
const storeSQL = `
SELECT 'beat' AS kind, origin_site AS a, '' AS b, writer_epoch AS epoch, seq, ts_us AS us, interval_ms::bigint AS n, '' AS value
FROM public.evenkeel_heartbeat
UNION ALL SELECT 'echo', observer_site, origin_site, origin_epoch, origin_seq, observer_ts_us, 0, '' FROM public.evenkeel_echo
UNION ALL SELECT 'canary', origin_site, '', writer_epoch, seq, 0, slot, value FROM public.evenkeel_canary
UNION ALL SELECT 'readonly', '', '', 0, 0, 0, 0, '' WHERE current_setting('transaction_read_only') = 'on'`

// storeRow is a row of storeSQL.
type storeRow struct {
	Kind, A, B        string
	Epoch, Seq, US, N int64
	Value             string
}

// Rows reads what is in the tables, all of one moment.
func (h *Heartbeat) Rows(ctx context.Context, _ heartbeat.Names) (heartbeat.Rows, error) {
	out := heartbeat.Rows{Whole: true}
	err := h.hold(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := query[storeRow](ctx, conn, storeSQL)
		for _, r := range rows {
			switch r.Kind {
			case "beat":
				out.Beats = append(out.Beats, heartbeat.Beat{Origin: r.A, Epoch: r.Epoch, Seq: r.Seq, At: time.UnixMicro(r.US), Interval: time.Duration(r.N) * time.Millisecond})
			case "echo":
				out.Echoes = append(out.Echoes, heartbeat.Echo{Observer: r.A, Origin: r.B, Epoch: r.Epoch, Seq: r.Seq, At: time.UnixMicro(r.US)})
			case "canary":
				out.Canaries = append(out.Canaries, heartbeat.Canary{Origin: r.A, Slot: r.N, Epoch: r.Epoch, Seq: r.Seq, Value: r.Value})
			default:
				out.ReadOnly = true
			}
		}
		return err
	})
	return out, err
}

// putSQL writes nothing where the row there is not older.
const putSQL = `
WITH beat AS (
  INSERT INTO public.evenkeel_heartbeat AS h (origin_site, writer_epoch, seq, ts_us, interval_ms) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (origin_site) DO UPDATE SET writer_epoch = EXCLUDED.writer_epoch, seq = EXCLUDED.seq, ts_us = EXCLUDED.ts_us, interval_ms = EXCLUDED.interval_ms
  WHERE h.writer_epoch < EXCLUDED.writer_epoch OR (h.writer_epoch = EXCLUDED.writer_epoch AND h.seq < EXCLUDED.seq)
  RETURNING 1),
canary AS (
  INSERT INTO public.evenkeel_canary (origin_site, slot, writer_epoch, seq, value)
  SELECT $1, $6::int, $2, $3, $7 FROM beat
  ON CONFLICT (origin_site, slot) DO UPDATE SET writer_epoch = EXCLUDED.writer_epoch, seq = EXCLUDED.seq, value = EXCLUDED.value),
echo AS (
  INSERT INTO public.evenkeel_echo (observer_site, origin_site, origin_epoch, origin_seq, observer_ts_us)
  SELECT $1, e.origin, e.epoch, e.seq, e.us FROM unnest($8::text[], $9::bigint[], $10::bigint[], $11::bigint[]) AS e(origin, epoch, seq, us), beat
  ON CONFLICT (observer_site, origin_site) DO UPDATE SET origin_epoch = EXCLUDED.origin_epoch, origin_seq = EXCLUDED.origin_seq,
    observer_ts_us = EXCLUDED.observer_ts_us)
SELECT count(*) FROM beat`

// Put writes the beat, its canary and the echoes in one transaction. The observer of the echoes is the beat's origin.
func (h *Heartbeat) Put(ctx context.Context, b heartbeat.Beat, echoes []heartbeat.Echo) error {
	origins, epochs, seqs, stamps := []string{}, []int64{}, []int64{}, []int64{}
	for _, e := range echoes {
		origins, epochs, seqs, stamps = append(origins, e.Origin), append(epochs, e.Epoch), append(seqs, e.Seq), append(stamps, e.At.UnixMicro())
	}
	c := b.Canary()
	return h.hold(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var n int
		err := conn.QueryRow(ctx, putSQL, b.Origin, b.Epoch, b.Seq, b.At.UnixMicro(), b.Interval.Milliseconds(), c.Slot, c.Value,
			origins, epochs, seqs, stamps).Scan(&n)
		var server *pgconn.PgError
		switch {
		case errors.As(err, &server) && server.Code == "25006":
			return errNotWritable
		case err == nil && n == 0:
			return errSplitBrain
		}
		return err
	})
}

// hold runs f as run does, and turns its error into a Failure.
func (h *Heartbeat) hold(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	err := h.run(ctx, f)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNotWritable):
		return &heartbeat.Failure{Reason: replica.ReasonRole, Detail: errNotWritable.Error()}
	case errors.Is(err, errSplitBrain):
		return &heartbeat.Failure{Reason: replica.ReasonSplitBrain, Detail: errSplitBrain.Error()}
	}
	reason, detail := explain(err)
	return &heartbeat.Failure{Reason: reason, Detail: detail}
}
