package health

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Votes are compared by time: a failure older than the newest success of anybody confirms nothing.
func TestSuccessBetweenTwoFailures(t *testing.T) {
	tr := New("r1", twoAndWitness())
	ms := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Millisecond) }
	tell := func(v string, s core.ProbeState, at time.Time) core.Assessment {
		tr.Fact(probeFact(v, "fra", s, at), at)
		return find(t, tr.Judge(at, nil), "fra")
	}
	tell("lon", core.ProbeDown, ms(0))
	tell("ams", core.ProbeUp, ms(500))
	if a := tell("ams", core.ProbeDown, ms(1000)); a.Condition != core.Suspect || a.Down != 2 || !a.FailingSince.Equal(ms(1000)) {
		t.Fatalf("%s, %d down since %v", a.Condition, a.Down, a.FailingSince)
	}
	if a := tell("lon", core.ProbeDown, ms(1200)); a.Condition != core.Failing || !a.FailingSince.Equal(ms(1000)) {
		t.Fatalf("%s since %v", a.Condition, a.FailingSince)
	}
}

// A result that is taken back, success instead of failure at the same time of the agent, takes its failure
// with it.
func TestFailureTakenBack(t *testing.T) {
	tr := New("r1", twoAndWitness())
	at := epoch
	for i := range 3 {
		at = epoch.Add(time.Duration(i) * time.Second)
		tr.Fact(probeFact("ams", "fra", core.ProbeDown, at), at)
		tr.Fact(probeFact("lon", "fra", core.ProbeDown, at), at)
	}
	unknown := probeFact("ams", "fra", core.ProbeUnknown, epoch)
	tr.Fact(unknown, at)
	unknown.Site = "lon"
	tr.Fact(unknown, at)
	a := find(t, tr.Judge(at, nil), "fra")
	if want := epoch.Add(time.Second); !a.FailingSince.Equal(want) || !a.Evidence[0].Onset.Equal(want) {
		t.Fatalf("failing since %v, %s, want %s", a.FailingSince, a.Evidence[0].Onset, want)
	}
	tr.Fact(probeFact("ams", "fra", core.ProbeUp, at), at)
	if a := find(t, tr.Judge(at, nil), "fra"); a.FailingSince != nil {
		t.Fatalf("failing since %v", a.FailingSince)
	}
}

// Global is at least two and more than half of the sites that serve; a drained one does not serve.
func TestGlobal(t *testing.T) {
	f := func(want bool, sites, down, drained int) {
		t.Helper()
		var names []string
		for i := range sites {
			names = append(names, fmt.Sprintf("s%d", i))
		}
		tr := New("r1", testTopology(names, []string{"w1", "w2", "w3", "w4", "w5", "w6", "w7"}, []string{"checkout"}))
		for i := range sites {
			for _, v := range tr.topo.Vantages() {
				state := core.ProbeUp
				if i < down {
					state = core.ProbeDown
				}
				tr.Fact(probeFact(v, names[i], state, epoch), epoch)
			}
		}
		var routing []core.Routing
		for i := range drained {
			routing = append(routing, core.Routing{Subject: core.Subject{Site: names[sites-1-i], Service: core.AllServices}, State: core.RoutingDrained})
		}
		a := find(t, tr.Judge(epoch, routing), "s0")
		if a.Condition != core.Failing || (len(a.Global) > 0) != want || (want && len(a.Global) != down) {
			t.Errorf("%d of %d down, %d drained: %s, global %v", down, sites, drained, a.Condition, a.Global)
		}
	}
	f(false, 3, 1, 0)
	f(true, 3, 2, 0)
	f(false, 4, 2, 0)
	f(true, 4, 3, 0)
	f(false, 5, 2, 0)
	f(true, 5, 2, 2)
	f(true, 2, 2, 0)
	f(false, 2, 1, 1)
}

