package selfreceiver

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/ownmeter"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// mirror reports at a fixed interval.
type mirror struct {
	log    *zap.Logger
	cfg    *Config
	meter  *ownmeter.Meter
	vitals *vitals.Vitals
	next   consumer.Metrics

	rates  map[string]*rate // by exporter; one goroutine owns them
	cancel context.CancelFunc
	done   sync.WaitGroup
}

var _ receiver.Metrics = (*mirror)(nil)

// firstReport is how soon after the start there are figures to look at.
const firstReport = 2 * time.Second

// Start reports for the first time after two seconds, then at the interval.
func (m *mirror) Start(context.Context, component.Host) error { //nolint:contextcheck // a component outlives the context of its start
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.rates = map[string]*rate{}
	m.done.Go(func() { m.run(ctx, time.Now()) })
	return nil
}

// Shutdown waits for a report under way.
func (m *mirror) Shutdown(context.Context) error {
	if m.cancel != nil {
		m.cancel()
	}
	m.done.Wait()
	return nil
}

func (m *mirror) run(ctx context.Context, since time.Time) {
	timer := time.NewTimer(min(firstReport, m.cfg.Interval))
	defer timer.Stop()
	trouble := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(m.cfg.Interval)
		}
		now := time.Now()
		err := m.observe(ctx, now)
		if err == nil {
			err = m.next.ConsumeMetrics(ctx, m.report(since, now))
		}
		if ctx.Err() != nil {
			return
		}
		was := trouble
		if trouble = ""; err != nil {
			trouble = err.Error()
		}
		if trouble != "" && was == "" {
			m.log.Warn("report about the agent itself failed", zap.Error(err))
		}
	}
}

// observe reads the queues and notes them in the vitals.
func (m *mirror) observe(ctx context.Context, now time.Time) error {
	queues, err := m.meter.Queues(ctx)
	if err != nil {
		return err
	}
	for _, b := range m.cfg.Buffers {
		q, ok := queues[b.Exporter]
		if !ok {
			continue
		}
		r := m.rates[b.Exporter]
		if r == nil {
			r = &rate{}
			m.rates[b.Exporter] = r
		}
		r.add(now, q.Enqueued)
		left, known := r.left(q.Limit - q.Used)
		m.vitals.SetBuffer(vitals.Buffer{
			Server: b.Server, Used: q.Used, Limit: q.Limit, Full: q.Full, Refused: q.Failed,
			Left: left, LeftKnown: known,
		})
	}
	return nil
}
