package app

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// shown is what a registry would have stored, without the writer.
func shown(t *testing.T, registry prometheus.Gatherer) []string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range samplesOf(families, "r1", 0) {
		text := s.Name
		for _, l := range s.Labels {
			if l.Name != "replica" && l.Name != "site" && l.Value != "" {
				text += " " + l.Name + "=" + l.Value
			}
		}
		out = append(out, fmt.Sprintf("%s %g", text, s.Value))
	}
	return out
}

// Every subject has its condition, the unknown one too.
func TestConditionMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newConditionMetrics(func() core.Observation {
		return core.Observation{Assessments: []core.Assessment{
			{Subject: core.Subject{Site: "ams", Service: "checkout"}, Condition: core.Failing},
			{Subject: core.Subject{Site: "fra", Service: core.AllServices}},
			{Subject: core.Subject{Site: "fra", Service: "checkout", Unit: "blue"}, Condition: core.Healthy},
		}}
	}))
	want := []string{
		"evenkeel_judged_condition target_site=fra 0",
		"evenkeel_judged_condition service=checkout target_site=ams 4",
		"evenkeel_judged_condition service=checkout target_site=fra unit=blue 1",
	}
	if got := shown(t, registry); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A decision stands from the ledger's word of it to the end of its episode, and with the leader alone.
func TestDecisionMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := newDecisionMetrics(registry)
	f := func(want ...string) {
		t.Helper()
		if got := shown(t, registry); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	episode := func(site string, v core.Verdict) core.Episode {
		return core.Episode{Subject: core.Subject{Site: site, Service: "checkout"}, Standing: core.Standing{Verdict: v}}
	}
	over := episode("fra", core.VerdictAct)
	over.ClosedAt = &time.Time{}
	m.follow([]core.Change{{Episode: &core.Episode{Subject: core.Subject{Site: "old", Service: "checkout"}}}})
	m.begin([]core.Episode{episode("ams", core.VerdictHold), episode("fra", core.VerdictRecommend), over})
	f("evenkeel_decision_state service=checkout target_site=ams 4", "evenkeel_decision_state service=checkout target_site=fra 3")
	ams := episode("ams", core.VerdictAct)
	m.follow([]core.Change{{Line: &core.Line{}}, {Episode: &ams}, {Episode: &over}})
	f("evenkeel_decision_state service=checkout target_site=ams 1")
	m.clear()
	f()
}

// The loop shows what it has put on record, and nothing once another leads.
func TestTheLeaderShowsWhatIsDecided(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(l *loop, order func() chan core.Reply) {
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(l.metrics.decisions.state)
		<-order()
		want := []string{"evenkeel_decision_state service=checkout target_site=fra 1"}
		if got := shown(t, registry); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		b.lead(false)
		time.Sleep(time.Second) // on the bubble's clock
		if got := shown(t, registry); len(got) > 0 {
			t.Errorf("%q of a replica that does not lead", got)
		}
		b.lead(true)
		time.Sleep(time.Second)
		if got := shown(t, registry); !slices.Equal(got, want) {
			t.Errorf("leading again: %q, want %q", got, want)
		}
	})
}
