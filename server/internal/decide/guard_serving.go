package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// serving are the sites that would serve the service without the subject's site, in configured order: an entry
// for it, allowed to take its load, routed to as normal, and healthy. Unknown is not healthy. A suspicion that
// health has traced to a link or to another vantage does not count against a site.
func serving(v view, service string) []string {
	svc, _ := v.e.topo.Service(service)
	var out []string
	for _, site := range v.e.topo.Serving(service) {
		sub := core.Subject{Site: site, Service: service}
		if site == v.ep.Subject.Site || v.e.routingOf(sub).State != core.RoutingActive {
			continue
		}
		if len(svc.Survivors) > 0 && !slices.Contains(svc.Survivors, site) {
			continue
		}
		if sound(v.e, sub) {
			out = append(out, site)
		}
	}
	return out
}

func sound(e *Engine, sub core.Subject) bool {
	a, ok := e.reported(sub)
	if !ok || !soundAssessment(a) {
		return false
	}
	whole, ok := e.reported(core.Subject{Site: sub.Site, Service: core.AllServices})
	return !ok || soundAssessment(whole)
}

func soundAssessment(a core.Assessment) bool {
	switch a.Condition {
	case core.Healthy:
		return len(a.Odd) == 0
	case core.Suspect:
		return a.Kind == core.KindLink || a.Kind == core.KindOneWay || a.Kind == core.KindVantage
	case core.ConditionUnknown, core.Degraded, core.Failing:
	}
	return false
}

// ruleLastServing is guard 8. It cannot be configured away: one site always stays.
func ruleLastServing(v view) ruled {
	services := v.e.services(v.ep.Subject)
	if len(services) == 0 {
		return cannotTell("no service of this subject is configured")
	}
	var said []string
	var nums []core.Number
	ok := true
	for _, svc := range services {
		left := serving(v, svc)
		nums = append(nums, count("serving_after:"+svc, len(left)))
		said = append(said, fmt.Sprintf("%s stays with %s", svc, listText(left)))
		ok = ok && len(left) >= v.lim.MinServing
	}
	nums = append(nums, count("min_serving", v.lim.MinServing))
	if !ok {
		return object(fmt.Sprintf("%s; %s must serve it in good health", strings.Join(said, "; "), plural(v.lim.MinServing, "site", "sites")), nums...)
	}
	return pass(strings.Join(said, "; "), nums...)
}

// ruleMaxDrained is guard 9: other sites that are out, and this one.
func ruleMaxDrained(v view) ruled {
	out := []string{v.ep.Subject.Site}
	for _, r := range v.e.Routing() {
		if r.State != core.RoutingActive && !slices.Contains(out, r.Subject.Site) {
			out = append(out, r.Subject.Site)
		}
	}
	nums := []core.Number{count("drained_after", len(out)), count("max", v.lim.MaxDrainedSites)}
	sentence := fmt.Sprintf("%s out afterwards (%s), %d allowed", plural(len(out), "site", "sites"), listText(out), v.lim.MaxDrainedSites)
	if len(out) > v.lim.MaxDrainedSites {
		return object(sentence, nums...)
	}
	return pass(sentence, nums...)
}

// ruleAssertions is guard 12: the configured rules over the state afterwards, service by service.
func ruleAssertions(v view) ruled {
	if left := leftBehind(v); len(left) > 0 {
		return object(fmt.Sprintf("%s must move with %s and this plan moves %s only", listText(left), v.ep.Subject.Service, v.ep.Subject.Service))
	}
	if len(v.e.topo.Assertions) == 0 {
		return pass("no assertion is configured")
	}
	var nums []core.Number
	for _, rule := range v.e.topo.Assertions {
		for _, svc := range v.e.services(v.ep.Subject) {
			have := 0
			for _, site := range serving(v, svc) {
				if slices.Contains(rule.Of, site) {
					have++
				}
			}
			nums = append(nums, count(rule.Name+":"+svc, have))
			if (have >= rule.AtLeast) == rule.Inverted {
				want := "at least"
				if rule.Inverted {
					want = "fewer than"
				}
				return object(fmt.Sprintf("assertion %s: %d of %s would serve %s, %s %d must", rule.Name, have,
					listText(rule.Of), svc, want, rule.AtLeast), nums...)
			}
		}
	}
	return pass(plural(len(v.e.topo.Assertions), "assertion holds", "assertions hold")+" afterwards", nums...)
}

// leftBehind are the services at the site that are declared to move with the subject and would stay. A plan has
// one subject: until one can carry several, the whole site is what can be drained.
func leftBehind(v view) []string {
	if v.ep.Subject.WholeSite() {
		return nil
	}
	var out []string
	svc, _ := v.e.topo.Service(v.ep.Subject.Service)
	for _, peer := range svc.MovesWith {
		sub := core.Subject{Site: v.ep.Subject.Site, Service: peer}
		if peer != svc.Name && slices.Contains(v.e.topo.Serving(peer), sub.Site) && v.e.routingOf(sub).State == core.RoutingActive {
			out = append(out, peer)
		}
	}
	return out
}
