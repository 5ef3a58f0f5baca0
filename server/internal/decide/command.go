package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// How long an operator's hold lasts.
const (
	defaultHold = 15 * time.Minute
	longestHold = 24 * time.Hour
)

// command obeys an operator, or says why not.
func (s *step) command(c core.Command) core.Reply {
	if c.By == "" {
		c.By = "operator"
	}
	c.Reason = strings.TrimSpace(c.Reason)
	switch c.Kind {
	case core.CommandApprove:
		return s.approve(c)
	case core.CommandVeto:
		return s.veto(c)
	case core.CommandHold:
		return s.hold(c)
	case core.CommandDrain:
		return s.order(c, core.PlanDrain)
	case core.CommandRestore:
		return s.order(c, core.PlanRestore)
	case core.CommandBrake:
		return s.setBrake(c)
	case core.CommandReconcile:
		return s.pastServers(c)
	}
	return refuse(core.CodeInvalid, "command %q is not one of approve, veto, hold, drain, restore, brake and reconcile", c.Kind)
}

func refuse(code, format string, args ...any) core.Reply {
	return core.Reply{Code: code, Sentence: fmt.Sprintf(format, args...)}
}

// decided finds the open episode whose present decision is the one named. A decision that later evidence has
// replaced may be neither approved nor vetoed: the person has not seen what stands now.
func (s *step) decided(id string) (*core.Episode, core.Reply) {
	for _, ep := range s.e.openEpisodes() {
		if ep.DecisionID != id || id == "" {
			for n := 1; n < ep.Decisions; n++ {
				if core.DecisionID(ep.ID, n) == id {
					return nil, refuse(core.CodeConflict, "decision %s no longer stands; %s has replaced it: %s",
						id, ep.DecisionID, ep.Sentence)
				}
			}
			continue
		}
		if age := s.at.Sub(ep.Standing.DecidedAt); age >= approvalTTL && ep.Standing.Verdict == core.VerdictAwaitApproval {
			return nil, refuse(core.CodeConflict, "decision %s is %s old, it could be approved for %s; it is asked anew",
				id, elapsedText(age), spanText(approvalTTL))
		}
		return ep, core.Reply{}
	}
	return nil, refuse(core.CodeNotFound, "no open episode has a decision %s", id)
}

// approve asks every guard again, with the person's yes: the approval is good for what it was given for, now.
func (s *step) approve(c core.Command) core.Reply {
	ep, r := s.decided(c.DecisionID)
	if ep == nil {
		return r
	}
	if ep.Standing.Verdict != core.VerdictAwaitApproval || s.runningOn(ep) != nil {
		return refuse(core.CodeConflict, "decision %s does not wait for an approval: it is %s", c.DecisionID, ep.Standing.Verdict)
	}
	a, _ := s.e.assessment(ep.Subject)
	for _, p := range s.proposals(ep, false) {
		if p.policy.Name != ep.Standing.Policy {
			continue
		}
		v := s.view(ep, a, p, false)
		v.approver = c.By
		j := s.ruleOn(v)
		if j.verdict != core.VerdictAct {
			return refuse(core.CodeConflict, "not any more: %s", objectionText(j))
		}
		s.line(lineCommand, ep.ID, ep.Subject, withReason(fmt.Sprintf("%s approves %s of %s", c.By, p.plan.Name, ep.Subject), c.Reason))
		act := s.start(ep, j, s.record(ep, j, nil, ""))
		return core.Reply{OK: true, Sentence: fmt.Sprintf("approved: %s of %s starts", p.plan.Name, ep.Subject), ActionID: act.ID}
	}
	return refuse(core.CodeConflict, "policy %s no longer applies to %s", ep.Standing.Policy, ep.Subject)
}

