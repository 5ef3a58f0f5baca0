package decide

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// approvalTTL is how long a decision may be approved or vetoed; after it the question is asked anew.
const approvalTTL = 15 * time.Minute

// A subject that changes its mind every second would fill the ledger: past this many records of one episode,
// changes that neither act nor ask are recorded at this pace.
const (
	recordsFree = 24
	recordsPace = time.Minute
)

// judged is one proposal with its rulings.
type judged struct {
	v       view
	rulings []ruled
	verdict core.Verdict
}

// judge proposes for one episode, lets every guard object, and records, acts and pages accordingly. While an
// action of the episode runs, its decision stands.
func (s *step) judge(ep *core.Episode) {
	if s.e.obs == nil || s.runningOn(ep) != nil {
		return
	}
	a, _ := s.e.assessment(ep.Subject)
	asked := ep.Standing.Verdict == core.VerdictAwaitApproval || ep.Standing.Verdict == core.VerdictRecommend
	if ep.Routing != core.RoutingDrained && a.Condition == core.Healthy && !asked {
		return // nothing to propose: closing tells the rest
	}
	if ep.Routing == core.RoutingDrained && a.Condition != core.Healthy && !s.restorePolicy(ep.Standing.Policy) {
		return // drained and still in trouble: the drain's decision stands until it is healthy for the first time
	}
	all := s.weigh(ep, a, false)
	if len(all) == 0 {
		return
	}
	best := all[0]
	for _, j := range all {
		s.wakeFor(j.v)
	}
	if best.verdict == core.VerdictAct {
		s.start(ep, best, s.record(ep, best, all[1:], ""))
		return
	}
	if s.standsOut(ep, best) {
		s.record(ep, best, all[1:], "")
	}
	s.tripBrake(ep, best)
	s.pageHeld(ep, best)
}

// restorePolicy reports whether the named policy restores.
func (s *step) restorePolicy(name string) bool {
	return slices.ContainsFunc(s.e.topo.Policies, func(p core.Policy) bool {
		plan, _ := s.e.topo.Plan(p.Plan)
		return p.Name == name && plan.Kind == core.PlanRestore
	})
}

// weigh returns every proposal for the episode with its rulings, the best first: fewest objections, then
// configured order.
func (s *step) weigh(ep *core.Episode, a core.Assessment, final bool) []judged {
	var all []judged
	for _, p := range s.proposals(ep, final) {
		all = append(all, s.ruleOn(s.view(ep, a, p, final)))
	}
	slices.SortStableFunc(all, func(x, y judged) int { return objections(x.rulings) - objections(y.rulings) })
	return all
}

func (s *step) view(ep *core.Episode, a core.Assessment, p proposal, final bool) view {
	return view{e: s.e, at: s.at, lim: s.lim, ep: ep, a: a, p: p, final: final}
}

func (s *step) ruleOn(v view) judged {
	j := judged{v: v, rulings: s.e.rule(v)}
	j.verdict = verdict(v.p, j.rulings)
	if v.final && j.verdict != core.VerdictIgnore {
		j.verdict = core.VerdictHold
	}
	return j
}

func objections(rs []ruled) int {
	n := 0
	for _, r := range rs {
		if r.holds() {
			n++
		}
	}
	return n
}

// proposals are the plans that every policy asks for: to drain what users are sent to, to restore what is
// drained. Without a policy there is one proposal that says so.
func (s *step) proposals(ep *core.Episode, final bool) []proposal {
	state := s.e.routingOf(ep.Subject).State
	restore := state == core.RoutingDrained
	if restore && (s.e.routing[ep.Subject].State != core.RoutingDrained || s.e.outWithSite(ep.Subject)) {
		return nil // drained with the whole site: that episode brings it back
	}
	var out []proposal
	for _, p := range s.e.topo.Policies {
		if len(p.Services) > 0 && !slices.Contains(p.Services, ep.Subject.Service) {
			continue
		}
		plan, ok := s.e.topo.Plan(p.Plan)
		if restores := plan.Kind == core.PlanRestore || (!ok && p.Condition == core.Healthy); restores == restore {
			out = append(out, proposal{policy: p, plan: plan, exists: ok})
		}
	}
	if len(out) == 0 && !restore && (final || state != core.RoutingRestoring) {
		out = append(out, proposal{none: true, plan: core.Plan{Kind: core.PlanDrain, Moves: core.ScopeReads}})
	}
	return out
}

// verdict: to act takes a mode that allows it and not one objection.
func verdict(p proposal, rs []ruled) core.Verdict {
	var kinds [wantsApproval + 1]int
	for _, r := range rs {
		if r.holds() {
			kinds[r.kind]++
		}
	}
	mode := p.policy.Mode
	switch {
	case p.person == "" && (p.none || mode == core.ModeObserve || mode == core.ModeUnknown):
		return core.VerdictIgnore
	case kinds[hard] > 0:
		return core.VerdictHold
	case kinds[byMode] > 0 || kinds[recommendable] > 0:
		return core.VerdictRecommend
	case kinds[wantsApproval] > 0:
		return core.VerdictAwaitApproval
	}
	return core.VerdictAct
}

// standsOut reports whether the judgement differs from the recorded one in something worth a record.
func (s *step) standsOut(ep *core.Episode, j judged) bool {
	st := ep.Standing
	switch {
	case ep.Decisions == 0:
		return true
	case j.verdict == core.VerdictAwaitApproval && s.at.Sub(st.DecidedAt) >= approvalTTL:
		return true
	case st.Verdict == j.verdict && st.Policy == j.v.p.policy.Name && slices.Equal(st.Objections, notPassed(j.rulings)):
		return false
	}
	asks := j.verdict == core.VerdictAwaitApproval || st.Verdict == core.VerdictAwaitApproval
	if next := st.DecidedAt.Add(recordsPace); !asks && ep.Decisions >= recordsFree && s.at.Before(next) {
		s.wakeAt(next)
		return false
	}
	return true
}

// notPassed names the guards that object, cannot tell or bound.
func notPassed(rs []ruled) []string {
	var out []string
	for _, r := range rs {
		switch r.Answer {
		case core.Pass:
		case core.Bound:
			out = append(out, r.Guard+":bound")
		case core.AnswerUnknown, core.Object, core.CannotTell:
			out = append(out, r.Guard)
		}
	}
	return out
}
