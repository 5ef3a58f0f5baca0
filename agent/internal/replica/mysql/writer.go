package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// keepWrites is how many own heartbeats are remembered for echoes: an hour of one a second.
const keepWrites = 3600

// Heartbeat writes this site's heartbeats and echoes into one database. It has a connection of its own, with the right to
// write those two tables and no more. It is safe for concurrent use.
type Heartbeat struct {
	database string

	mu      sync.Mutex
	session session

	writesMu sync.Mutex // apart from mu: a look must not wait for a write
	writes   []write
}

// NewHeartbeat does not connect: the server may come later.
func NewHeartbeat(server Server, database string) (*Heartbeat, error) {
	if server.Address == "" || server.User == "" || database == "" {
		return nil, errors.New("a mysql heartbeat needs an address, a user and a database")
	}
	if server.Timeout <= 0 {
		server.Timeout = defaultTimeout
	}
	return &Heartbeat{database: database, session: session{server: server, writes: true}}, nil
}

// Close ends the connection. A later call opens a new one.
func (h *Heartbeat) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.session.close()
}

// Write commits a heartbeat. It is refused with ErrReadOnly where the server takes no writes, and with ErrSplitBrain when
// the row there is of a newer writer, or goes on from another one of the same epoch. Epochs grow at every start of a writer.
func (h *Heartbeat) Write(ctx context.Context, b Beat) error {
	at := time.Now()
	err := h.change(ctx, func(ctx context.Context, tx *sql.Tx) error { return h.put(ctx, tx, b) })
	if err != nil {
		return failure("write the heartbeat", err)
	}
	h.writesMu.Lock()
	defer h.writesMu.Unlock()
	h.writes = append(h.writes, write{b.Epoch, b.Seq, at})
	if n := len(h.writes); n > keepWrites {
		h.writes = append(h.writes[:0], h.writes[n-keepWrites:]...)
	}
	return nil
}

// put writes the row of a heartbeat, unless the one there is not older.
func (h *Heartbeat) put(ctx context.Context, tx *sql.Tx, b Beat) error {
	var epoch, seq int64
	err := tx.QueryRowContext(ctx, "SELECT writer_epoch, seq FROM "+quote(h.database)+
		".evenkeel_heartbeat WHERE origin_site = ? FOR UPDATE", b.Origin).Scan(&epoch, &seq)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	case epoch > b.Epoch || epoch == b.Epoch && seq >= b.Seq:
		return ErrSplitBrain
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO "+quote(h.database)+`.evenkeel_heartbeat
(origin_site, writer_epoch, seq, ts_us, interval_ms) VALUES (?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE
writer_epoch = VALUES(writer_epoch), seq = VALUES(seq), ts_us = VALUES(ts_us), interval_ms = VALUES(interval_ms)`,
		b.Origin, b.Epoch, b.Seq, b.At.UnixMicro(), b.Interval.Milliseconds())
	return err
}

// WriteEcho commits what the observer has applied of each origin; At is by the observer's clock.
func (h *Heartbeat) WriteEcho(ctx context.Context, echoes []Echo) error {
	err := h.change(ctx, func(ctx context.Context, tx *sql.Tx) error {
		for _, e := range echoes {
			_, err := tx.ExecContext(ctx, "INSERT INTO "+quote(h.database)+`.evenkeel_echo
(observer_site, origin_site, origin_epoch, origin_seq, observer_ts_us) VALUES (?, ?, ?, ?, ?) ON DUPLICATE KEY UPDATE
origin_epoch = VALUES(origin_epoch), origin_seq = VALUES(origin_seq), observer_ts_us = VALUES(observer_ts_us)`,
				e.Observer, e.Origin, e.Epoch, e.Seq, e.At.UnixMicro())
			if err != nil {
				return err
			}
		}
		return nil
	})
	return failure("write the echo", err)
}

// Read gives the newest heartbeat of each origin and the echoes that this server has.
func (h *Heartbeat) Read(ctx context.Context) ([]Beat, []Echo, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, h.session.server.Timeout)
	defer cancel()
	conn, err := h.session.open(ctx)
	if err != nil {
		return nil, nil, failure("read the heartbeats", err)
	}
	beats, echoes, err := readBeats(ctx, conn, h.database)
	out := make([]Beat, 0, len(beats))
	for _, b := range beats {
		out = append(out, b)
	}
	return out, echoes, failure("read the heartbeats", err)
}

// change runs a transaction, only where the server takes writes. An account that may write in spite of read_only must not
// write here either: the row would be of this server alone.
func (h *Heartbeat) change(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, h.session.server.Timeout)
	defer cancel()
	conn, err := h.session.open(ctx)
	if err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		h.session.close()
		return fmt.Errorf("begin: %w", err)
	}
	var readOnly bool
	err = tx.QueryRowContext(ctx, "SELECT @@global.read_only").Scan(&readOnly) // super_read_only sets it too
	if err == nil && readOnly {
		err = ErrReadOnly
	}
	if err == nil {
		err = do(ctx, tx)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		_ = tx.Rollback() // the first error tells more
		if ctx.Err() != nil {
			h.session.close()
		}
	}
	return err
}

func (h *Heartbeat) exposure(e Echo, at time.Time) replica.Opt[time.Duration] {
	h.writesMu.Lock()
	defer h.writesMu.Unlock()
	return exposed(e, h.writes, at)
}

// failure says what failed without the driver's words, which name users and hosts.
func failure(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrReadOnly), errors.Is(err, ErrSplitBrain):
		return fmt.Errorf("%s: %w", doing, err)
	}
	reason, detail := blame(err)
	return fmt.Errorf("%s: %s (%s)", doing, detail, reason)
}
