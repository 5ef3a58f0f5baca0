package ingest

import (
	"math"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	latenessKept = 512 // requests of a writer
	latenessPart = 0.99
)

// lateness is how old the newest sample of a request is when it comes, by writer: what a question must wait for to see all of it. A clock of the writer that is
// wrong shows in it too.
type lateness struct {
	mu   sync.Mutex
	of   map[string]*ages
	desc *prometheus.Desc
}

// ages are those of the last requests, in seconds.
type ages struct {
	ring    [latenessKept]float32
	n, next int
}

var _ prometheus.Collector = (*lateness)(nil)

func newLateness() *lateness {
	return &lateness{of: map[string]*ages{}, desc: prometheus.NewDesc("evenkeel_ingest_delay_seconds",
		"How old the newest sample of a request is when it comes, the 99th percentile of the last 512 requests of a site or an edge.", []string{"writer"}, nil)}
}

// observe takes the samples of a request.
func (l *lateness) observe(writer string, samples []core.Sample, nowMS int64) {
	newest := int64(math.MinInt64)
	for i := range samples {
		newest = max(newest, samples[i].AtMS)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of[writer]
	if a == nil {
		a = &ages{}
		l.of[writer] = a
	}
	a.ring[a.next] = float32(max(0, nowMS-newest)) / 1000
	a.next, a.n = (a.next+1)%latenessKept, min(a.n+1, latenessKept)
}

// Describe implements prometheus.Collector.
func (l *lateness) Describe(out chan<- *prometheus.Desc) { out <- l.desc }

// Collect implements prometheus.Collector.
func (l *lateness) Collect(out chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for writer, a := range l.of {
		sorted := slices.Sorted(slices.Values(a.ring[:a.n]))
		at := sorted[int(math.Ceil(latenessPart*float64(a.n)))-1]
		out <- prometheus.MustNewConstMetric(l.desc, prometheus.GaugeValue, float64(at), writer)
	}
}
