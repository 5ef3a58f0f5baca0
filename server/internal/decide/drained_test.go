package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// TestDrainedByAPersonStaysDrained: however long ago it was, and also when the record of it is lost, what a
// person drained is not restored by a policy.
func TestDrainedByAPersonStaysDrained(t *testing.T) {
	w := automatic(t)
	w.step(Input{Command: &core.Command{Kind: core.CommandDrain, Subject: w.subject("fra"), By: "ann", Reason: "new storage"}})
	w.run(5*time.Second, time.Second)
	w.at = w.at.Add(remembered + time.Hour)
	w.run(5*time.Second, time.Second)
	f := func(snap core.Snapshot, words string) {
		t.Helper()
		e := New(w.topo, snap)
		o := w.observation()
		out := e.Step(Input{At: w.at, Observation: &o})
		if len(out.Intents) != 0 {
			t.Errorf("restored by itself: %+v", out.Intents)
		}
		v := view{e: e, at: w.at, ep: e.open[w.subject("fra")], p: proposal{plan: core.Plan{Kind: core.PlanRestore}}}
		if r := ruleApproval(v); r.Answer == core.Pass || !strings.Contains(r.Sentence, words) {
			t.Errorf("%s: %s", r.Answer, r.Sentence)
		}
	}
	f(w.snapshot(), "drained by operator ann")
	lost := w.snapshot()
	lost.Actions = nil
	f(lost, "not on record")
}

// TestDiesAgainAfterRestore: a site that fails again in the same episode, within the cooldown, is not held in
// silence; one page tells it for each stretch.
func TestDiesAgainAfterRestore(t *testing.T) {
	topo := testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil)
	topo.Lab, topo.Guards.CloseAfter = true, time.Hour
	for i := range topo.Policies {
		topo.Policies[i].Hold = 3 * time.Second
	}
	w := newWorld(t, topo)
	w.quiet = true
	w.run(5*time.Second, time.Second)
	w.kill("fra")
	w.run(10*time.Second, time.Second)
	if w.weight["fra"] != 0 {
		t.Fatalf("weight %v: not drained", w.weight["fra"])
	}
	w.sick[w.subject("fra")] = state{what: "healthy", since: w.at.Add(time.Second)}
	w.run(60*time.Second, time.Second)
	if w.weight["fra"] != 100 {
		t.Fatalf("weight %v: not restored", w.weight["fra"])
	}
	pages := func() int {
		n := 0
		for _, x := range w.notices() {
			if strings.Contains(x.Summary, "and nothing acts") && strings.Contains(x.Summary, "cooldown") {
				n++
			}
		}
		return n
	}
	for want := 1; want <= 2; want++ {
		w.kill("fra")
		w.run(2*time.Minute, time.Second)
		if got := pages(); got != want || w.weight["fra"] != 100 {
			t.Errorf("%d pages at weight %v, want %d", got, w.weight["fra"], want)
		}
		w.sick[w.subject("fra")] = state{what: "healthy", since: w.at.Add(time.Second)}
		w.run(20*time.Second, time.Second)
	}
}

// notices are all that the ledger holds.
func (w *world) notices() []core.Notice { return w.snapshot().Notices }
