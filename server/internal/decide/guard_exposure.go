package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// settledLag is how far a copy may be behind for its site to come back, where the objective is no longer: agents look each few
// seconds, and a bound is as old as the look.
const settledLag = 15 * time.Second

// ruleExposure is guard 11: what would be lost, or read too old, by this plan.
func ruleExposure(v view) ruled {
	if v.p.restores() {
		return ruleCaughtUp(v)
	}
	switch v.p.plan.Moves {
	case core.ScopeReads:
		return ruleReads(v)
	case core.ScopeWrites:
		return ruleWrites(v)
	}
	return cannotTell("the plan does not say whether it moves reads or writes")
}

// ruleReads lets a plan pass that changes no owner; it notes what would be lost if the site were.
func ruleReads(v view) ruled {
	var nums []core.Number
	for _, s := range v.e.topo.Stores {
		if c := v.copyOf(s); c.proven {
			nums = append(nums, seconds("exposure:"+s.Name, c.exposure))
		}
	}
	return pass("moves reads only, no store changes its owner", nums...)
}

// ruleWrites is for a plan that makes another site the owner: of every store at the site there must be a copy, at a site that
// takes its services over, which lacks no more than the objective says. Until a fence proves that the old owner has stopped,
// what it lacks grows with the clock, and a person has to answer for two owners.
func ruleWrites(v view) ruled {
	var said, unfenced []string
	var nums []core.Number
	over, unknown := false, false
	for _, s := range v.e.topo.Stores {
		if !slices.ContainsFunc(s.Links, func(l core.Link) bool { return l.From == v.ep.Subject.Site }) {
			continue
		}
		c := v.copyOf(s)
		switch {
		case c.link == "":
			over = true
			said = append(said, s.Name+" is not copied to a site that would take over")
		case !c.proven:
			unknown = true
			said = append(said, fmt.Sprintf("what %s would lack is not known: %s", s.Name, c.why))
		case c.rpo == 0:
			unknown = true
			said = append(said, fmt.Sprintf("%s would lack up to %s at %s, and no objective (rpo) is set for it", s.Name, spanText(c.exposure), c.to))
		default:
			nums = append(nums, seconds("exposure:"+s.Name, c.exposure), seconds("rpo:"+s.Name, c.rpo))
			said = append(said, fmt.Sprintf("%s would lack up to %s at %s (objective %s)", s.Name, spanText(c.exposure), c.to, spanText(c.rpo)))
			over = over || c.exposure > c.rpo
		}
		unfenced = append(unfenced, s.Name)
	}
	text := strings.Join(said, "; ")
	switch {
	case len(said) == 0:
		return cannotTell("moves writes, and no replication of a store at " + v.ep.Subject.Site + " is configured: how much would be lost is not known")
	case over:
		return object(text, nums...)
	case unknown:
		r := cannotTell(text)
		r.Numbers = nums
		return r
	}
	text += fmt.Sprintf("; nothing proves that %s takes no writes of %s any more: both sides may", v.ep.Subject.Site, listText(unfenced))
	if v.p.policy.Mode == core.ModeAutomatic && v.p.person == "" {
		return object(text, nums...).as(recommendable)
	}
	return pass(text, nums...)
}

