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
	case core.FactEdgeRequests, core.FactEdgeWeight:
		t.edgeFact(f, factAt, id, ivl, now)
	case core.FactLink:
		t.link(f, factAt, ivl)
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
	c := t.cell(cells, f.Target, f.Agent)
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
