package decide

import (
	"fmt"
	"math"
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// outcome takes in what happened to a command. What is not about a step under way is ignored: outcomes may
// come twice, late, or for what this ledger does not know.
func (s *step) outcome(o core.Outcome) {
	a := s.e.actions[o.ActionID]
	if a == nil || !running(a) || o.IntentID != core.WebhookID(o.ActionID, o.Step) || o.Step != a.Step {
		return
	}
	st := current(a)
	if st == nil {
		return
	}
	if late := st.State == core.StepUnknown && o.Kind == core.OutcomeVerified; !inFlight(*st) && !late {
		return
	}
	// After a restart attempts count from 1 again: the time tells them apart.
	if o.Attempt != nil && !slices.ContainsFunc(st.Attempts, func(x core.Attempt) bool { return x.N == o.Attempt.N && x.At.Equal(o.Attempt.At) }) {
		at := *o.Attempt
		if !finite(at.LatencyMS) {
			at.LatencyMS = 0
		}
		st.Attempts = append(st.Attempts, at)
		s.touchAction(a)
	}
	if o.After != nil {
		st.After = cloneTraffic(o.After)
	}
	switch o.Kind {
	case core.OutcomeAttempt:
	case core.OutcomeDone:
		s.done(a, st)
	case core.OutcomeVerified:
		s.verified(a, st, o)
	case core.OutcomeIneffective:
		s.failStep(a, st, core.StepIneffective, core.ActionIneffective, o)
	case core.OutcomeRefused, core.OutcomeFailed:
		s.failStep(a, st, core.StepFailed, core.ActionFailed, o)
	case core.OutcomeExpired:
		s.failStep(a, st, core.StepExpired, core.ActionExpired, o)
	case core.OutcomeCannotTell:
		s.failStep(a, st, core.StepUnknown, core.ActionUnknown, o)
	}
}

func (s *step) done(a *core.Action, st *core.StepRun) {
	if st.State == core.StepVerifying {
		return
	}
	st.State, st.DoneAt = core.StepVerifying, cloneTime(&s.at)
	if a.State != core.ActionRollingBack {
		a.State = core.ActionVerifying
	}
	s.touchAction(a)
}

func (s *step) verified(a *core.Action, st *core.StepRun, o core.Outcome) {
	text := outcomeText(*st, o, "verified")
	s.endStep(st, core.StepSucceeded, text)
	s.line(lineStep, a.EpisodeID, a.Subject, st.Target+": "+text)
	if a.State != core.ActionRollingBack {
		a.State = core.ActionRunning
	}
	s.touchAction(a)
}

// outcomeText is "share 33 % -> 0 %, users' success 99.9 %: verified".
func outcomeText(st core.StepRun, o core.Outcome, what string) string {
	out := ""
	if st.Before != nil && st.Before.Known && st.After != nil && st.After.Known {
		out = fmt.Sprintf("share %s -> %s", pctText(st.Before.Share), pctText(st.After.Share))
		if st.After.ServiceCount > 0 {
			out += ", users' success " + pctText(st.After.ServiceSuccess)
		}
		out += ": "
	}
	out += what
	if o.Sentence != "" && (what != "verified" || st.After == nil) {
		out += ": " + o.Sentence
	}
	return out
}

// failStep ends a step that is not proven to have worked, and with it the action, as the plan says.
func (s *step) failStep(a *core.Action, st *core.StepRun, state core.StepState, end core.ActionState, o core.Outcome) {
	word := string(o.Kind)
	if o.Kind == core.OutcomeCannotTell {
		word = "cannot tell whether it worked"
	}
	text := outcomeText(*st, o, word)
	s.endStep(st, state, text)
	s.line(lineStep, a.EpisodeID, a.Subject, st.Target+": "+text)
	s.touchAction(a)
	untouched := o.Kind == core.OutcomeRefused || o.Kind == core.OutcomeFailed
	switch {
	case s.nothingToJudge(a, st, o):
		a.State, st.Sentence = core.ActionRunning, fmt.Sprintf("nothing could be judged at %d %%, the edge gives it and the subject is healthy", st.Weight)
		s.line(lineStep, a.EpisodeID, a.Subject, st.Target+": "+st.Sentence)
	case a.State == core.ActionRollingBack:
		s.underWay(a, core.RoutingUnknown, st.Weight)
		s.endPaged(a, core.ActionFailed, "the rollback itself: "+text)
	case st.OnFail == onFailContinue && a.Kind == core.PlanDrain && a.Step < len(a.Steps):
		a.State = core.ActionRunning // advanceAll goes on
	case (a.Kind == core.PlanRestore || st.OnFail == onFailRollback) && (!untouched || a.Step != 1) && end != core.ActionUnknown,
		a.Kind == core.PlanRestore && end == core.ActionUnknown:
		s.rollback(a, fmt.Sprintf("step %d of %d %s", st.N, st.Of, text))
	case end == core.ActionUnknown:
		a.State, a.Sentence = end, fmt.Sprintf("%s of %s: step %d of %d %s; an operator's drain or restore releases it", a.Plan, a.Subject, st.N, st.Of, text)
		s.line(lineAction, a.EpisodeID, a.Subject, a.Sentence)
		s.pageAction(a)
	default:
		s.routingAfter(a, st, untouched, end)
		s.endPaged(a, end, fmt.Sprintf("step %d of %d %s", st.N, st.Of, text))
	}
}

// nothingToJudge reports whether the step of a restore is neither proven nor in doubt: too few users came to judge by,
// none of them failed, the edge gives the weight that was commanded and the subject is healthy. At night 1 % of the
// users is nobody. The last step of a restore is judged.
func (s *step) nothingToJudge(a *core.Action, st *core.StepRun, o core.Outcome) bool {
	if o.Kind != core.OutcomeCannotTell || a.Kind != core.PlanRestore || a.State == core.ActionRollingBack || a.Step >= len(a.Steps) {
		return false
	}
	if t := o.After; t != nil && t.Known && t.Count > 0 && t.Success < 1 {
		return false
	}
	if s.e.obs == nil || s.at.Sub(s.e.obs.At) >= obsFresh || s.e.obs.Tilt.On {
		return false
	}
	weight, known := s.observedWeight(a.Subject)
	as, ok := s.e.assessment(a.Subject)
	return ok && as.Condition == core.Healthy && known && math.Abs(weight-float64(st.Weight)) <= weightTolerance
}

// routingAfter says what is commanded after an action that ended without a rollback. A command that was
// refused changed nothing; one that expired may have been carried out, which is unknown until the edge says.
func (s *step) routingAfter(a *core.Action, st *core.StepRun, untouched bool, end core.ActionState) {
	if !untouched && end != core.ActionExpired {
		s.settleIneffective(a, st)
		return
	}
	weight := 100
	state := core.RoutingActive
	if a.Kind == core.PlanRestore {
		weight, state = 0, core.RoutingDrained
	}
	if st.N > 1 {
		weight = a.Steps[st.N-2].Weight
		state = core.RoutingDraining
	}
	if end == core.ActionExpired {
		state = core.RoutingUnknown
	}
	s.underWay(a, state, weight)
}

// settleIneffective takes the edge's word for where users go after a command that moved nothing. Without it the
// command stands: it may yet have its effect.
func (s *step) settleIneffective(a *core.Action, st *core.StepRun) {
	if st.After == nil || !st.After.WeightKnown {
		return
	}
	weight := min(max(int(math.Round(st.After.Weight)), 0), 100)
	switch weight {
	case st.Weight:
	case 100:
		s.settleRouting(a.Subject, core.RoutingActive, weight, a.ID)
	default:
		s.underWay(a, core.RoutingUnknown, weight)
	}
}

func (s *step) endPaged(a *core.Action, end core.ActionState, why string) {
	s.end(a, end, fmt.Sprintf("%s of %s %s: %s", a.Plan, a.Subject, stateText(end), why))
	s.pageAction(a)
}

func (s *step) pageAction(a *core.Action) {
	if ep := s.e.episodes[a.EpisodeID]; ep != nil {
		s.page(ep, severityCritical, a.Sentence)
	}
}
