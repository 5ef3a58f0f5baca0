package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// conditionMetrics show the condition of every subject as this replica judges it, so that what was known at a time can be
// read from the store later.
type conditionMetrics struct {
	latest    func() core.Observation
	condition *prometheus.Desc
}

var _ prometheus.Collector = (*conditionMetrics)(nil)

// subjectLabels are those of a series about a subject; a whole site has no service.
func subjectLabels() []string { return []string{"target_site", "service", "unit"} }

func subjectValues(s core.Subject) []string {
	if s.WholeSite() {
		return []string{s.Site, "", s.Unit}
	}
	return []string{s.Site, s.Service, s.Unit}
}

func newConditionMetrics(latest func() core.Observation) *conditionMetrics {
	return &conditionMetrics{latest: latest, condition: prometheus.NewDesc("evenkeel_judged_condition",
		"Condition of a service at a site, or of the whole site where there is no service: 0 unknown, 1 healthy, 2 suspect, 3 degraded, 4 failing.",
		subjectLabels(), nil)}
}

// Describe names the series.
func (m *conditionMetrics) Describe(to chan<- *prometheus.Desc) { to <- m.condition }

// Collect shows the latest observation.
func (m *conditionMetrics) Collect(to chan<- prometheus.Metric) {
	for _, a := range m.latest().Assessments {
		to <- prometheus.MustNewConstMetric(m.condition, prometheus.GaugeValue, float64(a.Condition), subjectValues(a.Subject)...)
	}
}

// decisionMetrics show what stands decided of each open episode. Only the replica that leads has any.
type decisionMetrics struct{ state *prometheus.GaugeVec }

func newDecisionMetrics(registry prometheus.Registerer) *decisionMetrics {
	m := &decisionMetrics{prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "evenkeel_decision_state",
		Help: "What stands decided of an open episode, by the leader: 0 nothing yet, 1 act, 2 await_approval, 3 recommend, 4 hold, 5 ignore.",
	}, subjectLabels())}
	registry.MustRegister(m.state)
	return m
}

// clear forgets all: another replica decides.
func (m *decisionMetrics) clear() { m.state.Reset() }

// begin shows what a ledger says at the start of a leadership.
func (m *decisionMetrics) begin(episodes []core.Episode) {
	m.clear()
	for _, e := range episodes {
		if e.ClosedAt == nil { // one that is closed may be of the subject of one that is open
			m.show(e)
		}
	}
}

// follow shows what a step has put on record.
func (m *decisionMetrics) follow(changes []core.Change) {
	for _, c := range changes {
		if c.Episode != nil {
			m.show(*c.Episode)
		}
	}
}

func (m *decisionMetrics) show(e core.Episode) {
	if e.ClosedAt != nil {
		m.state.DeleteLabelValues(subjectValues(e.Subject)...)
		return
	}
	m.state.WithLabelValues(subjectValues(e.Subject)...).Set(float64(e.Standing.Verdict))
}
