package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// twoServices has an edge that weighs services apart, and limits that let things happen within minutes.
func twoServices(t failer) *world {
	topo := testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil)
	svc := topo.Services[0]
	svc.Name = "search"
	topo.Services = append(topo.Services, svc)
	topo.Lab, topo.Guards.Cooldown, topo.Guards.CloseAfter = true, 10*time.Second, 10*time.Second
	for i := range topo.Policies {
		topo.Policies[i].Hold = 3 * time.Second
	}
	w := newWorld(t, topo)
	w.quiet, w.parts = true, map[core.Subject]float64{}
	for i := range topo.Sites {
		topo.Sites[i].Capacity["search"] = 1200
		for _, s := range topo.Services {
			w.parts[core.Subject{Site: topo.Sites[i].Name, Service: s.Name}] = 100
		}
	}
	w.run(5*time.Second, time.Second)
	return w
}

func (w *world) heal(site string) {
	for _, svc := range w.topo.Services {
		w.sick[core.Subject{Site: site, Service: svc.Name}] = state{what: "healthy", since: w.at.Add(time.Second)}
	}
}

// TestServiceThenSite: a service is drained by itself, then its site as a whole; the return of the site is the
// return of the service, on record as at the edge.
func TestServiceThenSite(t *testing.T) {
	w := twoServices(t)
	w.fail("fra", "checkout", core.SignalRefused, time.Second)
	w.run(20*time.Second, time.Second)
	w.fail("fra", "search", core.SignalRefused, time.Second)
	w.run(20*time.Second, time.Second)
	if got := w.drained(); got != "fra/all fra/checkout" {
		t.Fatalf("drained %q", got)
	}
	w.heal("fra")
	w.run(60*time.Second, time.Second)
	for sub, weight := range w.parts {
		if r := w.e.routingOf(sub); weight != 100 || r.State != core.RoutingActive || r.Weight != 100 {
			t.Errorf("%s: the edge gives %v %%, on record is %s at %d %%", sub, weight, r.State, r.Weight)
		}
	}
	if len(w.e.open) != 0 {
		t.Errorf("%d episodes are open", len(w.e.open))
	}
}

// TestServiceOfADrainedSite: while a site is out as a whole nobody moves a service of it.
func TestServiceOfADrainedSite(t *testing.T) {
	w := twoServices(t)
	order := func(kind core.CommandKind, service string) *core.Reply {
		return w.step(Input{Command: &core.Command{Kind: kind, Subject: core.Subject{Site: "fra", Service: service}, By: "ann", Reason: "work"}}).Reply
	}
	if r := order(core.CommandDrain, "search"); !r.OK {
		t.Fatal(r.Sentence)
	}
	w.run(5*time.Second, time.Second)
	if r := order(core.CommandRestore, ""); r.OK || !strings.Contains(r.Sentence, "only its search") {
		t.Errorf("restore of a site of which a service is out: %s", r.Sentence)
	}
	if r := order(core.CommandDrain, ""); !r.OK {
		t.Fatal(r.Sentence)
	}
	w.run(5*time.Second, time.Second)
	for _, kind := range []core.CommandKind{core.CommandDrain, core.CommandRestore} {
		for _, svc := range []string{"checkout", "search"} {
			if r := order(kind, svc); r.OK {
				t.Errorf("%s of %s: %s", kind, svc, r.Sentence)
			}
		}
	}
	if r := order(core.CommandRestore, ""); !r.OK {
		t.Fatal(r.Sentence)
	}
	w.run(60*time.Second, time.Second)
	if len(w.e.open) != 0 || w.e.routingOf(core.Subject{Site: "fra", Service: "search"}).State != core.RoutingActive {
		t.Errorf("%d open, routing %+v", len(w.e.open), w.e.Routing())
	}
}

// TestPersonsServiceHoldsTheSite: the return of a site would bring back what a person has drained.
func TestPersonsServiceHoldsTheSite(t *testing.T) {
	w := twoServices(t)
	search := core.Subject{Site: "fra", Service: "search"}
	w.step(Input{Command: &core.Command{Kind: core.CommandDrain, Subject: search, By: "ann", Reason: "work"}})
	w.run(15*time.Second, time.Second)
	w.fail("fra", "checkout", core.SignalRefused, time.Second)
	w.fail("fra", "search", core.SignalRefused, time.Second)
	w.run(15*time.Second, time.Second)
	if got := w.drained(); got != "fra/all fra/search" {
		t.Fatalf("drained %q", got)
	}
	w.heal("fra")
	w.run(60*time.Second, time.Second)
	if w.parts[search] != 0 {
		t.Error("a policy brought back what a person drained")
	}
	ep := w.e.open[core.Subject{Site: "fra", Service: core.AllServices}]
	if ep == nil || !strings.Contains(ep.Sentence, "search at fra was drained by operator ann") {
		t.Errorf("the site: %+v", ep)
	}
}

// TestRefusedSiteDrainChangesNoService: a drain of the whole site that is refused leaves its services as they were.
func TestRefusedSiteDrainChangesNoService(t *testing.T) {
	w := twoServices(t)
	search := core.Subject{Site: "fra", Service: "search"}
	w.step(Input{Command: &core.Command{Kind: core.CommandDrain, Subject: search, By: "ann", Reason: "work"}})
	w.run(15*time.Second, time.Second)
	w.hand = "refuses"
	w.step(Input{Command: &core.Command{Kind: core.CommandDrain, Subject: core.Subject{Site: "fra"}, By: "ann", Reason: "work"}})
	w.run(5*time.Second, time.Second)
	if r := w.e.routingOf(search); r.State != core.RoutingDrained || r.Weight != 0 {
		t.Errorf("search is %s at %d %%", r.State, r.Weight)
	}
	if r := w.e.routingOf(core.Subject{Site: "fra", Service: "checkout"}); r.State != core.RoutingActive {
		t.Errorf("checkout is %s", r.State)
	}
}
