package decide

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// room is whether the survivors can take the demand of a subject.
type room struct {
	missing string  // what is not known; empty when all of it is
	movable float64 // part of the demand that fits now, 0 to 1
	demand  float64 // requests/s of the subject, retries included
	effect  core.Effect
}

// capacity computes from figures frozen before the trouble, for a plan that makes the part leaves of the demand
// leave; a survivor that carries more by now has that much less room. The load that moves is split over the survivors in proportion to what each of them carried: that is
// what weights do when one of them goes down.
func capacity(v view, leaves float64) room {
	out := room{movable: 1, effect: core.Effect{After: map[string]float64{}, Capacity: map[string]float64{}}}
	own := v.ep.Subject
	for _, svc := range v.e.services(own) {
		demand, ok := v.ep.Demand[demandKey(own, own.Site, svc)]
		if !ok {
			return room{missing: fmt.Sprintf("the demand of %s at %s before the onset is not known", svc, own.Site)}
		}
		moved := demand * v.lim.RetryFactor
		out.demand += moved
		survivors := serving(v, svc)
		if len(survivors) == 0 && moved > 0 {
			out.movable = 0
		}
		var carried, total float64
		caps, loads := make([]float64, len(survivors)), make([]float64, len(survivors))
		for i, name := range survivors {
			site, _ := v.e.topo.Site(name)
			if caps[i] = site.Capacity[svc]; !(caps[i] > 0) {
				return room{missing: fmt.Sprintf("no capacity is declared for %s at %s", svc, name)}
			}
			if loads[i], ok = v.ep.Demand[demandKey(own, name, svc)]; !ok {
				return room{missing: fmt.Sprintf("the demand of %s at %s before the onset is not known", svc, name)}
			}
			if t := v.e.traffic(name, svc, v.at); t.Known {
				loads[i] = max(loads[i], t.Requests)
			}
			carried += loads[i]
			total += caps[i]
		}
		if !finite(out.demand, carried, total) {
			return room{missing: fmt.Sprintf("the figures of %s are out of all reason", svc)}
		}
		for i, name := range survivors {
			part := caps[i] / total
			if carried > 0 {
				part = loads[i] / carried
			}
			if more := moved * part; more > 0 {
				out.movable = math.Min(out.movable, math.Max(0, (caps[i]-loads[i])/more))
			}
			out.effect.After[name] += loads[i] + moved*part*leaves
			out.effect.Capacity[name] += caps[i]
		}
	}
	out.movable = math.Floor(out.movable*100+1e-6) / 100
	out.effect.Moved = out.demand * leaves
	out.effect.ShareWant = shareAt(v.ep, 1-leaves)
	return out
}

// leaves is the part of the demand that the plan makes leave, 0 to 1.
func (p proposal) leaves() float64 { return 1 - float64(p.endWeight())/100 }

// ruleCapacity is guard 10: it lets as much leave as fits.
func ruleCapacity(v view) ruled {
	r := capacity(v, v.p.leaves())
	if r.missing != "" {
		return cannotTell(r.missing)
	}
	nums := []core.Number{
		{Name: "demand", Value: r.demand, Unit: "1/s"},
		{Name: "retry_factor", Value: v.lim.RetryFactor, Unit: "1"},
		{Name: "movable", Value: r.movable * 100, Unit: "%"},
	}
	switch {
	case r.movable >= v.p.leaves():
		return pass(fmt.Sprintf("the survivors can take %s", rateText(r.demand*v.p.leaves())), nums...)
	case r.movable <= 0:
		return object(fmt.Sprintf("the survivors can take nothing of %s", rateText(r.demand)), nums...)
	}
	out := pass(fmt.Sprintf("the survivors can take %s of %s now", pctText(r.movable), rateText(r.demand)), nums...)
	out.Answer, out.Bound = core.Bound, r.movable
	return out
}

// effectOf is what the proposal is expected to do; nil when that is not known.
func effectOf(v view, bound float64) *core.Effect {
	if v.p.restores() {
		return nil
	}
	r := capacity(v, math.Min(bound, v.p.leaves()))
	if r.missing != "" || !finite(r.effect.Moved, r.effect.ShareWant) {
		return nil
	}
	for name, after := range r.effect.After {
		if !finite(after, r.effect.Capacity[name]) {
			return nil
		}
	}
	return &r.effect
}

// shareAt is the subject's expected share of the requests, 0 to 1, when it keeps the part keep of its weight,
// as computed from the demand before the onset; 0 when that is not known.
func shareAt(ep *core.Episode, keep float64) float64 {
	var own, others float64
	for _, k := range slices.Sorted(maps.Keys(ep.Demand)) { // sorted: the order of a sum shows in its last digit
		if k == ep.Subject.Site || strings.HasPrefix(k, ep.Subject.Site+"/") {
			own += ep.Demand[k]
		} else {
			others += ep.Demand[k]
		}
	}
	if sum := own*keep + others; !(sum > 0) || !finite(sum) {
		return 0
	}
	return own * keep / (own*keep + others)
}
