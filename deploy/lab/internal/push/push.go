package push

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// Pusher sends metrics to URL/v1/metrics every Interval.
type Pusher struct {
	URL       string // http://host:port
	TokenFile string // read at each push until it exists; empty sends no token
	Fast      bool   // mark the request as fast lane: facts
	Interval  time.Duration
	Build     func(at time.Time) pmetric.Metrics
	Log       *slog.Logger

	client *http.Client
	token  string
	last   string
}

// Run pushes until ctx ends. A repeated failure is logged when it changes.
func (p *Pusher) Run(ctx context.Context) {
	p.client = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute}}
	defer p.client.CloseIdleConnections()
	t := time.NewTicker(p.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-t.C:
			p.note(p.push(ctx, at))
		}
	}
}

func (p *Pusher) note(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == p.last {
		return
	}
	p.last = text
	if err != nil {
		p.Log.Warn("metrics are not delivered", slog.String("url", p.URL), slog.String("error", text))
		return
	}
	p.Log.Info("metrics are delivered", slog.String("url", p.URL))
}

func (p *Pusher) push(ctx context.Context, at time.Time) error {
	if p.TokenFile != "" && p.token == "" {
		b, err := os.ReadFile(p.TokenFile)
		if err != nil {
			return fmt.Errorf("read token: %w", err)
		}
		p.token = strings.TrimSpace(string(b))
	}
	body, err := pmetricotlp.NewExportRequestFromMetrics(p.Build(at)).MarshalProto()
	if err != nil {
		return fmt.Errorf("encode metrics: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/v1/metrics", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	if p.Fast {
		req.Header.Set("Evenkeel-Lane", "fast")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return refusedPart(answer)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		p.token = "" // it may have been replaced in its file
	}
	return fmt.Errorf("%s: %.200s", resp.Status, answer)
}

// refusedPart is an error when the receiver took only a part.
func refusedPart(answer []byte) error {
	r := pmetricotlp.NewExportResponse()
	if err := r.UnmarshalProto(answer); err != nil {
		return nil //nolint:nilerr // 2xx with another body is still accepted
	}
	if n := r.PartialSuccess().RejectedDataPoints(); n > 0 {
		return fmt.Errorf("%d points refused: %s", n, r.PartialSuccess().ErrorMessage())
	}
	return nil
}
