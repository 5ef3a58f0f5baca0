package ingest

import (
	"bytes"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// maxElements bounds the messages of one export, attributes among them: an empty one takes two bytes on the
// wire and a hundred times as much in memory.
const maxElements = 2_000_000

// elements counts the messages of an encoded export down to the attributes of data points. What is not an
// export it leaves to the decoder to refuse.
func elements(raw []byte, depth int) int {
	n := 0
	for len(raw) > 0 && n <= maxElements {
		num, value, rest, err := field(raw)
		if err != nil {
			return n
		}
		raw = rest
		if num == 0 {
			continue
		}
		n++
		if depth > 0 {
			n += elements(value, depth-1)
		}
	}
	return n
}

// otlp turns an export into samples and facts.
func (b *batch) otlp(raw []byte, isJSON bool) error {
	if (isJSON && bytes.Count(raw, []byte("{")) > maxElements/2) || (!isJSON && elements(raw, 5) > maxElements) {
		return tooLarge()
	}
	req := pmetricotlp.NewExportRequest()
	var err error
	if isJSON {
		err = req.UnmarshalJSON(raw)
	} else {
		err = req.UnmarshalProto(raw)
	}
	if err != nil {
		return err
	}
	rms := req.Metrics().ResourceMetrics()
	for i := range rms.Len() {
		rm := rms.At(i)
		foreign := b.resource(rm.Resource().Attributes())
		sms := rm.ScopeMetrics()
		for j := range sms.Len() {
			ms := sms.At(j).Metrics()
			for k := range ms.Len() {
				b.metric(ms.At(k), foreign)
			}
		}
	}
	return nil
}

// resource sets what all samples of a resource share. It reports whether the resource named another site.
func (b *batch) resource(attrs pcommon.Map) (foreign bool) {
	b.base, b.agent, b.writer = b.base[:0], "", ""
	instance := ""
	attrs.Range(func(k string, v pcommon.Value) bool {
		switch {
		case k == attrAgent:
			b.agent = v.AsString()
		case k == siteLabel:
			foreign = foreign || v.AsString() != b.caller.Name
		case promoted(k):
			if k == attrInstance {
				instance = v.AsString()
			}
			b.base = b.setLabel(b.base, b.door.names.labelName(k), v.AsString(), &foreign)
		}
		return true
	})
	if b.agent == "" {
		b.agent = instance
	}
	b.writer = strings.Clone(b.agent)
	b.base = b.stamp(b.base)
	return foreign
}

// attributes makes the labels of one data point, in scratch. dropReason leaves the reason of a probe or link out: it
// would make a new series with each kind of failure.
func (b *batch) attributes(attrs pcommon.Map, foreign, dropReason bool, p *point) ([]core.Label, bool) {
	labels := append(b.scratch[:0], b.base...)
	ok := true
	attrs.Range(func(k string, v pcommon.Value) bool {
		text := v.Str
		var value string
		if v.Type() == pcommon.ValueTypeStr {
			value = text()
		} else {
			value = v.AsString()
		}
		if p != nil {
			p.set(k, value)
		}
		if dropReason && k == "reason" {
			return true
		}
		name := b.door.names.labelName(k)
		if name == "" {
			ok = false
			return true
		}
		labels = b.setLabel(labels, name, value, &foreign)
		return true
	})
	if foreign {
		b.replaced++
	}
	b.scratch = labels
	return labels, ok
}

func (b *batch) metric(m pmetric.Metric, foreign bool) {
	switch m.Type() {
	case pmetric.MetricTypeGauge:
		b.numbers(m, m.Gauge().DataPoints(), otlptranslator.MetricTypeGauge, foreign)
	case pmetric.MetricTypeSum:
		if m.Sum().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
			b.refuse(refusedTemporality, m.Sum().DataPoints().Len())
			return
		}
		kind := otlptranslator.MetricType(otlptranslator.MetricTypeNonMonotonicCounter)
		if m.Sum().IsMonotonic() {
			kind = otlptranslator.MetricTypeMonotonicCounter
		}
		b.numbers(m, m.Sum().DataPoints(), kind, foreign)
	case pmetric.MetricTypeHistogram:
		if m.Histogram().AggregationTemporality() != pmetric.AggregationTemporalityCumulative {
			b.refuse(refusedTemporality, m.Histogram().DataPoints().Len())
			return
		}
		b.histograms(m, m.Histogram().DataPoints(), foreign)
	case pmetric.MetricTypeExponentialHistogram:
		b.refuse(refusedExponential, m.ExponentialHistogram().DataPoints().Len())
	case pmetric.MetricTypeSummary:
		b.summaries(m, m.Summary().DataPoints(), foreign)
	case pmetric.MetricTypeEmpty:
	}
}

