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

// receipt is the answer to a heartbeat.
type receipt struct {
	T2 int64 `json:"t2_unix_ns"`
	T3 int64 `json:"t3_unix_ns"`
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
		trouble := ""
		if err := b.beat(ctx); err != nil {
			trouble = err.Error()
		}
		if ctx.Err() != nil {
			return
		}
		b.teller.tell(trouble)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (b *beater) beat(ctx context.Context) error {
	b.seq++
	asked := time.Now()
	t1, mono := asked.UnixNano(), asked.Sub(b.c.began)
	body, err := json.Marshal(b.body(t1, mono))
	if err != nil {
		return fmt.Errorf("encode heartbeat: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.url, bytes.NewReader(body))
	if err != nil {
		return errors.New("no request could be made of its address")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "evenkeel-agent/"+b.c.version)
	answer, err := b.line.Do(req)
	if err != nil {
		b.line.HangUp()
		return errors.New("no answer")
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
		return errors.New(unexpected(answer.StatusCode))
	}
	var r receipt
	raw, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	trip := time.Since(asked)
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return errors.New("its answer is not the expected JSON")
	}
	// T4 is T1 plus monotonic time: a step of our own clock on the way does not count.
	b.clock.Add(clock.Exchange{T1: t1, T2: r.T2, T3: r.T3, T4: t1 + int64(trip), Mono: mono + trip})
	return nil
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
