package app

import (
	"fmt"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What is judged of a link is shown, and what is not known is absent.
func TestLinkMetrics(t *testing.T) {
	lag, lost := 1.5, 2.5
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newLinkMetrics(func() core.Observation {
		return core.Observation{Links: []core.LinkStanding{
			{Link: "orders:ams>fra", Reason: "silent"},
			{Link: "orders:fra>ams", State: core.LinkDown, LagLower: &lag, Exposure: &lost},
		}}
	}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range samplesOf(families, "r1", 0) {
		got = append(got, fmt.Sprintf("%s %s=%g", s.Name, s.Labels[0].Value, s.Value))
	}
	want := []string{
		"evenkeel_judged_link_exposure_seconds orders:fra>ams=2.5",
		"evenkeel_judged_link_lag_lower_seconds orders:fra>ams=1.5",
		"evenkeel_judged_link_state orders:ams>fra=0",
		"evenkeel_judged_link_state orders:fra>ams=4",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
