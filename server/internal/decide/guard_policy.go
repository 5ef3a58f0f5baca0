package decide

import (
	"fmt"
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// rulePolicy is guard 1: the condition and the classes that the policy names are present, and its mode lets
// it act.
func rulePolicy(v view) ruled {
	p := v.p.policy
	if v.p.person != "" {
		return pass("ordered by " + v.p.person + ": " + v.p.reason)
	}
	if v.p.none {
		return object("no policy applies to " + v.ep.Subject.String())
	}
	if !v.p.exists {
		return object(fmt.Sprintf("policy %s names plan %s, which is not configured", p.Name, p.Plan))
	}
	if len(v.p.plan.Steps) == 0 {
		return object(fmt.Sprintf("plan %s has no steps", p.Plan))
	}
	nums := []core.Number{count("condition", int(v.a.Condition)), count("condition_wanted", int(p.Condition))}
	if !conditionFits(p, v) {
		return object(fmt.Sprintf("policy %s asks for %s, the condition is %s", p.Name, p.Condition, v.a.Condition), nums...)
	}
	for _, c := range p.Classes {
		if !v.a.Has(c) {
			return object(fmt.Sprintf("policy %s asks for %s evidence, there is none", p.Name, c), nums...)
		}
	}
	switch p.Mode {
	case core.ModeAutomatic, core.ModeApprove:
		return pass(fmt.Sprintf("policy %s applies; its mode is %s", p.Name, p.Mode), nums...)
	case core.ModeRecommend, core.ModeObserve:
		return object(fmt.Sprintf("policy %s applies; its mode is %s and does not let it act", p.Name, p.Mode), nums...).as(byMode)
	case core.ModeUnknown:
	}
	return object(fmt.Sprintf("policy %s applies; its mode is unknown, which acts like observe", p.Name), nums...).as(byMode)
}

// conditionFits: a restore wants exactly healthy, a drain the policy's condition or worse. A drain for a
// healthy or unknown condition is never meant.
func conditionFits(p core.Policy, v view) bool {
	if v.p.restores() {
		return p.Condition == core.Healthy && v.a.Condition == core.Healthy
	}
	return p.Condition > core.Healthy && v.a.Condition >= p.Condition
}

// ruleApproval is guard 20: a person's yes where the mode asks for it, and nobody's veto or hold.
func ruleApproval(v view) ruled {
	if v.p.person != "" {
		return pass("ordered by " + v.p.person)
	}
	if h := v.ep.HeldUntil; h != nil && v.at.Before(*h) {
		return object("an operator holds this episode until "+core.ClockText(*h), seconds("left", h.Sub(v.at)))
	}
	if veto := v.ep.Standing.Veto; veto != nil && veto.Plan == v.p.plan.Name && veto.Kind == v.ep.Kind {
		return object(withReason("vetoed by "+veto.By, veto.Reason))
	}
	if v.p.restores() {
		d := v.e.drainOf(v.ep)
		if d == nil {
			return cannotTell("who drained " + v.ep.Subject.String() + " is not on record: a person restores it")
		}
		if byOperator(d) {
			return object("drained by " + d.By + ": what a person drained, a person restores")
		}
		if r := v.e.partsOut(v.ep.Subject); r.holds() {
			return r
		}
	}
	switch {
	case v.p.policy.Mode != core.ModeApprove:
		return pass("mode " + v.p.policy.Mode.String() + " asks for no approval")
	case v.approver != "":
		return pass("approved by " + v.approver)
	}
	return object("waits for a person's approval").as(wantsApproval)
}

// partsOut objects to the restore of a whole site, which brings back every service of it, when a person has drained
// one of them by itself.
func (e *Engine) partsOut(site core.Subject) ruled {
	for _, r := range e.Routing() {
		if !site.WholeSite() || r.Subject.WholeSite() || r.Subject.Site != site.Site || r.State == core.RoutingActive {
			continue
		}
		if a := e.actions[r.ActionID]; a != nil && a.Subject.WholeSite() {
			continue // out with the site
		}
		var d *core.Action
		if ep := e.open[r.Subject]; ep != nil {
			d = e.drainOf(ep)
		}
		switch {
		case d == nil:
			return cannotTell("who drained " + r.Subject.String() + " is not on record: a person restores it")
		case byOperator(d):
			return object(fmt.Sprintf("%s was drained by %s: what a person drained, a person restores", r.Subject, d.By))
		}
	}
	return pass("no part of it was drained by a person")
}

func withReason(sentence, reason string) string {
	if reason == "" {
		return sentence
	}
	return sentence + ": " + reason
}

// ruleClasses is guard 3: two classes over two paths, one of them outside or inside. Statistics alone may
// recommend; a success inside vetoes the claim that the service is dead.
func ruleClasses(v view) ruled {
	if k := v.a.Kind; !v.final && insideState(v.a) == core.ProbeUp && (k == core.KindDeadService || k == core.KindIsolatedSite) {
		return object("the site's own agent reaches the service: " + k + " cannot be true")
	}
	type testimony struct {
		class core.Class
		path  string
	}
	var seen []testimony
	var classes []string
	direct := false
	for _, ev := range v.a.Evidence {
		switch ev.Class {
		case core.ClassOutside, core.ClassInside:
			direct = true
		case core.ClassSymptom, core.ClassSilence:
		case core.ClassUnknown, core.ClassCause, core.ClassLink: // explain, never accuse
			continue
		}
		seen = append(seen, testimony{ev.Class, ev.Path})
		if c := ev.Class.String(); !slices.Contains(classes, c) {
			classes = append(classes, c)
		}
	}
	nums := []core.Number{count("classes", len(classes)), count("classes_wanted", 2)}
	if len(seen) == 0 {
		return object("there is no evidence that may accuse", nums...)
	}
	if statisticsOnly(v.a) {
		return object("statistics alone may recommend, never act", nums...).as(recommendable)
	}
	if !direct {
		return object("nobody has seen a failure from outside or inside: only "+listText(classes), nums...)
	}
	if len(classes) < 2 {
		return object("only one class of evidence: "+classes[0], nums...)
	}
	for i, a := range seen {
		for _, b := range seen[i+1:] {
			if a.class != b.class && a.path != b.path && knownPath(a.path) && knownPath(b.path) {
				return pass(listText(classes)+" evidence over separate paths", nums...)
			}
		}
	}
	return object(listText(classes)+" evidence came over one path, or over an unknown one, and counts as one class", nums...)
}

// knownPath: evidence whose way to us is not known never came over another path.
func knownPath(path string) bool { return path != "" && path != "unknown" }

// statisticsOnly reports whether nothing but statistics accuses.
func statisticsOnly(a core.Assessment) bool {
	n := 0
	for _, ev := range a.Evidence {
		switch ev.Class {
		case core.ClassOutside, core.ClassInside, core.ClassSilence:
			return false
		case core.ClassSymptom:
			if ev.Band == nil && ev.Signal != core.SignalAnomaly {
				return false
			}
			n++
		case core.ClassUnknown, core.ClassCause, core.ClassLink:
		}
	}
	return n > 0
}
