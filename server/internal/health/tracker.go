package health

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Constants of judgement. Times that depend on the probe interval are given for the default of one second.
const (
	// VoteIntervals is how many intervals a result may vote, a heartbeat counts and edge data is fresh.
	VoteIntervals = 3
	// GapIntervals is the longest time without any failure seen that still counts as continuous failure.
	GapIntervals = 4
	// Window is over which claims, gray failures and slowness are judged; never less than ten intervals.
	// It is also the W of a global trouble: onsets closer together than this are together.
	Window = 10 * time.Second
	// TrafficWindow is over which the edge's counters are turned into rates, shares and success.
	TrafficWindow = 3 * time.Second
	// Rebase is how long after a change of routing statistics about the same service are void.
	Rebase = 2 * time.Minute
	// PathUnknown is the path of evidence whose way to us is not known. It is never another path.
	PathUnknown = "unknown"
)

// Bounds on memory, whatever is sent.
const (
	maxResults    = 64   // per probe
	maxTargets    = 4    // probes per vantage, subject and kind of path
	maxReports    = 64   // per edge and subject
	maxEdges      = 16   // edges
	maxSignals    = 4096 // series of detectors
	maxLinks      = 1024 // replication links, both ends
	maxInterval   = time.Minute
	maxSignalAge  = 2 * time.Hour
	abandonedEdge = int64(time.Minute) // an edge silent for longer no longer makes traffic unknown
)

// Counts says what the tracker did not use, since its start.
type Counts struct {
	Unknown   uint64 // of a site, service or writer that is not configured
	History   uint64 // too old or from the future: no vote
	Duplicate uint64 // seen before
	Malformed uint64 // a state, path, class or value that does not exist
	Dropped   uint64 // over a bound on memory
}

// Tracker holds the newest facts and judges them.
type Tracker struct {
	replica  string
	topo     core.Topology
	interval int64
	window   int64
	start    int64 // time of the first call, 0 before it
	now      int64 // newest time told

	vantages []vantage // sites, then witnesses, as configured
	vIndex   map[string]int
	subjects []*subject // sorted by subject
	sIndex   map[key]int
	services []serviceRow // sorted by name

	edges   map[string]*edge
	edgeIDs []string // sorted
	signals map[string]*signalState
	links   map[linkKey]core.Fact
	tilt    doubt
	counts  Counts

	seen    []seen // scratch of Judge, one per subject and vantage
	matrix  matrix // scratch of Judge
	scratch []int64
	phrases map[phrase]string
}

// key names a subject without its unit.
type key struct{ site, service string }

// linkKey names one end of a replication link.
type linkKey struct{ link, writer string }

// vantage is one location that looks at the sites, and its agent.
type vantage struct {
	name     string
	site     bool // false: a witness
	beatAt   int64
	beatIvl  int64
	factAt   int64
	factIvl  int64
	userPath []string // by target vantage
}

// heardAt is when the agent was last heard, 0 for never.
func (v *vantage) heardAt() int64 { return max(v.beatAt, v.factAt) }

// freshUntil is until when the agent counts as heard; 0 when it never was.
func (v *vantage) freshUntil() int64 {
	var until int64
	if v.beatAt > 0 {
		until = v.beatAt + VoteIntervals*v.beatIvl
	}
	if v.factAt > 0 {
		until = max(until, v.factAt+VoteIntervals*v.factIvl)
	}
	return until
}

// silent reports whether a heartbeat that once was there has stopped, and nothing else comes either.
func (v *vantage) silent(at int64) bool { return v.beatAt > 0 && at > v.freshUntil() }

// serviceRow is one service and its subjects in order of site.
type serviceRow struct {
	name     string
	subjects []int
}

// subject is what is kept of one service at one site.
type subject struct {
	subject   core.Subject
	site      int // index of its vantage
	objective float64
	eligible  int
	user      [][]*cell // by vantage
	private   [][]*cell // by vantage
	run       run       // over the eligible vantages' user path

	// What Judge remembers from one judgement to the next.
	onset        int64
	healthySince int64
	symptomSince int64
	graySince    int64
	gray         bool // by quorum
	slowSince    int64
}

// New returns a tracker for one server replica. The topology is not retained for writing and must not change.
func New(replica string, topo core.Topology) *Tracker {
	t := &Tracker{
		replica: replica,
		edges:   map[string]*edge{},
		signals: map[string]*signalState{},
		links:   map[linkKey]core.Fact{},
		phrases: map[phrase]string{},
	}
	t.SetTopology(topo)
	return t
}

