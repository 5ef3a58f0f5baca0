package decide

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// breakGlassPlan is the name under which a command past the servers stands on record.
const breakGlassPlan = "break-glass"

// pastServers puts on record what a person commanded at an executor past the servers. What is true of the executor by then
// becomes what is routed, unless something newer was commanded since; what it did not obey is history. The same record
// may come any number of times.
func (s *step) pastServers(c core.Command) core.Reply {
	b := c.BreakGlass
	if b == nil || b.ID == "" || b.Target == "" {
		return refuse(core.CodeInvalid, "a reconciliation names no record")
	}
	sub := b.Subject
	if sub.Service == "" {
		sub.Service = core.AllServices
	}
	id := core.ActionID(b.ID, breakGlassPlan, 1)
	if a := s.e.actions[id]; a != nil {
		return core.Reply{OK: true, Sentence: "already on record: " + a.Sentence, ActionID: id}
	}
	switch age := s.at.Sub(b.At); {
	case !s.configured(sub):
		return refuse(core.CodeNotFound, "%s is not configured", sub)
	case age >= remembered:
		return refuse(core.CodeConflict, "the record is %s old, and what was routed since is not known any more: order what you want by drain or restore",
			elapsedText(age))
	}
	ep := s.e.open[sub]
	if ep == nil {
		a, _ := s.e.assessment(sub)
		ep = s.newEpisode(a, s.at)
		ep.Kind = orWord(ep.Kind, "operator")
		s.enter(ep)
	}
	a := s.pastGlass(ep, id, *b)
	what := fmt.Sprintf("past all guards %s took %s to weight %d %% at %s at %s: %s", b.By, sub, b.Weight, b.Target, core.ClockText(b.At), b.Reason)
	last, commanded := s.e.routing[sub]
	switch {
	case !obeyed(*b):
		a.Sentence = what + "; the executor did not obey: " + orWord(b.Detail, b.Result)
	case commanded && s.e.commandedAt(last).After(b.At):
		a.Sentence = what + "; something newer was commanded since, at " + core.ClockText(s.e.commandedAt(last))
	default:
		s.release(ep, b.By)
		a.Sentence = what
		s.settleRouting(sub, b.State, b.Weight, a.ID)
	}
	s.e.actions[a.ID] = a
	ep.ActionIDs = append(ep.ActionIDs, a.ID)
	s.actions[a.ID] = true
	s.touch(ep)
	s.line(lineCommand, ep.ID, sub, a.Sentence)
	s.page(ep, severityCritical, a.Sentence)
	return core.Reply{OK: true, Sentence: a.Sentence, ActionID: a.ID}
}

// commandedAt is when what is routed was commanded; what was commanded past the servers came on record later than that.
func (e *Engine) commandedAt(r core.Routing) time.Time {
	if a := e.actions[r.ActionID]; a != nil && a.Plan == breakGlassPlan {
		return a.CreatedAt
	}
	return r.ChangedAt
}

// obeyed reports whether the executor did, or may have done, what it was told.
func obeyed(b core.BreakGlass) bool { return b.Result != "refused" && b.Result != "failed" }

// pastGlass is the command as an action that is over.
func (s *step) pastGlass(ep *core.Episode, id string, b core.BreakGlass) *core.Action {
	at, kind, state, stepState := b.At, core.PlanDrain, core.ActionUnknown, core.StepUnknown
	if b.State != core.RoutingDrained {
		kind = core.PlanRestore
	}
	switch {
	case b.Result == "done":
		state, stepState = core.ActionSucceeded, core.StepSucceeded
	case !obeyed(b):
		state, stepState = core.ActionFailed, core.StepFailed
	}
	a := &core.Action{
		ID: id, EpisodeID: ep.ID, Subject: ep.Subject, Plan: breakGlassPlan, Kind: kind, Moves: core.ScopeReads, Attempt: 1,
		By: byOperatorPrefix + b.By, Reason: b.Reason, State: state, Step: 1, CreatedAt: at, UpdatedAt: s.at, EndedAt: cloneTime(&at),
		Steps: []core.StepRun{{
			N: 1, Of: 1, Target: b.Target, Weight: b.Weight, OnFail: "stop", State: stepState, IntendedAt: cloneTime(&at),
			EndedAt: cloneTime(&at), Sentence: b.Result,
		}},
	}
	if kind == core.PlanDrain && obeyed(b) {
		expires := later(s.at, at).Add(s.lim.DrainExpiry)
		a.ExpiresAt = &expires
	}
	return a
}
