package siteprobereceiver

import (
	"slices"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/evenkeel/evenkeel/agent/internal/probe"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
)

// Names of what this receiver reports; metadata.yaml describes them.
const (
	metricState    = "evenkeel.probe.state"
	metricDuration = "evenkeel.probe.duration"
	metricFailures = "evenkeel.probe.failures"
	scopeName      = "evenkeel/siteprobe"
)

// tally counts the failures of one target by reason. One goroutine owns it.
type tally struct {
	since  time.Time
	counts map[probe.Reason]int64
}

func (t *tally) add(reason probe.Reason) {
	if reason != probe.ReasonNone {
		t.counts[reason]++
	}
}

// report turns one result into metrics. Failures seen before are repeated, so that their series stay alive.
func report(p topology.Probe, res probe.Result, t *tally, at time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	scope := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	scope.Scope().SetName(scopeName)
	stamp := pcommon.NewTimestampFromTime(at)

	state := scope.Metrics().AppendEmpty()
	state.SetName(metricState)
	point := state.SetEmptyGauge().DataPoints().AppendEmpty()
	point.SetTimestamp(stamp)
	point.SetIntValue(int64(res.State))
	attributes(point.Attributes(), p)
	point.Attributes().PutStr("reason", string(res.Reason))

	if res.State != probe.Unknown {
		duration := scope.Metrics().AppendEmpty()
		duration.SetName(metricDuration)
		duration.SetUnit("s")
		point := duration.SetEmptyGauge().DataPoints().AppendEmpty()
		point.SetTimestamp(stamp)
		point.SetDoubleValue(res.Phases.Total.Seconds())
		attributes(point.Attributes(), p)
	}
	if len(t.counts) == 0 {
		return md
	}
	failures := scope.Metrics().AppendEmpty()
	failures.SetName(metricFailures)
	failures.SetUnit("{probe}")
	sum := failures.SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	reasons := make([]probe.Reason, 0, len(t.counts))
	for reason := range t.counts {
		reasons = append(reasons, reason)
	}
	slices.Sort(reasons)
	for _, reason := range reasons {
		point := sum.DataPoints().AppendEmpty()
		point.SetStartTimestamp(pcommon.NewTimestampFromTime(t.since))
		point.SetTimestamp(stamp)
		point.SetIntValue(t.counts[reason])
		attributes(point.Attributes(), p)
		point.Attributes().PutStr("reason", string(reason))
	}
	return md
}

func attributes(m pcommon.Map, p topology.Probe) {
	m.EnsureCapacity(5)
	m.PutStr("target_site", p.TargetSite)
	m.PutStr("service", p.Service)
	m.PutStr("target", p.Name)
	m.PutStr("path", p.Path)
}