// SetTopology takes a new configuration. What is known of subjects and vantages that stay is kept.
func (t *Tracker) SetTopology(topo core.Topology) {
	oldV, oldS := t.vIndex, t.sIndex
	oldVantages, oldSubjects := t.vantages, t.subjects

	t.topo = topo
	t.interval = int64(topo.Probe.Interval)
	if t.interval <= 0 {
		t.interval = int64(core.DefaultProbeTiming().Interval)
	}
	t.window = max(int64(Window), 10*t.interval)

	names := topo.Vantages()
	t.vIndex = make(map[string]int, len(names))
	t.vantages = make([]vantage, len(names))
	for i, name := range names {
		t.vIndex[name] = i
		v := vantage{name: name}
		if j, ok := oldV[name]; ok {
			v = oldVantages[j]
		}
		v.site = i < len(topo.Sites)
		v.userPath = make([]string, len(names))
		for j, to := range names {
			v.userPath[j] = "user:" + name + ">" + to
		}
		t.vantages[i] = v
	}

	t.subjects = nil
	for _, svc := range topo.Services {
		for _, site := range topo.Sites {
			if _, ok := svc.Entries[site.Name]; !ok {
				continue
			}
			s := &subject{
				subject: core.Subject{Site: site.Name, Service: svc.Name}, site: t.vIndex[site.Name],
				eligible: len(names) - 1, objective: svc.Objective.LatencyP99.Seconds(),
				user: make([][]*cell, len(names)), private: make([][]*cell, len(names)),
			}
			if j, ok := oldS[key{site.Name, svc.Name}]; ok {
				old := oldSubjects[j]
				s.run, s.onset, s.healthySince = old.run, old.onset, old.healthySince
				s.symptomSince, s.graySince, s.gray, s.slowSince = old.symptomSince, old.graySince, old.gray, old.slowSince
				for i, name := range names {
					if k, ok := oldV[name]; ok {
						s.user[i], s.private[i] = old.user[k], old.private[k]
					}
				}
			}
			t.subjects = append(t.subjects, s)
		}
	}
	slices.SortFunc(t.subjects, func(a, b *subject) int { return a.subject.Compare(b.subject) })
	t.sIndex = make(map[key]int, len(t.subjects))
	rows := map[string]int{}
	t.services = nil
	for i, s := range t.subjects {
		t.sIndex[key{s.subject.Site, s.subject.Service}] = i
		j, ok := rows[s.subject.Service]
		if !ok {
			j = len(t.services)
			rows[s.subject.Service] = j
			t.services = append(t.services, serviceRow{name: s.subject.Service})
		}
		t.services[j].subjects = append(t.services[j].subjects, i)
	}
	slices.SortFunc(t.services, func(a, b serviceRow) int { return strings.Compare(a.name, b.name) })

	for _, name := range t.edgeIDs {
		e := t.edges[name]
		series := make([]*edgeSeries, len(t.subjects))
		for k, i := range t.sIndex {
			if j, ok := oldS[k]; ok {
				series[i] = e.series[j]
			}
		}
		e.series = series
	}
}

// Counts says what was not used so far.
func (t *Tracker) Counts() Counts { return t.counts }

// Fact takes one fact in at the time at. Out of order and repeated facts are harmless; a fact that is history
// at that time never votes.
func (t *Tracker) Fact(f core.Fact, at time.Time) {
	now := t.tick(at)
	lo := t.interval
	if f.Kind == core.FactHeartbeat || f.Kind == core.FactEdgeRequests || f.Kind == core.FactEdgeWeight {
		lo = int64(100 * time.Millisecond)
		if f.Interval <= 0 {
			lo = int64(time.Second)
		}
	}
	ivl := min(max(int64(f.Interval), lo), int64(maxInterval))
	f.Interval = time.Duration(ivl)
	f.ClockErr = min(max(f.ClockErr, 0), VoteIntervals*f.Interval)
	when := f.At()
	if f.History(at) {
		t.counts.History++
		t.history(f, when, at)
		return
	}
	factAt := min(when.UnixNano(), now)
	id := factAt
	if !f.AgentAt.IsZero() {
		id = f.AgentAt.UnixNano()
	}
	switch f.Kind {
	case core.FactProbe:
		t.probe(f, factAt, id, ivl)
	case core.FactHeartbeat:
		v, ok := t.vIndex[f.Site]
		if !ok {
			t.counts.Unknown++
			return
		}
		w := &t.vantages[v]
		newer(&w.beatAt, &w.beatIvl, factAt, ivl)
	case core.FactEdgeRequests, core.FactEdgeWeight:
		t.edgeFact(f, factAt, id, ivl)
	case core.FactLink:
		t.link(f, when)
	case core.FactUnknown:
		t.counts.Malformed++
	default:
		t.counts.Malformed++
	}
}

// tick notes the time told and returns it. Time that goes back is a reason to doubt oneself.
func (t *Tracker) tick(at time.Time) int64 {
	now := at.UnixNano()
	if t.start == 0 {
		t.start, t.now = now, now
		return now
	}
	if back := t.now - now; back > int64(jumpLimit) {
		t.doubt(now, "the clock went back by "+seconds(back))
		t.now = now
	}
	t.now = max(t.now, now)
	return now
}

