package decide

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What a plan says about a step that did not work; empty means stop.
const (
	onFailContinue = "continue"
	onFailRollback = "rollback"
)

// start begins the action of a judgement: its record, its first command and what is routed from now on leave
// in the same output.
func (s *step) start(ep *core.Episode, j judged, d *core.Decision) *core.Action {
	p := j.v.p
	attempt := 1
	for slices.Contains(ep.ActionIDs, core.ActionID(ep.ID, p.plan.Name, attempt)) {
		attempt++
	}
	a := &core.Action{
		ID: core.ActionID(ep.ID, p.plan.Name, attempt), EpisodeID: ep.ID, DecisionID: d.ID, Subject: ep.Subject,
		Plan: p.plan.Name, Kind: p.plan.Kind, Moves: p.plan.Moves, Attempt: attempt,
		By: byPolicyPrefix + p.policy.Name, Reason: d.Sentence, State: core.ActionRunning,
		CreatedAt: s.at, UpdatedAt: s.at,
	}
	bound := boundOf(j.rulings)
	if p.person != "" {
		a.By, a.Reason, bound = byOperatorPrefix+p.person, p.reason, 1
	}
	a.Steps = s.planSteps(ep, p.plan, bound)
	if p.plan.Kind == core.PlanDrain {
		expires := s.at.Add(s.lim.DrainExpiry)
		a.ExpiresAt = &expires
	}
	a.Sentence = fmt.Sprintf("%s of %s by %s", a.Plan, a.Subject, a.By)
	s.e.actions[a.ID] = a
	ep.ActionIDs = append(ep.ActionIDs, a.ID)
	d.ActionID = a.ID
	s.line(lineAction, ep.ID, ep.Subject, a.Sentence)
	s.intend(a, 1, p.policy.Mode)
	s.touch(ep)
	summary := d.Sentence
	if bound < 1 {
		summary += fmt.Sprintf("; the remaining %s does not fit and stays on the failing site", pctText(1-bound))
	}
	severity := severityError
	if p.plan.Kind == core.PlanRestore {
		severity = severityInfo
	}
	s.page(ep, severity, summary)
	return a
}

// planSteps are the plan's steps as they will be run: none that would change nothing, and none that makes more
// leave than fits.
func (s *step) planSteps(ep *core.Episode, plan core.Plan, bound float64) []core.StepRun {
	keep := ceilInt(100 * (1 - bound))
	now := s.e.routingOf(ep.Subject).Weight
	drain := plan.Kind == core.PlanDrain
	if seen, known := s.observedWeight(ep.Subject); known && !drain {
		now = max(now, int(seen)) // users are there already: do not take them away to bring them back
	}
	var out []core.StepRun
	last := map[string]int{} // by target: targets are moved one after the other
	for i, st := range plan.Steps {
		w := min(max(st.Weight, 0), 100)
		if drain {
			w = max(w, keep)
		}
		from, moved := last[st.Target]
		if !moved {
			from = now
		}
		if useless := (drain && w >= from) || (!drain && w <= from); useless && (i != len(plan.Steps)-1 || len(out) != 0) {
			continue
		}
		last[st.Target] = w
		out = append(out, core.StepRun{
			Target: st.Target, Weight: w, Verify: reachable(ep, st.Verify, plan.Kind, w), OnFail: st.OnFail,
			State: core.StepPending,
		})
	}
	for i := range out {
		out[i].N, out[i].Of = i+1, len(out)
	}
	return out
}

// reachable eases what a step must show to what its weight can reach: a subject at half its weight keeps about
// half its share.
func reachable(ep *core.Episode, v core.VerifySpec, kind core.PlanKind, weight int) core.VerifySpec {
	share := shareAt(ep, float64(weight)/100)
	switch {
	case share <= 0:
	case kind == core.PlanDrain && weight > 0 && v.ShareBelow > 0:
		v.ShareBelow = max(v.ShareBelow, min(1, share*1.2))
	case kind == core.PlanRestore && weight < 100 && v.ShareAbove > 0:
		v.ShareAbove = min(v.ShareAbove, share*0.5)
	}
	return v
}

