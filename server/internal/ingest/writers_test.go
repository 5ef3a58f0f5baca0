package ingest

import (
	"testing"
	"time"
)

// A fact says which of its credential's writers it is of, and a backlog of a writer without a heartbeat is
// history.
func TestFactsNameTheirWriter(t *testing.T) {
	f := func(want string, age time.Duration, resource ...string) {
		t.Helper()
		h := newHouse(nil)
		md := gauge("evenkeel.edge.weight", "", 50, h.now.Add(-age), "target_site", "ams", "service", "checkout")
		for i := 0; i < len(resource); i += 2 {
			md.ResourceMetrics().At(0).Resource().Attributes().PutStr(resource[i], resource[i+1])
		}
		rejected(t, h.otlp(md, "Authorization", "Bearer edge-token"))
		if len(h.facts) != 1 || h.facts[0].Agent != want || h.facts[0].Site != "director" {
			t.Fatalf("facts %+v, want the agent %q", h.facts, want)
		}
		if got := h.facts[0].History(h.now); got != (age > 13*time.Second) {
			t.Errorf("%s old: history is %t", age, got)
		}
	}
	f("", 0)
	f("one", 0, "service.instance.id", "one")
	f("two", 5*time.Second, "service.instance.id", "one", "evenkeel.agent.id", "two")
	f("one", time.Minute, "service.instance.id", "one")
	f("", time.Hour)

	g := func(want string, labels ...string) {
		t.Helper()
		h := newHouse(nil)
		labels = append([]string{"__name__", "evenkeel_link_state", "link", "orders"}, labels...)
		h.write(series{labels: labels, values: []float64{1}, at: []time.Time{h.now}})
		if len(h.facts) != 1 || h.facts[0].Agent != want {
			t.Errorf("facts %+v, want the agent %q", h.facts, want)
		}
	}
	g("")
	g("10.0.0.1:9", "instance", "10.0.0.1:9")
	g("one", "instance", "10.0.0.1:9", "service_instance_id", "one")
}
