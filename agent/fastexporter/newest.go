package fastexporter

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
)

// newest keeps the newest point of every series that waits to be sent. It is not safe for concurrent use.
type newest struct {
	limit   int
	series  map[string]entry
	arrival uint64
}

// entry is one waiting point, alone in its own pmetric.Metrics.
type entry struct {
	md      pmetric.Metrics
	group   string // resource and scope, encoded
	at      pcommon.Timestamp
	gauge   bool
	arrival uint64
}

func newNewest(limit int) *newest { return &newest{limit: limit, series: map[string]entry{}} }

// put takes over copies of all points of md. It returns how many waiting series had to give way for want of
// room.
func (n *newest) put(md pmetric.Metrics) (displaced int64) {
	for _, rm := range md.ResourceMetrics().All() {
		resource := appendMap(nil, rm.Resource().Attributes(), "")
		for _, sm := range rm.ScopeMetrics().All() {
			group := string(appendString(slices.Clone(resource), sm.Scope().Name()))
			for _, m := range sm.Metrics().All() {
				for _, p := range points(m) {
					displaced += n.putPoint(rm, sm, m, p, group)
				}
			}
		}
	}
	return displaced
}

func (n *newest) putPoint(
	rm pmetric.ResourceMetrics, sm pmetric.ScopeMetrics, m pmetric.Metric, p point, group string,
) (displaced int64) {
	key := string(p.key(appendString([]byte(group), m.Name()), m))
	old, waiting := n.series[key]
	if waiting && old.at > p.at {
		return 0
	}
	md := pmetric.NewMetrics()
	toRM := md.ResourceMetrics().AppendEmpty()
	rm.Resource().CopyTo(toRM.Resource())
	toSM := toRM.ScopeMetrics().AppendEmpty()
	sm.Scope().CopyTo(toSM.Scope())
	to := toSM.Metrics().AppendEmpty()
	to.SetName(m.Name())
	to.SetUnit(m.Unit())
	p.copyTo(m, to)
	n.arrival++
	n.series[key] = entry{
		md: md, group: group, at: p.at, gauge: m.Type() == pmetric.MetricTypeGauge, arrival: n.arrival,
	}
	if len(n.series) > n.limit {
		n.evict()
		return 1
	}
	return 0
}

// evict drops the series that arrived first.
func (n *newest) evict() {
	oldest, at := "", uint64(math.MaxUint64)
	for key, e := range n.series {
		if e.arrival < at {
			oldest, at = key, e.arrival
		}
	}
	delete(n.series, oldest)
}

// back returns what could not be sent, unless something newer has come since.
func (n *newest) back(batch map[string]entry) {
	for key, e := range batch {
		if cur, ok := n.series[key]; !ok || cur.at < e.at {
			n.series[key] = e
		}
	}
	for len(n.series) > n.limit {
		n.evict()
	}
}

// take empties the store. Gauges older than maxAge at now are left out and counted: a fact that old is no
// fact any more.
func (n *newest) take(now time.Time, maxAge time.Duration) (batch map[string]entry, stale int64) {
	batch, n.series = n.series, map[string]entry{}
	limit := pcommon.NewTimestampFromTime(now.Add(-maxAge))
	for key, e := range batch {
		if e.gauge && e.at < limit {
			delete(batch, key)
			stale++
		}
	}
	return batch, stale
}

// agentAttribute names the agent that looked: two of one site are two voices, each with its own clock.
const agentAttribute = "evenkeel.agent.id"

// merge puts a batch into one request, in order of arrival, a resource and scope once. agent is empty when nobody knows.
func merge(batch map[string]entry, agent string) pmetric.Metrics {
	entries := make([]entry, 0, len(batch))
	for _, e := range batch {
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.arrival < b.arrival {
			return -1
		}
		return 1
	})
	out := pmetric.NewMetrics()
	groups := map[string]pmetric.ScopeMetrics{}
	for _, e := range entries {
		rm := e.md.ResourceMetrics().At(0)
		sm := rm.ScopeMetrics().At(0)
		to, ok := groups[e.group]
		if !ok {
			toRM := out.ResourceMetrics().AppendEmpty()
			rm.Resource().CopyTo(toRM.Resource())
			if agent != "" {
				toRM.Resource().Attributes().PutStr(agentAttribute, agent)
			}
			to = toRM.ScopeMetrics().AppendEmpty()
			sm.Scope().CopyTo(to.Scope())
			groups[e.group] = to
		}
		sm.Metrics().At(0).CopyTo(to.Metrics().AppendEmpty())
	}
	return out
}

// appendString appends a string so that two of them never run into each other.
func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendMap appends attributes in a stable order, without the one named except.
func appendMap(b []byte, m pcommon.Map, except string) []byte {
	keys := make([]string, 0, m.Len())
	for key := range m.All() {
		if key != except || except == "" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		value, _ := m.Get(key)
		b = appendString(appendString(b, key), value.AsString())
	}
	return appendString(b, "")
}
