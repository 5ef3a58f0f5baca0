package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

var _ heartbeat.Store = (*Heartbeat)(nil)

// storeQuery is one statement, so that its rows are of one moment. The gaps are the database.
const storeQuery = `SELECT 'beat', origin_site, '', writer_epoch, seq, ts_us, interval_ms, '' FROM %[1]s.evenkeel_heartbeat
UNION ALL SELECT 'echo', observer_site, origin_site, origin_epoch, origin_seq, observer_ts_us, 0, '' FROM %[1]s.evenkeel_echo
UNION ALL SELECT 'canary', origin_site, '', writer_epoch, seq, 0, slot, value FROM %[1]s.evenkeel_canary
UNION ALL SELECT 'readonly', '', '', 0, 0, 0, 0, '' FROM DUAL WHERE @@global.read_only`

// Rows reads what is in the tables, all of one moment.
func (h *Heartbeat) Rows(ctx context.Context, _ heartbeat.Names) (heartbeat.Rows, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, h.session.server.Timeout)
	defer cancel()
	out, err := h.rows(ctx)
	if err != nil && ctx.Err() != nil {
		h.session.close()
	}
	return out, failed(err)
}

func (h *Heartbeat) rows(ctx context.Context) (heartbeat.Rows, error) {
	out := heartbeat.Rows{Whole: true}
	conn, err := h.session.open(ctx)
	if err != nil {
		return out, err
	}
	rows, err := conn.QueryContext(ctx, fmt.Sprintf(storeQuery, quote(h.database)))
	if err != nil {
		return out, fmt.Errorf("ask for the heartbeats: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var kind, a, b, value string
		var epoch, seq, us, n int64
		if err := rows.Scan(&kind, &a, &b, &epoch, &seq, &us, &n, &value); err != nil {
			return out, fmt.Errorf("read the heartbeats: %w", err)
		}
		switch kind {
		case "beat":
			out.Beats = append(out.Beats, heartbeat.Beat{Origin: a, Epoch: epoch, Seq: seq, At: time.UnixMicro(us), Interval: time.Duration(n) * time.Millisecond})
		case "echo":
			out.Echoes = append(out.Echoes, heartbeat.Echo{Observer: a, Origin: b, Epoch: epoch, Seq: seq, At: time.UnixMicro(us)})
		case "canary":
			out.Canaries = append(out.Canaries, heartbeat.Canary{Origin: a, Slot: n, Epoch: epoch, Seq: seq, Value: value})
		default:
			out.ReadOnly = true
		}
	}
	if err := rows.Err(); err != nil {
		return out, fmt.Errorf("read the heartbeats: %w", err)
	}
	return out, nil
}

// Put commits the beat, its canary and the echoes. The observer of the echoes is the beat's origin.
func (h *Heartbeat) Put(ctx context.Context, b heartbeat.Beat, echoes []heartbeat.Echo) error {
	return failed(h.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if err := h.put(ctx, tx, Beat{b.Origin, b.Epoch, b.Seq, b.At, b.Interval}); err != nil {
			return err
		}
		c := b.Canary()
		_, err := tx.ExecContext(ctx, "INSERT INTO "+quote(h.database)+`.evenkeel_canary
(origin_site, slot, writer_epoch, seq, value) VALUES (?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE
writer_epoch = VALUES(writer_epoch), seq = VALUES(seq), value = VALUES(value)`, c.Origin, c.Slot, c.Epoch, c.Seq, c.Value)
		if err != nil || len(echoes) == 0 {
			return err
		}
		var values []any
		for _, e := range echoes {
			values = append(values, b.Origin, e.Origin, e.Epoch, e.Seq, e.At.UnixMicro())
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO "+quote(h.database)+`.evenkeel_echo
(observer_site, origin_site, origin_epoch, origin_seq, observer_ts_us) VALUES (?, ?, ?, ?, ?)`+
			strings.Repeat(", (?, ?, ?, ?, ?)", len(echoes)-1)+` ON DUPLICATE KEY UPDATE
origin_epoch = VALUES(origin_epoch), origin_seq = VALUES(origin_seq), observer_ts_us = VALUES(observer_ts_us)`, values...)
		return err
	}))
}

// failed is an error without the driver's words.
func failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrReadOnly):
		return &heartbeat.Failure{Reason: replica.ReasonRole, Detail: ErrReadOnly.Error()}
	case errors.Is(err, ErrSplitBrain):
		return &heartbeat.Failure{Reason: replica.ReasonSplitBrain, Detail: ErrSplitBrain.Error()}
	}
	reason, detail := blame(err)
	return &heartbeat.Failure{Reason: reason, Detail: detail}
}
