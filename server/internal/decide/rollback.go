package decide

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// drainOf is the last drain of the episode, nil when there was none.
func (e *Engine) drainOf(ep *core.Episode) *core.Action {
	for _, id := range slices.Backward(ep.ActionIDs) {
		if a := e.actions[id]; a != nil && a.Kind == core.PlanDrain {
			return a
		}
	}
	return nil
}

// watchRestore stops a restore when the subject fails anew: back to the last safe weight, none. Trouble that
// was there when an operator ordered the restore was known and does not stop it.
func (s *step) watchRestore(ep *core.Episode) {
	a := s.runningOn(ep)
	if a == nil || a.Kind != core.PlanRestore || a.State == core.ActionRollingBack || s.e.obs == nil || s.e.obs.Tilt.On {
		return
	}
	as, ok := s.e.assessment(ep.Subject)
	if !ok || as.Condition != core.Failing || (as.Onset != nil && !as.Onset.After(a.CreatedAt) && byOperator(a)) {
		return
	}
	if st := current(a); st != nil && inFlight(*st) {
		s.endStep(st, core.StepFailed, "the subject fails again")
	}
	s.rollback(a, "the subject fails again")
}

func (s *step) endStep(st *core.StepRun, state core.StepState, sentence string) {
	st.State, st.EndedAt, st.Sentence = state, cloneTime(&s.at), sentence
}

// rollback brings every target that was commanded back to the last safe weight, the last one first: full for a
// drain, none for a restore. What a restore brought back is not taken away again when nobody else serves.
func (s *step) rollback(a *core.Action, why string) {
	if alone := s.lastServing(a); a.Kind == core.PlanRestore && alone != "" {
		s.endPaged(a, core.ActionFailed, fmt.Sprintf("%s; not rolled back, for %s", why, alone))
		return
	}
	weight := 100
	verify := core.VerifySpec{Within: core.ToSeconds(30 * time.Second)}
	if a.Kind == core.PlanRestore {
		weight, verify.ShareBelow = 0, 0.01
	}
	var targets []string
	for _, st := range slices.Backward(a.Steps) {
		if st.IntendedAt != nil && !slices.Contains(targets, st.Target) {
			targets = append(targets, st.Target)
		}
	}
	first := len(a.Steps) + 1
	for _, t := range targets {
		a.Steps = append(a.Steps, core.StepRun{Target: t, Weight: weight, Verify: verify, State: core.StepPending})
	}
	for i := first - 1; i < len(a.Steps); i++ {
		a.Steps[i].N, a.Steps[i].Of = i+1, len(a.Steps)
	}
	a.State = core.ActionRollingBack
	a.Sentence = fmt.Sprintf("%s of %s: %s; rolling back to %d %%", a.Plan, a.Subject, why, weight)
	s.line(lineAction, a.EpisodeID, a.Subject, a.Sentence)
	mode := core.ModeAutomatic
	if it, ok := s.e.intents[core.WebhookID(a.ID, 1)]; ok {
		mode = it.Mode
	}
	s.intend(a, first, mode)
	if ep := s.e.episodes[a.EpisodeID]; ep != nil {
		s.page(ep, severityCritical, a.Sentence)
	}
}
