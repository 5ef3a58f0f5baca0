package decide

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Prefixes of Action.By.
const (
	byPolicyPrefix   = "policy "
	byOperatorPrefix = "operator "
)

func byOperator(a *core.Action) bool { return strings.HasPrefix(a.By, byOperatorPrefix) }

// running reports whether the action still holds its lock: until it ends, or a person releases it when its
// outcome stays unknown.
func running(a *core.Action) bool { return !a.State.Final() && a.EndedAt == nil }

// inFlight reports whether a command of the step is on its way, or its effect not verified yet.
func inFlight(st core.StepRun) bool {
	return st.State == core.StepIntended || st.State == core.StepVerifying
}

// current is the step under way, nil when there is none.
func current(a *core.Action) *core.StepRun {
	if a.Step < 1 || a.Step > len(a.Steps) {
		return nil
	}
	return &a.Steps[a.Step-1]
}

// sharesLock reports whether two subjects must not be acted on at the same time: the same site, and the same
// service, or one of them the whole site, or services that move together.
func (e *Engine) sharesLock(a, b core.Subject) bool {
	if a.Overlaps(b) {
		return true
	}
	moves := func(x, y string) bool {
		svc, _ := e.topo.Service(x)
		return slices.Contains(svc.MovesWith, y)
	}
	return a.Site == b.Site && (moves(a.Service, b.Service) || moves(b.Service, a.Service))
}

// runningOn is the action that holds the lock of exactly this subject's episode, nil when there is none.
func (s *step) runningOn(ep *core.Episode) *core.Action {
	for _, id := range ep.ActionIDs {
		if a := s.e.actions[id]; a != nil && running(a) {
			return a
		}
	}
	return nil
}

// ruleBrake is guard 13.
func ruleBrake(v view) ruled {
	if b := v.e.brake; b.On {
		return object(withReason("the brake is on, by "+b.By+" at "+core.ClockText(b.At), b.Reason))
	}
	return pass("the brake is off")
}

// spent counts the automatic drains since a time.
func (e *Engine) spent(since time.Time) int {
	n := 0
	for _, a := range e.actions {
		if a.Kind == core.PlanDrain && strings.HasPrefix(a.By, byPolicyPrefix) && a.CreatedAt.After(since) {
			n++
		}
	}
	return n
}

// ruleBudget is guard 14.
func ruleBudget(v view) ruled {
	hour, day := v.e.spent(v.at.Add(-time.Hour)), v.e.spent(v.at.Add(-24*time.Hour))
	nums := []core.Number{
		count("hour", hour), count("per_hour", v.lim.BudgetPerHour),
		count("day", day), count("per_day", v.lim.BudgetPerDay),
	}
	sentence := fmt.Sprintf("%d of %d automatic drains this hour, %d of %d this day", hour, v.lim.BudgetPerHour, day, v.lim.BudgetPerDay)
	if noBudget(v.lim) {
		return object("the budget is 0: no drain happens by itself", nums...)
	}
	if hour >= v.lim.BudgetPerHour || day >= v.lim.BudgetPerDay {
		return object("the budget is spent: "+sentence, nums...)
	}
	return pass(sentence, nums...)
}

// noBudget reports whether the configuration forbids automatic drains altogether.
func noBudget(g core.Guards) bool { return g.BudgetPerHour <= 0 || g.BudgetPerDay <= 0 }

// ruleLock is guard 15: the lock, what has been tried, and the cooldown. An operator is refused only by a step
// in flight; what merely waits, or ended in the unknown, is released by the operator's order.
func ruleLock(v view) ruled {
	for _, a := range v.e.sortedActions() {
		if !running(a) || !v.e.sharesLock(a.Subject, v.ep.Subject) {
			continue
		}
		st := current(a)
		if v.p.person != "" && (st == nil || !inFlight(*st)) {
			continue
		}
		return object(fmt.Sprintf("%s of %s is %s (step %d of %d)", a.Plan, a.Subject, stateText(a.State), a.Step, len(a.Steps)),
			count("step", a.Step), count("of", len(a.Steps)))
	}
	if v.e.outWithSite(v.ep.Subject) {
		return object(fmt.Sprintf("%s is %s as a whole: %s comes back with it", v.ep.Subject.Site,
			v.e.routing[core.Subject{Site: v.ep.Subject.Site, Service: core.AllServices}].State, v.ep.Subject.Service))
	}
	if v.p.person != "" {
		return pass("no other action is in flight")
	}
	if !v.p.restores() && v.e.asOne(v.ep.Subject) {
		return object(v.ep.Subject.Site + " fails as a whole and is drained as one")
	}
	for _, id := range v.ep.ActionIDs {
		a := v.e.actions[id]
		if a != nil && a.Kind == v.p.plan.Kind && a.State != core.ActionSucceeded && !running(a) {
			return object(fmt.Sprintf("%s was tried in this episode and ended %s: it is not repeated by itself", a.Plan, stateText(a.State)))
		}
	}
	if v.p.restores() {
		return pass("nothing else runs here; a restore undoes a drain and needs no cooldown")
	}
	var last *core.Action
	for _, a := range v.e.sortedActions() {
		if a.EndedAt != nil && v.e.sharesLock(a.Subject, v.ep.Subject) && (last == nil || a.EndedAt.After(*last.EndedAt)) {
			last = a
		}
	}
	if last == nil {
		return pass("nothing else runs or ran here")
	}
	since := v.at.Sub(*last.EndedAt)
	nums := []core.Number{seconds("since", since), seconds("cooldown", v.lim.Cooldown)}
	sentence := fmt.Sprintf("%s of %s ended %s ago, the cooldown is %s", last.Plan, last.Subject, elapsedText(since), spanText(v.lim.Cooldown))
	if since < v.lim.Cooldown {
		return object(sentence, nums...)
	}
	return pass(sentence, nums...)
}