func (s *step) veto(c core.Command) core.Reply {
	ep, r := s.decided(c.DecisionID)
	if ep == nil {
		return r
	}
	if s.runningOn(ep) != nil {
		return refuse(core.CodeConflict, "the action is already under way; pull the brake to stop its next step, or restore %s", ep.Subject)
	}
	plan := ""
	for _, p := range s.e.topo.Policies {
		if p.Name == ep.Standing.Policy {
			plan = p.Plan
		}
	}
	if plan == "" {
		return refuse(core.CodeConflict, "decision %s proposes nothing that could be vetoed", c.DecisionID)
	}
	ep.Standing.Veto = &core.Veto{Plan: plan, Kind: ep.Kind, By: c.By, Reason: c.Reason, At: s.at}
	s.touch(ep)
	text := fmt.Sprintf("%s vetoes %s of %s while the trouble is %s", c.By, plan, ep.Subject, orWord(ep.Kind, "as it is"))
	s.line(lineCommand, ep.ID, ep.Subject, withReason(text, c.Reason))
	return core.Reply{OK: true, Sentence: text}
}

func orWord(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// hold keeps automatic actions of one episode waiting; at its end people are paged again.
func (s *step) hold(c core.Command) core.Reply {
	var ep *core.Episode
	for _, o := range s.e.openEpisodes() {
		if o.ID == c.EpisodeID || (c.EpisodeID == "" && o.Subject == c.Subject) {
			ep = o
		}
	}
	if ep == nil {
		return refuse(core.CodeNotFound, "no open episode %s", orWord(c.EpisodeID, c.Subject.String()))
	}
	d := c.Hold
	switch {
	case d == 0:
		d = defaultHold
	case d < 0 || d > longestHold:
		return refuse(core.CodeInvalid, "a hold lasts more than nothing and at most %s", spanText(longestHold))
	}
	until := s.at.Add(d)
	ep.HeldUntil = &until
	s.touch(ep)
	s.wakeAt(until)
	text := fmt.Sprintf("%s holds %s until %s", c.By, ep.Subject, core.ClockText(until))
	s.line(lineCommand, ep.ID, ep.Subject, withReason(text, c.Reason))
	return core.Reply{OK: true, Sentence: text}
}

func (s *step) setBrake(c core.Command) core.Reply {
	if c.Reason == "" {
		return refuse(core.CodeInvalid, "the brake is pulled and released with a reason only")
	}
	word := "off"
	if c.On {
		word = "on"
	}
	if s.e.brake.On == c.On {
		return core.Reply{OK: true, Sentence: "the brake is " + word + " already"}
	}
	s.e.brake = core.Brake{On: c.On, By: c.By, Reason: c.Reason, At: s.at}
	s.brake = true
	text := fmt.Sprintf("%s turns the brake %s: %s", c.By, word, c.Reason)
	s.line(lineCommand, "", core.Subject{}, text)
	return core.Reply{OK: true, Sentence: text}
}

// partsText names the services of a site that are out by themselves, for a person who asks for the whole of it.
func (e *Engine) partsText(sub core.Subject) string {
	if !sub.WholeSite() {
		return ""
	}
	var out []string
	for _, svc := range e.services(sub) {
		if r, ok := e.routing[core.Subject{Site: sub.Site, Service: svc}]; ok && r.State != core.RoutingActive {
			out = append(out, svc)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " as a whole, only its " + listText(out) + ": restore that by name"
}

// order carries out an operator's drain or restore. The guards are asked as ever; doc.go says which of them
// refuse and which are overridden on the record.
func (s *step) order(c core.Command, kind core.PlanKind) core.Reply {
	sub := c.Subject
	if sub.Service == "" {
		sub.Service = core.AllServices
	}
	if c.Reason == "" {
		return refuse(core.CodeInvalid, "a %s needs a reason", kind)
	}
	if !s.configured(sub) {
		return refuse(core.CodeNotFound, "%s is not configured", sub)
	}
	r, commanded := s.e.routing[sub]
	active := !commanded || r.State == core.RoutingActive
	if sub.Unit != "" && (kind != core.PlanRestore || active) { // what is out on an old record may come back
		return refuse(core.CodeInvalid, "plans do not move units yet: order %s of %s without the unit", kind, core.Subject{Site: sub.Site, Service: sub.Service})
	}
	switch {
	case kind == core.PlanRestore && active:
		return refuse(core.CodeConflict, "%s is not drained%s", sub, s.e.partsText(sub))
	case kind == core.PlanDrain && commanded && r.State == core.RoutingDrained:
		return refuse(core.CodeConflict, "%s is drained already", sub)
	}
	plan, ok := s.planFor(sub, kind)
	if !ok {
		return refuse(core.CodeNotFound, "no plan of kind %s is configured", kind)
	}
	a, _ := s.e.assessment(sub)
	ep := s.e.open[sub]
	fresh := ep == nil
	if fresh {
		ep = s.newEpisode(a, s.at)
		ep.Kind = orWord(ep.Kind, "operator")
	}
	p := proposal{plan: plan, exists: true, person: c.By, reason: c.Reason, policy: core.Policy{Mode: core.ModeApprove}}
	j := s.ruleOn(s.view(ep, a, p, false))
	var over []string
	for _, rule := range j.rulings {
		switch {
		case rule.Answer == core.Pass:
		case rule.holds() && (rule.Guard == guardLastServing || rule.Guard == guardLock):
			text := fmt.Sprintf("%s of %s refused: %s", kind, sub, rule.Sentence)
			s.line(lineCommand, orEmpty(!fresh, ep.ID), sub, fmt.Sprintf("%s asks: %s", c.By, text))
			return refuse(core.CodeConflict, "%s", text)
		default:
			over = append(over, rule.Guard)
		}
	}
	if fresh {
		s.enter(ep)
	}
	s.release(ep, c.By)
	j.verdict = core.VerdictAct
	text := fmt.Sprintf("%s: %s -> %s, ordered by %s: %s", sub, a.Condition, plan.Name, c.By, c.Reason)
	if len(over) > 0 {
		text += "; overrides " + listText(over)
	}
	s.line(lineCommand, ep.ID, sub, fmt.Sprintf("%s orders %s of %s: %s", c.By, plan.Name, sub, c.Reason))
	act := s.start(ep, j, s.record(ep, j, nil, text))
	return core.Reply{OK: true, Sentence: text, ActionID: act.ID}
}

func orEmpty(ok bool, s string) string {
	if ok {
		return s
	}
	return ""
}

// release ends what still holds the lock without a step in flight: an order replaces it.
func (s *step) release(ep *core.Episode, by string) {
	for _, a := range s.e.sortedActions() {
		if running(a) && s.e.sharesLock(a.Subject, ep.Subject) {
			s.end(a, core.ActionFailed, fmt.Sprintf("%s of %s was %s; released by the order of %s", a.Plan, a.Subject, stateText(a.State), by))
		}
	}
}

// planFor is the plan that a policy would use for the subject, else the first of its kind. A restore without a
// plan undoes what the drain commands, in one step per target.
func (s *step) planFor(sub core.Subject, kind core.PlanKind) (core.Plan, bool) {
	for _, p := range s.e.topo.Policies {
		plan, ok := s.e.topo.Plan(p.Plan)
		if ok && plan.Kind == kind && len(plan.Steps) > 0 && (len(p.Services) == 0 || slices.Contains(p.Services, sub.Service)) {
			return plan, true
		}
	}
	for _, plan := range s.e.topo.Plans {
		if plan.Kind == kind && len(plan.Steps) > 0 {
			return plan, true
		}
	}
	if kind != core.PlanRestore {
		return core.Plan{}, false
	}
	drain, ok := s.planFor(sub, core.PlanDrain)
	if !ok {
		return core.Plan{}, false
	}
	out := core.Plan{Name: "restore", Kind: core.PlanRestore, Moves: drain.Moves}
	for _, st := range drain.Steps {
		if !slices.ContainsFunc(out.Steps, func(o core.Step) bool { return o.Target == st.Target }) {
			out.Steps = append(out.Steps, core.Step{Target: st.Target, Weight: 100, Verify: core.VerifySpec{Within: st.Verify.Within}})
		}
	}
	return out, true
}