// newer keeps the newest time and its interval; of two at one time the longer interval.
func newer(at, ivl *int64, newAt, newIvl int64) {
	switch {
	case newAt > *at:
		*at, *ivl = newAt, newIvl
	case newAt == *at:
		*ivl = max(*ivl, newIvl)
	}
}

// history takes the one thing an old fact may still say: that there was a success. It can only make a
// judgement milder.
func (t *Tracker) history(f core.Fact, when, at time.Time) {
	if f.Kind != core.FactProbe || core.ProbeState(f.State) != core.ProbeUp || f.Path != "user" || when.After(at) ||
		at.Sub(when) > maxInterval {
		return
	}
	v, ok := t.vIndex[f.Site]
	i, known := t.sIndex[key{f.TargetSite, f.Service}]
	if !ok || !known {
		return
	}
	if s := t.subjects[i]; v != s.site && s.run.up(when.UnixNano()) {
		t.rebuild(s)
	}
}

func (t *Tracker) probe(f core.Fact, at, id, ivl int64) {
	v, ok := t.vIndex[f.Site]
	i, known := t.sIndex[key{f.TargetSite, f.Service}]
	if !ok || !known {
		t.counts.Unknown++
		return
	}
	state := core.ProbeState(f.State)
	if state > core.ProbeDown || (f.Path != "user" && f.Path != "private") {
		t.counts.Malformed++
		return
	}
	if f.Reason == core.ReasonProbeError {
		state = core.ProbeUnknown
	}
	w, s := &t.vantages[v], t.subjects[i]
	newer(&w.factAt, &w.factIvl, at, ivl)
	cells := &s.user[v]
	if f.Path == "private" {
		cells = &s.private[v]
	}
	c := t.cell(cells, f.Target)
	if c == nil {
		t.counts.Dropped++
		return
	}
	r := result{at: at, id: id, ivl: ivl, err: int64(f.ClockErr), took: f.Value, state: state, reason: reasonIndex(f.Reason)}
	if math.IsNaN(r.took) || r.took < 0 {
		r.took = 0
	}
	what := c.add(r)
	if what == addedNothing {
		t.counts.Duplicate++
		return
	}
	if f.Path != "user" || v == s.site {
		return
	}
	switch {
	case state == core.ProbeUp && s.run.up(at), what == addedInstead:
		t.rebuild(s)
	case state == core.ProbeDown:
		s.run.down(at, GapIntervals*ivl)
	}
}

// cell returns the cell of the target, a new one when there is room. An outdated probe makes room.
func (t *Tracker) cell(cells *[]*cell, target string) *cell {
	i, ok := slices.BinarySearchFunc(*cells, target, func(c *cell, name string) int { return strings.Compare(c.target, name) })
	if ok {
		return (*cells)[i]
	}
	if len(*cells) >= maxTargets {
		j := slices.IndexFunc(*cells, func(c *cell) bool { return c.newest().until() < t.now })
		if j < 0 {
			return nil
		}
		*cells = slices.Delete(*cells, j, j+1)
		if j < i {
			i--
		}
	}
	c := &cell{target: strings.Clone(target)}
	*cells = slices.Insert(*cells, i, c)
	return c
}

// rebuild finds the failures after the last success anew.
func (t *Tracker) rebuild(s *subject) {
	var gap int64
	s.run.clear()
	downs := t.scratch[:0]
	for v, cells := range s.user {
		if v == s.site {
			continue
		}
		for _, c := range cells {
			for _, r := range c.results {
				if r.state == core.ProbeDown && r.at > s.run.lastUp {
					downs = append(downs, r.at)
					gap = max(gap, GapIntervals*r.ivl)
				}
			}
		}
	}
	slices.Sort(downs)
	for _, at := range downs {
		s.run.down(at, gap)
	}
	t.scratch = downs
}

func (t *Tracker) link(f core.Fact, when time.Time) {
	if _, ok := t.vIndex[f.Site]; !ok {
		t.counts.Unknown++
		return
	}
	k := linkKey{f.Target, f.Site}
	old, ok := t.links[k]
	if !ok && len(t.links) >= maxLinks {
		t.counts.Dropped++
		return
	}
	if ok && !when.After(old.At()) {
		t.counts.Duplicate++
		return
	}
	t.links[k] = f
}

// Links are the newest facts of replication links, sorted by link and writer. They are kept for the screens;
// nothing is judged by them yet.
func (t *Tracker) Links() []core.Fact {
	out := make([]core.Fact, 0, len(t.links))
	for _, f := range t.links {
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b core.Fact) int {
		if c := strings.Compare(a.Target, b.Target); c != 0 {
			return c
		}
		return strings.Compare(a.Site, b.Site)
	})
	return out
}

// stamp is the inverse of time.Time.UnixNano, in UTC.
func stamp(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// stampOf is stamp behind a pointer; nil for 0.
func stampOf(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	at := stamp(ns)
	return &at
}
