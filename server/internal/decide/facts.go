package decide

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// reported is what the last observation says of exactly this subject; false when it says nothing.
func (e *Engine) reported(s core.Subject) (core.Assessment, bool) {
	if e.obs == nil {
		return core.Assessment{Subject: s}, false
	}
	i := slices.IndexFunc(e.obs.Assessments, func(a core.Assessment) bool { return a.Subject == s })
	if i < 0 {
		return core.Assessment{Subject: s}, false
	}
	return e.obs.Assessments[i], true
}

// assessment is what the last observation says of the subject. Health speaks of services; a whole site that it
// does not speak of is joined out of them.
func (e *Engine) assessment(s core.Subject) (core.Assessment, bool) {
	if a, ok := e.reported(s); ok || !s.WholeSite() || e.obs == nil {
		return a, ok
	}
	return e.join(s.Site), true
}

// traffic is what the last observation says of one service at one site, or of all of them there; Known is false
// when it says nothing.
func (e *Engine) traffic(site, service string, at time.Time) core.Traffic {
	out := core.Traffic{Site: site, Service: service, At: at}
	if e.obs == nil {
		return out
	}
	whole := core.Subject{Site: site, Service: service}.WholeSite()
	var parts []core.Traffic
	total := 0.0
	for _, t := range e.obs.Traffic {
		if !whole && t.Site == site && t.Service == service {
			return t
		}
		if whole && t.Known {
			total += t.Requests
			if t.Site == site {
				parts = append(parts, t)
			}
		}
	}
	if !whole {
		return out
	}
	if len(parts) == 0 || len(parts) < len(e.services(core.Subject{Site: site, Service: service})) {
		return out // a part of the site would pass for the whole
	}
	out.At, out.Known = parts[0].At, true
	out.Weight, out.WeightKnown = parts[0].Weight, true
	good, users := 0.0, 0.0
	for _, t := range parts {
		out.Requests += t.Requests
		out.Count += t.Count
		good += t.Success * t.Count
		users += t.ServiceSuccess * t.ServiceCount
		out.ServiceCount += t.ServiceCount
		out.WeightKnown = out.WeightKnown && t.WeightKnown && t.Weight == out.Weight
	}
	if total > 0 {
		out.Share = out.Requests / total
	}
	if out.Count > 0 {
		out.Success = good / out.Count
	}
	if out.ServiceCount > 0 {
		out.ServiceSuccess = users / out.ServiceCount
	}
	return out
}

// routingOf is what is commanded for one service at one site, a command for the whole site included: of the
// two the one that sends fewer users.
func (e *Engine) routingOf(sub core.Subject) core.Routing {
	best := core.Routing{Subject: sub, State: core.RoutingActive, Weight: 100}
	for _, k := range []core.Subject{{Site: sub.Site, Service: core.AllServices}, {Site: sub.Site, Service: sub.Service}, sub} {
		r, ok := e.routing[k]
		if ok && r.State != core.RoutingActive && (best.State == core.RoutingActive || r.Weight < best.Weight) {
			best = r
		}
	}
	return best
}

// services are the services that the subject is about, in configured order.
func (e *Engine) services(sub core.Subject) []string {
	if !sub.WholeSite() {
		return []string{sub.Service}
	}
	var out []string
	for _, svc := range e.topo.Services {
		if _, ok := svc.Entries[sub.Site]; ok {
			out = append(out, svc.Name)
		}
	}
	return out
}