// ruleCaughtUp is for a restore: the copies between the site and those that users are sent to carry what is written again, and
// are hardly behind. A site that is drained or dead itself has no say: it must not keep another one out. Where nobody else
// serves, what the site has is all that there is.
func ruleCaughtUp(v view) ruled {
	site := v.ep.Subject.Site
	var wrong, unsure []string
	var nums []core.Number
	n, out := 0, 0
	for _, s := range v.e.topo.Stores {
		for _, l := range s.Links {
			if l.From != site && l.To != site {
				continue
			}
			peer := l.From
			if peer == site {
				peer = l.To
			}
			if v.gone(peer) {
				out++
				continue
			}
			n++
			name := core.LinkName(s.Name, l.From, l.To)
			st, ok := v.e.link(name)
			limit := max(l.RPO, settledLag)
			switch {
			case !ok || st.State == core.LinkUnknown:
				unsure = append(unsure, name+" is not known"+because(st.Reason))
			case !st.State.Flows():
				wrong = append(wrong, fmt.Sprintf("%s: %s", name, st.State))
			case st.LagLower != nil && *st.LagLower > limit.Seconds():
				nums = append(nums, core.Number{Name: "lag_lower:" + name, Value: *st.LagLower, Unit: "s"})
				wrong = append(wrong, fmt.Sprintf("%s is %.1f s or more behind, %s allowed", name, *st.LagLower, spanText(limit)))
			case st.LagUpper == nil || *st.LagUpper > limit.Seconds():
				unsure = append(unsure, fmt.Sprintf("%s (%s) is not known to be within %s", name, st.State, spanText(limit)))
			}
		}
	}
	switch {
	case n == 0 && out > 0 && v.alone():
		return pass("nobody else serves: what " + site + " has is all that there is")
	case n == 0 && out > 0:
		return cannotTell("no site that " + site + " is replicated with serves: whether it has what was written is not known")
	case n == 0:
		return pass("no replication to or from " + site + " is configured")
	case len(wrong) > 0:
		return object(strings.Join(append(wrong, unsure...), "; "), nums...)
	case len(unsure) > 0:
		return cannotTell(strings.Join(unsure, "; "))
	}
	return pass(plural(n, "replication link", "replication links")+" to and from "+site+" caught up", count("links", n))
}

// candidate is the copy of a store that would lack least.
type candidate struct {
	link, to string
	rpo      time.Duration
	exposure time.Duration // by now
	proven   bool          // exposure is known
	why      string        // it is not
}

// copyOf finds the best copy of the subject's store among the sites that would take over; link is empty when there is none.
func (v view) copyOf(s core.Store) candidate {
	var best candidate
	for _, l := range s.Links {
		if l.From != v.ep.Subject.Site || !v.takesOver(l.To) {
			continue
		}
		c := candidate{link: core.LinkName(s.Name, l.From, l.To), to: l.To, rpo: l.RPO}
		st, ok := v.e.link(c.link)
		switch {
		case !ok:
			c.why = "nobody has looked at " + c.link + " yet"
		case st.CompleteTo == nil, st.State == core.LinkResyncing, st.State == core.LinkUnknown && st.Reason != "silent":
			c.why = c.link + " is " + st.State.String() + because(st.Reason)
		default:
			c.exposure, c.proven = max(v.at.Sub(*st.CompleteTo), 0), true
			if st.LagLower != nil {
				c.exposure = max(c.exposure, time.Duration(*st.LagLower*float64(time.Second)))
			}
		}
		if best.link == "" || (c.proven && (!best.proven || c.exposure < best.exposure)) {
			best = c
		}
	}
	return best
}

// gone reports whether no user is sent to the site for any of the subject's services, or it fails them all.
func (v view) gone(site string) bool {
	for _, svc := range v.e.services(v.ep.Subject) {
		sub := core.Subject{Site: site, Service: svc}
		if !slices.Contains(v.e.topo.Serving(svc), site) || v.e.routingOf(sub).State != core.RoutingActive {
			continue
		}
		if a, ok := v.e.reported(sub); !ok || a.Condition != core.Failing {
			return false
		}
	}
	return true
}

// alone reports whether no other site serves any of the subject's services.
func (v view) alone() bool {
	for _, s := range v.e.topo.Sites {
		if s.Name != v.ep.Subject.Site && !v.gone(s.Name) {
			return false
		}
	}
	return true
}

// takesOver reports whether the site would serve all that the subject's site serves.
func (v view) takesOver(site string) bool {
	services := v.e.services(v.ep.Subject)
	for _, svc := range services {
		if !slices.Contains(serving(v, svc), site) {
			return false
		}
	}
	return len(services) > 0
}

// link is what the last observation says of a replication link; false when it says nothing.
func (e *Engine) link(name string) (core.LinkStanding, bool) {
	if e.obs == nil {
		return core.LinkStanding{}, false
	}
	i := slices.IndexFunc(e.obs.Links, func(l core.LinkStanding) bool { return l.Link == name })
	if i < 0 {
		return core.LinkStanding{}, false
	}
	return e.obs.Links[i], true
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}
