package app

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/api"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/decide"
	"github.com/evenkeel/evenkeel/server/internal/detect"
	"github.com/evenkeel/evenkeel/server/internal/health"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

const (
	marksEvery = 10 * time.Second // less than the time for which a change of routing voids statistics anyway
	marksKept  = 2000             // newest episodes, actions and changes that are looked at
	// historyEvery is how often closed episodes and ended actions are read again; and whenever one has opened, closed or moved users.
	historyEvery = 5 * time.Minute
	// changeSuspect is for how long after a change trouble that began in it is still laid to it.
	changeSuspect = 24 * time.Hour
)

// marks are the times that the detectors must know of, as the ledger has them.
type marks struct {
	known atomic.Pointer[[]detect.Mark]
	stale chan struct{} // one pending sign that what is on record has changed

	// What was read of the past. It belongs to the one who reads.
	episodes []core.Episode
	actions  []core.Action
	readAt   time.Time
	present  string // what was open, and where users were moved, then
	// incidents are those that people marked, by when each is over; nil before the first reading.
	incidents map[incident]time.Time
	// relearn tells the detectors of times that were marked, or are no longer, after they have learned them.
	relearn func([]detect.Mark)
}

// between are those that touch a time.
func (m *marks) between(from, until time.Time) []detect.Mark {
	known := m.known.Load()
	if known == nil {
		return nil
	}
	return touching(*known, from, until)
}

// touching are the marks that touch a time.
func touching(marks []detect.Mark, from, until time.Time) []detect.Mark {
	var out []detect.Mark
	for _, mark := range marks {
		if !mark.From.After(until) && (mark.Until.IsZero() || mark.Until.After(from)) {
			out = append(out, mark)
		}
	}
	return out
}

// followMarks reads the marks now and again until ctx ends; what was read last stands while the ledger does not answer.
func (s *Server) followMarks(ctx context.Context) {
	ticker := time.NewTicker(marksEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.marks.stale:
		}
		if err := s.readMarks(ctx); err != nil && ctx.Err() == nil {
			s.room("detect").Debug("marks not read", slog.Any("error", err))
		}
	}
}

// changes are the declared ones in the ledger. Those who judge here hear at once of what is declared here, else within marksEvery.
type changes struct {
	*ledger.Ledger
	stale chan<- struct{}
}

var _ api.Changes = changes{}

// Declare keeps a change.
func (c changes) Declare(ctx context.Context, change core.DeclaredChange) (kept core.DeclaredChange, fresh bool, err error) {
	defer poke(c.stale)
	return c.Ledger.Declare(ctx, change)
}

// EndChange ends one.
func (c changes) EndChange(ctx context.Context, site, id, by string, at time.Time) (core.DeclaredChange, error) {
	defer poke(c.stale)
	return c.Ledger.EndChange(ctx, site, id, by, at)
}

// readMarks reads what is open and what is moved; and the past, which is more, when that is not what it was, or after a while.
func (s *Server) readMarks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, marksEvery)
	defer cancel()
	h := history{topology: s.world.current()}
	var err error
	if h.episodes, err = s.ledger.OpenEpisodes(ctx, 0); err != nil {
		return err
	}
	if h.routing, err = s.ledger.Routing(ctx); err != nil {
		return err
	}
	if h.changes, err = s.ledger.Changes(ctx, 0); err != nil {
		return err
	}
	s.tellChanges(h.changes, time.Now())
	open := map[string]bool{}
	for _, e := range h.episodes {
		open[e.ID] = true
	}
	present := fmt.Sprint(slices.Sorted(maps.Keys(open)), h.routing)
	if m := &s.marks; m.present != present || time.Since(m.readAt) >= historyEvery {
		if m.episodes, err = s.ledger.Episodes(ctx, marksKept); err != nil {
			return err
		}
		if m.actions, err = s.ledger.Actions(ctx, marksKept); err != nil {
			return err
		}
		m.present, m.readAt = present, time.Now()
	}
	for _, e := range s.marks.episodes {
		if !open[e.ID] {
			h.episodes = append(h.episodes, e)
		}
	}
	h.actions = s.marks.actions
	out := h.marks()
	s.marks.known.Store(&out)
	if news := s.marks.marked(h.changes); len(news) > 0 && s.marks.relearn != nil {
		s.marks.relearn(news)
	}
	return nil
}

// incident names one that people marked.
type incident struct{ site, id string }

