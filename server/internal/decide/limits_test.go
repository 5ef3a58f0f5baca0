package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// TestZeroForbids: no drained sites, or no budget, is no drain by itself, and a page that says why.
func TestZeroForbids(t *testing.T) {
	f := func(name, words string, zero func(*core.Guards)) {
		t.Helper()
		topo := testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil)
		zero(&topo.Guards)
		w := newWorld(t, topo)
		w.quiet = true
		w.run(5*time.Second, time.Second)
		w.kill("fra")
		w.run(30*time.Second, time.Second)
		if got := w.drained(); got != "" || w.e.brake.On {
			t.Errorf("%s: drained %q, brake %t", name, got, w.e.brake.On)
		}
		if ns := w.notices(); len(ns) != 1 || !strings.Contains(ns[0].Summary, words) {
			t.Errorf("%s: %+v", name, ns)
		}
	}
	f("max_drained_sites", "0 allowed", func(g *core.Guards) { g.MaxDrainedSites = 0 })
	f("per hour", "the budget is 0", func(g *core.Guards) { g.BudgetPerHour = 0 })
	f("per day", "the budget is 0", func(g *core.Guards) { g.BudgetPerDay = 0 })
}

// TestObservationAheadOfTheInput: inputs queue, so an observation may be a little newer than the order after it.
func TestObservationAheadOfTheInput(t *testing.T) {
	w := automatic(t)
	f := func(ahead time.Duration, want core.Answer) {
		t.Helper()
		r := ruleFresh(view{e: w.e, at: w.at.Add(-ahead)})
		if r.Answer != want || strings.Contains(r.Sentence, "older than") != (ahead <= -obsFresh) {
			t.Errorf("%s ahead: %s: %s", ahead, r.Answer, r.Sentence)
		}
	}
	f(0, core.Pass)
	f(20*time.Millisecond, core.Pass)
	f(obsReach, core.Pass)
	f(obsReach+1, core.Object)
	f(-obsFresh+1, core.Pass)
	f(-obsFresh, core.Object)
}

// TestUnitsAreRefused: no plan moves a part of the users, so no order for one is taken; what is on record of one
// can be undone and its episode ends.
func TestUnitsAreRefused(t *testing.T) {
	w := automatic(t)
	unit := w.subject("fra")
	unit.Unit = "eu"
	order := func(kind core.CommandKind) *core.Reply {
		return w.step(Input{Command: &core.Command{Kind: kind, Subject: unit, By: "ann", Reason: "x"}}).Reply
	}
	for _, kind := range []core.CommandKind{core.CommandDrain, core.CommandRestore} {
		if r := order(kind); r.OK || !strings.Contains(r.Sentence, "plans do not move units yet") {
			t.Errorf("%s: %s", kind, r.Sentence)
		}
	}
	ep := core.Episode{ID: "ep_old", Subject: unit, Onset: w.at, OpenedAt: w.at, Condition: core.Healthy, Routing: core.RoutingDrained}
	w.commit([]core.Change{{Episode: &ep}, {Routing: &core.Routing{Subject: unit, State: core.RoutingDrained, ActionID: "act_old", ChangedAt: w.at}}})
	w.e = New(w.topo, w.snapshot())
	w.run(5*time.Second, time.Second)
	if r := order(core.CommandRestore); !r.OK {
		t.Fatal(r.Sentence)
	}
	w.run(20*time.Second, time.Second)
	if len(w.e.open) != 0 {
		t.Errorf("%d episodes are open", len(w.e.open))
	}
}

// TestPartOfTheWeightIsAdopted: a command of unknown fate that was carried out in part does not stay unknown.
func TestPartOfTheWeightIsAdopted(t *testing.T) {
	w := automatic(t)
	w.topo.Plans[0].Steps = []core.Step{{Target: "director", Weight: 50}, {Target: "director", Weight: 0}}
	w.e = New(w.topo, core.Snapshot{})
	w.run(2*time.Second, time.Second)
	w.hand = "expires"
	w.kill("fra")
	w.run(14*time.Second, time.Second)
	w.weight["fra"] = 50
	w.run(3*time.Minute, time.Second)
	if r := w.e.routingOf(w.subject("fra")); r.State != core.RoutingDraining || r.Weight != 50 {
		t.Errorf("routing is %s at %d %%", r.State, r.Weight)
	}
	w.hand = "works"
	r := w.step(Input{Command: &core.Command{Kind: core.CommandRestore, Subject: w.subject("fra"), By: "ann", Reason: "fixed"}}).Reply
	if !r.OK {
		t.Error(r.Sentence)
	}
}

// TestBlindnessIsPaged: an open episode about which nothing can be judged any more is told once.
func TestBlindnessIsPaged(t *testing.T) {
	f := func(name, words string, blind func(*world)) {
		t.Helper()
		w := automatic(t)
		w.sick[w.subject("fra")] = state{what: "suspect", since: w.at, signal: core.SignalTimeout}
		w.run(5*time.Second, time.Second)
		blind(w)
		w.run(15*time.Second, time.Second)
		if n := len(w.notices()); n != 0 {
			t.Errorf("%s: %d notices too early", name, n)
		}
		w.run(2*time.Minute, time.Second)
		if ns := w.notices(); len(ns) != 1 || !strings.Contains(ns[0].Summary, "nothing can be judged") || !strings.Contains(ns[0].Summary, words) {
			t.Errorf("%s: %+v", name, ns)
		}
	}
	f("one site", "fresh inputs from 1 site", func(w *world) { w.fresh = 1 })
	f("unknown", "every condition is unknown", func(w *world) {
		for _, s := range w.topo.Sites {
			w.sick[w.subject(s.Name)] = state{what: "unknown", since: w.at}
		}
	})
}