// The onsets of a global trouble lie together; the same fault twice in a day is not global.
func TestGlobalNeedsOnsetsTogether(t *testing.T) {
	f := func(want bool, apart time.Duration) {
		t.Helper()
		w := newWorld(t, testTopology([]string{"fra", "ams", "dub"}, nil, []string{"checkout"}))
		w.run(10 * time.Second)
		for _, line := range []string{"fra/checkout down refused", "wait " + apart.String(), "ams/checkout down refused", "wait 5s"} {
			if err := w.do(line); err != nil {
				t.Fatal(err)
			}
		}
		if got := find(t, w.last, "ams").Global; (len(got) == 2) != want {
			t.Errorf("%s apart: global %v", apart, got)
		}
	}
	f(true, 0)
	f(true, 8*time.Second)
	f(false, 12*time.Second)
}

// Our own canary fails and one site is silent: that is a site, not us.
func TestOneSilentSiteIsNoSelfDoubt(t *testing.T) {
	f := func(want bool, silent ...string) {
		t.Helper()
		w := newWorld(t, testTopology([]string{"fra", "ams", "dub"}, []string{"lon"}, []string{"checkout"}))
		w.run(10 * time.Second)
		for _, s := range silent {
			w.silent[s] = true
		}
		w.run(4 * time.Second)
		w.tracker.Canary(false, w.now)
		if got := w.tracker.Judge(w.now, nil).Tilt; got.On != want {
			t.Errorf("%v silent: %+v", silent, got)
		}
	}
	f(false)
	f(false, "fra")
	f(false, "fra", "lon")
	f(true, "fra", "ams")
}

// A site that never spoke is not silent, it is unknown: nothing stopped.
func TestNeverHeardIsNotSilent(t *testing.T) {
	tr := New("r1", twoAndWitness())
	at := epoch
	for range 20 {
		at = at.Add(time.Second)
		tr.Fact(probeFact("ams", "fra", core.ProbeDown, at), at)
		tr.Fact(probeFact("lon", "fra", core.ProbeDown, at), at)
	}
	a := find(t, tr.Judge(at, nil), "fra")
	if a.Condition != core.Failing || a.Kind != core.KindUnreachable || a.Has(core.ClassSilence) {
		t.Fatalf("%s %s: %s", a.Condition, a.Kind, a.Sentence)
	}
}

// The signal is refused only when all say so, and in doubt the one with the longer hold.
func TestSignal(t *testing.T) {
	f := func(want string, reasons ...string) {
		t.Helper()
		var witnesses []string
		for i := range reasons {
			witnesses = append(witnesses, fmt.Sprintf("w%d", i))
		}
		tr := New("r1", testTopology([]string{"fra"}, witnesses, []string{"checkout"}))
		for i, r := range reasons {
			p := probeFact(witnesses[i], "fra", core.ProbeDown, epoch)
			p.Reason = r
			tr.Fact(p, epoch)
		}
		if a := find(t, tr.Judge(epoch, nil), "fra"); a.Signal != want || a.Condition != core.Failing {
			t.Errorf("%v: %s %s, want %s", reasons, a.Condition, a.Signal, want)
		}
	}
	f(core.SignalRefused, core.ReasonRefused, core.ReasonRefused)
	f(core.SignalTimeout, core.ReasonRefused, core.ReasonRefused, core.ReasonTimeout)
	f(core.SignalTimeout, core.ReasonTimeout, core.ReasonDNS)
	f(core.SignalTimeout, core.ReasonConnect, core.ReasonTLS)
	f(core.SignalTimeout, "something new", core.ReasonRefused)
	f(core.SignalErrors, core.ReasonStatus, core.ReasonBody)
	f(core.SignalErrors, core.ReasonStatus, core.ReasonTimeout)
	f(core.SignalErrors, core.ReasonStatus, core.ReasonRefused, core.ReasonRefused)
}

// A result from the future is taken as made now: it shields nobody from what happens later.
func TestSuccessFromTheFuture(t *testing.T) {
	tr := New("r1", twoAndWitness())
	f := probeFact("lon", "fra", core.ProbeUp, epoch.Add(2900*time.Millisecond))
	tr.Fact(f, epoch)
	at := epoch.Add(time.Second)
	tr.Fact(probeFact("lon", "fra", core.ProbeDown, at), at)
	tr.Fact(probeFact("ams", "fra", core.ProbeDown, at), at)
	if a := find(t, tr.Judge(at, nil), "fra"); a.Condition != core.Failing || !a.FailingSince.Equal(at) {
		t.Fatalf("%s since %v", a.Condition, a.FailingSince)
	}
}

