package decide

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

var atStart = time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)

// TestFloors is the table of decision.md, signal by signal.
func TestFloors(t *testing.T) {
	f := func(what, signal string, plan core.Plan, want time.Duration) {
		t.Helper()
		w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil))
		w.sick[w.subject("fra")] = state{what: what, since: w.at, signal: signal}
		cond := core.Failing
		if what == "slow" || what == "gray" {
			cond = core.Degraded
		}
		v := view{e: w.e, at: w.at, ep: &core.Episode{}, a: w.assess("fra"), p: proposal{plan: plan, policy: core.Policy{Condition: cond}}}
		if got, why := floor(v); got != want {
			t.Errorf("%s %s: floor %s (%s), want %s", what, signal, got, why, want)
		}
	}
	reads := core.Plan{Kind: core.PlanDrain, Moves: core.ScopeReads, Steps: []core.Step{{Weight: 0}}}
	part := core.Plan{Kind: core.PlanDrain, Moves: core.ScopeReads, Steps: []core.Step{{Weight: 50}}}
	writes := core.Plan{Kind: core.PlanDrain, Moves: core.ScopeWrites, Steps: []core.Step{{Weight: 0}}}
	f("dead", core.SignalRefused, reads, 10*time.Second)
	f("dead", core.SignalRefused, part, 5*time.Second)
	f("dead", core.SignalTimeout, reads, 20*time.Second)
	f("dead", core.SignalTimeout, part, 20*time.Second)
	f("dead-edge", core.SignalRefused, reads, 20*time.Second) // the inside is alive
	f("dead-edge", core.SignalTimeout, reads, 20*time.Second) // the edge's errors only confirm
	f("isolated", core.SignalTimeout, reads, 20*time.Second)
	f("isolated", core.SignalErrors, reads, time.Minute)
	f("dead", core.SignalErrors, reads, time.Minute)
	f("gray", core.SignalTimeout, reads, time.Minute)
	f("slow", core.SignalSlow, reads, 3*time.Minute)
	f("dead", core.SignalRefused, writes, time.Minute)
	f("dead", core.SignalRefused, core.Plan{Kind: core.PlanRestore}, 15*time.Minute)
}

// TestClasses: two classes over two paths, one of them outside or inside.
func TestClasses(t *testing.T) {
	ev := func(c core.Class, path string) core.Evidence {
		return core.Evidence{Class: c, Path: path, Signal: core.SignalTimeout}
	}
	stat := core.Evidence{Class: core.ClassSymptom, Path: "edge", Signal: core.SignalAnomaly, Band: &core.Band{}}
	f := func(want core.Answer, words string, evidence ...core.Evidence) {
		t.Helper()
		r := ruleClasses(view{a: core.Assessment{Evidence: evidence}})
		if r.Answer != want || !strings.Contains(r.Sentence, words) {
			t.Errorf("%s: %s, want %s with %q", r.Answer, r.Sentence, want, words)
		}
	}
	f(core.Pass, "separate paths", ev(core.ClassOutside, "wan"), ev(core.ClassInside, "lan"))
	f(core.Object, "unknown one", ev(core.ClassOutside, "wan"), ev(core.ClassInside, ""))
	f(core.Object, "unknown one", ev(core.ClassOutside, "wan"), ev(core.ClassSymptom, "unknown"))
	f(core.Object, "one path", ev(core.ClassOutside, "wan"), ev(core.ClassSilence, "wan"))
	f(core.Pass, "separate paths", ev(core.ClassOutside, "wan"), ev(core.ClassOutside, "wan2"), ev(core.ClassSilence, "wan"))
	f(core.Object, "only one class", ev(core.ClassOutside, "wan"), ev(core.ClassOutside, "wan2"))
	f(core.Object, "nobody has seen", ev(core.ClassSilence, "wan"), ev(core.ClassSymptom, "edge"))
	f(core.Object, "only one class", ev(core.ClassOutside, "wan"), ev(core.ClassCause, "x"), ev(core.ClassLink, "y"))
	f(core.Object, "no evidence", ev(core.ClassLink, "y"))
	f(core.Object, "statistics alone", stat)
	f(core.Pass, "separate paths", stat, ev(core.ClassOutside, "wan"))
}

