package selfreceiver

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// Names of what this receiver reports; metadata.yaml describes them.
const (
	metricUsed    = "evenkeel.agent.buffer.used"
	metricLimit   = "evenkeel.agent.buffer.limit"
	metricLeft    = "evenkeel.agent.buffer.left"
	metricDropped = "evenkeel.agent.dropped"
	metricSkipped = "evenkeel.probe.skipped"
	metricArmed   = "evenkeel.agent.page.armed"
	metricPages   = "evenkeel.agent.pages"
	metricSeries  = "evenkeel.agent.series"
	metricMost    = "evenkeel.agent.series.limit"
	metricOver    = "evenkeel.agent.series.dropped"
	scopeName     = "evenkeel/self"
)

// report turns the vitals into metrics. since is when the counters began.
func (m *mirror) report(since, now time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	scope := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	scope.Scope().SetName(scopeName)
	w := writer{scope: scope, since: pcommon.NewTimestampFromTime(since), now: pcommon.NewTimestampFromTime(now)}

	used, limit, left := w.gauge(metricUsed, "By"), w.gauge(metricLimit, "By"), w.gauge(metricLeft, "s")
	dropped := w.counter(metricDropped, "{datapoint}")
	for _, b := range m.cfg.Buffers {
		buffer, ok := m.vitals.Buffer(b.Server)
		if !ok {
			continue
		}
		server := pair{"server", b.Server}
		w.point(used, server).SetIntValue(buffer.Used)
		w.point(limit, server).SetIntValue(buffer.Limit)
		if buffer.LeftKnown {
			w.point(left, server).SetDoubleValue(buffer.Left.Seconds())
		}
		w.point(dropped, server, pair{"lane", "bulk"}, pair{"reason", "full"}).SetIntValue(buffer.Full)
		w.point(dropped, server, pair{"lane", "bulk"}, pair{"reason", "refused"}).SetIntValue(buffer.Refused)
	}
	for _, lane := range m.vitals.Lanes() {
		server := pair{"server", lane.Server}
		w.point(dropped, server, pair{"lane", "fast"}, pair{"reason", "stale"}).SetIntValue(lane.Stale)
		w.point(dropped, server, pair{"lane", "fast"}, pair{"reason", "refused"}).SetIntValue(lane.Refused)
	}
	skipped := w.counter(metricSkipped, "{probe}")
	series, counts := m.vitals.Skipped()
	for i, s := range series {
		w.point(skipped, probeOf(s)...).SetIntValue(counts[i])
	}
	armed, pages := w.gauge(metricArmed, ""), w.counter(metricPages, "{attempt}")
	if on, ok := m.vitals.Armed(); ok {
		value := int64(0)
		if on {
			value = 1
		}
		w.point(armed).SetIntValue(value)
	}
	kinds, attempts := m.vitals.Pages()
	for i, p := range kinds {
		w.point(pages, pair{"about", p.About}, pair{"action", p.Action}, pair{"result", p.Result}).SetIntValue(attempts[i])
	}
	alive, most, over := w.gauge(metricSeries, "{series}"), w.gauge(metricMost, "{series}"), w.counter(metricOver, "{datapoint}")
	if a, m, ok := m.vitals.Series(); ok {
		w.point(alive).SetIntValue(int64(a))
		w.point(most).SetIntValue(int64(m))
	}
	for _, reason := range []vitals.DropReason{vitals.OverCap, vitals.NoNumber} {
		if n, ok := m.vitals.DroppedSeries(reason); ok {
			w.point(over, pair{"reason", reason.String()}).SetIntValue(n)
		}
	}
	scope.Metrics().RemoveIf(func(m pmetric.Metric) bool {
		return m.Type() == pmetric.MetricTypeGauge && m.Gauge().DataPoints().Len() == 0 ||
			m.Type() == pmetric.MetricTypeSum && m.Sum().DataPoints().Len() == 0
	})
	return md
}

func probeOf(s vitals.Series) []pair {
	return []pair{
		{"target_site", s.TargetSite}, {"service", s.Service}, {"target", s.Target}, {"path", s.Path},
	}
}

type pair struct{ name, value string }

// writer adds metrics to one scope.
type writer struct {
	scope      pmetric.ScopeMetrics
	since, now pcommon.Timestamp
}

// series is a metric under construction; since is zero for gauges.
type series struct {
	points pmetric.NumberDataPointSlice
	since  pcommon.Timestamp
}

func (w writer) gauge(name, unit string) series {
	m := w.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	return series{points: m.SetEmptyGauge().DataPoints()}
}

func (w writer) counter(name, unit string) series {
	m := w.scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	sum := m.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	return series{points: sum.DataPoints(), since: w.since}
}

func (w writer) point(s series, attributes ...pair) pmetric.NumberDataPoint {
	p := s.points.AppendEmpty()
	p.SetStartTimestamp(s.since)
	p.SetTimestamp(w.now)
	for _, a := range attributes {
		p.Attributes().PutStr(a.name, a.value)
	}
	return p
}
