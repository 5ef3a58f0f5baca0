package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// events streams every change as it is written.
func (s *server) events(c *gin.Context) {
	after, err := resumeFrom(c)
	if err != nil {
		badRequest(c, err)
		return
	}
	ip := c.RemoteIP()
	switch all, own := s.streams.enter(ip); {
	case !all:
		respond(c, http.StatusServiceUnavailable, &core.Error{
			Code: core.CodeUnavailable, Message: "too many event streams are open", Hint: "close some pages and try again",
		})
		return
	case !own:
		respond(c, http.StatusTooManyRequests, &core.Error{
			Code: codeTooMany, Message: "too many event streams are open from this address", Hint: "close some pages and try again",
		})
		return
	}
	defer s.streams.leave(ip)
	ctx, cancel := context.WithCancel(c.Request.Context())
	defer cancel()
	// A reader that is ahead has seen a ledger that is no longer there, as after a restore of an older copy. It
	// would wait in silence until this one has caught up.
	ahead := after > s.Records.Revision()
	if ahead {
		after = 0
	}
	changes := s.Records.Watch(ctx, after)
	c.Header("Content-Type", "text/event-stream")
	c.Header("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	st := &stream{w: c.Writer, control: http.NewResponseController(c.Writer), patience: s.Patience}
	if st.send([]byte("retry: 2000\n: connected\n\n")) != nil {
		return
	}
	if ahead && st.send(reset(s.Records.Revision())) != nil {
		return
	}
	beat := time.NewTicker(s.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			err = st.send([]byte(": beat\n\n"))
		case ev, ok := <-changes:
			if !ok {
				if ctx.Err() == nil {
					_ = st.send(reset(s.Records.Revision())) // the last word; the stream ends either way
				}
				return
			}
			err = st.event(ev)
		}
		if err != nil {
			return
		}
	}
}

// streams counts the event streams that are open.
type streams struct {
	mu  sync.Mutex
	all int
	by  map[string]int // by address; without those that have none
}

// enter counts a stream when there is room for it: among all, and among those of its address.
func (s *streams) enter(ip string) (all, own bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, own = s.all < maxStreams, s.by[ip] < streamsEach
	if all && own {
		s.all++
		s.by[ip]++
	}
	return all, own
}

func (s *streams) leave(ip string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.by[ip]--; s.by[ip] == 0 {
		delete(s.by, ip)
	}
}

func (s *streams) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

// resumeFrom is the revision after which a reader wants to go on; 0 is now.
func resumeFrom(c *gin.Context) (int64, error) {
	for _, text := range []string{c.GetHeader("Last-Event-ID"), c.Query("after")} {
		if text == "" {
			continue
		}
		rev, err := strconv.ParseInt(text, 10, 64)
		if err != nil || rev < 0 {
			return 0, fmt.Errorf("%q is no revision", text)
		}
		return rev, nil
	}
	return 0, nil
}

// stream writes server-sent events.
type stream struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	pending  bytes.Buffer // the events of one revision so far
}

// event keeps the events of one revision back until all are there: only the last carries the id, so a
// reader that is cut in between asks for all of them again.
func (st *stream) event(ev core.Event) error {
	name, record := nameOf(ev.Change)
	if record != nil {
		data, err := json.Marshal(record)
		if err != nil {
			return fmt.Errorf("encode an event: %w", err)
		}
		fmt.Fprintf(&st.pending, "event: %s\ndata: %s\n\n", name, data)
	}
	if ev.More || st.pending.Len() == 0 {
		return nil
	}
	// The id belongs to the last event: it goes before the empty line that ends it.
	out := st.pending.Bytes()
	out = append(out[:len(out)-1:len(out)-1], fmt.Sprintf("id: %d\n\n", ev.Rev)...)
	st.pending.Reset()
	return st.send(out)
}

// send writes and flushes; a reader that does not take it in time is cut off.
func (st *stream) send(b []byte) error {
	// A writer without deadlines is one of a test; it does not block.
	_ = st.control.SetWriteDeadline(time.Now().Add(st.patience))
	if _, err := st.w.Write(b); err != nil {
		return err
	}
	return st.control.Flush()
}

func reset(rev int64) []byte {
	return fmt.Appendf(nil, "event: reset\ndata: {\"revision\":%d}\nid: %d\n\n", rev, rev)
}

// nameOf is the event name of a change and the record to show; nil for what is not shown.
func nameOf(c core.Change) (string, any) {
	switch {
	case c.Line != nil:
		return "line", c.Line
	case c.Episode != nil:
		return "episode", c.Episode
	case c.Decision != nil:
		return "decision", wholeDecision(*c.Decision)
	case c.Action != nil:
		return "action", wholeAction(*c.Action)
	case c.Notice != nil:
		return "notice", c.Notice
	case c.Routing != nil:
		return "routing", c.Routing
	case c.Brake != nil:
		return "brake", c.Brake
	}
	return "", nil
}