// TestInsideVetoesDead: the site's own success denies that the service is dead, not that its edge is.
func TestInsideVetoesDead(t *testing.T) {
	w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil))
	w.sick[w.subject("fra")] = state{what: "dead-edge", since: w.at, signal: core.SignalTimeout}
	a := w.assess("fra")
	if r := ruleClasses(view{a: a}); r.Answer != core.Pass {
		t.Errorf("dead edge, alive inside: %s", r.Sentence)
	}
	a.Kind = core.KindDeadService
	if r := ruleClasses(view{a: a}); r.Answer != core.Object || r.kind != hard {
		t.Errorf("dead service, alive inside: %s", r.Sentence)
	}
}

// TestGuardThatBreaks: no answer, no reason, no limit and a panic are objections.
func TestGuardThatBreaks(t *testing.T) {
	f := func(rule func(view) ruled) {
		t.Helper()
		r := guard{1, "x", true, rule}.ask(view{})
		if !r.holds() || r.Sentence == "" || r.Bound != 0 || r.kind != hard {
			t.Errorf("%+v", r)
		}
	}
	f(func(view) ruled { panic("x") })
	f(func(view) ruled { return ruled{} })
	f(func(view) ruled { return ruled{Ruling: core.Ruling{Answer: core.Bound}} })
	f(func(view) ruled { return ruled{Ruling: core.Ruling{Answer: core.Bound, Bound: math.NaN()}} })
	f(func(view) ruled { return ruled{Ruling: core.Ruling{Answer: core.Bound, Bound: 1.1, Sentence: "x"}} })
	f(func(view) ruled { return ruled{Ruling: core.Ruling{Answer: 77, Sentence: "x"}} })
}

// TestCapacityWithoutSense: figures that are none never become a limit or a record.
func TestCapacityWithoutSense(t *testing.T) {
	w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil))
	o := w.observation()
	w.step(Input{Observation: &o})
	ep := &core.Episode{Subject: w.subject("fra"), Demand: map[string]float64{"fra": 1e308, "ams": 1e308, "lon": 1e308}}
	v := view{e: w.e, at: w.at, lim: limits(core.Guards{RetryFactor: math.Inf(1)}), ep: ep, p: proposal{plan: w.topo.Plans[0]}}
	if v.lim.RetryFactor != 1 {
		t.Errorf("retry factor %v", v.lim.RetryFactor)
	}
	v.lim.RetryFactor = 10
	if eff := effectOf(v, 1); eff != nil {
		t.Errorf("effect %+v", eff)
	}
	if r := (guard{10, "capacity", false, ruleCapacity}).ask(v); !r.holds() {
		t.Errorf("%s %s", r.Answer, r.Sentence)
	}
}

// TestCapacityMissing: what is not declared or not known is not assumed.
func TestCapacityMissing(t *testing.T) {
	f := func(words string, change func(*core.Topology, *core.Episode)) {
		t.Helper()
		topo := testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil)
		ep := &core.Episode{Subject: core.Subject{Site: "fra", Service: "checkout"}, Demand: map[string]float64{"fra": 100, "ams": 100, "lon": 100}}
		change(&topo, ep)
		w := newWorld(t, topo)
		o := w.observation()
		w.step(Input{Observation: &o})
		v := view{e: w.e, at: w.at, lim: limits(topo.Guards), ep: ep, p: proposal{plan: topo.Plans[0]}}
		if r := ruleCapacity(v); r.Answer != core.CannotTell || !strings.Contains(r.Sentence, words) {
			t.Errorf("%s: %s, want %q", r.Answer, r.Sentence, words)
		}
	}
	f("no capacity is declared for checkout at lon", func(t *core.Topology, _ *core.Episode) { t.Sites[2].Capacity = nil })
	f("demand of checkout at fra", func(_ *core.Topology, ep *core.Episode) { ep.Demand = nil })
	f("demand of checkout at ams", func(_ *core.Topology, ep *core.Episode) { delete(ep.Demand, "ams") })
}

