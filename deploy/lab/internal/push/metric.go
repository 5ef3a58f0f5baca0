package push

import (
	"sort"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// Attr is one name and value of a point.
type Attr struct{ Name, Value string }

func put(m pcommon.Map, attrs []Attr) {
	for _, a := range attrs {
		m.PutStr(a.Name, a.Value)
	}
}

// Batch builds one request. At is the time of all points, Start the beginning of the sums.
type Batch struct {
	Metrics   pmetric.Metrics
	At, Start time.Time
	scope     pmetric.ScopeMetrics
	byName    map[string]pmetric.Metric
}

// NewBatch begins a request about one resource.
func NewBatch(at, start time.Time, resource ...Attr) *Batch {
	m := pmetric.NewMetrics()
	rm := m.ResourceMetrics().AppendEmpty()
	put(rm.Resource().Attributes(), resource)
	sm := rm.ScopeMetrics().AppendEmpty()
	sm.Scope().SetName("evenkeel-lab")
	return &Batch{Metrics: m, At: at, Start: start, scope: sm, byName: map[string]pmetric.Metric{}}
}

func (b *Batch) metric(name, unit string, init func(pmetric.Metric)) pmetric.Metric {
	if m, ok := b.byName[name]; ok {
		return m
	}
	m := b.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	init(m)
	b.byName[name] = m
	return m
}

// Sum adds a point of a cumulative monotonic sum.
func (b *Batch) Sum(name, unit string, value uint64, attrs ...Attr) {
	m := b.metric(name, unit, func(m pmetric.Metric) {
		s := m.SetEmptySum()
		s.SetIsMonotonic(true)
		s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	})
	p := m.Sum().DataPoints().AppendEmpty()
	p.SetIntValue(int64(value))
	p.SetTimestamp(pcommon.NewTimestampFromTime(b.At))
	p.SetStartTimestamp(pcommon.NewTimestampFromTime(b.Start))
	put(p.Attributes(), attrs)
}

// Gauge adds a point of a gauge.
func (b *Batch) Gauge(name, unit string, value float64, attrs ...Attr) {
	p := b.metric(name, unit, func(m pmetric.Metric) { m.SetEmptyGauge() }).Gauge().DataPoints().AppendEmpty()
	p.SetDoubleValue(value)
	p.SetTimestamp(pcommon.NewTimestampFromTime(b.At))
	put(p.Attributes(), attrs)
}

// Histogram adds the histogram's present state.
func (b *Batch) Histogram(name, unit string, h *Histogram, attrs ...Attr) {
	m := b.metric(name, unit, func(m pmetric.Metric) {
		m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	})
	p := m.Histogram().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(b.At))
	p.SetStartTimestamp(pcommon.NewTimestampFromTime(b.Start))
	put(p.Attributes(), attrs)
	h.mu.Lock()
	defer h.mu.Unlock()
	p.SetCount(h.count)
	p.SetSum(h.sum)
	p.BucketCounts().FromRaw(append([]uint64(nil), h.counts...))
	p.ExplicitBounds().FromRaw(append([]float64(nil), h.bounds...))
}

// Histogram counts durations in seconds. It is safe for concurrent use.
type Histogram struct {
	bounds []float64
	mu     sync.Mutex
	counts []uint64
	count  uint64
	sum    float64
}

// NewHistogram has the buckets of HTTP requests between 5 ms and 10 s (OpenTelemetry's advice).
func NewHistogram() *Histogram {
	bounds := []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}
	return &Histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

// Observe counts one duration.
func (h *Histogram) Observe(d time.Duration) {
	s := d.Seconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[sort.SearchFloat64s(h.bounds, s)]++
	h.count++
	h.sum += s
}

// CodeClass is how an answer is counted: 2xx to 5xx, and error for none.
func CodeClass(status int) string {
	switch status / 100 {
	case 1, 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	}
	return "error"
}

// CodeClasses are all values of CodeClass, so that counters exist at zero.
func CodeClasses() []string { return []string{"2xx", "3xx", "4xx", "5xx", "error"} }
