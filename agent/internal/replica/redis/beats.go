package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	driver "github.com/redis/go-redis/v9"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Heartbeat writes and reads heartbeats and echoes on one server. It is used by one goroutine at a time. All its errors
// are of type *Failure.
type Heartbeat struct {
	conn    *conn
	writers map[string]heartbeat.Writer // by origin
}

// NewHeartbeat makes a Heartbeat; it does not connect. timeout bounds each question; 0: 2 seconds.
func NewHeartbeat(s Server, timeout time.Duration) (*Heartbeat, error) {
	if timeout == 0 {
		timeout = defaultTimeout
	}
	c, err := newConn(s, timeout)
	if err != nil {
		return nil, err
	}
	return &Heartbeat{conn: c, writers: map[string]heartbeat.Writer{}}, nil
}

// Close closes the connection.
func (h *Heartbeat) Close() error { return h.conn.Close() }

// Write writes a beat of its origin. It refuses with reason role where the server is not a primary, and with reason
// split_brain where the stored beat is of another writer that is alive. After any other error it is not known whether the
// beat was written.
func (h *Heartbeat) Write(ctx context.Context, b Beat) error {
	if !site(b.Origin) || b.Seq < 0 || b.Epoch < 0 || b.Interval < time.Millisecond || b.Interval > heartbeat.Longest || b.At.UnixMicro() < 0 {
		return &Failure{replica.ReasonMisconfigured, "the beat is not complete"}
	}
	if err := h.writable(ctx); err != nil {
		return err
	}
	stored, err := h.Read(ctx, b.Origin)
	if err != nil {
		return err
	}
	w := h.writers[b.Origin]
	if stored.OK && w.Conflict(stored.V, b) {
		return &Failure{
			replica.ReasonSplitBrain,
			fmt.Sprintf("another writer of origin %s is alive: epoch %d, this one is %d", b.Origin, stored.V.Epoch, b.Epoch),
		}
	}
	if !w.Wrote.OK {
		w.Displaced = stored
	}
	// Remembered before it is written: an answer that is lost must not make our own beat look like another's.
	w.Wrote = replica.Some(b)
	h.writers[b.Origin] = w
	return h.set(ctx, beatKey(b.Origin), b.Text())
}

// Read reads the beat of an origin that this server has; absent when it has none.
func (h *Heartbeat) Read(ctx context.Context, origin string) (replica.Opt[Beat], error) {
	text, err := h.get(ctx, beatKey(origin))
	if err != nil || !text.OK {
		return replica.Opt[Beat]{}, err
	}
	b, ok := heartbeat.ParseBeat(origin, text.V)
	if !ok {
		return replica.Opt[Beat]{}, &Failure{replica.ReasonIncomplete, "the heartbeat key holds something else"}
	}
	return replica.Some(b), nil
}

// WriteEcho writes how far the observer has seen an origin. As with beats, the server has to be a primary.
func (h *Heartbeat) WriteEcho(ctx context.Context, e Echo) error {
	if !site(e.Observer) || !site(e.Origin) || e.Seq < 0 || e.Epoch < 0 || e.At.UnixMicro() < 0 {
		return &Failure{replica.ReasonMisconfigured, "the echo is not complete"}
	}
	if err := h.writable(ctx); err != nil {
		return err
	}
	return h.set(ctx, echoKey(e.Observer, e.Origin), e.Text())
}

// ReadEcho reads how far the observer has seen the origin; absent when it has told nothing.
func (h *Heartbeat) ReadEcho(ctx context.Context, observer, origin string) (replica.Opt[Echo], error) {
	text, err := h.get(ctx, echoKey(observer, origin))
	if err != nil || !text.OK {
		return replica.Opt[Echo]{}, err
	}
	e, ok := heartbeat.ParseEcho(observer, origin, text.V)
	if !ok {
		return replica.Opt[Echo]{}, &Failure{replica.ReasonIncomplete, "the echo key holds something else"}
	}
	return replica.Some(e), nil
}

// site reports whether a name can be part of a key without being taken for two.
func site(name string) bool { return name != "" && !strings.Contains(name, ":") }

// writable refuses all but a primary: a replica that takes writes keeps them to itself.
func (h *Heartbeat) writable(ctx context.Context) error {
	row, err := h.conn.info(ctx)
	switch {
	case err != nil:
		return classify(err)
	case row.Role != "master":
		return &Failure{replica.ReasonRole, "the server is not a primary"}
	}
	return nil
}

func (h *Heartbeat) set(ctx context.Context, key, value string) error {
	err := h.conn.do(ctx, func(ctx context.Context, client *driver.Client) error {
		return client.Set(ctx, key, value, 0).Err()
	})
	if err != nil {
		return classify(err)
	}
	return nil
}

func (h *Heartbeat) get(ctx context.Context, key string) (replica.Opt[string], error) {
	var text string
	err := h.conn.do(ctx, func(ctx context.Context, client *driver.Client) error {
		var err error
		text, err = client.Get(ctx, key).Result()
		return err
	})
	switch {
	case errors.Is(err, driver.Nil):
		return replica.Opt[string]{}, nil
	case err != nil:
		return replica.Opt[string]{}, classify(err)
	}
	return replica.Some(text), nil
}
