package health

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Code classes of the edge's counters, by index. The last two are failures; the users' own mistakes (4xx) are
// answers.
const (
	class2xx = iota
	class3xx
	class4xx
	class5xx
	classError
	classes
)

func classIndex(name string) int {
	switch name {
	case "2xx":
		return class2xx
	case "3xx":
		return class3xx
	case "4xx":
		return class4xx
	case "5xx":
		return class5xx
	case "error":
		return classError
	}
	return -1
}

// report is what one writer counted for one subject at one time; has tells which counters were in it. The time
// at is on our clock when the writer's clock is known, else it is the writer's own: good for durations, and for
// the order of its reports.
type report struct {
	at, id int64
	recv   int64 // when it arrived, our clock
	sure   int64 // the earliest time at which it can have been made; with an unknown clock it means nothing
	v      [classes]float64
	has    uint8
}

// edgeSeries is one writer's counters of one subject, oldest report first, and the weight it gives it.
type edgeSeries struct {
	reports         []report
	shift           int64 // from the time of the reports to our clock
	firstRecv       int64 // arrival of the first report ever
	ivl             int64
	weight          float64
	weightAt        int64 // as the time of a report
	weightRecv      int64
	weightIvl       int64
	weightKnown     bool
	weightChangedAt int64
}

// edge is one writer of one sender of users: two processes behind one credential each count for themselves. A
// writer whose clock becomes known begins anew.
type edge struct {
	name   string
	agent  string
	known  bool  // its clock
	at     int64 // newest fact
	ivl    int64
	series []*edgeSeries // by subject; nil where it never said anything
}

func (e *edge) compare(o *edge) int {
	if n := cmp.Or(strings.Compare(e.name, o.name), strings.Compare(e.agent, o.agent)); n != 0 || e.known == o.known {
		return n
	}
	if o.known {
		return -1
	}
	return 1
}

// isEdge reports whether a writer of that name has spoken as an edge.
func (t *Tracker) isEdge(name string) bool {
	return slices.ContainsFunc(t.edges, func(e *edge) bool { return e.name == name })
}

// writer returns the edge's writer of a fact, a new one when there is room: one that is silent makes room, of
// its own edge first. It is nil when there is none.
func (t *Tracker) writer(f *core.Fact) *edge {
	want := edge{name: f.Site, agent: f.Agent, known: f.ClockKnown}
	i, ok := slices.BinarySearchFunc(t.edges, &want, (*edge).compare)
	if ok {
		return t.edges[i]
	}
	mine, oldest := 0, -1
	for j, e := range t.edges {
		if e.name == want.name {
			mine++
		}
		silent := t.now-e.at > abandonedEdge || (e.name == want.name && t.now-e.at > VoteIntervals*e.ivl)
		if silent && (oldest < 0 || e.at < t.edges[oldest].at) {
			oldest = j
		}
	}
	if mine >= maxWriters || len(t.edges) >= maxEdges {
		if oldest < 0 || (mine >= maxWriters && t.edges[oldest].name != want.name) {
			return nil
		}
		t.edges = slices.Delete(t.edges, oldest, oldest+1)
		if oldest < i {
			i--
		}
	}
	e := &edge{
		name: strings.Clone(want.name), agent: strings.Clone(want.agent), known: want.known,
		series: make([]*edgeSeries, len(t.subjects)),
	}
	t.edges = slices.Insert(t.edges, i, e)
	return e
}

func (t *Tracker) edgeFact(f core.Fact, at, id, ivl, now int64) {
	_, isVantage := t.vIndex[f.Site]
	i, known := t.sIndex[key{f.TargetSite, f.Service}]
	if isVantage || !known { // a site does not testify about the traffic sent to it
		t.counts.Unknown++
		return
	}
	class := classIndex(f.Reason)
	if math.IsNaN(f.Value) || math.IsInf(f.Value, 0) || f.Value < 0 || (f.Kind == core.FactEdgeRequests && class < 0) {
		t.counts.Malformed++
		return
	}
	e := t.writer(&f)
	if e == nil {
		t.counts.Dropped++
		return
	}
	newer(&e.at, &e.ivl, at, ivl)
	s := e.series[i]
	if s == nil {
		s = &edgeSeries{}
		e.series[i] = s
	}
	r := report{at: at, id: id, recv: now, sure: at - int64(f.ClockErr)}
	if !f.ReceivedAt.IsZero() {
		r.recv = min(f.ReceivedAt.UnixNano(), now)
	}
	if !f.ClockKnown {
		r.at = id
	}
	if f.Kind == core.FactEdgeWeight {
		s.setWeight(f.Value, r, at, ivl)
		return
	}
	s.ivl = max(ivl, s.ivl)
	if !s.add(r, class, f.Value) {
		t.counts.Duplicate++
		return
	}
	s.place(f.ClockKnown)
}

// place finds the shift of a clock that is not known: a report cannot have been made after it arrived, so the
// one that waited the least tells it, and the others waited longer by what they are behind. What all of them
// waited stays unknown.
func (s *edgeSeries) place(known bool) {
	if known {
		return
	}
	s.shift = math.MaxInt64
	for i := range s.reports {
		s.shift = min(s.shift, s.reports[i].recv-s.reports[i].at)
	}
}

// when is the time of a report on our clock.
func (s *edgeSeries) when(i int) int64 { return s.reports[i].at + s.shift }

// weighedAt is the time of the weight on our clock.
func (s *edgeSeries) weighedAt(known bool) int64 {
	switch {
	case known:
		return s.weightAt
	case len(s.reports) == 0:
		return s.weightRecv
	}
	return min(s.weightAt+s.shift, s.weightRecv)
}

func (s *edgeSeries) setWeight(weight float64, r report, at, ivl int64) {
	switch {
	case s.weightKnown && (r.at < s.weightAt || (r.at == s.weightAt && weight <= s.weight)):
		return
	case s.weightKnown && weight != s.weight:
		s.weightChangedAt = at
	}
	s.weight, s.weightAt, s.weightRecv, s.weightIvl, s.weightKnown = weight, r.at, r.recv, ivl, true
}

// add puts one counter into the report it belongs to. It reports false when there was nothing new in it.
func (s *edgeSeries) add(given report, class int, value float64) bool {
	i := slices.IndexFunc(s.reports, func(r report) bool { return r.id == given.id })
	if i < 0 {
		i = len(s.reports)
		for i > 0 && s.reports[i-1].at > given.at {
			i--
		}
		if len(s.reports) >= maxReports {
			if i == 0 {
				return false
			}
			// The oldest report goes; what it knew stays with the next.
			old, next := s.reports[0], &s.reports[1]
			for c := range classes {
				if next.has&(1<<c) == 0 && old.has&(1<<c) != 0 {
					next.v[c], next.has = old.v[c], next.has|1<<c
				}
			}
			s.reports = slices.Delete(s.reports, 0, 1)
			i--
		}
		s.reports = slices.Insert(s.reports, i, given)
		if s.firstRecv == 0 || given.recv < s.firstRecv {
			s.firstRecv = given.recv
		}
	}
	r := &s.reports[i]
	r.sure, r.recv = min(r.sure, given.sure), min(r.recv, given.recv)
	bit := uint8(1) << class
	if r.has&bit != 0 && value <= r.v[class] {
		return false
	}
	r.v[class], r.has = value, r.has|bit
	return true
}
