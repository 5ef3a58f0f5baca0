package postgresql

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// HeartbeatDDL makes the tables. An administrator runs it once at each primary; they are replicated like any other.
// The free half of each page keeps a row that is written each second from growing the table.
const HeartbeatDDL = `CREATE TABLE IF NOT EXISTS public.evenkeel_heartbeat (
  origin_site  VARCHAR(64) PRIMARY KEY,
  writer_epoch BIGINT NOT NULL,
  seq          BIGINT NOT NULL,
  ts_us        BIGINT NOT NULL,
  interval_ms  INT    NOT NULL) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS public.evenkeel_echo (
  observer_site  VARCHAR(64) NOT NULL,
  origin_site    VARCHAR(64) NOT NULL,
  origin_seq     BIGINT NOT NULL,
  origin_epoch   BIGINT NOT NULL,
  observer_ts_us BIGINT NOT NULL,
  PRIMARY KEY (observer_site, origin_site)) WITH (fillfactor = 50);
CREATE TABLE IF NOT EXISTS public.evenkeel_canary (
  origin_site  VARCHAR(64) NOT NULL,
  slot         INT         NOT NULL,
  writer_epoch BIGINT      NOT NULL,
  seq          BIGINT      NOT NULL,
  value        VARCHAR(32) NOT NULL,
  PRIMARY KEY (origin_site, slot)) WITH (fillfactor = 50);
`

// Errors of a write.
const (
	// ErrNotWritable: the server takes no writes; it is a standby or read-only.
	ErrNotWritable fault = "the server takes no writes"
	// ErrSplitBrain: another writer holds this origin. Its reason in a status is split_brain.
	ErrSplitBrain fault = "another writer claims this origin"
)

// HeartbeatOptions is where the heartbeat is written or read.
type HeartbeatOptions struct {
	DSN          string
	PasswordFile string
	Timeout      time.Duration // of one call; 0: 2 s
	Interval     time.Duration // between writes; 0: 1 s
}

// Heartbeat writes and reads the heartbeat tables of one server. It holds one connection at most and is safe for
// concurrent use.
type Heartbeat struct {
	dial              dialer
	timeout, interval time.Duration

	mu   sync.Mutex
	conn *pgx.Conn
}

// NewHeartbeat checks the options. It does not connect.
func NewHeartbeat(o HeartbeatOptions) (*Heartbeat, error) {
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Interval == 0 {
		o.Interval = time.Second
	}
	dial, err := newDialer(o.DSN, o.PasswordFile, o.Timeout, false)
	if err != nil {
		return nil, fmt.Errorf("heartbeat of postgresql: %w", err)
	}
	return &Heartbeat{dial: dial, timeout: o.Timeout, interval: o.Interval}, nil
}

// Close ends the connection. A later call opens a new one.
func (h *Heartbeat) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conn != nil {
		hangUp(context.Background(), h.conn)
		h.conn = nil
	}
}

// Write puts the heartbeat of origin. Each site writes its own row only. epoch grows with each start of a writer, seq with
// each write; wall is the agent's clock, read before the call. A row that holds a higher epoch, or the same epoch with this
// seq or a higher one, was written by somebody else: nothing is changed and the error is ErrSplitBrain. After any other error it
// is not known whether the row was written.
func (h *Heartbeat) Write(ctx context.Context, origin string, epoch, seq int64, wall time.Time) error {
	return h.put(ctx, `
INSERT INTO public.evenkeel_heartbeat AS h (origin_site, writer_epoch, seq, ts_us, interval_ms) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (origin_site) DO UPDATE SET writer_epoch = EXCLUDED.writer_epoch, seq = EXCLUDED.seq, ts_us = EXCLUDED.ts_us,
  interval_ms = EXCLUDED.interval_ms
WHERE h.writer_epoch < EXCLUDED.writer_epoch OR (h.writer_epoch = EXCLUDED.writer_epoch AND h.seq < EXCLUDED.seq)`,
		origin, epoch, seq, wall.UnixMicro(), h.interval.Milliseconds())
}

