package fastexporter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/transport"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

const (
	firstRetry  = 100 * time.Millisecond
	longestWait = time.Second
	answerLimit = 64 << 10
)

// lane is the way to one server. One goroutine sends; ConsumeMetrics only files, and sets the time at which it wakes.
type lane struct {
	log     *zap.Logger
	cfg     *Config
	url     string
	agent   string
	vitals  *vitals.Vitals
	line    *transport.Line
	cancel  context.CancelFunc
	done    sync.WaitGroup
	due     *time.Timer // runs while something waits, for others to come
	mu      sync.Mutex
	runs    bool // due does
	waiting *newest
	trouble string // what was last logged; the sending goroutine owns it
}

var _ exporter.Metrics = (*lane)(nil)

func newLane(log *zap.Logger, cfg *Config, version string, v *vitals.Vitals) *lane {
	due := time.NewTimer(time.Hour)
	due.Stop()
	return &lane{
		log: log.With(zap.String("server", cfg.Endpoint)), cfg: cfg, vitals: v,
		url: strings.TrimSuffix(cfg.Endpoint, "/") + "/v1/metrics", agent: "evenkeel-agent/" + version,
		due: due, waiting: newNewest(cfg.MaxSeries),
	}
}

// Capabilities says that ConsumeMetrics copies what it keeps.
func (*lane) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: false} }

// Start opens no connection yet.
func (l *lane) Start(_ context.Context, host component.Host) error { //nolint:contextcheck // a component outlives the context of its start
	var err error
	if l.line, err = transport.New(host, l.cfg.Auth, l.cfg.Timeout); err != nil {
		return err
	}
	l.vitals.Lose(l.cfg.Endpoint, 0, 0)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.done.Go(func() { l.run(ctx) })
	return nil
}

// Shutdown stops sending. What waits is forgotten: by the next start it is no fact any more.
func (l *lane) Shutdown(context.Context) error {
	if l.cancel != nil {
		l.cancel()
	}
	l.done.Wait()
	if l.line != nil {
		l.line.HangUp()
	}
	return nil
}

// ConsumeMetrics files the points and returns at once; it never fails.
func (l *lane) ConsumeMetrics(_ context.Context, md pmetric.Metrics) error {
	l.mu.Lock()
	displaced := l.waiting.put(md)
	l.wake()
	l.mu.Unlock()
	if displaced > 0 {
		l.vitals.Lose(l.cfg.Endpoint, displaced, 0)
	}
	return nil
}

// wake has the sender look after Coalesce, unless it will already. The caller holds mu.
func (l *lane) wake() {
	if !l.runs {
		l.runs = true
		l.due.Reset(l.cfg.Coalesce)
	}
}

// run sends what is new. After a failure it waits, then sends what is newest by then.
func (l *lane) run(ctx context.Context) {
	defer l.due.Stop()
	wait := firstRetry
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.due.C:
		}
		l.mu.Lock()
		l.runs = false
		batch, stale := l.waiting.take(time.Now(), l.cfg.MaxAge)
		l.mu.Unlock()
		if stale > 0 {
			l.vitals.Lose(l.cfg.Endpoint, stale, 0)
		}
		if len(batch) == 0 {
			continue
		}
		verdict := l.send(ctx, merge(batch, l.vitals.Agent()), int64(len(batch)))
		if ctx.Err() != nil {
			return
		}
		l.note(verdict)
		if verdict.taken {
			wait = firstRetry
			continue
		}
		if verdict.retry {
			l.mu.Lock()
			l.waiting.back(batch)
			l.wake()
			l.mu.Unlock()
		} else {
			l.vitals.Lose(l.cfg.Endpoint, 0, int64(len(batch)))
		}
		if !sleep(ctx, wait) {
			return
		}
		wait = min(2*wait, longestWait)
	}
}

// verdict is what became of one request.
type verdict struct {
	taken   bool
	retry   bool
	trouble string // empty when all is well
}

func (l *lane) send(ctx context.Context, md pmetric.Metrics, size int64) verdict {
	body, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		return verdict{trouble: fmt.Sprintf("facts could not be encoded: %v", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return verdict{trouble: fmt.Sprintf("no request could be made: %v", err)}
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Evenkeel-Lane", "fast")
	req.Header.Set("User-Agent", l.agent)
	answer, err := l.line.Do(req)
	if err != nil {
		// A connection that went silent is not asked again: the next request gets a fresh one.
		l.line.HangUp()
		return verdict{retry: true, trouble: "server does not answer"}
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, answerLimit))
	switch {
	case answer.StatusCode == http.StatusOK && err == nil:
		return l.partial(text, size)
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden:
		// A token can be put right while we wait.
		return verdict{retry: true, trouble: fmt.Sprintf("server answered %d: the token is not accepted", answer.StatusCode)}
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= 500, err != nil:
		return verdict{retry: true, trouble: fmt.Sprintf("server answered %d", answer.StatusCode)}
	}
	return verdict{trouble: fmt.Sprintf("server refused the facts with %d", answer.StatusCode)}
}

// partial reads the answer to a taken request; what the server rejected is counted, and not sent again.
func (l *lane) partial(text []byte, size int64) verdict {
	l.vitals.Deliver(l.cfg.Endpoint, time.Now())
	answer := pmetricotlp.NewExportResponse()
	if err := answer.UnmarshalProto(text); err != nil {
		return verdict{taken: true, trouble: "server's answer is no OTLP answer"}
	}
	if rejected := min(answer.PartialSuccess().RejectedDataPoints(), size); rejected > 0 {
		l.vitals.Lose(l.cfg.Endpoint, 0, rejected)
		return verdict{taken: true, trouble: "server rejected facts: " + answer.PartialSuccess().ErrorMessage()}
	}
	return verdict{taken: true}
}

// note logs when the state of the lane changes, not each time it stays bad.
func (l *lane) note(v verdict) {
	if v.trouble == l.trouble {
		return
	}
	l.trouble = v.trouble
	if v.trouble == "" {
		l.log.Info("facts are delivered again")
		return
	}
	l.log.Warn("facts are not delivered", zap.String("why", v.trouble))
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
