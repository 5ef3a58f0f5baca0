package fastexporter

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// reasonAttribute describes the value of a gauge rather than naming its series: up is newer than refused.
const reasonAttribute = "reason"

// point is one data point of any metric type.
type point struct {
	at         pcommon.Timestamp
	attributes pcommon.Map
	index      int
}

// key appends what makes the point's series different from others.
func (p point) key(b []byte, m pmetric.Metric) []byte {
	if m.Type() == pmetric.MetricTypeGauge {
		return appendMap(b, p.attributes, reasonAttribute)
	}
	return appendMap(b, p.attributes, "")
}

// points lists the data points of a metric. An empty metric has none.
func points(m pmetric.Metric) []point {
	var out []point
	add := func(at pcommon.Timestamp, attributes pcommon.Map) {
		out = append(out, point{at: at, attributes: attributes, index: len(out)})
	}
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		for _, p := range m.Gauge().DataPoints().All() {
			add(p.Timestamp(), p.Attributes())
		}
	case pmetric.MetricTypeSum:
		for _, p := range m.Sum().DataPoints().All() {
			add(p.Timestamp(), p.Attributes())
		}
	case pmetric.MetricTypeHistogram:
		for _, p := range m.Histogram().DataPoints().All() {
			add(p.Timestamp(), p.Attributes())
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, p := range m.ExponentialHistogram().DataPoints().All() {
			add(p.Timestamp(), p.Attributes())
		}
	case pmetric.MetricTypeSummary:
		for _, p := range m.Summary().DataPoints().All() {
			add(p.Timestamp(), p.Attributes())
		}
	case pmetric.MetricTypeEmpty:
	}
	return out
}

// copyTo copies the point, alone, with the kind of its metric.
func (p point) copyTo(from, to pmetric.Metric) {
	switch from.Type() {
	case pmetric.MetricTypeGauge:
		from.Gauge().DataPoints().At(p.index).CopyTo(to.SetEmptyGauge().DataPoints().AppendEmpty())
	case pmetric.MetricTypeSum:
		sum := to.SetEmptySum()
		sum.SetIsMonotonic(from.Sum().IsMonotonic())
		sum.SetAggregationTemporality(from.Sum().AggregationTemporality())
		from.Sum().DataPoints().At(p.index).CopyTo(sum.DataPoints().AppendEmpty())
	case pmetric.MetricTypeHistogram:
		h := to.SetEmptyHistogram()
		h.SetAggregationTemporality(from.Histogram().AggregationTemporality())
		from.Histogram().DataPoints().At(p.index).CopyTo(h.DataPoints().AppendEmpty())
	case pmetric.MetricTypeExponentialHistogram:
		h := to.SetEmptyExponentialHistogram()
		h.SetAggregationTemporality(from.ExponentialHistogram().AggregationTemporality())
		from.ExponentialHistogram().DataPoints().At(p.index).CopyTo(h.DataPoints().AppendEmpty())
	case pmetric.MetricTypeSummary:
		from.Summary().DataPoints().At(p.index).CopyTo(to.SetEmptySummary().DataPoints().AppendEmpty())
	case pmetric.MetricTypeEmpty:
	}
}