// WriteEcho tells, at observer, which heartbeat of an origin it has. An older one than the row's changes nothing and
// is ErrSplitBrain.
func (h *Heartbeat) WriteEcho(ctx context.Context, observer string, seen Beat, wall time.Time) error {
	return h.put(ctx, `
INSERT INTO public.evenkeel_echo AS e (observer_site, origin_site, origin_seq, origin_epoch, observer_ts_us) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (observer_site, origin_site) DO UPDATE SET origin_seq = EXCLUDED.origin_seq, origin_epoch = EXCLUDED.origin_epoch,
  observer_ts_us = EXCLUDED.observer_ts_us
WHERE e.origin_epoch < EXCLUDED.origin_epoch OR (e.origin_epoch = EXCLUDED.origin_epoch AND e.origin_seq <= EXCLUDED.origin_seq)`,
		observer, seen.Origin, seen.Seq, seen.Epoch, wall.UnixMicro())
}

// Read gives the newest heartbeat of each origin that has arrived here.
func (h *Heartbeat) Read(ctx context.Context) ([]Beat, error) {
	var out []Beat
	err := h.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := query[beatRow](ctx, conn, `
SELECT origin_site AS origin, writer_epoch AS epoch, seq, ts_us AS us, interval_ms::bigint AS ms FROM public.evenkeel_heartbeat ORDER BY origin_site`)
		for _, r := range rows {
			out = append(out, Beat{r.Origin, r.Epoch, r.Seq, time.UnixMicro(r.US), time.Duration(r.MS) * time.Millisecond})
		}
		return err
	})
	return out, err
}

// ReadEcho gives what each observer has told of origin.
func (h *Heartbeat) ReadEcho(ctx context.Context, origin string) ([]Echo, error) {
	var out []Echo
	err := h.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := query[echoRow](ctx, conn, `
SELECT observer_site AS observer, origin_epoch AS epoch, origin_seq AS seq, observer_ts_us AS us FROM public.evenkeel_echo
WHERE origin_site = $1 ORDER BY observer_site`, origin)
		for _, r := range rows {
			out = append(out, Echo{r.Observer, r.Epoch, r.Seq, time.UnixMicro(r.US)})
		}
		return err
	})
	return out, err
}

type beatRow struct {
	Origin     string
	Epoch, Seq int64
	US, MS     int64
}

type echoRow struct {
	Observer   string
	Epoch, Seq int64
	US         int64
}

// put runs one guarded write.
func (h *Heartbeat) put(ctx context.Context, sql string, args ...any) error {
	return h.with(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, sql, args...)
		var server *pgconn.PgError
		switch {
		case errors.As(err, &server) && server.Code == "25006":
			return ErrNotWritable
		case err != nil:
			return fmt.Errorf("write: %w", err)
		case tag.RowsAffected() == 0:
			return ErrSplitBrain
		}
		return nil
	})
}

// with runs f as run does. Its error is safe to show: it has none of the driver's text.
func (h *Heartbeat) with(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	if err := h.run(ctx, f); err != nil {
		return told(err)
	}
	return nil
}

// run runs f on the connection within the time of one call.
func (h *Heartbeat) run(ctx context.Context, f func(context.Context, *pgx.Conn) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	var err error
	if h.conn == nil {
		if h.conn, err = h.dial.connect(ctx); err != nil {
			return err
		}
	}
	if err = f(ctx, h.conn); err == nil {
		return nil
	}
	if h.conn.IsClosed() || ctx.Err() != nil {
		hangUp(ctx, h.conn)
		h.conn = nil
	}
	return err
}

// told is an error without the driver's text; our own are kept.
func told(err error) error {
	var ours fault
	if errors.As(err, &ours) && (ours == ErrNotWritable || ours == ErrSplitBrain) {
		return fmt.Errorf("heartbeat of postgresql: %w", ours)
	}
	reason, detail := explain(err)
	return fmt.Errorf("heartbeat of postgresql: %s: %s", reason, detail)
}
