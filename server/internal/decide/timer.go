package decide

import (
	"fmt"
	"math"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// outcomeGrace is how long past its own limit a step may stay without an outcome before this room ends it
// itself: the hand should have reported long before.
const outcomeGrace = 2 * time.Minute

// timers does what only time brings: the end of a person's hold, the expiry of a drain, a step nobody reports
// about, and a routing that was unknown until the edge reported it.
func (s *step) timers() {
	if s.e.started.IsZero() {
		s.e.started = s.at
	}
	for _, ep := range s.e.openEpisodes() {
		s.holdEnds(ep)
		s.drainExpires(ep)
	}
	for _, a := range s.e.sortedActions() {
		s.stuck(a)
	}
	s.reconcile()
}

func (s *step) holdEnds(ep *core.Episode) {
	if ep.HeldUntil == nil {
		return
	}
	if s.at.Before(*ep.HeldUntil) {
		s.wakeAt(*ep.HeldUntil)
		return
	}
	ep.HeldUntil = nil
	s.touch(ep)
	s.page(ep, severityCritical, fmt.Sprintf("%s: the operator's hold has ended, the condition is %s", ep.Subject, ep.Condition))
}

// drainExpires pages once when a drain has stood for as long as it was meant to; the drain is held.
func (s *step) drainExpires(ep *core.Episode) {
	if s.e.routing[ep.Subject].State != core.RoutingDrained {
		return
	}
	a := s.e.drainOf(ep)
	if a == nil || a.ExpiresAt == nil {
		return
	}
	if s.at.Before(*a.ExpiresAt) {
		s.wakeAt(*a.ExpiresAt)
		return
	}
	if once(ep, "expired:"+a.ID) {
		s.touch(ep)
		s.page(ep, severityCritical, fmt.Sprintf("%s has been drained for %s: the drain has expired and is held until somebody restores it",
			ep.Subject, spanText(s.lim.DrainExpiry)))
	}
}

// stuck ends a step whose outcome nobody reports. After a restart the hand gets its time again.
func (s *step) stuck(a *core.Action) {
	st := current(a)
	if !running(a) || st == nil || !inFlight(*st) {
		return
	}
	kind, limit := core.OutcomeExpired, s.e.started
	if st.NotAfter != nil {
		limit = later(limit, *st.NotAfter)
	}
	if st.State == core.StepVerifying {
		kind = core.OutcomeCannotTell
		if st.DoneAt != nil {
			limit = later(s.e.started, *st.DoneAt)
		}
		limit = limit.Add(min(max(0, st.Verify.Within.Duration()), time.Hour))
	}
	limit = limit.Add(outcomeGrace)
	if s.at.Before(limit) {
		s.wakeAt(limit)
		return
	}
	s.outcome(core.Outcome{
		IntentID: core.WebhookID(a.ID, st.N), ActionID: a.ID, Step: st.N, Kind: kind, At: s.at,
		Sentence: "nobody reported what became of it",
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// reconcile looks at the world where a command's fate is unknown: the edge's own weight says whether it was
// carried out.
func (s *step) reconcile() {
	if s.e.obs == nil {
		return
	}
	for _, r := range s.e.Routing() {
		ep := s.e.open[r.Subject]
		if r.State != core.RoutingUnknown || ep == nil || s.runningOn(ep) != nil || !s.e.obs.At.After(r.ChangedAt) {
			continue
		}
		weight, known := s.observedWeight(r.Subject)
		switch {
		case !known:
		case weight >= 100-weightTolerance:
			s.settleRouting(r.Subject, core.RoutingActive, 100, r.ActionID)
			s.line(lineAction, ep.ID, ep.Subject, fmt.Sprintf("%s: the edge reports 100 %%, users are sent to it", ep.Subject))
		case weight <= weightTolerance:
			s.settleRouting(r.Subject, core.RoutingDrained, 0, r.ActionID)
			s.line(lineAction, ep.ID, ep.Subject, fmt.Sprintf("%s: the edge reports 0 %%, it is drained", ep.Subject))
		default:
			s.settleRouting(r.Subject, core.RoutingDraining, int(math.Round(weight)), r.ActionID)
			s.line(lineAction, ep.ID, ep.Subject, fmt.Sprintf("%s: the edge reports %s, it is drained in part; an operator's drain or restore ends that", ep.Subject, pctText(weight/100)))
		}
	}
}

// observedWeight is the weight that the edge reports for the subject; unknown when its services differ.
func (s *step) observedWeight(sub core.Subject) (float64, bool) {
	out, known := 0.0, false
	for _, svc := range s.e.services(sub) {
		t := s.e.traffic(sub.Site, svc, s.at)
		if !t.WeightKnown || (known && t.Weight != out) {
			return 0, false
		}
		out, known = t.Weight, true
	}
	return out, known
}

// wakeFor asks to be woken when a guard may answer differently because time has passed.
func (s *step) wakeFor(v view) {
	if elapsed, need, _, known := held(v); known && elapsed < need && !v.e.obs.Tilt.On && trusted(v.e.obs, s.at).Equal(s.at) {
		s.wakeAt(s.at.Add(need - elapsed))
	}
	s.wakeAt(v.e.obs.At.Add(obsFresh))
	if v.e.obs.Tilt.On {
		s.wakeAt(v.e.obs.Tilt.Until)
	}
	if v.ep.Standing.Verdict == core.VerdictAwaitApproval {
		s.wakeAt(v.ep.Standing.DecidedAt.Add(approvalTTL))
	}
	for _, f := range v.e.topo.Freezes {
		s.wakeAt(f.From)
		s.wakeAt(f.Until)
	}
	for _, c := range v.e.topo.Changes {
		if c.Maintenance {
			s.wakeAt(c.Start)
			s.wakeAt(c.Until())
		}
	}
	for _, a := range v.e.actions {
		if a.EndedAt != nil && v.e.sharesLock(a.Subject, v.ep.Subject) {
			s.wakeAt(a.EndedAt.Add(v.lim.Cooldown))
		}
		s.wakeAt(a.CreatedAt.Add(time.Hour))
		s.wakeAt(a.CreatedAt.Add(24 * time.Hour))
	}
	for _, ep := range v.e.episodes {
		if ep.Subject == v.ep.Subject && ep.Worst >= core.Failing {
			s.wakeAt(ep.Onset.Add(flapWindow))
		}
	}
}
