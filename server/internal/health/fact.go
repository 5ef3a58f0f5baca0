package health

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

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
		if factAt == w.beatAt {
			w.clockOff, w.clockKnown = int64(f.ClockOffset), f.ClockKnown
		}
	case core.FactEdgeRequests, core.FactEdgeWeight:
		t.edgeFact(f, factAt, id, ivl, now)
	case core.FactLink:
		t.link(f, factAt, id, ivl)
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
		t.rewind(now)
		t.doubt(now, "the clock went back by "+seconds(back))
		t.now = now
	}
	t.now = max(t.now, now)
	return now
}

// rewind forgets what was seen by a clock that was ahead: it would stay the newest word for as long as the clock had been
// ahead. All of it comes again within an interval or two, and we doubt ourselves for longer than that.
func (t *Tracker) rewind(now int64) {
	for i := range t.vantages {
		v := &t.vantages[i]
		v.beatAt, v.beatIvl, v.factAt, v.factIvl, v.clockKnown = 0, 0, 0, 0, false
	}
	for _, s := range t.subjects {
		clear(s.user)
		clear(s.private)
		s.fronts, s.judged, s.onset, s.healthySince, s.symptomSince = nil, 0, 0, 0, 0
		s.graySince, s.gray, s.slowSince, s.troubledAt = 0, false, 0, 0
	}
	t.edges, t.tilt = nil, doubt{}
	t.rewindLinks(now)
	t.rewindSignals(now)
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
// judgement milder. One of a writer whose clock is not known says nothing: nobody knows when it was.
func (t *Tracker) history(f core.Fact, when, at time.Time) {
	if f.Kind != core.FactProbe || !f.ClockKnown || core.ProbeState(f.State) != core.ProbeUp || f.Path != "user" || when.After(at) ||
		at.Sub(when) > maxInterval {
		return
	}
	v, ok := t.vIndex[f.Site]
	i, known := t.sIndex[key{f.TargetSite, f.Service}]
	if !ok || !known {
		return
	}
	s := t.subjects[i]
	if front := s.front(f.Target); v != s.site && front.run.up(when.UnixNano()) {
		t.rebuild(s, front)
	}
}

func (t *Tracker) probe(f core.Fact, at, id, ivl int64) {
	v, ok := t.vIndex[f.Site]
	subjects := t.asked(f)
	if !ok || len(subjects) == 0 {
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
	newer(&t.vantages[v].factAt, &t.vantages[v].factIvl, at, ivl)
	r := result{at: at, id: id, ivl: ivl, err: int64(f.ClockErr), took: f.Value, state: state, reason: reasonIndex(f.Reason)}
	if math.IsNaN(r.took) || r.took < 0 {
		r.took = 0
	}
	for _, i := range subjects {
		t.result(t.subjects[i], v, f, r)
	}
}

// asked are the subjects that a probe is about. A private path of a whole site is about all its services; nobody knows
// which users a user path of a whole site is for.
func (t *Tracker) asked(f core.Fact) []int {
	if f.Service != core.AllServices {
		if i, ok := t.sIndex[key{f.TargetSite, f.Service}]; ok {
			return []int{i}
		}
		return nil
	}
	var out []int
	for i, s := range t.subjects {
		if f.Path == "private" && s.subject.Site == f.TargetSite {
			out = append(out, i)
		}
	}
	return out
}

// result takes the answer of a probe of the subject by vantage v.
func (t *Tracker) result(s *subject, v int, f core.Fact, r result) {
	cells := &s.user[v]
	if f.Path == "private" {
		cells = &s.private[v]
	}
	c := t.cell(cells, f.Target, f.Agent)
	if c == nil {
		t.counts.Dropped++
		return
	}
	what := c.add(r)
	if what == addedNothing {
		t.counts.Duplicate++
		return
	}
	if f.Path != "user" {
		return
	}
	front := s.front(f.Target)
	switch {
	case v == s.site:
	case r.state == core.ProbeUp && front.run.up(r.at), what == addedInstead:
		t.rebuild(s, front)
	case r.state == core.ProbeDown:
		front.run.down(r.at, GapIntervals*r.ivl)
	}
}

// cell returns the cell of the target as one agent probes it, a new one when there is room. An outdated probe makes room.
func (t *Tracker) cell(cells *[]*cell, target, agent string) *cell {
	i, ok := slices.BinarySearchFunc(*cells, target, func(c *cell, name string) int {
		if n := strings.Compare(c.target, name); n != 0 {
			return n
		}
		return strings.Compare(c.agent, agent)
	})
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
	c := &cell{target: strings.Clone(target), agent: strings.Clone(agent)}
	*cells = slices.Insert(*cells, i, c)
	return c
}

// rebuild finds the failures of the front after its last success anew.
func (t *Tracker) rebuild(s *subject, f *front) {
	var gap int64
	f.run.clear()
	downs := t.scratch[:0]
	for v, cells := range s.user {
		if v == s.site {
			continue
		}
		for _, c := range ofTarget(cells, f.target) {
			for _, r := range c.results {
				if r.state == core.ProbeDown && r.at > f.run.lastUp {
					downs = append(downs, r.at)
					gap = max(gap, GapIntervals*r.ivl)
				}
			}
		}
	}
	slices.Sort(downs)
	for _, at := range downs {
		f.run.down(at, gap)
	}
	t.scratch = downs
}