// marked notes the incidents that people marked, and returns those that are news: the time of each, marked or taken back.
func (m *marks) marked(changes []core.DeclaredChange) (news []detect.Mark) {
	known := map[incident]time.Time{}
	for _, c := range changes {
		if !c.Incident {
			continue
		}
		key := incident{c.Site, c.ID}
		known[key] = c.Until()
		if until, ok := m.incidents[key]; m.incidents != nil && (!ok || !until.Equal(c.Until())) {
			news = append(news, detect.Mark{Kind: detect.MarkIncident, Subject: c.About(), From: c.Start, Until: c.End, What: c.What})
		}
	}
	m.incidents = known
	return news
}

// lookedAt reports whether a change is one of the newest, which are told first, or a maintenance or an incident, of which each counts.
func lookedAt(i int, c core.DeclaredChange) bool { return i < marksKept || c.Maintenance || c.Incident }

// ofLate are the newest changes that judging has to know of, and every maintenance among them.
func ofLate(changes []core.DeclaredChange, now time.Time) []core.DeclaredChange {
	var out []core.DeclaredChange
	for i, c := range changes {
		if !c.Incident && !c.Until().Before(now.Add(-changeSuspect)) && lookedAt(i, c) {
			out = append(out, c)
		}
	}
	return out
}

// tellChanges gives those who judge and decide the changes of late, when they are others than those they know.
func (s *Server) tellChanges(changes []core.DeclaredChange, now time.Time) {
	late := ofLate(changes, now)
	if slices.Equal(late, s.world.current().Changes) {
		return
	}
	t := s.world.change(func(t *core.Topology) { t.Changes = late })
	s.eyes.changes(late)
	s.send(input{Input: decide.Input{At: now, Topology: &t}})
}

// history is what is on record of trouble, of what was done about it, and of what others did.
type history struct {
	topology core.Topology
	episodes []core.Episode
	actions  []core.Action
	routing  []core.Routing
	changes  []core.DeclaredChange
}

// marks are the times that are not like others. Trouble that only statistics have seen is none: it would keep a
// series for ever from learning a new level.
func (h history) marks() []detect.Mark {
	var out []detect.Mark
	for _, e := range h.episodes {
		if e.Worst != core.Degraded && e.Worst != core.Failing {
			continue
		}
		m := detect.Mark{Kind: detect.MarkIncident, Subject: e.Subject, From: e.Onset}
		if e.ClosedAt != nil {
			m.Until = *e.ClosedAt
		}
		out = append(out, m)
	}
	for _, a := range h.absences() {
		out = append(out, detect.Mark{Kind: detect.MarkDrained, Subject: a.subject, From: a.from, Until: a.rebased(), What: a.reason})
		out = append(out, h.shifted(a)...)
	}
	for i, c := range h.changes {
		if !lookedAt(i, c) || !c.Until().After(c.Start) { // the others ended before they began
			continue
		}
		if c.Incident {
			out = append(out, detect.Mark{Kind: detect.MarkIncident, Subject: c.About(), From: c.Start, Until: c.Until(), Said: c.DeclaredAt})
			continue
		}
		if c.Maintenance {
			out = append(out, detect.Mark{Kind: detect.MarkMaintenance, Subject: c.About(), From: c.Start, Until: c.Until()})
		}
		out = append(out, detect.Mark{Kind: detect.MarkChange, Subject: c.About(), From: c.Start, Until: c.Until(), What: c.What})
	}
	return out
}

// absence is a time for which the users of a subject were sent elsewhere, on the way there and back included.
type absence struct {
	subject     core.Subject
	from, until time.Time
	acted       time.Time // end of its newest action that moves users away; zero while that goes on
	weight      int       // percent of normal that is left
	episode     string    // that knows the demand of before
	reason      string    // why a person ordered it, as "drill of March"; empty when nobody did
}

// rebased is when the figures of who is back are about them alone: what is asked of the last minutes has some in it in which they were away.
func (a absence) rebased() time.Time {
	if a.until.IsZero() {
		return a.until
	}
	return a.until.Add(health.Rebase)
}

