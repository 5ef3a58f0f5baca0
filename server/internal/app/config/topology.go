package config

import (
	"maps"
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/calendar"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Topology is what the rooms need to know of the configuration. Freezes are left out: calendar expands them.
func (c Config) Topology(revision int64) core.Topology {
	t := core.Topology{
		Revision: revision,
		Lab:      c.Lab,

		ChancePerYear: c.Statistics.ChancePerYear,

		Probe: core.ProbeTiming{Interval: c.Probes.Interval.D(), Deadline: c.Probes.Deadline.D()},
		Guards: core.Guards{
			MaxDrainedSites: c.Guards.MaxDrainedSites, MinServing: c.Guards.MinServing,
			Cooldown: c.Guards.Cooldown.D(), BudgetPerHour: c.Guards.Budget.PerHour,
			BudgetPerDay: c.Guards.Budget.PerDay, RetryFactor: c.Guards.RetryFactor,
			DrainExpiry: c.Guards.DrainExpiry.D(), NotAfter: c.Guards.NotAfter.D(),
			CloseAfter: c.Guards.CloseAfter.D(),
		},
	}
	for _, s := range c.Sites {
		t.Sites = append(t.Sites, core.Site{
			Name: s.Name, TimeZone: s.TimeZone, Region: s.Region, Pattern: s.Pattern, Capacity: maps.Clone(s.Capacity),
		})
	}
	for _, w := range c.Witnesses {
		t.Witnesses = append(t.Witnesses, w.Name)
	}
	for _, s := range c.Services {
		t.Services = append(t.Services, core.Service{
			Name: s.Name, Survivors: slices.Clone(s.Survivors), Entries: urls(s.Entries), Expect: expectations(s.Entries),
			MovesWith: slices.Clone(s.MovesWith),
			Objective: core.Objective{LatencyP99: s.Objective.LatencyP99.D(), Success: float64(s.Objective.Success)},
		})
	}
	t.Probes = c.probes()
	for _, s := range c.Stores {
		store := core.Store{Name: s.Name, Engine: s.Engine, Controller: s.Controller, Fence: s.Fence}
		for _, l := range s.Links {
			store.Links = append(store.Links, core.Link{From: l.From, To: l.To, RPO: l.RPO.D()})
		}
		t.Stores = append(t.Stores, store)
	}
	for _, p := range c.Policies {
		policy := core.Policy{
			Name: p.Name, Condition: core.Condition(p.When.Condition), Services: slices.Clone(p.Services),
			Hold: p.Hold.D(), Plan: p.Plan, Mode: core.Mode(p.Mode),
		}
		for _, class := range p.When.Classes {
			policy.Classes = append(policy.Classes, core.Class(class))
		}
		t.Policies = append(t.Policies, policy)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Plans)) {
		t.Plans = append(t.Plans, c.plan(name))
	}
	for _, a := range c.Assertions {
		t.Assertions = append(t.Assertions, core.Assertion{
			Name: a.Name, AtLeast: a.AtLeast, Of: slices.Clone(a.Of), Inverted: a.Inverted,
		})
	}
	return t
}

// plan expands the weights of a plan: each is a step of its own. A plan that ends at 0 drains, one that ends at
// 100 restores; validate has seen to it that there is no other.
func (c Config) plan(name string) core.Plan {
	plan := core.Plan{Name: name, Kind: core.PlanDrain, Moves: core.ScopeReads}
	for _, s := range c.Plans[name] {
		for _, w := range s.Weights {
			step := core.Step{Target: s.Target, Weight: w, OnFail: s.OnFail, Verify: core.VerifySpec{
				ShareAbove:   float64(s.Verify.ShareAbove),
				SuccessAbove: float64(s.Verify.SuccessAbove),
				Within:       core.ToSeconds(s.Verify.Within.D()),
			}}
			if w == 0 { // only the last weight of a drain can bring the share to nothing
				step.Verify.ShareBelow = float64(s.Verify.ShareBelow)
			}
			plan.Steps = append(plan.Steps, step)
			if w == 100 {
				plan.Kind = core.PlanRestore
			} else {
				plan.Kind = core.PlanDrain
			}
		}
	}
	return plan
}

// Window is the freeze as calendar reads it.
func (f Freeze) Window() calendar.Window {
	return calendar.Window{Name: f.Name, Cron: f.Cron, Dates: slices.Clone(f.Dates), Lasts: f.Lasts.D(), Zone: f.TimeZone, Scope: slices.Clone(f.Scope)}
}
