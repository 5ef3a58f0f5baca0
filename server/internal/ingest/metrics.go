package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
)

type doorMetrics struct {
	requests *prometheus.CounterVec
	samples  *prometheus.CounterVec
	refused  *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	replaced *prometheus.CounterVec
	facts    *prometheus.CounterVec
	clocks   *prometheus.CounterVec
	lateness *lateness
}

func newDoorMetrics(reg prometheus.Registerer) *doorMetrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &doorMetrics{
		requests: counter("evenkeel_ingest_requests_total", "Requests at the door, by route and HTTP status.", "route", "status"),
		samples:  counter("evenkeel_ingest_samples_total", "Samples handed to the store and taken, or not.", "result"),
		refused:  counter("evenkeel_ingest_refused_samples_total", "Samples that the door refused, by reason.", "reason"),
		lateness: newLateness(),
		dropped:  counter("evenkeel_ingest_dropped_samples_total", "Samples that say that there is no sample (stale_marker), and facts too many or too long to hand on (fact).", "reason"),
		replaced: counter("evenkeel_ingest_replaced_labels_total", "Samples whose site label was another's name and was replaced.", "label"),
		facts:    counter("evenkeel_ingest_facts_total", "Facts handed on, by kind and whether they were too old to vote.", "kind", "age"),
		clocks:   counter("evenkeel_ingest_clock_doubts_total", "Heartbeats whose clock offset cannot be true.", "reason"),
	}
	for r := range reasons {
		m.refused.WithLabelValues(r.label())
	}
	for _, result := range []string{"ok", "unavailable", "invalid"} {
		m.samples.WithLabelValues(result)
	}
	m.dropped.WithLabelValues("stale_marker")
	m.dropped.WithLabelValues("fact")
	m.replaced.WithLabelValues("site")
	m.clocks.WithLabelValues("ahead")
	for _, kind := range []string{"probe", "heartbeat", "edge_requests", "edge_weight", "link"} {
		m.facts.WithLabelValues(kind, "fresh")
		m.facts.WithLabelValues(kind, "history")
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.samples, m.refused, m.dropped, m.replaced, m.facts, m.clocks, m.lateness)
	}
	return m
}
