package decide

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// step is one Step under way: it changes the engine's state and collects what has changed, so that every
// record is written at most once.
type step struct {
	e         *Engine
	at        time.Time
	lim       core.Guards
	out       Output
	episodes  map[string]bool
	actions   map[string]bool
	notices   map[string]bool
	routing   map[core.Subject]bool
	brake     bool
	decisions []core.Decision
	lines     []core.Line
	told      []core.ToldChange
	wake      time.Time
}

func newStep(e *Engine, at time.Time) *step {
	return &step{
		e: e, at: at, lim: limits(e.topo.Guards),
		episodes: map[string]bool{}, actions: map[string]bool{}, notices: map[string]bool{},
		routing: map[core.Subject]bool{},
	}
}

// wakeAt asks to be woken at t, unless t is past.
func (s *step) wakeAt(t time.Time) {
	if t.After(s.at) && (s.wake.IsZero() || t.Before(s.wake)) {
		s.wake = t
	}
}

func (s *step) touch(ep *core.Episode) { s.episodes[ep.ID] = true }

func (s *step) touchAction(a *core.Action) {
	a.UpdatedAt = s.at
	s.actions[a.ID] = true
}

// setRouting records what is commanded from now on, in the episode too.
func (s *step) setRouting(sub core.Subject, state core.RoutingState, weight int, actionID string) {
	s.e.routing[sub] = core.Routing{Subject: sub, State: state, Weight: weight, ActionID: actionID, ChangedAt: s.at}
	s.routing[sub] = true
	if ep := s.e.open[sub]; ep != nil {
		ep.Routing = state
		s.touch(ep)
	}
}

// settleRouting is setRouting for what is true of the executor by now: a command for a whole site has moved every
// service of it, those that were drained by themselves too. A service that was out already keeps the action that
// took it out: who drained it decides who may bring it back.
func (s *step) settleRouting(sub core.Subject, state core.RoutingState, weight int, actionID string) {
	s.setRouting(sub, state, weight, actionID)
	if !sub.WholeSite() {
		return
	}
	for _, r := range s.e.Routing() {
		if r.Subject.Site != sub.Site || r.Subject.WholeSite() {
			continue
		}
		id := actionID
		if state != core.RoutingActive && r.State != core.RoutingActive {
			id = r.ActionID
		}
		s.setRouting(r.Subject, state, weight, id)
	}
}

// Kinds of lines.
const (
	lineCondition = "condition"
	lineDecision  = "decision"
	lineAction    = "action"
	lineStep      = "step"
	lineNotice    = "notice"
	lineCommand   = "command"
	lineChange    = "change"
)

func (s *step) line(kind, episodeID string, sub core.Subject, sentence string) {
	s.lines = append(s.lines, core.Line{At: s.at, EpisodeID: episodeID, Subject: sub, Kind: kind, Sentence: sentence})
}

// finish writes down everything that was touched, in a fixed order, and forgets what is too old to count.
func (s *step) finish() Output {
	var out []core.Change
	if s.brake {
		b := s.e.brake
		out = append(out, core.Change{Brake: &b})
	}
	for _, id := range slices.Sorted(maps.Keys(s.episodes)) {
		ep := s.e.episodes[id]
		s.refresh(ep)
		c := cloneEpisode(*ep)
		out = append(out, core.Change{Episode: &c})
	}
	for _, d := range s.decisions {
		out = append(out, core.Change{Decision: &d})
	}
	for _, id := range slices.Sorted(maps.Keys(s.actions)) {
		c := cloneAction(*s.e.actions[id])
		out = append(out, core.Change{Action: &c})
	}
	for _, i := range s.out.Intents {
		out = append(out, core.Change{Intent: &i})
	}
	for _, sub := range slices.SortedFunc(maps.Keys(s.routing), core.Subject.Compare) {
		r := s.e.routing[sub]
		out = append(out, core.Change{Routing: &r})
	}
	out = append(out, s.noticeChanges()...)
	for _, l := range s.lines {
		out = append(out, core.Change{Line: &l})
	}
	for _, c := range s.told {
		out = append(out, core.Change{Told: &c})
	}
	s.out.Changes = out
	s.out.Wake = s.wake
	s.forget()
	return s.out
}

// noticeChanges writes the touched notices, oldest first, and drops the settled ones.
func (s *step) noticeChanges() []core.Change {
	ids := slices.SortedFunc(maps.Keys(s.notices), func(a, b string) int {
		x, y := s.e.notices[a], s.e.notices[b]
		return cmpOr(strings.Compare(x.EpisodeID, y.EpisodeID), x.N-y.N)
	})
	var out []core.Change
	for _, id := range ids {
		n := cloneNotice(*s.e.notices[id])
		out = append(out, core.Change{Notice: &n})
		if n.State != noticePending {
			delete(s.e.notices, id)
		}
	}
	return out
}

// forget drops closed episodes, ended actions and their intents once they no longer count for anything.
func (s *step) forget() {
	old := s.at.Add(-remembered)
	for id, ep := range s.e.episodes {
		if ep.ClosedAt != nil && ep.ClosedAt.Before(old) {
			delete(s.e.episodes, id)
		}
	}
	inUse := map[string]bool{} // a routing state rests on it
	for _, r := range s.e.routing {
		inUse[r.ActionID] = true
	}
	for id, a := range s.e.actions {
		if inUse[id] {
			continue
		}
		if ep := s.e.episodes[a.EpisodeID]; a.EndedAt != nil && a.EndedAt.Before(old) && (ep == nil || ep.ClosedAt != nil) {
			delete(s.e.actions, id)
		}
	}
	for id, i := range s.e.intents {
		if a := s.e.actions[i.ActionID]; a == nil || !running(a) {
			delete(s.e.intents, id)
		}
	}
}
