package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/health"
)

// selfSite is the writer of the server's own series.
const selfSite = "_server"

const selfEvery = 15 * time.Second

// loopMetrics are the figures of the loop; they stand at zero from the start.
type loopMetrics struct {
	steps   prometheus.Counter
	changes prometheus.Counter
	seconds prometheus.Histogram
	static  prometheus.Gauge

	decisions *decisionMetrics
}

func newLoopMetrics(registry prometheus.Registerer) *loopMetrics {
	m := &loopMetrics{
		steps: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evenkeel_loop_steps_total", Help: "Inputs decided upon.",
		}),
		changes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "evenkeel_loop_changes_total", Help: "Records written to the ledger by the loop.",
		}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evenkeel_loop_step_seconds", Help: "Time to decide, record and hand over one input.",
			Buckets: []float64{.0001, .001, .005, .01, .05, .1, .5, 1, 5},
		}),
		static: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "evenkeel_loop_static", Help: "1 while the ledger cannot record and nothing acts.",
		}),
	}
	registry.MustRegister(m.steps, m.changes, m.seconds, m.static)
	m.decisions = newDecisionMetrics(registry)
	return m
}

// registerFacts shows the facts that reached no judgement, by why.
func registerFacts(registry prometheus.Registerer, counts func() health.Counts) {
	for reason, pick := range map[string]func(health.Counts) uint64{
		"unknown":   func(c health.Counts) uint64 { return c.Unknown },
		"history":   func(c health.Counts) uint64 { return c.History },
		"duplicate": func(c health.Counts) uint64 { return c.Duplicate },
		"malformed": func(c health.Counts) uint64 { return c.Malformed },
		"dropped":   func(c health.Counts) uint64 { return c.Dropped },
	} {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "evenkeel_health_facts_ignored_total", Help: "Facts that were not judged, by reason.",
			ConstLabels: prometheus.Labels{"reason": reason},
		}, func() float64 { return float64(pick(counts())) }))
	}
}

func (m *loopMetrics) step(took time.Duration, changes int) {
	m.steps.Inc()
	m.changes.Add(float64(changes))
	m.seconds.Observe(took.Seconds())
}

// appender is the store as selfStore needs it.
type appender interface {
	Append(ctx context.Context, samples []core.Sample) error
}

// selfStore writes the server's own metrics to its own store until ctx ends.
func selfStore(ctx context.Context, registry prometheus.Gatherer, replica string, store appender, log *slog.Logger) {
	ticker := time.NewTicker(selfEvery)
	defer ticker.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-ticker.C:
			err := storeOnce(ctx, registry, replica, store, at)
			if (err != nil) != failed {
				failed = err != nil
				log.Warn("own metrics stored", slog.Bool("ok", !failed), slog.Any("error", err))
			}
		}
	}
}

func storeOnce(ctx context.Context, registry prometheus.Gatherer, replica string, store appender, at time.Time) error {
	families, err := registry.Gather()
	if err != nil {
		return fmt.Errorf("gather own metrics: %w", err)
	}
	return store.Append(ctx, samplesOf(families, replica, at.UnixMilli()))
}

// samplesOf flattens gauges, counters and the sums and counts of histograms; the buckets stay on /metrics.
func samplesOf(families []*dto.MetricFamily, replica string, atMS int64) []core.Sample {
	var out []core.Sample
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := []core.Label{{Name: "replica", Value: replica}, {Name: "site", Value: selfSite}}
			for _, l := range metric.GetLabel() {
				if l.GetName() != "site" && l.GetName() != "replica" {
					labels = append(labels, core.Label{Name: l.GetName(), Value: l.GetValue()})
				}
			}
			slices.SortFunc(labels, func(a, b core.Label) int { return cmp.Compare(a.Name, b.Name) })
			add := func(suffix string, value float64) {
				if value-value == 0 { // no NaN and no Inf is ever written
					out = append(out, core.Sample{Name: family.GetName() + suffix, Labels: labels, Value: value, AtMS: atMS})
				}
			}
			switch {
			case metric.Gauge != nil:
				add("", metric.Gauge.GetValue())
			case metric.Counter != nil:
				add("", metric.Counter.GetValue())
			case metric.Histogram != nil:
				add("_sum", metric.Histogram.GetSampleSum())
				add("_count", float64(metric.Histogram.GetSampleCount()))
			case metric.Untyped != nil:
				add("", metric.Untyped.GetValue())
			}
		}
	}
	return out
}
