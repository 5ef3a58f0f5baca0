package changesextension

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/transport"
)

const (
	firstRetry  = time.Second
	longestWait = 30 * time.Second
	mostAnswer  = 64 << 10
)

// sender tells one server. One goroutine owns it.
type sender struct {
	c        *changes
	endpoint string
	line     *transport.Line
	wake     chan struct{}
	log      *zap.Logger
	trouble  string // what was last logged
}

// run sends what waits, oldest first, and after a failure tries again for as long as it is worth telling.
func (s *sender) run(ctx context.Context) {
	wait := firstRetry
	for {
		change, ok := s.c.queue.next(s.endpoint, time.Now())
		if !ok {
			s.tell("")
			select {
			case <-ctx.Done():
				return
			case <-s.wake:
				continue
			}
		}
		again, trouble := s.send(ctx, change)
		if ctx.Err() != nil {
			return
		}
		if !again {
			wait = firstRetry
			if trouble != "" {
				s.log.Warn("server does not take a change", zap.String("id", change.ID), zap.String("why", trouble))
			}
			if err := s.c.queue.done(change.ID, s.endpoint); err != nil {
				s.tell("what was delivered cannot be noted on disk: " + err.Error()) // it will be told once more, to no harm
			}
			continue
		}
		s.tell(trouble)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, longestWait)
	}
}

// send makes one attempt. again says that another may help.
func (s *sender) send(ctx context.Context, change Change) (again bool, trouble string) {
	body, err := json.Marshal(change)
	if err != nil {
		return false, err.Error()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.endpoint, "/")+"/api/v1/changes", bytes.NewReader(body))
	if err != nil {
		return false, "no request could be made of its address"
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "evenkeel-agent/"+s.c.version)
	res, err := s.line.Do(req)
	if err != nil {
		s.line.HangUp()
		return true, "it does not answer"
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	switch status := res.StatusCode; {
	case err != nil:
		return true, "its answer was cut short"
	case status == http.StatusOK, status == http.StatusCreated:
		return false, ""
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return true, fmt.Sprintf("it answered %d: the token is not accepted", status) // it can be put right while we wait
	case status == http.StatusTooManyRequests, status >= 500, status < 400:
		return true, fmt.Sprintf("it answered %d", status)
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return false, "it knows no changes: it is of an older version"
	default:
		return false, fmt.Sprintf("it answered %d: %s", status, words(raw))
	}
}

// words is what a problem says, shortened, without what could move a terminal's cursor.
func words(raw []byte) string {
	var p Problem
	if json.Unmarshal(raw, &p) != nil || p.Detail == "" {
		return "no reason given"
	}
	text := strings.ToValidUTF8(p.Detail[:min(len(p.Detail), 200)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
}

// tell logs a trouble when it changes, and its end.
func (s *sender) tell(trouble string) {
	if trouble == s.trouble {
		return
	}
	s.trouble = trouble
	if trouble == "" {
		s.log.Info("server takes changes again")
		return
	}
	s.log.Warn("server is not told of changes, trying again", zap.String("why", trouble))
}
