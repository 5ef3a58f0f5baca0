package health

import (
	"cmp"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// front is one user-path probe of a subject: its entry, or a further way in. Each stands for itself, since a name that
// resolves, or a port that is open, says nothing for the service behind another way in; the subject is judged by its
// worst one.
type front struct {
	target string
	run    run // over the eligible vantages
}

// front returns the front of the target, a new one when there is none. Fronts without a cell make room.
func (s *subject) front(target string) *front {
	i, ok := slices.BinarySearchFunc(s.fronts, target, func(f *front, name string) int { return strings.Compare(f.target, name) })
	if ok {
		return s.fronts[i]
	}
	s.fronts = slices.Insert(s.fronts, i, &front{target: strings.Clone(target)})
	s.fronts = slices.DeleteFunc(s.fronts, func(f *front) bool {
		return f.target != target && !slices.ContainsFunc(s.user, func(cells []*cell) bool { return len(ofTarget(cells, f.target)) > 0 })
	})
	return s.front(target)
}

// run is continuous failure of the front that the subject is judged by.
func (s *subject) run() run {
	if s.judged < len(s.fronts) {
		return s.fronts[s.judged].run
	}
	return run{}
}

// way are the cells of the vantage for the front that the subject is judged by.
func (s *subject) way(v int) []*cell {
	if s.judged < len(s.fronts) {
		return ofTarget(s.user[v], s.fronts[s.judged].target)
	}
	return nil
}

// ofTarget are the cells of one target; cells are sorted by target, then agent.
func ofTarget(cells []*cell, target string) []*cell {
	from, _ := slices.BinarySearchFunc(cells, target, func(c *cell, name string) int { return strings.Compare(c.target, name) })
	to := from
	for to < len(cells) && cells[to].target == target {
		to++
	}
	return cells[from:to:to]
}

// choose looks at every front of subject i and settles by which one it is judged, and what is seen of it.
func (t *Tracker) choose(i int, now int64) {
	s, n := t.subjects[i], len(t.vantages)
	view := t.seen[i*n : (i+1)*n]
	clear(view)
	s.judged = 0
	var worst severity
	for k, f := range s.fronts {
		for v := range n {
			t.view[v] = t.look(ofTarget(s.user[v], f.target), s.objective, now)
		}
		if got := severe(t.view, s.site, f, s.eligible); k == 0 || got.compare(worst) > 0 {
			worst, s.judged = got, k
			copy(view, t.view)
		}
	}
}

// severity orders fronts: how bad, then by how many locations it is seen, then since when.
type severity struct{ class, down, gray, slow, up, since int64 }

func severe(view []seen, site int, f *front, eligible int) severity {
	var s severity
	for v := range view {
		o := &view[v]
		down := int64(0)
		if o.state == core.ProbeDown {
			down = 1
		}
		if v == site {
			s.class = max(s.class, down)
			continue
		}
		s.down += down
		if o.state == core.ProbeUp {
			s.up++
		}
		if o.gray {
			s.gray++
		}
		if o.slow {
			s.slow++
		}
	}
	s.since = f.run.first
	switch {
	case s.down >= int64(quorum(eligible)):
		s.class = 4
	case s.down+s.gray > 0:
		s.class = 3
	case s.class > 0: // only the site's own agent finds it down
		s.class = 2
	case s.up > 0:
		s.class = 1
	}
	return s
}

// compare is above 0 when s is the worse one.
func (s severity) compare(o severity) int {
	return cmp.Or(
		cmp.Compare(s.class, o.class), cmp.Compare(s.down, o.down), cmp.Compare(s.gray, o.gray), cmp.Compare(s.slow, o.slow),
		cmp.Compare(o.up, s.up), cmp.Compare(o.since, s.since), // fewer successes; an earlier start
	)
}
