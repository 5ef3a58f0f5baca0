package decide

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// obsFresh is how old an observation may be to decide upon; freshSites is how many sites' inputs must be fresh.
const (
	obsFresh   = 5 * time.Second
	freshSites = core.EnoughSites
)

// outsideVotes counts the configured vantages other than the accused: how many there are and how many of them
// accuse. One vote per vantage; unknown does not shrink the denominator.
func outsideVotes(t core.Topology, a core.Assessment) (down, eligible int) {
	for _, vantage := range t.Vantages() {
		if vantage == a.Subject.Site {
			continue
		}
		eligible++
		i := slices.IndexFunc(a.Votes, func(v core.Vote) bool { return v.Vantage == vantage })
		if i >= 0 && accuses(a, a.Votes[i]) {
			down++
		}
	}
	return down, eligible
}

func accuses(a core.Assessment, v core.Vote) bool {
	if !v.Eligible {
		return false
	}
	return v.State == core.ProbeDown || (v.State == core.ProbeUp && a.Kind == core.KindSlow && v.Signal == core.SignalSlow)
}

// insideState is what the accused site's own agent says of the service.
func insideState(a core.Assessment) core.ProbeState {
	for _, v := range a.Votes {
		if v.Vantage == a.Subject.Site {
			return v.State
		}
	}
	return core.ProbeUnknown
}

// ruleQuorum is guard 2: more than half of the configured eligible vantages, and at least two. With exactly two
// sites and no witness there is nobody to outvote the other end of a cut link: there only the accused site's
// own word counts. A majority of the replicas must see it too.
func ruleQuorum(v view) ruled { return withReplicas(v, ruleVantages(v)) }

func ruleVantages(v view) ruled {
	down, eligible := outsideVotes(v.e.topo, v.a)
	nums := []core.Number{count("down", down), count("eligible", eligible)}
	word := "down"
	if v.a.Kind == core.KindSlow {
		word = "slow"
	}
	said := fmt.Sprintf("%d of %s %s", down, plural(eligible, "vantage says", "vantages say"), word)
	if len(v.e.topo.Sites) == 2 && len(v.e.topo.Witnesses) == 0 {
		if down == 1 && insideState(v.a) == core.ProbeDown && v.a.Has(core.ClassInside) {
			return pass("the other site and the site's own agent both say down", nums...)
		}
		return object("two sites and no witness: reachability alone may only recommend, and the site's own agent does not say down ("+said+")",
			nums...).as(recommendable)
	}
	if statisticsOnly(v.a) && down == 0 {
		return object("no vantage sees a failure, only statistics do", nums...).as(recommendable)
	}
	if down < 2 || down*2 <= eligible {
		return object(fmt.Sprintf("%s, more than half and at least 2 are needed", said), nums...)
	}
	return pass(said, nums...)
}

// ruleNotGlobal is guard 4: trouble at half of the sites is not cured by moving users between them.
func ruleNotGlobal(v view) ruled {
	nums := []core.Number{count("sites", len(v.a.Global))}
	if len(v.a.Global) >= 2 {
		return object("global: "+listText(v.a.Global)+" show the same at the same time, draining cannot help", nums...)
	}
	return pass("no other site shows the same at the same time", nums...)
}

// ruleTilt is guard 6.
func ruleTilt(v view) ruled {
	if v.e.obs == nil {
		return cannotTell("there is no observation yet")
	}
	if t := v.e.obs.Tilt; t.On {
		return object(withReason("this replica doubts itself and its vote is withdrawn", t.Reason))
	}
	return pass("this replica does not doubt itself")
}

// ruleFresh is guard 7.
func ruleFresh(v view) ruled {
	o := v.e.obs
	if o == nil {
		return cannotTell("there is no observation yet")
	}
	fresh := freshInputs(*o)
	age := v.at.Sub(o.At)
	nums := []core.Number{seconds("age", age), count("fresh_sites", fresh), count("fresh_sites_wanted", freshSites)}
	switch {
	case age < -obsReach: // a little is the order in which inputs queue
		return object(fmt.Sprintf("the last observation is of %s, later than the present %s", core.ClockText(o.At), core.ClockText(v.at)), nums...)
	case age >= obsFresh:
		return object(fmt.Sprintf("the last observation is of %s, older than %s", core.ClockText(o.At), spanText(obsFresh)), nums...)
	case fresh < freshSites:
		return object(fewFresh(fresh), nums...)
	}
	return pass(fmt.Sprintf("fresh inputs from %s", plural(fresh, "site", "sites")), nums...)
}

// freshInputs is how many sites and witnesses have fresh inputs.
func freshInputs(o core.Observation) int {
	n := 0
	for _, w := range o.Writers {
		if w.Fresh && (w.Kind == "site" || w.Kind == "witness") {
			n++
		}
	}
	return min(n, o.FreshSites)
}

func fewFresh(n int) string {
	return fmt.Sprintf("fresh inputs from %s, %d are needed", plural(n, "site", "sites"), freshSites)
}

// blindText is why nothing can be judged by the observation, empty when something can.
func blindText(o core.Observation) string {
	if n := freshInputs(o); n < freshSites {
		return fewFresh(n)
	}
	for _, a := range o.Assessments {
		if a.Condition != core.ConditionUnknown {
			return ""
		}
	}
	return "every condition is unknown"
}
