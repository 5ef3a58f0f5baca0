package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// HoldFloor is the shortest hold a policy may have outside the lab: the floor of the quickest signal its classes
// could rest on. The guard of the hold applies the floor of the signal that is really there.
func HoldFloor(condition core.Condition, classes []core.Class, kind core.PlanKind) (time.Duration, string) {
	switch {
	case kind == core.PlanRestore:
		return 15 * time.Minute, "restore"
	case condition != core.Failing:
		return 180 * time.Second, "read drain of a site that is slow"
	case slices.Contains(classes, core.ClassOutside) && slices.Contains(classes, core.ClassInside):
		return 10 * time.Second, "read drain, refused from all vantages and inside dead"
	default:
		return 20 * time.Second, "read drain, time-outs or silence"
	}
}

func (v *validator) policyList() {
	seen := map[string]bool{}
	automatic := -1
	for i, p := range v.c.Policies {
		path := fmt.Sprintf("policies[%d]", i)
		v.name("policies", p.Name, i, seen)
		condition := core.Condition(p.When.Condition)
		if condition == core.ConditionUnknown {
			v.bad(path+".when", "the condition is missing; add condition: failing (or degraded, healthy)")
		}
		for j, s := range p.Services {
			v.known(fmt.Sprintf("%s.services[%d]", path, j), "service", s, v.services)
		}
		if _, ok := v.c.Plans[p.Plan]; !ok {
			plans := map[string]bool{}
			for name := range v.c.Plans {
				plans[name] = true
			}
			v.known(path+".plan", "plan", p.Plan, plans)
			continue
		}
		if condition != core.ConditionUnknown {
			v.policyFloor(path, p, condition)
		}
		if core.Mode(p.Mode) == core.ModeAutomatic {
			automatic = i
		}
	}
	if automatic >= 0 && len(v.c.Sites) == 2 && len(v.c.Witnesses) == 0 && len(v.c.Replicas) == 0 && (v.c.Server.At == "" || v.sites[v.c.Server.At]) {
		v.bad(fmt.Sprintf("policies[%d].mode", automatic),
			"automatic mode with two sites, no witness and the only server in one of them: a cut link looks like a dead site; add a witness, or run the server elsewhere and say so with server: {at: NAME}")
	}
}

func (v *validator) policyFloor(path string, p Policy, condition core.Condition) {
	kind := v.c.plan(p.Plan).Kind
	if (kind == core.PlanRestore) != (condition == core.Healthy) {
		v.bad(path+".when.condition", "plan %q is a %s; a restore is for condition healthy, a drain for failing or degraded", p.Plan, kind)
		return
	}
	var classes []core.Class
	for _, c := range p.When.Classes {
		classes = append(classes, core.Class(c))
	}
	if core.Mode(p.Mode) == core.ModeAutomatic && kind == core.PlanDrain {
		v.automaticClasses(path, classes)
		v.automaticCapacity(path, p)
	}
	floor, row := HoldFloor(condition, classes, kind)
	if !v.c.Lab && p.Hold.D() < floor {
		v.bad(path+".hold", "%s is below the floor of %s (%s); raise it, or mark the file lab: true on a machine that serves nobody",
			p.Hold.D(), floor, row)
	}
}

func (v *validator) automaticClasses(path string, classes []core.Class) {
	distinct := slices.Compact(slices.Sorted(slices.Values(classes)))
	direct := slices.Contains(distinct, core.ClassOutside) || slices.Contains(distinct, core.ClassInside)
	if len(distinct) < 2 || !direct {
		v.bad(path+".when.classes", "automatic mode needs two classes of evidence, one of them outside or inside; as in [outside, inside]")
	}
}

// automaticCapacity checks that the capacity guard will be able to tell: without figures it objects to every drain.
func (v *validator) automaticCapacity(path string, p Policy) {
	for _, s := range v.c.Services {
		if len(p.Services) > 0 && !slices.Contains(p.Services, s.Name) || len(s.Entries) < 2 {
			continue // a service at one site has no survivor whose capacity would count
		}
		var silent []string
		for _, site := range v.c.Sites {
			if _, there := s.Entries[site.Name]; there && site.Capacity[s.Name] == 0 {
				silent = append(silent, site.Name)
			}
		}
		if len(silent) > 0 {
			v.bad(path+".mode", "automatic mode for %s, and no capacity is declared for it at %s: the capacity guard could never tell; add capacity: {%s: REQUESTS_PER_SECOND} to the site",
				s.Name, strings.Join(silent, ", "), s.Name)
		}
	}
}
