package act

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Results of an attempt, as core.Attempt has them.
const (
	resultDone     = "done"
	resultAccepted = "accepted"
	resultRefused  = "refused"
	resultRetry    = "retry"
	resultUnknown  = "unknown"
	resultFailed   = "failed"
)

// Final states of a notice, as core.Notice has them.
const (
	noticeSent      = "sent"
	noticeFailed    = "failed"
	noticeCancelled = "cancelled"
	noticeNoChannel = "no_channel"
)

type metrics struct {
	attempts *prometheus.CounterVec
	outcomes *prometheus.CounterVec
	notices  *prometheus.CounterVec
	latency  prometheus.Histogram
	underWay prometheus.Gauge
}

func newMetrics(registry prometheus.Registerer, targets map[string]Sender) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evenkeel_act_attempts_total", Help: "Delivery attempts by target and result.",
		}, []string{"target", "result"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evenkeel_act_outcomes_total", Help: "Outcomes of intents by kind.",
		}, []string{"kind"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "evenkeel_act_notices_total", Help: "Notices by final state.",
		}, []string{"state"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "evenkeel_act_attempt_seconds", Help: "Time from the start of an attempt to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 9),
		}),
		underWay: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "evenkeel_act_intents_under_way", Help: "Intents being delivered or verified.",
		}),
	}
	for name := range targets {
		for _, r := range []string{resultDone, resultAccepted, resultRefused, resultRetry, resultUnknown, resultFailed} {
			m.attempts.WithLabelValues(name, r)
		}
	}
	for _, k := range []core.OutcomeKind{
		core.OutcomeAttempt, core.OutcomeDone, core.OutcomeRefused, core.OutcomeFailed, core.OutcomeExpired,
		core.OutcomeVerified, core.OutcomeIneffective, core.OutcomeCannotTell,
	} {
		m.outcomes.WithLabelValues(string(k))
	}
	for _, s := range []string{noticeSent, noticeFailed, noticeCancelled, noticeNoChannel} {
		m.notices.WithLabelValues(s)
	}
	if registry != nil {
		registry.MustRegister(m.attempts, m.outcomes, m.notices, m.latency, m.underWay)
	}
	return m
}
