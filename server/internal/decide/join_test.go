package decide

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// shop has three services at three sites; checkout carries most of the demand.
func shop(t failer) *world {
	topo := testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil)
	for _, name := range []string{"aaa", "search"} { // one sorts before "all", one after
		svc := topo.Services[0]
		svc.Name = name
		topo.Services = append(topo.Services, svc)
		for i := range topo.Sites {
			topo.Sites[i].Capacity[name] = 1200
		}
	}
	w := newWorld(t, topo)
	w.quiet, w.demands = true, map[string]float64{"checkout": 300, "aaa": 100, "search": 100}
	w.run(5*time.Second, time.Second)
	return w
}

func (w *world) fail(site, service, signal string, after time.Duration) {
	w.sick[core.Subject{Site: site, Service: service}] = state{what: "dead", since: w.at.Add(after), signal: signal}
}

func (w *world) drained() string {
	var out []string
	for _, a := range w.e.sortedActions() {
		if a.Kind == core.PlanDrain {
			out = append(out, a.Subject.Key())
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// TestSiteFailsAsOne: a site whose services die together is one trouble, one drain, one page and one return.
func TestSiteFailsAsOne(t *testing.T) {
	w := shop(t)
	w.fail("fra", "search", core.SignalRefused, 200*time.Millisecond)
	w.fail("fra", "checkout", core.SignalRefused, 900*time.Millisecond)
	w.fail("fra", "aaa", core.SignalTimeout, 400*time.Millisecond)
	w.run(19*time.Second, time.Second)
	if got := w.drained(); got != "" {
		t.Fatalf("drained %s before the slowest signal's hold", got)
	}
	w.run(8*time.Second, time.Second)
	if got := w.drained(); got != "fra/all" {
		t.Fatalf("drained %q", got)
	}
	paged := 0
	for _, ep := range w.snapshot().Episodes {
		if ep.Paged {
			paged++
		}
	}
	if paged != 1 {
		t.Errorf("%d episodes have paged", paged)
	}
	w.sick = map[core.Subject]state{}
	for _, svc := range w.topo.Services {
		w.sick[core.Subject{Site: "fra", Service: svc.Name}] = state{what: "healthy", since: w.at.Add(time.Second)}
	}
	w.run(15*time.Minute+40*time.Second, 2*time.Second)
	if len(w.e.open) != 0 {
		t.Fatalf("%d episodes are open after the return", len(w.e.open))
	}
	for _, ep := range w.snapshot().Episodes {
		if want := "drain of its whole site succeeded"; !ep.Subject.WholeSite() && !strings.Contains(ep.Sentence, want) {
			t.Errorf("%s: %s", ep.Subject, ep.Sentence)
		}
	}
}

// TestSmallPartFailsAlone: less than half of the demand is not the site.
func TestSmallPartFailsAlone(t *testing.T) {
	w := shop(t)
	w.fail("fra", "search", core.SignalRefused, time.Second)
	w.fail("fra", "aaa", core.SignalRefused, time.Second)
	w.run(15*time.Second, time.Second)
	if got := w.drained(); got != "fra/aaa fra/search" {
		t.Errorf("drained %q", got)
	}
}

// TestOneServiceIsNotTheSite: a single service is drained alone, however much it carries.
func TestOneServiceIsNotTheSite(t *testing.T) {
	w := shop(t)
	w.fail("fra", "checkout", core.SignalRefused, time.Second)
	w.run(15*time.Second, time.Second)
	if got := w.drained(); got != "fra/checkout" {
		t.Errorf("drained %q", got)
	}
}

// TestJoinIsNoMoreThanItsParts: what not every failing service has does not accuse the site.
func TestJoinIsNoMoreThanItsParts(t *testing.T) {
	w := shop(t)
	w.fail("fra", "checkout", core.SignalRefused, time.Second)
	w.sick[core.Subject{Site: "fra", Service: "search"}] = state{what: "dead-edge", since: w.at.Add(2 * time.Second), signal: core.SignalTimeout}
	w.run(5*time.Second, time.Second)
	a, _ := w.e.assessment(core.Subject{Site: "fra", Service: core.AllServices})
	switch {
	case a.Condition != core.Failing || !a.Has(core.ClassOutside):
		t.Errorf("joined: %+v", a)
	case a.Has(core.ClassInside) || a.Has(core.ClassSymptom):
		t.Errorf("evidence of a part accuses the whole: %+v", a.Evidence)
	case insideState(a) != core.ProbeUp:
		t.Errorf("inside is %s", insideState(a))
	case !a.FailingSince.Equal(w.sick[core.Subject{Site: "fra", Service: "search"}].since):
		t.Errorf("failing since %s", a.FailingSince)
	}
}
