package health

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// route is what a change of routing means for the evidence about one subject.
type route struct {
	state     core.RoutingState
	away      bool  // drained or on the way: its edge traffic says nothing of it
	changedAt int64 // newest change of routing anywhere in the service
}

// Judge says what is known at the time at. Routing is what was commanded; a record for a whole site counts for
// all its services. The observation shares nothing with the tracker.
func (t *Tracker) Judge(at time.Time, routing []core.Routing) core.Observation {
	now := t.tick(at)
	n := len(t.vantages)
	routes := t.routes(routing)

	if len(t.seen) != len(t.subjects)*n {
		t.seen = make([]seen, len(t.subjects)*n)
	}
	if len(t.view) != n {
		t.view = make([]seen, n)
	}
	for i := range t.subjects {
		t.choose(i, now)
	}
	t.matrix.fill(t)

	sums := make([]sum, len(t.subjects))
	if len(t.edges) > 0 {
		for i := range t.subjects {
			sums[i] = t.flows(i, now, 0, int64(TrafficWindow))
		}
	}
	tilt := t.selfDoubt(now)
	signals := t.signalEvidence(now, routes)
	t.stepStatistics(now, routes, signals, tilt.On)
	out := core.Observation{
		Replica: t.replica, At: at, Tilt: tilt,
		Assessments: make([]core.Assessment, len(t.subjects)),
		Traffic:     make([]core.Traffic, 0, len(t.subjects)),
		Writers:     make([]core.Writer, 0, n+len(t.edges)),
		Links:       t.standings(now),
	}
	for i := range t.vantages {
		v := &t.vantages[i]
		w := core.Writer{Name: v.name, Kind: "site", Fresh: v.heardAt() > 0 && now <= v.freshUntil()}
		if !v.site {
			w.Kind = "witness"
		}
		if v.heardAt() > 0 {
			w.LastAt = stamp(v.heardAt())
		}
		if w.Fresh {
			out.FreshSites++
		}
		out.Writers = append(out.Writers, w)
	}
	for i, e := range t.edges {
		if i == 0 || t.edges[i-1].name != e.name {
			out.Writers = append(out.Writers, core.Writer{Name: e.name, Kind: "edge"})
		}
		w := &out.Writers[len(out.Writers)-1] // an edge is as fresh as the freshest of its writers
		if last := stamp(e.at); last.After(w.LastAt) {
			w.LastAt = last
		}
		w.Fresh = w.Fresh || now-e.at <= VoteIntervals*e.ivl
	}
	slices.SortFunc(out.Writers, func(a, b core.Writer) int {
		if a.Name != b.Name {
			if a.Name < b.Name {
				return -1
			}
			return 1
		}
		return 0
	})

	b := bench{
		t: t, now: now, links: out.Links, routes: routes, sums: sums, signals: signals, fresh: out.FreshSites,
		votes: make([]core.Vote, len(t.subjects)*n), claims: make([]core.Claim, 3*len(t.subjects)),
		times: make([]time.Time, len(t.subjects)), cases: make([]trial, len(t.subjects)),
	}
	for _, row := range t.services {
		for _, i := range row.subjects {
			b.weigh(i, row)
			out.Traffic = append(out.Traffic, t.traffic(i, sums, row.subjects))
		}
		for _, i := range row.subjects {
			b.cases[i].global = b.global(i, row)
		}
	}
	for i, s := range t.subjects {
		out.Assessments[i] = b.assess(i)
		if b.objects(i) {
			s.troubledAt = now
		}
	}
	t.reckon(now)
	return out
}

// routes spreads the routing records, and the changes of weight that the edges report, over the subjects.
func (t *Tracker) routes(routing []core.Routing) []route {
	out := make([]route, len(t.subjects))
	for i, s := range t.subjects {
		for k := range routing {
			r := &routing[k]
			if r.Subject.Site != s.subject.Site || (!r.Subject.WholeSite() && r.Subject.Service != s.subject.Service) ||
				r.Subject.Unit != "" {
				continue
			}
			if r.State > out[i].state || out[i].state == core.RoutingUnknown {
				out[i].state = r.State
			}
			if !r.ChangedAt.IsZero() {
				out[i].changedAt = max(out[i].changedAt, r.ChangedAt.UnixNano())
			}
		}
		switch out[i].state {
		case core.RoutingDraining, core.RoutingDrained, core.RoutingRestoring:
			out[i].away = true
		case core.RoutingUnknown, core.RoutingActive:
		}
		for _, e := range t.edges {
			if s := e.series[i]; s != nil {
				out[i].changedAt = max(out[i].changedAt, s.weightChangedAt)
			}
		}
	}
	for _, row := range t.services {
		var newest int64
		for _, i := range row.subjects {
			newest = max(newest, out[i].changedAt)
		}
		for _, i := range row.subjects {
			out[i].changedAt = newest
		}
	}
	return out
}

// NextWake is the next time at which Judge could answer differently without a new fact, rounded up to wakeStep so
// that many small changes are one; the zero time when there is none.
func (t *Tracker) NextWake(at time.Time) time.Time {
	now := at.UnixNano()
	var next int64
	wake := func(until int64) { // until is the last instant at which something still holds
		if until >= now && (next == 0 || until < next) {
			next = until
		}
	}
	for _, s := range t.subjects {
		for _, f := range s.fronts {
			if f.run.first != 0 {
				wake(f.run.first + int64(grayConfirm))
			}
		}
		ill, slides := false, int64(0)
		for v := range t.vantages {
			for _, c := range s.user[v] {
				wake(c.newest().until())
				end, bad := t.slides(c, s.objective, now)
				ill = ill || bad
				if slides == 0 || (end != 0 && end < slides) {
					slides = end
				}
			}
			for _, c := range s.private[v] {
				wake(c.newest().until())
			}
		}
		if ill {
			wake(slides)
		}
	}
	for i := range t.vantages {
		if v := &t.vantages[i]; v.heardAt() > 0 {
			wake(v.freshUntil())
		}
	}
	for _, e := range t.edges {
		wake(e.at + VoteIntervals*e.ivl)
		for _, s := range e.series {
			if s == nil {
				continue
			}
			if k := len(s.reports); k > 0 {
				wake(s.when(k-1) + VoteIntervals*s.ivl)
				wake(s.when(k-1) + abandonedEdge)
			}
			if s.weightKnown {
				wake(s.weighedAt(e.known) + VoteIntervals*s.weightIvl)
			}
		}
	}
	t.wakeLinks(wake)
	for _, st := range t.signals {
		wake(st.until)
		wake(st.voidUntil)
	}
	for i := range t.vantages {
		if began := t.vantages[i].pace.began; began != 0 && len(t.tallies) > 0 {
			wake(began + int64(StatisticsWindow) - 1)
		}
	}
	if t.tilt.since != 0 {
		wake(t.tilt.until)
	}
	if t.tilt.canaryAt != 0 && !t.tilt.canaryOK {
		wake(t.tilt.canaryAt + int64(CanaryFor))
	}
	if next == 0 {
		return time.Time{}
	}
	step := int64(wakeStep)
	return stamp((next/step + 1) * step)
}

// slides is when the oldest result of a probe leaves the window, 0 for none, and whether there is anything but
// prompt successes in the window.
func (t *Tracker) slides(c *cell, objective float64, now int64) (end int64, ill bool) {
	for i := len(c.results) - 1; i >= 0; i-- {
		r := &c.results[i]
		if now-r.at > t.window {
			break
		}
		end = r.at + t.window
		ill = ill || r.state == core.ProbeDown || (objective > 0 && r.took > objective)
	}
	return end, ill
}