// name translates the metric's name, and refuses its n points if that or the caller's kind does not allow it.
func (b *batch) name(m pmetric.Metric, kind otlptranslator.MetricType, n int) string {
	if n == 0 {
		return ""
	}
	name := m.Name()
	if len(name) > b.door.o.Limits.NameBytes || len(m.Unit()) > b.door.o.Limits.NameBytes {
		b.refuse(refusedName, n)
		return ""
	}
	out := b.door.names.metricName(otlptranslator.Metric{Name: name, Unit: m.Unit(), Type: kind})
	switch {
	case out == "":
		b.refuse(refusedName, n)
		return ""
	case !b.allowed(out):
		b.refuse(refusedNotAllowed, n)
		return ""
	}
	return out
}

func (b *batch) numbers(m pmetric.Metric, points pmetric.NumberDataPointSlice, kind otlptranslator.MetricType, foreign bool) {
	name := b.name(m, kind, points.Len())
	if name == "" {
		return
	}
	fact := factKind(m.Name())
	duration, figure := isDuration(m.Name()), figureOf(m.Name())
	var about point
	var p *point
	if fact != core.FactUnknown || duration || figure != linkNoFigure {
		p = &about
	}
	for i := range points.Len() {
		x := points.At(i)
		if x.Flags().NoRecordedValue() {
			b.stale++
			continue
		}
		var v float64
		switch x.ValueType() {
		case pmetric.NumberDataPointValueTypeDouble:
			v = x.DoubleValue()
		case pmetric.NumberDataPointValueTypeInt:
			v = float64(x.IntValue())
		case pmetric.NumberDataPointValueTypeEmpty:
			b.stale++
			continue
		}
		if r, ok := checkValue(v); !ok {
			b.refuse(r, 1)
			continue
		}
		about = point{}
		labels, ok := b.attributes(x.Attributes(), foreign, fact == core.FactProbe || fact == core.FactLink, p)
		at := unixNano(x.Timestamp())
		switch {
		case fact != core.FactUnknown:
			b.addFact(fact, p, v, at)
		case duration:
			b.addDuration(p, v, at)
		case figure != linkNoFigure:
			if b.addFigure(figure, p, v, at); b.fast {
				continue // the bulk brings it to the store, without loss
			}
		}
		if !ok {
			b.refuse(refusedLabels, 1)
			continue
		}
		b.add(name, labels, v, at.UnixMilli())
	}
}

// unixNano is an OTLP time; one that no int64 holds is as far in the future as can be.
func unixNano(t pcommon.Timestamp) time.Time {
	return time.Unix(0, int64(min(uint64(t), math.MaxInt64)))
}

// add stores one sample of one series, if it can be.
func (b *batch) add(name string, labels []core.Label, v float64, ms int64) {
	if r, ok := b.checkTime(ms); !ok {
		b.refuse(r, 1)
		return
	}
	if r, ok := b.checkLabels(name, labels); !ok {
		b.refuse(r, 1)
		return
	}
	b.samples = append(b.samples, core.Sample{Name: name, Labels: b.keep(labels), Value: v, AtMS: ms})
}