// TestSurvivors: only who may take the load counts, for serving and for capacity.
func TestSurvivors(t *testing.T) {
	topo := testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil)
	topo.Services[0].Survivors = []string{"fra", "ams"}
	w := newWorld(t, topo)
	o := w.observation()
	w.step(Input{Observation: &o})
	v := view{e: w.e, at: w.at, ep: &core.Episode{Subject: w.subject("fra")}}
	if got := serving(v, "checkout"); !slices.Equal(got, []string{"ams"}) {
		t.Errorf("survivors %v", got)
	}
}

// TestFreezeEdges: a freeze holds from its first moment to just before its last.
func TestFreezeEdges(t *testing.T) {
	freeze := core.Freeze{Name: "dst", From: atStart, Until: atStart.Add(time.Hour), Scope: nil}
	f := func(at time.Time, cond core.Condition, kind core.PlanKind, want core.Answer) {
		t.Helper()
		v := view{e: &Engine{topo: core.Topology{Freezes: []core.Freeze{freeze}}}, at: at, a: core.Assessment{Condition: cond}, p: proposal{plan: core.Plan{Kind: kind}}}
		if r := ruleFreeze(v); r.Answer != want {
			t.Errorf("at %s: %s", at, r.Sentence)
		}
	}
	f(atStart.Add(-1), core.Degraded, core.PlanDrain, core.Pass)
	f(atStart, core.Degraded, core.PlanDrain, core.Object)
	f(atStart, core.Failing, core.PlanDrain, core.Pass) // an emergency must be spelled out
	f(atStart, core.Healthy, core.PlanRestore, core.Object)
	f(atStart.Add(time.Hour-1), core.Degraded, core.PlanDrain, core.Object)
	f(atStart.Add(time.Hour), core.Degraded, core.PlanDrain, core.Pass)
}

// TestLocks: the same site, and the same service, the whole site, or services that move together.
func TestLocks(t *testing.T) {
	e := &Engine{topo: core.Topology{Services: []core.Service{{Name: "checkout", MovesWith: []string{"cart"}}, {Name: "cart"}, {Name: "search"}}}}
	f := func(a, b core.Subject, want bool) {
		t.Helper()
		if e.sharesLock(a, b) != want || e.sharesLock(b, a) != want {
			t.Errorf("%s and %s: want %t", a, b, want)
		}
	}
	fra := func(s string) core.Subject { return core.Subject{Site: "fra", Service: s} }
	f(fra("checkout"), fra("checkout"), true)
	f(fra("checkout"), fra("cart"), true)
	f(fra("checkout"), fra("search"), false)
	f(fra(core.AllServices), fra("search"), true)
	f(fra("checkout"), core.Subject{Site: "ams", Service: "checkout"}, false)
}

// A site at which a detector objects is no refuge, though it says too little to accuse the site.
func TestOddSitesAreNoRefuge(t *testing.T) {
	f := func(want bool, a core.Assessment) {
		t.Helper()
		if got := soundAssessment(a); got != want {
			t.Errorf("%s %s, odd %v: sound %t, want %t", a.Condition, a.Kind, a.Odd, got, want)
		}
	}
	f(true, core.Assessment{Condition: core.Healthy})
	f(false, core.Assessment{Condition: core.Healthy, Odd: []core.Evidence{{Source: "latency"}}})
	f(false, core.Assessment{Condition: core.Suspect, Kind: core.KindAnomaly})
	f(true, core.Assessment{Condition: core.Suspect, Kind: core.KindLink})
	f(false, core.Assessment{})
}
