package config

import (
	"testing"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What the file says of statistics reaches those who reckon with it.
func TestStatistics(t *testing.T) {
	f := func(text string, want float64) {
		t.Helper()
		c, err := Parse("evenkeel.yaml", []byte(text), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Topology(1).ChancePerYear; got != want {
			t.Errorf("%q: %v a year, want %v", text, got, want)
		}
	}
	f("lab: false\n", core.DefaultChancePerYear)
	f("statistics: {chance_per_year: 0.25}\n", 0.25)

	c, err := Parse("evenkeel.yaml", []byte("watches:\n  - {name: a, query: a, group: latency}\n  - {ready: http}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	groups := map[string]string{}
	for _, w := range c.Watches {
		groups[w.Name] = w.Detect().Group
	}
	for name, want := range map[string]string{
		"a": "latency", "http-latency": "latency", "http-latency-median": "latency", "http-probe-time": "latency", "http-errors": "errors", "http-traffic": "",
	} {
		if got, ok := groups[name]; !ok || got != want {
			t.Errorf("watch %s is in group %q, want %q", name, got, want)
		}
	}
}