// Flapping: this many failing episodes of one subject in the window, the present one not counted. One that led
// to a drain counts twice: it came back, was restored, and failed again.
const (
	flapWindow = time.Hour
	flapLimit  = 3
)

// ruleFlapping is guard 16.
func ruleFlapping(v view) ruled {
	n := 0
	for _, ep := range v.e.episodes {
		if ep.ID == v.ep.ID || ep.Subject != v.ep.Subject || ep.Worst < core.Failing || v.at.Sub(ep.Onset) > flapWindow ||
			v.e.topo.Maintenance(ep.Subject, ep.Onset) != nil { // people took it down, and not it itself
			continue
		}
		n++
		if len(ep.ActionIDs) > 0 {
			n++
		}
	}
	nums := []core.Number{count("weight", n), count("limit", flapLimit)}
	sentence := fmt.Sprintf("earlier failures in %s weigh %d of %d", spanText(flapWindow), n, flapLimit)
	if n >= flapLimit {
		return object("flapping: "+sentence, nums...)
	}
	return pass(sentence, nums...)
}

// ruleFreeze is guard 17. The drain of a failing subject is an emergency, which a freeze must name to stop;
// any other drain is elective.
func ruleFreeze(v view) ruled {
	scope, words := "elective", "elective actions"
	switch {
	case v.p.restores():
		scope, words = "restores", "restores"
	case v.a.Condition == core.Failing:
		scope, words = "emergency", "emergency actions"
	}
	for _, f := range v.e.topo.Freezes {
		if freezes(f, scope) && !v.at.Before(f.From) && v.at.Before(f.Until) {
			return object(fmt.Sprintf("freeze %s stops %s until %s", f.Name, words, core.ClockText(f.Until)),
				seconds("left", f.Until.Sub(v.at)))
		}
	}
	return pass("no freeze stops " + words + " now")
}

// freezes: a freeze without a scope covers everything but emergencies.
func freezes(f core.Freeze, scope string) bool {
	if len(f.Scope) == 0 {
		return scope != "emergency"
	}
	return slices.Contains(f.Scope, scope)
}

// weightTolerance is by how many percent of normal the edge's figure may differ from the commanded one.
const weightTolerance = 1.0

// ruleRouting is guard 19: the edge does what was commanded, or somebody else is at the wheel.
func ruleRouting(v view) ruled {
	var nums []core.Number
	for _, svc := range v.e.services(v.ep.Subject) {
		want := v.e.routingOf(core.Subject{Site: v.ep.Subject.Site, Service: svc})
		if want.State == core.RoutingUnknown {
			return cannotTell(fmt.Sprintf("whether the last command for %s at %s was carried out is not known", svc, v.ep.Subject.Site))
		}
		t := v.e.traffic(v.ep.Subject.Site, svc, v.at)
		if !t.WeightKnown {
			return cannotTell(fmt.Sprintf("the edge does not report the weight of %s at %s", svc, v.ep.Subject.Site))
		}
		nums = append(nums, core.Number{Name: "observed:" + svc, Value: t.Weight, Unit: "%"},
			core.Number{Name: "commanded:" + svc, Value: float64(want.Weight), Unit: "%"})
		if d := t.Weight - float64(want.Weight); d > weightTolerance || d < -weightTolerance {
			return object(fmt.Sprintf("changed by someone else: the edge gives %s at %s %s, commanded is %s", svc,
				v.ep.Subject.Site, pctText(t.Weight/100), pctText(float64(want.Weight)/100)), nums...)
		}
	}
	return pass("the edge reports the commanded weight", nums...)
}