// The accused does not testify for itself on the user path, neither now nor late.
func TestOwnSuccessDoesNotCount(t *testing.T) {
	tr := New("r1", twoAndWitness())
	at := epoch
	for range 8 {
		at = at.Add(time.Second)
		tr.Fact(probeFact("ams", "fra", core.ProbeDown, at), at)
		tr.Fact(probeFact("lon", "fra", core.ProbeDown, at), at)
		tr.Fact(probeFact("fra", "fra", core.ProbeUp, at), at)
	}
	tr.Fact(probeFact("fra", "fra", core.ProbeUp, at.Add(-4500*time.Millisecond)), at)
	if a := find(t, tr.Judge(at, nil), "fra"); a.Kind != core.KindDeadEdge || !a.FailingSince.Equal(epoch.Add(time.Second)) {
		t.Fatalf("%s since %v", a.Kind, a.FailingSince)
	}
}

// Few requests say nothing; a symptom ends at half the ratio at which it begins.
func TestSymptomLimits(t *testing.T) {
	f := func(want core.Condition, perSecond, before, now float64) {
		t.Helper()
		w := newWorld(t, twoAndWitness())
		w.rate["fra/checkout"], w.rate["ams/checkout"] = perSecond, 100
		w.errors["fra/checkout"] = before
		w.run(10 * time.Second)
		w.errors["fra/checkout"] = now
		w.run(10 * time.Second)
		if a := find(t, w.last, "fra"); a.Condition != want {
			t.Errorf("%g/s with %g, then %g failing: %s", perSecond, before, now, a.Condition)
		}
	}
	f(core.Healthy, 6, 1, 1)
	f(core.Degraded, 7, 1, 1)
	f(core.Healthy, 100, 0, 0.07)
	f(core.Degraded, 100, 0.2, 0.07)
	f(core.Healthy, 100, 0.2, 0.04)
	f(core.Healthy, 10, 0, 0.15)
}

// An anomaly that nobody reported for longer than it lives begins anew.
func TestAnomalyBeginsAnew(t *testing.T) {
	tr := New("r1", twoAndWitness())
	f := func(at, onset time.Time) {
		t.Helper()
		tr.Signal(core.Signal{
			Detector: "latency", Subject: core.Subject{Site: "fra", Service: "checkout"}, Class: core.ClassCause, At: at,
			Interval: 10 * time.Second, State: core.DetectorAnomalous,
		})
		e := find(t, tr.Judge(at, nil), "fra").Evidence
		if len(e) != 1 || !e[0].Onset.Equal(onset) {
			t.Errorf("at %s: %+v, want onset %s", at, e, onset)
		}
	}
	f(epoch, epoch)
	f(epoch.Add(10*time.Second), epoch)
	f(epoch.Add(5*time.Minute), epoch.Add(5*time.Minute))
}

// What an anomaly of several values comes from is told in numbers too.
func TestContributorsAreNumbers(t *testing.T) {
	st := objection{signalState: &signalState{signal: core.Signal{Detector: "whole", Contributors: []core.Contributor{{Name: "errors", Value: 12, Expected: 0.2}}}}}
	e := st.evidence(core.Subject{Site: "fra", Service: "shop"})
	want := []core.Number{{Name: "score", Unit: "1"}, {Name: "errors", Value: 12}, {Name: "errors, expected", Value: 0.2}}
	if !slices.Equal(e.Numbers, want) {
		t.Errorf("numbers %+v", e.Numbers)
	}
}

// What a band rests on is told with it; of other models nobody knows.
func TestWhatABandRestsOnIsToldInNumbers(t *testing.T) {
	f := func(points int, want ...core.Number) {
		t.Helper()
		st := objection{signalState: &signalState{signal: core.Signal{Detector: "latency", HasBand: true, Points: points, KeptOut: 0.25}}}
		if e := st.evidence(core.Subject{Site: "fra"}); !slices.Equal(e.Numbers[1:], want) {
			t.Errorf("%d points: numbers %+v", points, e.Numbers)
		}
	}
	f(0)
	f(40, core.Number{Name: core.NumberPoints, Value: 40, Unit: "{point}"}, core.Number{Name: core.NumberKeptOut, Value: 0.25, Unit: "1"})
}
