package controlextension

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/clock"
	"github.com/evenkeel/evenkeel/agent/internal/deadman"
	"github.com/evenkeel/evenkeel/agent/internal/transport"
)

// heartbeat is the body of POST /api/v1/agent/heartbeat. Offset and error are in nanoseconds, agent minus
// server; what is not known is absent.
type heartbeat struct {
	AgentID       string `json:"agent_id"`
	Role          string `json:"role"`
	Seq           uint64 `json:"seq"`
	BootID        string `json:"boot_id"`
	Version       string `json:"version"`
	T1            int64  `json:"t1_unix_ns"`
	ClockKnown    bool   `json:"clock_known"`
	OffsetNS      int64  `json:"offset_ns"`
	ErrorNS       int64  `json:"error_ns"`
	LastSuccessMS *int64 `json:"last_success_unix_ms,omitempty"`
	BufferBytes   *int64 `json:"buffer_bytes,omitempty"` // room left for the bulk lane
}

// beater sends heartbeats to one server. One goroutine owns it.
type beater struct {
	c        *control
	endpoint string
	url      string
	line     *transport.Line
	clock    clock.Estimator
	seq      uint64
	teller   teller
}

func (c *control) newBeater(endpoint string, line *transport.Line) *beater {
	return &beater{
		c: c, endpoint: endpoint, url: strings.TrimSuffix(endpoint, "/") + "/api/v1/agent/heartbeat",
		line:   line,
		teller: teller{log: c.log.With(zap.String("server", endpoint), zap.String("line", "heartbeat"))},
	}
}

// beatTimeout gives a heartbeat its interval to be answered, within reason.
func beatTimeout(interval time.Duration) time.Duration {
	return min(max(interval, 500*time.Millisecond), 3*time.Second)
}

func (b *beater) run(ctx context.Context) {
	ticker := time.NewTicker(b.c.cfg.beat())
	defer ticker.Stop()
	for {
		outcome, trouble := b.beat(ctx)
		if ctx.Err() != nil {
			return
		}
		b.teller.tell(trouble)
		if b.c.pager != nil {
			b.c.pager.heard(deadman.Report{Server: b.endpoint, At: time.Now(), Outcome: outcome, Why: trouble})
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// beat sends one heartbeat and says what came of it; trouble is empty when it was answered.
func (b *beater) beat(ctx context.Context) (outcome deadman.Outcome, trouble string) {
	b.seq++
	asked := time.Now()
	t1, mono := asked.UnixNano(), asked.Sub(b.c.began)
	answer, err := b.post(ctx, b.body(t1, mono))
	if err != nil {
		return deadman.Silent, err.Error()
	}
	defer func() { _ = answer.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit)) // to its end, so that the connection can be used again
	trip := time.Since(asked)
	if err != nil {
		return deadman.Silent, "its answer was cut short"
	}
	outcome, r, trouble := judge(answer.StatusCode, raw)
	if outcome == deadman.Answered {
		// T4 is T1 plus monotonic time: a step of our own clock on the way does not count.
		b.clock.Add(clock.Exchange{T1: t1, T2: r.T2, T3: r.T3, T4: t1 + int64(trip), Mono: mono + trip})
	}
	return outcome, trouble
}

func (b *beater) post(ctx context.Context, h heartbeat) (*http.Response, error) {
	body, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode heartbeat: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("no request could be made of its address")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "evenkeel-agent/"+b.c.version)
	answer, err := b.line.Do(req)
	if err != nil {
		b.line.HangUp()
		return nil, noAnswer(err)
	}
	return answer, nil
}

func (b *beater) body(t1 int64, mono time.Duration) heartbeat {
	estimate := b.clock.At(t1, mono)
	h := heartbeat{
		AgentID: b.c.agentID, Role: b.c.cfg.Role, Seq: b.seq, BootID: b.c.bootID, Version: b.c.version, T1: t1,
		ClockKnown: estimate.Known, OffsetNS: int64(estimate.Offset), ErrorNS: int64(estimate.Err),
	}
	if at := b.c.vitals.Delivered(b.endpoint); !at.IsZero() {
		ms := at.UnixMilli()
		h.LastSuccessMS = &ms
	}
	if buffer, ok := b.c.vitals.Buffer(b.endpoint); ok {
		left := max(buffer.Limit-buffer.Used, 0)
		h.BufferBytes = &left
	}
	return h
}
