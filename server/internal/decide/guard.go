package decide

import (
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// proposal is one plan that could be carried out, and who asks for it.
type proposal struct {
	policy core.Policy
	plan   core.Plan
	exists bool   // the plan is configured
	none   bool   // no policy applies: the proposal exists to say so
	person string // the operator who ordered it; empty for a policy
	reason string
}

func (p proposal) restores() bool { return p.plan.Kind == core.PlanRestore }

// endWeight is the weight at which the plan leaves its subject.
func (p proposal) endWeight() int {
	if n := len(p.plan.Steps); n > 0 {
		return p.plan.Steps[n-1].Weight
	}
	return 0
}

// view is what the guards see. They change nothing.
type view struct {
	e        *Engine
	at       time.Time
	lim      core.Guards
	ep       *core.Episode
	a        core.Assessment
	p        proposal
	final    bool   // the trouble is over: the rulings are of the whole episode
	approver string // who said yes to this proposal just now
}

// ruled is a ruling and whether the objection leaves room to recommend or to ask.
type ruled struct {
	core.Ruling
	kind objection
}

// objection is how hard an objection is.
type objection uint8

const (
	hard          objection = iota
	byMode                  // the mode does not let the policy act
	recommendable           // not enough to act, enough to recommend
	wantsApproval           // a person has not said yes yet
)

// guard is one safety rule.
type guard struct {
	n        int
	name     string
	restores bool // also asked of a restore
	rule     func(view) ruled
}

func guardList() []guard {
	return []guard{
		{1, "policy", true, rulePolicy},
		{2, "quorum", false, ruleQuorum},
		{3, "classes", false, ruleClasses},
		{4, guardNotGlobal, false, ruleNotGlobal},
		{5, guardHold, true, ruleHold},
		{6, "tilt", true, ruleTilt},
		{7, "fresh", true, ruleFresh},
		{8, guardLastServing, false, ruleLastServing},
		{9, "max_drained", false, ruleMaxDrained},
		{10, "capacity", false, ruleCapacity},
		{11, "exposure", true, ruleExposure},
		{12, "assertions", false, ruleAssertions},
		{13, guardBrake, true, ruleBrake},
		{14, guardBudget, false, ruleBudget},
		{15, guardLock, true, ruleLock},
		{16, "flapping", false, ruleFlapping},
		{17, "freeze", true, ruleFreeze},
		{18, "maintenance", true, ruleMaintenance},
		{19, "routing", true, ruleRouting},
		{20, "approval", true, ruleApproval},
	}
}

// Names of guards that the code elsewhere asks about.
const (
	guardNotGlobal   = "not_global"
	guardHold        = "hold"
	guardLastServing = "last_serving"
	guardBrake       = "brake"
	guardBudget      = "budget"
	guardLock        = "lock"
)

// rule asks every guard that fits the proposal.
func (e *Engine) rule(v view) []ruled {
	out := make([]ruled, 0, len(e.guards))
	for _, g := range e.guards {
		if !v.p.restores() || g.restores {
			out = append(out, g.ask(v))
		}
	}
	return out
}

// ask turns a guard that breaks, or says nothing, into an objection.
func (g guard) ask(v view) (r ruled) {
	defer func() {
		if recover() != nil {
			r = object("this guard failed inside, which counts as an objection")
		}
		if limits := r.Bound > 0 && r.Bound <= 1; !limits && r.Answer == core.Bound {
			r.Answer = core.Object
		}
		if r.Answer != core.Bound {
			r.Bound = 0
		}
		if r.Answer == core.AnswerUnknown {
			r = object("this guard gave no answer, which counts as an objection")
		}
		if r.Sentence == "" {
			r.Sentence = "this guard did not say why"
		}
		r.Guard, r.N = g.name, g.n
		r.Numbers = cleanNumbers(r.Numbers)
	}()
	return g.rule(v)
}

func (r ruled) holds() bool { return r.Answer != core.Pass && r.Answer != core.Bound }

func pass(sentence string, numbers ...core.Number) ruled {
	return ruled{Ruling: core.Ruling{Answer: core.Pass, Sentence: sentence, Numbers: numbers}}
}

func object(sentence string, numbers ...core.Number) ruled {
	return ruled{Ruling: core.Ruling{Answer: core.Object, Sentence: sentence, Numbers: numbers}}
}

func cannotTell(sentence string) ruled {
	return ruled{Ruling: core.Ruling{Answer: core.CannotTell, Sentence: sentence}}
}

func (r ruled) as(kind objection) ruled {
	r.kind = kind
	return r
}

func count(name string, v int) core.Number {
	return core.Number{Name: name, Value: float64(v), Unit: "1"}
}

func seconds(name string, d time.Duration) core.Number {
	return core.Number{Name: name, Value: d.Seconds(), Unit: "s"}
}
