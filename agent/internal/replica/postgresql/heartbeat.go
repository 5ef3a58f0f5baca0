package postgresql

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
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

// Faults of a write.
const (
	// errNotWritable: the server takes no writes; it is a standby or read-only.
	errNotWritable fault = "the server takes no writes"
	// errSplitBrain: another writer holds this origin. Its reason in a status is split_brain.
	errSplitBrain fault = "another writer claims this origin"
)

// HeartbeatOptions is where the heartbeat is written or read.
type HeartbeatOptions struct {
	DSN          string
	PasswordFile string
	Timeout      time.Duration // of one call; 0: 2 s
}

// Heartbeat writes and reads the heartbeat tables of one server. It holds one connection at most and is safe for
// concurrent use.
type Heartbeat struct {
	dial    dialer
	timeout time.Duration

	mu   sync.Mutex
	conn *pgx.Conn
}

// NewHeartbeat checks the options. It does not connect.
func NewHeartbeat(o HeartbeatOptions) (*Heartbeat, error) {
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	dial, err := newDialer(o.DSN, o.PasswordFile, o.Timeout, false)
	if err != nil {
		return nil, fmt.Errorf("heartbeat of postgresql: %w", err)
	}
	return &Heartbeat{dial: dial, timeout: o.Timeout}, nil
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
