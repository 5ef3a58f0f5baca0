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
	metricPhase    = "evenkeel.probe.phase"
	metricExpiry   = "evenkeel.probe.tls.expiry"
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
		gauge(scope, metricDuration, p, stamp, res.Phases.Total.Seconds())
		phases(scope, p, stamp, res.Phases)
	}
	if !res.Expires.IsZero() {
		gauge(scope, metricExpiry, p, stamp, res.Expires.Sub(at).Seconds())
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

// gauge adds a metric of one point, in seconds.
func gauge(scope pmetric.ScopeMetrics, name string, p topology.Probe, stamp pcommon.Timestamp, seconds float64) {
	m := scope.Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit("s")
	point := m.SetEmptyGauge().DataPoints().AppendEmpty()
	point.SetTimestamp(stamp)
	point.SetDoubleValue(seconds)
	attributes(point.Attributes(), p)
}

// phases adds how long each phase took. One that was not reached or not needed is absent.
func phases(scope pmetric.ScopeMetrics, p topology.Probe, stamp pcommon.Timestamp, took probe.Phases) {
	parts := []struct {
		name string
		took time.Duration
	}{
		{"dns", took.DNS},
		{"connect", took.Connect},
		{"tls", took.TLS},
		{"first_byte", took.FirstByte},
		{"body", took.Body},
	}
	m := pmetric.NewMetric()
	m.SetName(metricPhase)
	m.SetUnit("s")
	points := m.SetEmptyGauge().DataPoints()
	for _, phase := range parts {
		if phase.took <= 0 {
			continue
		}
		point := points.AppendEmpty()
		point.SetTimestamp(stamp)
		point.SetDoubleValue(phase.took.Seconds())
		attributes(point.Attributes(), p)
		point.Attributes().PutStr("phase", phase.name)
	}
	if points.Len() > 0 {
		m.MoveTo(scope.Metrics().AppendEmpty())
	}
}

func attributes(m pcommon.Map, p topology.Probe) {
	m.EnsureCapacity(5)
	m.PutStr("target_site", p.TargetSite)
	m.PutStr("service", p.Service)
	m.PutStr("target", p.Name)
	m.PutStr("path", p.Path)
}
