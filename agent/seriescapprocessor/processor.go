package seriescapprocessor

import (
	"context"
	"math"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// limiter takes out of a batch what is over the cap and hands the rest on.
type limiter struct {
	log    *zap.Logger
	id     string
	cfg    *Config
	vitals *vitals.Vitals
	next   consumer.Metrics

	mu    sync.Mutex
	known *ledger
	full  time.Time // when something was last over the cap; zero: it has room
}

var _ processor.Metrics = (*limiter)(nil)

func newLimiter(log *zap.Logger, id string, cfg *Config, v *vitals.Vitals, next consumer.Metrics) *limiter {
	return &limiter{log: log, id: id, cfg: cfg, vitals: v, next: next, known: newLedger(cfg.MaxSeries, cfg.Expire)}
}

// Capabilities says that batches are changed.
func (*limiter) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: true} }

// Start makes the counters exist.
func (l *limiter) Start(context.Context, component.Host) error {
	l.vitals.WatchSeries(l.id, l.count)
	l.vitals.DropSeries(vitals.OverCap, 0)
	l.vitals.DropSeries(vitals.NoNumber, 0)
	return nil
}

// Shutdown forgets all series.
func (l *limiter) Shutdown(context.Context) error {
	l.vitals.WatchSeries(l.id, nil)
	return nil
}

// count is how many series are alive and how many may be.
func (l *limiter) count() (alive, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.sweep(time.Now())
	return l.known.size, l.cfg.MaxSeries
}

// ConsumeMetrics never fails by itself; a batch of which nothing is left is not handed on.
func (l *limiter) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	d := l.filter(md, time.Now())
	if d.over > 0 {
		l.vitals.DropSeries(vitals.OverCap, d.over)
	}
	if d.unfit > 0 {
		l.vitals.DropSeries(vitals.NoNumber, d.unfit)
	}
	if md.ResourceMetrics().Len() == 0 {
		return nil
	}
	return l.next.ConsumeMetrics(ctx, md)
}

// dropped counts data points of one batch.
type dropped struct {
	over, unfit int64
	example     string // name of a metric over the cap
}

// filter takes out what may not pass.
func (l *limiter) filter(md pmetric.Metrics, now time.Time) (d dropped) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known.sweep(now)
	md.ResourceMetrics().RemoveIf(func(rm pmetric.ResourceMetrics) bool {
		resource := l.known.attributes(rm.Resource().Attributes())
		rm.ScopeMetrics().RemoveIf(func(sm pmetric.ScopeMetrics) bool {
			sm.Metrics().RemoveIf(func(m pmetric.Metric) bool {
				return l.metric(m, l.known.named(resource, m.Name()), now, &d)
			})
			return sm.Metrics().Len() == 0
		})
		return rm.ScopeMetrics().Len() == 0
	})
	l.tell(d, now)
	return d
}

// metric takes points out of one metric, and reports whether none are left.
func (l *limiter) metric(m pmetric.Metric, key uint64, now time.Time, d *dropped) bool {
	judge := func(p point, size int, fit bool) (remove bool) {
		series := key + l.known.attributes(p.Attributes())
		switch {
		case p.Flags().NoRecordedValue(): // the series ends here; it is told to those who know it
			return !l.known.end(series)
		case !fit:
			d.unfit++
			return true
		case !l.known.admit(series, size, now):
			d.over++
			d.example = m.Name()
			return true
		}
		return false
	}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		numbers(m.Gauge().DataPoints(), judge)
		return m.Gauge().DataPoints().Len() == 0
	case pmetric.MetricTypeSum:
		numbers(m.Sum().DataPoints(), judge)
		return m.Sum().DataPoints().Len() == 0
	case pmetric.MetricTypeHistogram:
		points := m.Histogram().DataPoints()
		points.RemoveIf(func(p pmetric.HistogramDataPoint) bool {
			return judge(p, p.BucketCounts().Len()+2, !p.HasSum() || number(p.Sum()))
		})
		return points.Len() == 0
	case pmetric.MetricTypeSummary:
		points := m.Summary().DataPoints()
		points.RemoveIf(func(p pmetric.SummaryDataPoint) bool {
			return judge(p, p.QuantileValues().Len()+2, number(p.Sum()))
		})
		return points.Len() == 0
	case pmetric.MetricTypeExponentialHistogram:
		points := m.ExponentialHistogram().DataPoints()
		points.RemoveIf(func(p pmetric.ExponentialHistogramDataPoint) bool {
			return judge(p, p.Positive().BucketCounts().Len()+p.Negative().BucketCounts().Len()+2, !p.HasSum() || number(p.Sum()))
		})
		return points.Len() == 0
	case pmetric.MetricTypeEmpty:
	}
	return true
}

func numbers(points pmetric.NumberDataPointSlice, judge func(point, int, bool) bool) {
	points.RemoveIf(func(p pmetric.NumberDataPoint) bool {
		return judge(p, 1, p.ValueType() != pmetric.NumberDataPointValueTypeDouble || number(p.DoubleValue()))
	})
}

func number(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// tell logs when the cap is reached, and when there has been room for as long as a series keeps its place.
func (l *limiter) tell(d dropped, now time.Time) {
	switch {
	case d.over > 0:
		if l.full.IsZero() {
			l.log.Warn("too many series: new ones are dropped until others end; find the label that makes them, or raise --max-series",
				zap.Int("max_series", l.cfg.MaxSeries), zap.String("such_as", d.example))
		}
		l.full = now
	case !l.full.IsZero() && now.Sub(l.full) > l.cfg.Expire:
		l.full = time.Time{}
		l.log.Info("there is room for new series again")
	}
}
