package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	driver "github.com/nats-io/nats.go"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Heartbeat writes and reads heartbeats and echoes in one stream. It is used by one goroutine at a time. All its errors are
// of type *Failure.
type Heartbeat struct {
	conn    *conn
	stream  string
	timeout time.Duration
	writers map[string]heartbeat.Writer // by origin
}

// NewHeartbeat makes a Heartbeat; it does not connect. timeout bounds each call; 0: 2 seconds.
func NewHeartbeat(s Server, stream string, timeout time.Duration) (*Heartbeat, error) {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	if !site(stream) {
		return nil, &Failure{replica.ReasonMisconfigured, "the stream has no name"}
	}
	c, err := newConn(s)
	if err != nil {
		return nil, err
	}
	return &Heartbeat{conn: c, stream: stream, timeout: timeout, writers: map[string]heartbeat.Writer{}}, nil
}

// Close closes the connection.
func (h *Heartbeat) Close() { h.conn.close() }

// Write writes a beat of its origin. It refuses with reason role where the stream does not take the subject (a mirror does
// not), and with reason split_brain where the stored beat is of another writer that is alive; two that write at the same
// moment are told apart by the server. After any other error it is not known whether the beat was written.
func (h *Heartbeat) Write(ctx context.Context, b Beat) error {
	if !site(b.Origin) || b.Seq < 0 || b.Epoch < 0 || b.Interval < time.Millisecond || b.Interval > heartbeat.Longest || b.At.UnixMicro() < 0 {
		return &Failure{replica.ReasonMisconfigured, "the beat is not complete"}
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	last, err := h.conn.message(ctx, h.stream, get{Last: beatSubject(b.Origin)})
	if err != nil {
		return classify(err)
	}
	if err := h.check(b, last); err != nil {
		return err
	}
	// Remembered before it is written: an answer that is lost must not make our own beat look like another's.
	w := h.writers[b.Origin]
	w.Wrote = replica.Some(b)
	h.writers[b.Origin] = w
	err = h.publish(ctx, beatSubject(b.Origin), b.Text(), last.V.Seq)
	if !errors.Is(err, errOvertaken) {
		return err
	}
	// It may have been a beat of our own, written before, whose answer never came.
	if last, err = h.conn.message(ctx, h.stream, get{Last: beatSubject(b.Origin)}); err != nil {
		return classify(err)
	}
	if err := h.check(b, last); err != nil {
		return err
	}
	return errOvertaken
}

// errOvertaken says that nothing was written because something else was, a moment before.
var errOvertaken error = &Failure{replica.ReasonQuery, "another beat was written at the same moment"}

// check refuses to write b over the beat of another writer that is alive.
func (h *Heartbeat) check(b Beat, last replica.Opt[MessageRow]) error {
	stored, err := beat(b.Origin, last)
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
		h.writers[b.Origin] = w
	}
	return nil
}

// Read reads the beat of an origin that this stream has; absent when it has none.
func (h *Heartbeat) Read(ctx context.Context, origin string) (replica.Opt[Beat], error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	m, err := h.conn.message(ctx, h.stream, get{Last: beatSubject(origin)})
	if err != nil {
		return replica.Opt[Beat]{}, classify(err)
	}
	return beat(origin, m)
}

// WriteEcho writes how far the observer has seen an origin.
func (h *Heartbeat) WriteEcho(ctx context.Context, e Echo) error {
	if !site(e.Observer) || !site(e.Origin) || e.Seq < 0 || e.Epoch < 0 || e.At.UnixMicro() < 0 {
		return &Failure{replica.ReasonMisconfigured, "the echo is not complete"}
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	subject := echoSubject(e.Observer, e.Origin)
	last, err := h.conn.message(ctx, h.stream, get{Last: subject})
	if err != nil {
		return classify(err)
	}
	return h.publish(ctx, subject, e.Text(), last.V.Seq)
}

// ReadEcho reads how far the observer has seen the origin; absent when it has told nothing.
func (h *Heartbeat) ReadEcho(ctx context.Context, observer, origin string) (replica.Opt[Echo], error) {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	m, err := h.conn.message(ctx, h.stream, get{Last: echoSubject(observer, origin)})
	if err != nil || !m.OK {
		if err != nil {
			return replica.Opt[Echo]{}, classify(err)
		}
		return replica.Opt[Echo]{}, nil
	}
	e, ok := heartbeat.ParseEcho(observer, origin, string(m.V.Data))
	if !ok {
		return replica.Opt[Echo]{}, &Failure{replica.ReasonIncomplete, "the echo's subject holds something else"}
	}
	return replica.Some(e), nil
}

func beat(origin string, m replica.Opt[MessageRow]) (replica.Opt[Beat], error) {
	if !m.OK {
		return replica.Opt[Beat]{}, nil
	}
	b, ok := heartbeat.ParseBeat(origin, string(m.V.Data))
	if !ok {
		return replica.Opt[Beat]{}, &Failure{replica.ReasonIncomplete, "the heartbeat's subject holds something else"}
	}
	return replica.Some(b), nil
}

func (h *Heartbeat) publish(ctx context.Context, subject, text string, last uint64) error {
	return publish(ctx, h.conn, h.stream, subject, text, &last)
}

// publish writes to the stream unless another message of the subject came after the one with the sequence last; nil: whatever came.
func publish(ctx context.Context, c *conn, stream, subject, text string, last *uint64) error {
	msg := driver.NewMsg(subject)
	msg.Data = []byte(text)
	msg.Header.Set("Nats-Expected-Stream", stream)
	if last != nil {
		msg.Header.Set("Nats-Expected-Last-Subject-Sequence", strconv.FormatUint(*last, 10))
	}
	answer, err := c.ask(ctx, msg)
	if err != nil {
		f := classify(err)
		if f.Reason == replica.ReasonQuery {
			return &Failure{replica.ReasonRole, "no stream takes the subject"}
		}
		return f
	}
	var ack struct {
		Error  *apiError `json:"error"`
		Stream string    `json:"stream"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return classify(errAnswer)
	}
	switch {
	case ack.Error == nil && ack.Stream == stream:
		return nil
	case ack.Error == nil:
		return classify(errAnswer)
	case ack.Error.ErrCode == codeWrongLast || ack.Error.ErrCode == codeWrongLast2:
		return errOvertaken
	case ack.Error.ErrCode == codeNotExpected:
		return &Failure{replica.ReasonRole, "another stream takes the subject"}
	}
	return classify(ack.Error)
}
