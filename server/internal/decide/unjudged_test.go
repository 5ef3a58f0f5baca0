package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// restoring is a world in which a restore has begun and its first step is done; what it shows is up to the test.
func restoring(t *testing.T) (*world, *core.Action) {
	t.Helper()
	w := automatic(t)
	w.kill("fra")
	w.run(20*time.Second, time.Second)
	w.sick[w.subject("fra")] = state{what: "healthy", since: w.at.Add(time.Second)}
	w.run(5*time.Second, time.Second)
	w.hand = "silent"
	w.step(Input{Command: &core.Command{Kind: core.CommandRestore, Subject: w.subject("fra"), By: "ann", Reason: "fixed"}})
	for _, a := range w.e.actions {
		if a.Kind == core.PlanRestore {
			return w, a
		}
	}
	t.Fatal("no restore")
	return nil, nil
}

func (w *world) cannotTell(a *core.Action, after *core.Traffic) {
	w.weight["fra"] = float64(a.Steps[a.Step-1].Weight)
	w.run(2*time.Second, time.Second)
	for _, k := range []core.OutcomeKind{core.OutcomeDone, core.OutcomeCannotTell} {
		w.step(Input{Outcome: &core.Outcome{IntentID: core.WebhookID(a.ID, a.Step), ActionID: a.ID, Step: a.Step, Kind: k, At: w.at, After: after}})
	}
}

// TestNobodyCameAtOnePercent: a step of a restore without a request to judge by is not a failure.
func TestNobodyCameAtOnePercent(t *testing.T) {
	w, a := restoring(t)
	for n := 1; n < len(a.Steps); n++ {
		w.cannotTell(a, nil)
		if a.State != core.ActionRunning || a.Step != n+1 || !strings.Contains(a.Steps[n-1].Sentence, "nothing could be judged") {
			t.Fatalf("step %d: %s at step %d: %s", n, a.State, a.Step, a.Steps[n-1].Sentence)
		}
	}
	w.weight["fra"] = 100
	w.run(2*time.Second, time.Second)
	w.step(Input{Outcome: &core.Outcome{IntentID: core.WebhookID(a.ID, a.Step), ActionID: a.ID, Step: a.Step, Kind: core.OutcomeVerified, At: w.at}})
	if a.State != core.ActionSucceeded {
		t.Errorf("%s: %s", a.State, a.Sentence)
	}
}

// TestDoubtStillStopsARestore: an unknown weight, a failed request or the last step leave the doubt what it was.
func TestDoubtStillStopsARestore(t *testing.T) {
	f := func(name string, do func(*world, *core.Action)) {
		t.Helper()
		w, a := restoring(t)
		do(w, a)
		if a.State != core.ActionRollingBack {
			t.Errorf("%s: %s at step %d", name, a.State, a.Step)
		}
	}
	f("weight unknown", func(w *world, a *core.Action) {
		w.noEdge = true
		w.cannotTell(a, nil)
	})
	f("a request failed", func(w *world, a *core.Action) {
		w.cannotTell(a, &core.Traffic{Known: true, Count: 3, Success: 0.66})
	})
	f("last step", func(w *world, a *core.Action) {
		for range a.Steps {
			w.cannotTell(a, nil)
		}
	})
}
