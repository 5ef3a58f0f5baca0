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

	stateMeans = "State of one end of a replication link: 0 unknown, 1 caught_up, 2 catching_up, 3 idle_link_ok, 4 link_down, 5 applier_stopped, " +
		"6 resyncing, 7 delayed_by_design, 8 no_primary."
)

// series is one figure of a status.
type series struct {
	name, unit string
	means      string
	value      replica.Opt[float64]
	counter    bool
	labels     map[string]string
}

func figures(st replica.Status) []series {
	out := []series{
		{name: "lag.lower", unit: "s", value: seconds(st.Lower), means: "The target is at least so far behind; absent when it is not known."},
		{name: "lag.upper", unit: "s", value: seconds(st.Upper), means: "The target is at most so far behind; absent when nothing bounds it, as when the link is down."},
		{name: "lag.bytes", unit: "By", value: number(st.Bytes), means: "What the target has not applied yet, where the engine counts bytes."},
		{name: "lag.transactions", unit: "{transaction}", value: number(st.Transactions), means: "What the target has not applied yet, where the engine counts transactions."},
		{name: "lag.messages", unit: "{message}", value: number(st.Messages), means: "What the target has not applied yet, where the engine counts messages."},
		{name: "exposure", unit: "s", value: seconds(st.Exposure), means: "Upper bound for the age of what would be lost if the source were lost now."},
		{name: "link.age", unit: "s", value: seconds(st.LinkAge), means: "Since the last proof that the link is alive."},
	}
	if !st.LastCaughtUp.IsZero() {
		out = append(out, series{name: "last_caught_up.timestamp", unit: "s", means: "When the target was last seen to have all; kept over restarts of the agent.", value: replica.Some(float64(st.LastCaughtUp.UnixMilli()) / 1000)})
	}
	means := meanings()
	for _, m := range st.Extra {
		unit := m.Unit
		if unit == "1" {
			unit = "" // a state or a number of things is no ratio, as which the store's names would have it
		}
		out = append(out, series{name: m.Name, unit: unit, means: means[m.Name], value: replica.Some(m.Value), counter: m.Counter, labels: m.Labels})
	}
	return out
}

// meanings are of the measures that are not of one engine.
func meanings() map[string]string {
	return map[string]string{
		measureAge:         "Age of the newest heartbeat of the source that has arrived, by two clocks; negative when they contradict each other.",
		measureTrip:        "From the write of a heartbeat until its echo was read, by the source's clock: an upper bound of the way there. Both ends look once in an interval.",
		"writer.state":     "Writer of the heartbeat: 0 unknown, 1 writing, 2 paused as the server takes no writes, 3 refused as another writer of the origin is alive, 4 failing.",
		"writer.beats":     "Heartbeats written.",
		"writer.skipped":   "Heartbeats left out because the one before took too long.",
		"writer.conflicts": "Heartbeats not written because another writer of the same origin is alive: split brain, or two agents for one site.",
		"canary.checked":   "Rows of the canary table that were compared with what they must be.",
		"canary.diverged":  "Rows of the canary table that are missing, or are not what their origin wrote: replicated, but different.",
	}
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
	metric := func(name, unit, means string, counter bool) pmetric.NumberDataPointSlice {
		m, ok := byName[name]
		if !ok {
			m = scope.Metrics().AppendEmpty()
			m.SetName(name)
			m.SetUnit(unit)
			m.SetDescription(means)
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
		point := metric(metricState, "", stateMeans, false).AppendEmpty()
		point.SetTimestamp(stamp)
		point.SetIntValue(int64(st.State))
		attributes(point.Attributes(), st)
		point.Attributes().PutStr("reason", string(st.Reason))
		for _, f := range figures(st) {
			if !f.value.OK {
				continue
			}
			point := metric(prefix+strings.TrimPrefix(f.name, prefix), f.unit, f.means, f.counter).AppendEmpty()
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
