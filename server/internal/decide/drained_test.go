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
