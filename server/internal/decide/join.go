package decide

import (
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// joinShare is the part of a site's demand from which on the trouble of its services is the trouble of the site.
const joinShare = 0.5

// join makes one assessment of a whole site out of those of its services.
//
// The site is failing when two or more of its services are and these are all of them, or carry half or more of
// its demand. It is then as dead as the least dead of them: evidence of a class that not every one of them has
// does not accuse the site, a vantage says down only when it says so of all of them, and the failure is as old
// as the youngest. Otherwise a site with a failing service is degraded.
func (e *Engine) join(site string) core.Assessment {
	sub := core.Subject{Site: site, Service: core.AllServices}
	out := core.Assessment{Subject: sub}
	services := e.services(sub)
	var failing []core.Assessment
	unknown := len(services) == 0
	for _, svc := range services {
		a, ok := e.reported(core.Subject{Site: site, Service: svc})
		unknown = unknown || !ok || a.Condition == core.ConditionUnknown
		out.Condition = max(out.Condition, min(a.Condition, core.Degraded))
		if h := a.HealthySince; h != nil && (out.HealthySince == nil || h.After(*out.HealthySince)) {
			out.HealthySince = h
		}
		if a.Condition == core.Failing && a.FailingSince != nil {
			failing = append(failing, a)
		}
	}
	if unknown && out.Condition < core.Suspect {
		out.Condition = core.ConditionUnknown
	}
	if out.Condition != core.Healthy {
		out.HealthySince = nil
	}
	if len(failing) >= 2 && (len(failing) == len(services) || e.carries(site, failing) >= joinShare) {
		joinFailing(&out, failing, e.topo.Vantages())
	}
	return cleanAssessment(out)
}

// carries is the part of the site's demand that the failing services had before the first of them failed; 0 when
// the demand of one of its services is not known.
func (e *Engine) carries(site string, failing []core.Assessment) float64 {
	first := *failing[0].FailingSince
	for _, a := range failing {
		if a.FailingSince.Before(first) {
			first = *a.FailingSince
		}
	}
	var all, bad float64
	for _, svc := range e.services(core.Subject{Site: site, Service: core.AllServices}) {
		v, ok := e.demandAt(site, svc, first)
		if !ok {
			return 0
		}
		all += v
		if slices.ContainsFunc(failing, func(a core.Assessment) bool { return a.Subject.Service == svc }) {
			bad += v
		}
	}
	if all > 0 && finite(all) {
		return bad / all
	}
	return 0
}

func joinFailing(out *core.Assessment, failing []core.Assessment, vantages []string) {
	out.Condition, out.HealthySince = core.Failing, nil
	out.Kind, out.Signal = failing[0].Kind, failing[0].Signal
	for _, a := range failing {
		if out.FailingSince == nil || a.FailingSince.After(*out.FailingSince) {
			out.FailingSince = a.FailingSince
		}
		if onset := firstEvidence(a, *a.FailingSince); out.Onset == nil || onset.Before(*out.Onset) {
			out.Onset = &onset
		}
		if len(a.Global) > len(out.Global) {
			out.Global = a.Global
		}
		out.Signal = slower(out.Signal, a.Signal)
		for _, ev := range a.Evidence {
			if slices.ContainsFunc(failing, func(o core.Assessment) bool { return !o.Has(ev.Class) }) {
				continue
			}
			ev.Subject = out.Subject
			if evidenceIndex(out.Evidence, ev) < 0 {
				out.Evidence = append(out.Evidence, ev)
			}
		}
	}
	for _, name := range vantages {
		if v, ok := joinVotes(name, failing); ok {
			v.Eligible = name != out.Subject.Site
			out.Votes = append(out.Votes, v)
		}
	}
}

// joinVotes is what one vantage says of all of them: down of every one, up of any, or unknown.
func joinVotes(vantage string, failing []core.Assessment) (core.Vote, bool) {
	out, found := core.Vote{Vantage: vantage, State: core.ProbeDown}, false
	for _, a := range failing {
		i := slices.IndexFunc(a.Votes, func(v core.Vote) bool { return v.Vantage == vantage })
		if i < 0 {
			out.State = core.ProbeUnknown
			continue
		}
		v := a.Votes[i]
		if !found {
			out.Signal, out.Reason, out.At = v.Signal, v.Reason, v.At
		}
		found = true
		out.Signal = slower(out.Signal, v.Signal)
		if v.At.Before(out.At) {
			out.At = v.At
		}
		switch {
		case v.State == core.ProbeUp:
			out.State = core.ProbeUp
		case v.State != core.ProbeDown && out.State == core.ProbeDown:
			out.State = core.ProbeUnknown
		}
	}
	return out, found
}

// slower is the signal with the longer floor.
func slower(a, b string) string {
	order := []string{core.SignalRefused, core.SignalTimeout, core.SignalSilence, core.SignalErrors, core.SignalSlow}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// joinSites adds the sites to the observation that fail as a whole, or have an episode as a whole.
func (s *step) joinSites() {
	for _, site := range s.e.topo.Sites {
		sub := core.Subject{Site: site.Name, Service: core.AllServices}
		if _, ok := s.e.reported(sub); ok {
			continue
		}
		if a := s.e.join(site.Name); a.Condition == core.Failing || s.e.open[sub] != nil {
			s.e.obs.Assessments = append(s.e.obs.Assessments, a)
		}
	}
	slices.SortStableFunc(s.e.obs.Assessments, func(a, b core.Assessment) int { return compareSubjects(a.Subject, b.Subject) })
}

// compareSubjects orders subjects by site, the whole site before its services.
func compareSubjects(a, b core.Subject) int {
	whole := func(s core.Subject) int {
		if s.WholeSite() {
			return 0
		}
		return 1
	}
	if a.Site == b.Site && a.WholeSite() != b.WholeSite() {
		return whole(a) - whole(b)
	}
	return a.Compare(b)
}

// asOne reports whether the subject is a service of a site that fails as a whole and is drained as one.
func (e *Engine) asOne(sub core.Subject) bool {
	whole := core.Subject{Site: sub.Site, Service: core.AllServices}
	if sub.WholeSite() || e.open[whole] == nil {
		return false
	}
	if a, _ := e.assessment(whole); a.Condition != core.Failing {
		return false
	}
	return slices.ContainsFunc(e.topo.Policies, func(p core.Policy) bool {
		plan, _ := e.topo.Plan(p.Plan)
		return len(p.Services) == 0 && plan.Kind == core.PlanDrain && p.Condition > core.Healthy
	})
}

// drainedWithSite is the last drain of the whole site since the episode of one of its services began, nil when
// there was none.
func (e *Engine) drainedWithSite(ep *core.Episode) *core.Action {
	var out *core.Action
	for _, a := range e.sortedActions() {
		if a.Subject.WholeSite() && a.Subject.Site == ep.Subject.Site && a.Kind == core.PlanDrain && !a.CreatedAt.Before(ep.Onset) {
			out = a
		}
	}
	return out
}

// outWithSite reports whether the subject is a service of a site that is not active as a whole.
func (e *Engine) outWithSite(sub core.Subject) bool {
	r, ok := e.routing[core.Subject{Site: sub.Site, Service: core.AllServices}]
	return ok && !sub.WholeSite() && r.State != core.RoutingActive
}
