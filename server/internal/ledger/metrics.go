package ledger

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

type metrics struct {
	registry   prometheus.Registerer
	collectors []prometheus.Collector
	commits    *prometheus.CounterVec
	took       prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, l *Ledger) (*metrics, error) {
	m := &metrics{
		registry: r,
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evenkeel_ledger_commits_total", Help: "Commits by result; ok or the code of the error.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evenkeel_ledger_commit_duration_seconds", Help: "How long a commit took, to disk.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
	}
	m.collectors = []prometheus.Collector{
		m.commits, m.took,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evenkeel_ledger_size_bytes", Help: "Size of the database file.",
		}, l.sizeOnDisk),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evenkeel_ledger_revision", Help: "Highest revision seen.",
		}, func() float64 { return float64(l.Revision()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evenkeel_ledger_leading", Help: "1 while this replica decides and acts; a server that is alone always does.",
		}, func() float64 { return truth(l.Leading()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "evenkeel_ledger_quorum", Help: "1 while this replica reaches a majority of the replicas; without it nothing acts.",
		}, func() float64 { return truth(l.Leadership().Quorum) }),
	}
	for _, result := range []string{
		"ok", core.CodeConflict, core.CodeInvalid, core.CodeTooLarge, core.CodeUnavailable, core.CodeInternal,
	} {
		m.commits.WithLabelValues(result)
	}
	if r == nil {
		return m, nil
	}
	var err error
	for _, c := range m.collectors {
		err = errors.Join(err, r.Register(c))
	}
	return m, err
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *metrics) commit(err error, took time.Duration) {
	if m == nil {
		return
	}
	result := "ok"
	if err != nil {
		result = core.Code(err)
	}
	m.commits.WithLabelValues(result).Inc()
	m.took.Observe(took.Seconds())
}

// close takes the collectors back, so that a ledger opened anew may register its own.
func (m *metrics) close() {
	if m == nil || m.registry == nil {
		return
	}
	for _, c := range m.collectors {
		m.registry.Unregister(c)
	}
}