// histograms makes _bucket, _sum and _count of each point: all of them, or none.
func (b *batch) histograms(m pmetric.Metric, points pmetric.HistogramDataPointSlice, foreign bool) {
	name := b.name(m, otlptranslator.MetricTypeHistogram, points.Len())
	if name == "" {
		return
	}
	for i := range points.Len() {
		x := points.At(i)
		if x.Flags().NoRecordedValue() {
			b.stale++
			continue
		}
		labels, ok := b.attributes(x.Attributes(), foreign, false, nil)
		counts, bounds := x.BucketCounts(), x.ExplicitBounds()
		switch {
		case !ok:
			b.refuse(refusedLabels, 1)
			continue
		case counts.Len() != 0 && counts.Len() != bounds.Len()+1, !ascending(bounds):
			b.refuse(refusedMalformed, 1)
			continue
		}
		if x.HasSum() {
			if r, ok := checkValue(x.Sum()); !ok {
				b.refuse(r, 1)
				continue
			}
		}
		ms := unixNano(x.Timestamp()).UnixMilli()
		if !b.group(name, labels, ms) {
			continue
		}
		if x.HasSum() {
			b.put(name+"_sum", labels, x.Sum(), ms)
		}
		b.put(name+"_count", labels, float64(x.Count()), ms)
		seen := uint64(0)
		bucket := name + "_bucket"
		for j := range counts.Len() {
			seen += counts.At(j)
			if j < bounds.Len() {
				b.put(bucket, withLabel(labels, "le", strconv.FormatFloat(bounds.At(j), 'f', -1, 64)), float64(seen), ms)
			}
		}
		b.put(bucket, withLabel(labels, "le", "+Inf"), float64(x.Count()), ms)
	}
}

func ascending(bounds pcommon.Float64Slice) bool {
	for i := range bounds.Len() {
		v := bounds.At(i)
		if math.IsNaN(v) || math.IsInf(v, 0) || (i > 0 && v <= bounds.At(i-1)) {
			return false
		}
	}
	return true
}

// summaries makes a series of each quantile, _sum and _count of each point. A quantile without a value is
// left out, as senders write NaN for it.
func (b *batch) summaries(m pmetric.Metric, points pmetric.SummaryDataPointSlice, foreign bool) {
	name := b.name(m, otlptranslator.MetricTypeSummary, points.Len())
	if name == "" {
		return
	}
	for i := range points.Len() {
		x := points.At(i)
		if x.Flags().NoRecordedValue() {
			b.stale++
			continue
		}
		labels, ok := b.attributes(x.Attributes(), foreign, false, nil)
		if !ok {
			b.refuse(refusedLabels, 1)
			continue
		}
		if r, ok := checkValue(x.Sum()); !ok {
			b.refuse(r, 1)
			continue
		}
		ms := unixNano(x.Timestamp()).UnixMilli()
		if !b.group(name, labels, ms) {
			continue
		}
		b.put(name+"_sum", labels, x.Sum(), ms)
		b.put(name+"_count", labels, float64(x.Count()), ms)
		quantiles := x.QuantileValues()
		for j := range quantiles.Len() {
			q := quantiles.At(j)
			_, fine := checkValue(q.Value())
			_, known := checkValue(q.Quantile())
			if fine && known {
				b.put(name, withLabel(labels, "quantile", strconv.FormatFloat(q.Quantile(), 'f', -1, 64)), q.Value(), ms)
			}
		}
	}
}

// group checks once for all series of a histogram or summary.
func (b *batch) group(name string, labels []core.Label, ms int64) bool {
	r, ok := b.checkTime(ms)
	if ok {
		r, ok = b.checkLabels(name, labels)
	}
	if !ok {
		b.refuse(r, 1)
	}
	return ok
}

func (b *batch) put(name string, labels []core.Label, v float64, ms int64) {
	b.samples = append(b.samples, core.Sample{Name: name, Labels: b.keep(labels), Value: v, AtMS: ms})
}

// withLabel is a copy of labels with one more, which replaces one of the same name.
func withLabel(labels []core.Label, name, value string) []core.Label {
	out := make([]core.Label, len(labels), len(labels)+1)
	copy(out, labels)
	i, found := slices.BinarySearchFunc(out, name, func(l core.Label, n string) int {
		switch {
		case l.Name < n:
			return -1
		case l.Name > n:
			return 1
		}
		return 0
	})
	if found {
		out[i].Value = value
		return out
	}
	return slices.Insert(out, i, core.Label{Name: name, Value: value})
}
