package store

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The embedded store tells how it is, under names that do not change with VictoriaMetrics.
func TestTheEmbeddedStoreTellsHowItIs(t *testing.T) {
	e, ok := shared.be.(*embedded)
	if !ok {
		t.Fatal("the shared store is not embedded")
	}
	r := prometheus.NewRegistry()
	r.MustRegister(newOwnHealth(e))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	for _, name := range []string{"disk_free_bytes", "disk_limit_bytes", "size_bytes", "merges", "parts", "slow_inserts_total"} {
		if _, ok := got["evenkeel_store_"+name]; !ok {
			t.Errorf("no %s among %v", name, got)
		}
	}
	if free, limit := got["evenkeel_store_disk_free_bytes"], got["evenkeel_store_disk_limit_bytes"]; limit != minFreeBytes || free <= limit {
		t.Errorf("free %v, limit %v", free, limit)
	}
}