// intend issues the command of step n.
func (s *step) intend(a *core.Action, n int, mode core.Mode) {
	st := &a.Steps[n-1]
	back := a.State == core.ActionRollingBack
	before := s.e.traffic(a.Subject.Site, a.Subject.Service, s.at)
	notAfter := s.at.Add(s.lim.NotAfter)
	st.State, st.IntendedAt, st.NotAfter, st.Before = core.StepIntended, cloneTime(&s.at), &notAfter, cloneTraffic(&before)
	a.Step = n
	if !back {
		a.State = core.ActionRunning
	}
	it := core.Intent{
		ID: core.WebhookID(a.ID, n), ActionID: a.ID, EpisodeID: a.EpisodeID, Subject: a.Subject, Kind: a.Kind,
		Moves: a.Moves, Step: n, Of: st.Of, Target: st.Target, Weight: st.Weight, Mode: mode, At: s.at,
		NotAfter: notAfter, Reason: a.Reason, Verify: st.Verify, Before: before,
	}
	was := s.e.routingOf(a.Subject).Weight
	drains := (a.Kind == core.PlanDrain) != back
	if back {
		it.Kind = inverse(a.Kind)
		it.Reason = "rolls back: " + a.Sentence
	}
	switch {
	case drains:
		it.State, it.MinActive, it.ExpiresAt = core.RoutingDrained, max(1, s.lim.MinServing), cloneTime(a.ExpiresAt)
		s.underWay(a, core.RoutingDraining, st.Weight)
	case st.Weight >= 100:
		it.State = core.RoutingActive
		s.underWay(a, core.RoutingRestoring, st.Weight)
	default:
		it.State = core.RoutingRestoring
		s.underWay(a, core.RoutingRestoring, st.Weight)
	}
	s.e.intents[it.ID] = it
	s.out.Intents = append(s.out.Intents, it)
	s.line(lineStep, a.EpisodeID, a.Subject, fmt.Sprintf("%s: %s weight %d %% -> %d %%", st.Target, a.Subject, was, st.Weight))
	s.touchAction(a)
}

// underWay records what an action commands before it is known to be carried out. The drain of a whole site may yet
// be refused and leave its services as they were; at its restore all of them stand where the site stands.
func (s *step) underWay(a *core.Action, state core.RoutingState, weight int) {
	if a.Kind == core.PlanRestore {
		s.settleRouting(a.Subject, state, weight, a.ID)
		return
	}
	s.setRouting(a.Subject, state, weight, a.ID)
}

func inverse(k core.PlanKind) core.PlanKind {
	if k == core.PlanDrain {
		return core.PlanRestore
	}
	return core.PlanDrain
}

// advanceAll issues the next step of every action whose last one is over. It is a reconciliation, not a
// reaction: after a restart it goes on from the record.
func (s *step) advanceAll() {
	for _, a := range s.e.sortedActions() {
		st := current(a)
		if !running(a) || st == nil || !passed(a, *st) {
			continue
		}
		if a.Step == len(a.Steps) {
			s.succeed(a)
			continue
		}
		if why := s.waits(a); why != "" {
			if text := fmt.Sprintf("waits before step %d of %d: %s", a.Step+1, len(a.Steps), why); a.Sentence != text {
				a.Sentence = text
				s.line(lineAction, a.EpisodeID, a.Subject, a.Plan+" "+text)
				s.touchAction(a)
			}
			s.pageWaiting(a)
			continue
		}
		mode := core.ModeAutomatic
		if it, ok := s.e.intents[core.WebhookID(a.ID, 1)]; ok {
			mode = it.Mode
		}
		s.intend(a, a.Step+1, mode)
	}
}

// longWait is how long an action may wait between two steps before people are told.
const longWait = 10 * time.Minute

func (s *step) pageWaiting(a *core.Action) {
	ep := s.e.open[a.Subject]
	if limit := a.UpdatedAt.Add(longWait); s.at.Before(limit) {
		s.wakeAt(limit)
		return
	}
	if ep != nil && once(ep, "waits:"+core.WebhookID(a.ID, a.Step)) {
		s.page(ep, severityCritical, fmt.Sprintf("%s of %s %s, for %s", a.Plan, a.Subject, a.Sentence, spanText(longWait)))
	}
}

