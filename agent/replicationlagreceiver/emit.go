package replicationlagreceiver

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Names of what this receiver reports; metadata.yaml describes them.
const (
	metricState = "evenkeel.link.state"
	prefix      = "evenkeel.replication."
	scopeName   = "evenkeel/replicationlag"
)

// series is one figure of a status.
type series struct {
	name, unit string
	value      replica.Opt[float64]
	counter    bool
	labels     map[string]string
}

func figures(st replica.Status) []series {
	out := []series{
		{name: "lag.lower", unit: "s", value: seconds(st.Lower)},
		{name: "lag.upper", unit: "s", value: seconds(st.Upper)},
		{name: "lag.bytes", unit: "By", value: number(st.Bytes)},
		{name: "lag.transactions", unit: "{transaction}", value: number(st.Transactions)},
		{name: "lag.messages", unit: "{message}", value: number(st.Messages)},
		{name: "exposure", unit: "s", value: seconds(st.Exposure)},
		{name: "link.age", unit: "s", value: seconds(st.LinkAge)},
	}
	if !st.LastCaughtUp.IsZero() {
		out = append(out, series{name: "last_caught_up.timestamp", unit: "s", value: replica.Some(float64(st.LastCaughtUp.UnixMilli()) / 1000)})
	}
	for _, m := range st.Extra {
		out = append(out, series{name: m.Name, unit: m.Unit, value: replica.Some(m.Value), counter: m.Counter, labels: m.Labels})
	}
	return out
}

func seconds(d replica.Opt[time.Duration]) replica.Opt[float64] {
	return replica.Opt[float64]{V: d.V.Seconds(), OK: d.OK}
}

func number(n replica.Opt[int64]) replica.Opt[float64] {
	return replica.Opt[float64]{V: float64(n.V), OK: n.OK}
}

// report turns one look into metrics. What is not known is not there.
func report(all []replica.Status) pmetric.Metrics {
	md := pmetric.NewMetrics()
	scope := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	scope.Scope().SetName(scopeName)
	byName := map[string]pmetric.Metric{}
	metric := func(name, unit string, counter bool) pmetric.NumberDataPointSlice {
		m, ok := byName[name]
		if !ok {
			m = scope.Metrics().AppendEmpty()
			m.SetName(name)
			m.SetUnit(unit)
			if counter {
				sum := m.SetEmptySum()
				sum.SetIsMonotonic(true)
				sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			} else {
				m.SetEmptyGauge()
			}
			byName[name] = m
		}
		if m.Type() == pmetric.MetricTypeSum {
			return m.Sum().DataPoints()
		}
		return m.Gauge().DataPoints()
	}
	for _, st := range all {
		stamp := pcommon.NewTimestampFromTime(st.At)
		point := metric(metricState, "", false).AppendEmpty()
		point.SetTimestamp(stamp)
		point.SetIntValue(int64(st.State))
		attributes(point.Attributes(), st)
		point.Attributes().PutStr("reason", string(st.Reason))
		for _, f := range figures(st) {
			if !f.value.OK {
				continue
			}
			point := metric(prefix+strings.TrimPrefix(f.name, prefix), f.unit, f.counter).AppendEmpty()
			point.SetTimestamp(stamp)
			point.SetDoubleValue(f.value.V)
			attributes(point.Attributes(), st)
			for _, label := range slices.Sorted(maps.Keys(f.labels)) {
				point.Attributes().PutStr(label, f.labels[label])
			}
		}
	}
	return md
}

func attributes(m pcommon.Map, st replica.Status) {
	m.EnsureCapacity(4)
	m.PutStr("link", st.Link.Name())
	m.PutStr("channel", st.Link.Channel)
	m.PutStr("end", string(st.End))
}