// absences follow the actions of each subject: from the first step of one that moves users away to the end of the one
// that brings them back, or of itself when it undid what it had done. What routing still says, without an action that is
// known any more, counts as well. One unit of a service is not all of its users and is passed over.
func (h history) absences() []absence {
	actions := slices.Clone(h.actions)
	slices.SortStableFunc(actions, func(a, b core.Action) int { return a.CreatedAt.Compare(b.CreatedAt) })
	open := map[core.Subject]*absence{}
	var out []absence
	end := func(s core.Subject, at time.Time) {
		if o := open[s]; o != nil {
			o.until = at
			out = append(out, *o)
			delete(open, s)
		}
	}
	for _, a := range actions {
		begun, ended := firstIntended(a), time.Time{}
		if a.EndedAt != nil {
			ended = *a.EndedAt
		}
		switch o := open[a.Subject]; {
		case begun.IsZero(), a.Subject.Unit != "":
		case a.Kind == core.PlanRestore:
			if a.State == core.ActionSucceeded {
				end(a.Subject, ended)
			}
		case o == nil:
			o = &absence{subject: a.Subject, from: begun, acted: ended, weight: a.Steps[len(a.Steps)-1].Weight, episode: a.EpisodeID}
			if strings.HasPrefix(a.By, "operator ") {
				o.reason = a.Reason
			}
			open[a.Subject] = o
		default:
			o.acted = ended
		}
		if a.Kind != core.PlanRestore && a.State == core.ActionRolledBack {
			end(a.Subject, ended)
		}
	}
	routed := map[core.Subject]bool{}
	for _, r := range h.routing {
		routed[r.Subject] = true
		away := r.State != core.RoutingActive && r.State != core.RoutingUnknown
		switch o := open[r.Subject]; {
		case r.Subject.Unit != "":
		case away && o == nil:
			open[r.Subject] = &absence{subject: r.Subject, from: r.ChangedAt, weight: r.Weight}
		case away:
			o.weight = r.Weight
		default:
			end(r.Subject, r.ChangedAt)
		}
	}
	for s, o := range open {
		if !routed[s] { // nothing was ever moved
			o.until = o.acted
		}
	}
	for _, o := range open {
		out = append(out, *o)
	}
	slices.SortFunc(out, func(a, b absence) int { return cmp.Or(a.from.Compare(b.from), a.subject.Compare(b.subject)) })
	return out
}

func firstIntended(a core.Action) time.Time {
	for _, s := range a.Steps {
		if s.IntendedAt != nil {
			return *s.IntendedAt
		}
	}
	return time.Time{}
}

// shifted is what the others carry while the users of a subject are away. The load is split over them in proportion to what
// each had, as weights do; with two absences of a service at a time each is told by itself, and the product of the two
// is an estimate.
func (h history) shifted(a absence) []detect.Mark {
	var out []detect.Mark
	for _, svc := range h.topology.Services {
		if !a.subject.WholeSite() && svc.Name != a.subject.Service {
			continue
		}
		load := h.load(a, svc.Name)
		for _, site := range h.topology.Serving(svc.Name) {
			if site != a.subject.Site {
				out = append(out, a.carried(core.Subject{Site: site, Service: svc.Name}, load)...)
			}
		}
	}
	return out
}

// carried are the times of a subject that has some of the users: how many it has is not known while they come and go, since what is asked
// of the last minutes has both in it.
func (a absence) carried(s core.Subject, load float64) []detect.Mark {
	there, end := a.from.Add(health.Rebase), a.rebased()
	mark := func(from, until time.Time, load float64) detect.Mark {
		return detect.Mark{Kind: detect.MarkShifted, Subject: s, From: from, Until: until, Load: load}
	}
	switch {
	case load == 0, !a.until.IsZero() && !a.until.After(there):
		return []detect.Mark{mark(a.from, end, 0)}
	case a.until.IsZero():
		return []detect.Mark{mark(a.from, there, 0), mark(there, a.until, load)}
	}
	return []detect.Mark{mark(a.from, there, 0), mark(there, a.until, load), mark(a.until, end, 0)}
}

// load is the users of the others, as a multiple of those that they had before the trouble, 0 when that is not known.
func (h history) load(a absence, service string) float64 {
	i := slices.IndexFunc(h.episodes, func(e core.Episode) bool { return e.ID == a.episode })
	if i < 0 {
		return 0
	}
	var own, others float64
	for key, demand := range h.episodes[i].Demand {
		site, of, whole := strings.Cut(key, "/") // site/service in the episode of a site, site in that of a service
		switch {
		case whole && of != service:
		case site == a.subject.Site:
			own += demand
		default:
			others += demand
		}
	}
	moved := own * (1 - float64(min(max(a.weight, 0), 100))/100)
	if load := 1 + moved/others; others > 0 && load >= 1 && load <= mostLoad {
		return load
	}
	return 0
}

// mostLoad is how many times more users than before are believed: what others carried by the way is not worth a factor.
const mostLoad = 20