// lastServing is why users may not be taken from the subject of an action now, empty when they may. What was
// true at the first step need not be true at the next.
func (s *step) lastServing(a *core.Action) string {
	if r := ruleLastServing(view{e: s.e, at: s.at, lim: s.lim, ep: &core.Episode{Subject: a.Subject}}); r.holds() {
		return r.Sentence
	}
	return ""
}

// passed reports whether the plan may go on after the step.
func passed(a *core.Action, st core.StepRun) bool {
	if st.State == core.StepSucceeded || unjudged(a, st) {
		return true
	}
	return st.OnFail == onFailContinue && st.EndedAt != nil
}

// unjudged reports whether the step of a restore ended with nothing that could be judged, which is no reason to
// stop: the last step is what the restore is judged by.
func unjudged(a *core.Action, st core.StepRun) bool {
	return a.Kind == core.PlanRestore && a.State == core.ActionRunning && st.State == core.StepUnknown && st.EndedAt != nil && st.N < st.Of
}

// waits says why the next step must wait, empty when it need not. What a person ordered does not wait for
// another person; a rollback waits for nothing.
func (s *step) waits(a *core.Action) string {
	if a.State == core.ActionRollingBack {
		return ""
	}
	o := s.e.obs
	if o == nil || s.at.Sub(o.At) >= obsFresh {
		return "there is no fresh observation"
	}
	if !byOperator(a) {
		if s.e.brake.On {
			return "the brake is on"
		}
		if ep := s.e.open[a.Subject]; ep != nil && ep.HeldUntil != nil && s.at.Before(*ep.HeldUntil) {
			return "an operator holds the episode"
		}
		v := view{e: s.e, at: s.at, lim: s.lim, ep: &core.Episode{Subject: a.Subject}, p: proposal{plan: core.Plan{Kind: a.Kind}}}
		if r := ruleMaintenance(v); r.holds() {
			return r.Sentence
		}
	}
	if a.Kind != core.PlanRestore {
		return s.lastServing(a)
	}
	if o.Tilt.On {
		return "this replica doubts itself"
	}
	if byOperator(a) {
		return ""
	}
	if as, _ := s.e.assessment(a.Subject); as.Condition != core.Healthy {
		return "the subject is " + as.Condition.String()
	}
	if r := ruleCaughtUp(view{e: s.e, at: s.at, lim: s.lim, ep: &core.Episode{Subject: a.Subject}}); r.holds() {
		return r.Sentence
	}
	return ""
}

// succeed ends an action whose last step passed.
func (s *step) succeed(a *core.Action) {
	end := core.ActionSucceeded
	for _, st := range a.Steps {
		if st.State != core.StepSucceeded && !unjudged(a, st) && a.State != core.ActionRollingBack {
			end = core.ActionIneffective // a step that was allowed to fail did
		}
	}
	back := a.State == core.ActionRollingBack
	if back {
		end = core.ActionRolledBack
	}
	weight := a.Steps[len(a.Steps)-1].Weight
	if (a.Kind == core.PlanDrain) != back {
		s.settleRouting(a.Subject, core.RoutingDrained, weight, a.ID)
	} else {
		s.settleRouting(a.Subject, core.RoutingActive, weight, a.ID)
	}
	if a.Kind == core.PlanDrain && !back {
		expires := s.at.Add(s.lim.DrainExpiry)
		a.ExpiresAt = &expires
	}
	s.end(a, end, fmt.Sprintf("%s of %s: %s", a.Plan, a.Subject, stateText(end)))
	if ep := s.e.episodes[a.EpisodeID]; ep != nil {
		severity := severityInfo
		if end != core.ActionSucceeded {
			severity = severityCritical
		}
		s.page(ep, severity, a.Sentence)
	}
}

func (s *step) end(a *core.Action, state core.ActionState, sentence string) {
	a.State, a.EndedAt, a.Sentence = state, cloneTime(&s.at), sentence
	s.line(lineAction, a.EpisodeID, a.Subject, sentence)
	s.touchAction(a)
	if ep := s.e.episodes[a.EpisodeID]; ep != nil && ep.ClosedAt == nil {
		s.touch(ep)
	}
}
