package store

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// resultPartial is the result of a query that was answered, but not by all storage nodes.
const resultPartial = "partial"

type storeMetrics struct {
	samples  *prometheus.CounterVec
	queries  *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newStoreMetrics(reg prometheus.Registerer, s *Store) *storeMetrics {
	m := &storeMetrics{
		samples: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evenkeel_store_samples_total", Help: "Samples handed to the store, by result.",
		}, []string{"result"}),
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evenkeel_store_queries_total", Help: "Queries of the server itself, by kind and result.",
		}, []string{"kind", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "evenkeel_store_query_duration_seconds", Help: "How long queries of the server itself took.",
			Buckets: []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30},
		}, []string{"kind"}),
	}
	for _, result := range []string{"ok", core.CodeInvalid, core.CodeUnavailable} {
		m.samples.WithLabelValues(result)
		for _, kind := range []string{"instant", "range"} {
			m.queries.WithLabelValues(kind, result)
		}
	}
	for _, kind := range []string{"instant", "range"} {
		m.queries.WithLabelValues(kind, resultPartial)
	}
	if reg != nil {
		reg.MustRegister(m.samples, m.queries, m.duration, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evenkeel_store_ready", Help: "1 when samples can be written and read.",
		}, func() float64 {
			if s.Ready() != nil {
				return 0
			}
			return 1
		}))
	}
	return m
}

func (m *storeMetrics) appended(n int, err error) {
	m.samples.WithLabelValues(result(err)).Add(float64(n))
}

func (m *storeMetrics) queried(kind string, took time.Duration, err error) {
	m.queries.WithLabelValues(kind, result(err)).Inc()
	m.duration.WithLabelValues(kind).Observe(took.Seconds())
}

func result(err error) string {
	switch {
	case err == nil:
		return "ok"
	case core.Code(err) == core.CodeInvalid || core.Code(err) == core.CodeTooLarge:
		return core.CodeInvalid
	case errors.Is(err, ErrPartial):
		return resultPartial
	default:
		return core.CodeUnavailable
	}
}
