package health

import (
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// fewReports is among how many reports two falls of a counter are too many.
const fewReports = 8

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

// plus is both together; one that is not ok adds nothing.
func (f flow) plus(o flow) flow {
	switch {
	case !o.ok:
		return f
	case !f.ok:
		return o
	}
	f.count, f.errors, f.lost = f.count+o.count, f.errors+o.errors, f.lost+o.lost
	f.from, f.to, f.dur = min(f.from, o.from), max(f.to, o.to), max(f.dur, o.dur)
	return f
}

// falls is how many of the newest reports up to one show a counter lower than before.
func (s *edgeSeries) falls(to int) int {
	n := 0
	var last [classes]float64
	for i := max(0, to-fewReports); i <= to; i++ {
		r, fell := &s.reports[i], false
		for c := range classes {
			if r.has&(1<<c) != 0 {
				fell = fell || r.v[c] < last[c]
				last[c] = r.v[c]
			}
		}
		if fell {
			n++
		}
	}
	return n
}

// after reports whether the report from, and all up to the newest, were surely made at since or later. With a
// clock that is not known it takes a report before it that arrived after since too, and reports that came as
// fast as they were made: a backlog comes faster.
func (s *edgeSeries) after(from, to int, since int64, known bool) bool {
	r := &s.reports[from]
	if known {
		return r.sure >= since
	}
	if from == 0 || s.when(from) < since || r.recv < since {
		return false
	}
	first, newest := &s.reports[from-1], &s.reports[to]
	arrived, made := newest.recv-first.recv, newest.at-first.at
	return first.recv >= since && arrived >= s.ivl*3/4 && abs(arrived-made) <= max(s.ivl/2, made/4)
}

// flow counts over a window up to the newest report, all of it measured at since or later when since is not 0.
// A counter started anew is one fall; more of them are two writers that look like one, or none that can be
// believed.
func (e *edge) flow(subject int, since, window int64) flow {
	s := e.series[subject]
	to := len(s.reports) - 1
	if to < 1 || s.falls(to) > 1 {
		return flow{}
	}
	from := 0
	newest := s.reports[to].at
	for i := range s.reports {
		if s.reports[i].at <= newest-window {
			from = i
		}
	}
	if since != 0 {
		for from < to && !s.after(from, to, since, e.known) {
			from++
		}
	}
	if from >= to {
		return flow{}
	}
	g := s.increase(from, to)
	out := flow{errors: g[class5xx], lost: g[classError], from: s.when(from), to: s.when(to), ok: true}
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
	stale       bool // somebody counts users there and we do not know how many
}

// gone reports whether the numbers of a writer count no more: it has been silent for long, or another writer of
// its edge began after it ended, as after a restart under a new name.
func (t *Tracker) gone(e *edge, subject int, now int64) bool {
	s := e.series[subject]
	n := len(s.reports) - 1
	if n < 0 || now-s.when(n) > abandonedEdge {
		return true
	}
	last := s.reports[n].recv
	for _, o := range t.edges {
		if o.name != e.name || o == e || o.series[subject] == nil || len(o.series[subject].reports) == 0 {
			continue
		}
		x := o.series[subject]
		if x.firstRecv > last || (o.agent == e.agent && x.reports[len(x.reports)-1].recv > last) {
			return true
		}
	}
	return false
}

// flows adds up what the writers of the edges say of one subject. One with stale numbers makes the sum unknown,
// until it counts as gone.
func (t *Tracker) flows(i int, now, since, window int64) sum {
	var out sum
	stale := false
	for _, e := range t.edges {
		s := e.series[i]
		if s == nil {
			continue
		}
		if s.weightKnown && now-s.weighedAt(e.known) <= VoteIntervals*s.weightIvl {
			out.weight, out.weightKnown = max(out.weight, s.weight), true
		}
		if t.gone(e, i, now) {
			continue
		}
		at := s.when(len(s.reports) - 1)
		out.newest = max(out.newest, at)
		f := e.flow(i, since, window)
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
	out.ok, out.stale = out.ok && !stale, stale
	return out
}

// traffic is what the edges say of a subject, seen among the sums of its whole service. A share of a whole that
// is not known is not known.
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
		if sums[j].stale {
			return out
		}
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
// that time. It is unknown until every writer of an edge has made two such reports, three when its clock is not
// known. Freshness is judged at the newest time
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
		sums[j] = t.flows(j, now, since, int64(TrafficWindow))
	}
	return t.traffic(i, sums, row.subjects)
}
