package ingest

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// How late samples come is what 99 of 100 requests keep, by the newest sample of each.
func TestHowLateSamplesCome(t *testing.T) {
	l := newLateness()
	reg := prometheus.NewRegistry()
	reg.MustRegister(l)
	const now = 1_000_000_000
	for i := range 100 {
		age := int64(2000 + 10*i)
		if i == 50 {
			age = 3_600_000 // what was kept in a queue for an hour
		}
		l.observe("fra", []core.Sample{{AtMS: now - 60_000 - age}, {AtMS: now - age}, {AtMS: now - age - 1}}, now)
	}
	l.observe("director", []core.Sample{{AtMS: now + 500}}, now)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || len(families[0].GetMetric()) != 2 {
		t.Fatalf("%v, %v", families, err)
	}
	for _, m := range families[0].GetMetric() {
		want := map[string]float64{"fra": 2.99, "director": 0}[m.GetLabel()[0].GetValue()]
		if got := m.GetGauge().GetValue(); got < want-1e-3 || got > want+1e-3 {
			t.Errorf("%s: %v, want %v", m.GetLabel()[0].GetValue(), got, want)
		}
	}
	for range latenessKept {
		l.observe("fra", []core.Sample{{AtMS: now - 500}}, now)
	}
	families, _ = reg.Gather()
	if got := families[0].GetMetric()[1].GetGauge().GetValue(); got != 0.5 {
		t.Errorf("after %d requests: %v", latenessKept, got)
	}
}
