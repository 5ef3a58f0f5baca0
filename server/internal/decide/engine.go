package decide

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Logic is the version of the deciding code, stored in every decision record.
const Logic = "decide/3"

// remembered is how long closed episodes and ended actions count for budgets, cooldowns and flapping.
const remembered = 48 * time.Hour

// Input is the time and exactly one thing that happened. Nothing in it is retained or changed.
type Input struct {
	At            time.Time
	Observation   *core.Observation
	Tick          bool
	Outcome       *core.Outcome
	NoticeOutcome *core.NoticeOutcome
	Command       *core.Command
	Topology      *core.Topology
}

// Output is what must be recorded, in one transaction, and then done.
type Output struct {
	Changes []core.Change // no record appears twice
	Intents []core.Intent // also among Changes; to be performed once recorded
	Notices []core.Notice // also among Changes; new ones, to be sent once recorded
	Wake    time.Time     // when the answer may change without a new fact; zero: never
	Reply   *core.Reply   // set for commands
}

// Engine decides. It is not safe for concurrent use.
type Engine struct {
	topo     core.Topology
	guards   []guard
	episodes map[string]*core.Episode
	open     map[core.Subject]*core.Episode
	actions  map[string]*core.Action
	intents  map[string]core.Intent
	routing  map[core.Subject]core.Routing
	notices  map[string]*core.Notice // not settled yet
	brake    core.Brake
	told     map[changeName]bool // declared changes that were told of; true: and that they are over
	obs      *core.Observation
	history  map[core.Subject][]reading
	started  time.Time // of the first input
	blind    time.Time // since when nothing can be judged; zero: something can
}

// New returns an engine that goes on where the snapshot ends. Until its first observation it starts nothing.
func New(topo core.Topology, snap core.Snapshot) *Engine {
	e := &Engine{
		topo:     topo,
		guards:   guardList(),
		episodes: map[string]*core.Episode{},
		open:     map[core.Subject]*core.Episode{},
		actions:  map[string]*core.Action{},
		intents:  map[string]core.Intent{},
		routing:  map[core.Subject]core.Routing{},
		notices:  map[string]*core.Notice{},
		told:     map[changeName]bool{},
		history:  map[core.Subject][]reading{},
	}
	for _, ep := range snap.Episodes {
		c := cloneEpisode(ep)
		e.episodes[c.ID] = &c
		if c.ClosedAt == nil {
			e.open[c.Subject] = &c
		}
	}
	for _, a := range snap.Actions {
		c := cloneAction(a)
		e.actions[c.ID] = &c
	}
	for _, i := range snap.Intents {
		e.intents[i.ID] = i
	}
	for _, r := range snap.Routing {
		e.routing[r.Subject] = r
	}
	for _, n := range snap.Notices {
		if n.State == noticePending {
			c := cloneNotice(n)
			e.notices[c.ID] = &c
		}
	}
	for _, c := range snap.Told {
		e.told[changeName{c.Site, c.ID}] = c.Over
	}
	if snap.Brake != nil {
		e.brake = *snap.Brake
	}
	return e
}

// Step takes one input in and says what follows from it.
func (e *Engine) Step(in Input) Output {
	s := newStep(e, in.At)
	switch {
	case in.Observation != nil:
		s.observe(*in.Observation)
	case in.Outcome != nil:
		s.outcome(*in.Outcome)
	case in.NoticeOutcome != nil:
		s.noticeOutcome(*in.NoticeOutcome)
	case in.Command != nil:
		r := s.command(*in.Command)
		s.out.Reply = &r
	case in.Topology != nil:
		s.topology(*in.Topology)
	}
	s.tellChanges()
	s.timers()
	for _, ep := range e.openEpisodes() {
		s.watchRestore(ep)
		s.judge(ep)
	}
	s.pageBlind()
	s.advanceAll()
	for _, ep := range e.openEpisodes() {
		s.closeIfOver(ep)
	}
	return s.finish()
}

// Pending returns what a restart must perform again: the intents of steps whose outcome is not known yet, and
// the notices that are not settled. The ids stay the same, so doing them twice is harmless.
func (e *Engine) Pending() ([]core.Intent, []core.Notice) {
	var intents []core.Intent
	for _, a := range e.sortedActions() {
		if !running(a) {
			continue
		}
		for _, st := range a.Steps {
			it, ok := e.intents[core.WebhookID(a.ID, st.N)]
			if ok && inFlight(st) {
				it.Delivered = st.State == core.StepVerifying
				intents = append(intents, it)
			}
		}
	}
	var notices []core.Notice
	for _, n := range e.notices {
		notices = append(notices, cloneNotice(*n))
	}
	slices.SortFunc(notices, func(a, b core.Notice) int {
		return cmpOr(a.At.Compare(b.At), strings.Compare(a.EpisodeID, b.EpisodeID), a.N-b.N)
	})
	return intents, notices
}

// Routing is what is commanded now for every subject ever commanded, sorted by subject.
func (e *Engine) Routing() []core.Routing {
	return slices.SortedFunc(maps.Values(e.routing), func(a, b core.Routing) int { return a.Subject.Compare(b.Subject) })
}

func cmpOr(vals ...int) int {
	for _, v := range vals {
		if v != 0 {
			return v
		}
	}
	return 0
}

// openEpisodes are the open episodes, sorted by subject, a whole site before its services.
func (e *Engine) openEpisodes() []*core.Episode {
	return slices.SortedFunc(maps.Values(e.open), func(a, b *core.Episode) int { return compareSubjects(a.Subject, b.Subject) })
}

// sortedActions are all remembered actions, oldest first.
func (e *Engine) sortedActions() []*core.Action {
	return slices.SortedFunc(maps.Values(e.actions), func(a, b *core.Action) int {
		return cmpOr(a.CreatedAt.Compare(b.CreatedAt), strings.Compare(a.ID, b.ID))
	})
}

// limits fills the defaults into the limits of the guards. How many sites may be out and how many drains may happen
// by themselves have none: zero forbids.
func limits(g core.Guards) core.Guards {
	g.MaxDrainedSites = max(g.MaxDrainedSites, 0)
	g.BudgetPerHour, g.BudgetPerDay = max(g.BudgetPerHour, 0), max(g.BudgetPerDay, 0)
	g.MinServing = orDefault(g.MinServing, 1)
	g.Cooldown = orDefault(g.Cooldown, 30*time.Minute)
	g.RetryFactor = orDefault(g.RetryFactor, 1)
	g.DrainExpiry = orDefault(g.DrainExpiry, 4*time.Hour)
	g.NotAfter = orDefault(g.NotAfter, 2*time.Minute)
	g.CloseAfter = orDefault(g.CloseAfter, time.Minute)
	return g
}

// orDefault is v, or the default when v is zero, negative or no number.
func orDefault[T int | time.Duration | float64](v, def T) T {
	if v > 0 && finite(float64(v)) {
		return v
	}
	return def
}
