package health

import (
	"math"
	"slices"
	"strings"
	"time"

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

// report is what one edge counted for one subject at one time; has tells which counters were in it.
type report struct {
	at, id int64
	sure   int64 // the earliest time at which it can have been made
	v      [classes]float64
	has    uint8
}

// edgeSeries is one edge's counters of one subject, oldest report first, and the weight it gives it.
type edgeSeries struct {
	reports         []report
	at              int64
	ivl             int64
	weight          float64
	weightAt        int64
	weightIvl       int64
	weightKnown     bool
	weightChangedAt int64
}

// edge is one sender of users.
type edge struct {
	name   string
	at     int64 // newest fact
	ivl    int64
	series []*edgeSeries // by subject; nil where it never said anything
}

func (t *Tracker) edgeFact(f core.Fact, at, id, ivl int64) {
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
	e, ok := t.edges[f.Site]
	if !ok {
		if len(t.edges) >= maxEdges {
			t.counts.Dropped++
			return
		}
		e = &edge{name: strings.Clone(f.Site), series: make([]*edgeSeries, len(t.subjects))}
		t.edges[e.name] = e
		n, _ := slices.BinarySearch(t.edgeIDs, e.name)
		t.edgeIDs = slices.Insert(t.edgeIDs, n, e.name)
	}
	newer(&e.at, &e.ivl, at, ivl)
	s := e.series[i]
	if s == nil {
		s = &edgeSeries{}
		e.series[i] = s
	}
	if f.Kind == core.FactEdgeWeight {
		s.setWeight(f.Value, at, ivl)
		return
	}
	newer(&s.at, &s.ivl, at, ivl)
	if !s.add(at, id, int64(f.ClockErr), class, f.Value) {
		t.counts.Duplicate++
	}
}

func (s *edgeSeries) setWeight(weight float64, at, ivl int64) {
	switch {
	case s.weightKnown && (at < s.weightAt || (at == s.weightAt && weight <= s.weight)):
		return
	case s.weightKnown && weight != s.weight:
		s.weightChangedAt = at
	}
	s.weight, s.weightAt, s.weightIvl, s.weightKnown = weight, at, ivl, true
}

// add puts one counter into the report it belongs to. It reports false when there was nothing new in it.
func (s *edgeSeries) add(at, id, clockErr int64, class int, value float64) bool {
	i := slices.IndexFunc(s.reports, func(r report) bool { return r.id == id })
	if i < 0 {
		i = len(s.reports)
		for i > 0 && s.reports[i-1].at > at {
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
		s.reports = slices.Insert(s.reports, i, report{at: at, id: id, sure: at - clockErr})
	}
	r := &s.reports[i]
	r.sure = min(r.sure, at-clockErr)
	bit := uint8(1) << class
	if r.has&bit != 0 && value <= r.v[class] {
		return false
	}
	r.v[class], r.has = value, r.has|bit
	return true
}

// increase is how much each counter grew between two reports, never negative. A counter that fell was started
// again: what it shows since then is the growth. A counter absent from two or more reports and then there
// started at zero; one that is merely new to us says nothing yet.
func (s *edgeSeries) increase(from, to int) (grown [classes]float64) {
	for c := range classes {
		bit := uint8(1) << c
		have, last := false, 0.0
		for i := range s.reports[:to+1] {
			r := &s.reports[i]
			if r.has&bit == 0 {
				continue
			}
			if !have && i >= 2 {
				have, last = true, 0
			}
			if have && i > from {
				if r.v[c] >= last {
					grown[c] += r.v[c] - last
				} else {
					grown[c] += r.v[c]
				}
			}
			have, last = true, r.v[c]
		}
	}
	return grown
}

// flow is what was counted between two reports.
type flow struct {
	count, errors, lost float64 // requests; of these 5xx; of these without an answer
	dur                 float64 // seconds
	from, to            int64
	ok                  bool
}

func (f flow) failed() float64 { return f.errors + f.lost }

// flow counts over the newest window of reports, all of them measured at since or later when since is not 0.
func (s *edgeSeries) flow(since int64) flow {
	to := len(s.reports) - 1
	if to < 1 {
		return flow{}
	}
	from := 0
	newest := s.reports[to].at
	for i := range s.reports {
		if s.reports[i].at <= newest-int64(TrafficWindow) {
			from = i
		}
	}
	if since != 0 {
		for from <= to && s.reports[from].sure < since {
			from++
		}
	}
	if from >= to {
		return flow{}
	}
	g := s.increase(from, to)
	out := flow{errors: g[class5xx], lost: g[classError], from: s.reports[from].at, to: newest, ok: true}
	for _, n := range g {
		out.count += n
	}
	out.dur = float64(out.to-out.from) / 1e9
	out.ok = out.dur > 0
	return out
}

// sum is the traffic of one subject over all edges.
type sum struct {
	flow
	rate        float64
	newest      int64
	weight      float64
	weightKnown bool
}

// flows adds up what the edges say of one subject. One edge with stale numbers makes the sum unknown, until it
// has been silent so long that it counts as gone.
func (t *Tracker) flows(i int, now, since int64) sum {
	var out sum
	stale := false
	for _, name := range t.edgeIDs {
		e := t.edges[name]
		s := e.series[i]
		if s == nil {
			continue
		}
		if s.weightKnown && now-s.weightAt <= VoteIntervals*s.weightIvl {
			out.weight, out.weightKnown = max(out.weight, s.weight), true
		}
		if len(s.reports) == 0 {
			continue
		}
		at := s.reports[len(s.reports)-1].at
		if now-at > abandonedEdge {
			continue
		}
		out.newest = max(out.newest, at)
		f := s.flow(since)
		if !f.ok || now-at > VoteIntervals*s.ivl {
			stale = true
			continue
		}
		out.count += f.count
		out.errors += f.errors
		out.lost += f.lost
		out.rate += f.count / f.dur
		if !out.ok || f.from < out.from {
			out.from = f.from
		}
		out.ok = true
	}
	out.ok = out.ok && !stale
	return out
}

// traffic is what the edges say of a subject, seen among the sums of its whole service.
func (t *Tracker) traffic(i int, sums []sum, among []int) core.Traffic {
	own := sums[i]
	s := t.subjects[i].subject
	out := core.Traffic{Site: s.Site, Service: s.Service, Weight: own.weight, WeightKnown: own.weightKnown}
	if own.newest != 0 {
		out.At = stamp(own.newest)
	}
	if !own.ok {
		return out
	}
	var count, failed, rate float64
	for _, j := range among {
		if sums[j].ok {
			count += sums[j].count
			failed += sums[j].failed()
			rate += sums[j].rate
		}
	}
	out.Known, out.Requests, out.Count = true, own.rate, own.count
	out.ServiceCount = count
	if rate > 0 {
		out.Share = own.rate / rate
	}
	if own.count > 0 {
		out.Success = 1 - own.failed()/own.count
	}
	if count > 0 {
		out.ServiceSuccess = 1 - failed/count
	}
	return out
}

// Traffic is what the edges say of one service at one site at the time at, over the newest TrafficWindow.
func (t *Tracker) Traffic(site, service string, at time.Time) core.Traffic {
	return t.one(site, service, at.UnixNano(), 0)
}

// TrafficSince is Traffic out of reports made at since or later only: all requests in it were counted after
// that time. It is unknown until every edge has made two such reports. Freshness is judged at the newest time
// the tracker was told.
func (t *Tracker) TrafficSince(site, service string, since time.Time) core.Traffic {
	return t.one(site, service, t.now, since.UnixNano())
}

func (t *Tracker) one(site, service string, now, since int64) core.Traffic {
	i, ok := t.sIndex[key{site, service}]
	if !ok {
		return core.Traffic{Site: site, Service: service}
	}
	var row serviceRow
	for _, r := range t.services {
		if r.name == service {
			row = r
		}
	}
	sums := make([]sum, len(t.subjects))
	for _, j := range row.subjects {
		sums[j] = t.flows(j, now, since)
	}
	return t.traffic(i, sums, row.subjects)
}
