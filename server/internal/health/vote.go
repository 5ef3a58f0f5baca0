package health

import (
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Limits of what counts as gray or slow.
const (
	grayDowns   = 2    // failures of one vantage in the window
	grayChanges = 3    // from success to failure or back: a step, up or down, is not gray
	grayRatio   = 0.25 // of the results of all eligible vantages
	grayLeave   = 0.10 // the same, to end it
	slowUps     = 3    // successes in the window, more than half of them past the objective
)

// seen is what one location sees of one subject.
type seen struct {
	state   core.ProbeState
	reason  uint8
	at      int64 // newest result that has a vote
	downAt  int64 // newest failure among the newest results, when the vote is down
	since   int64 // start of the failing run behind it
	success bool  // some member's newest result is a success
	gray    bool
	slow    bool
	ups     int // within the window
	downs   int
	late    int   // successes past the objective
	lost    uint8 // reason of the newest failure within the window
	lostAt  int64
	until   int64
}

// look combines the members of one location to its vote and sums up its window.
func (t *Tracker) look(cells []*cell, objective float64, now int64) seen {
	var out seen
	up, down, fresh := 0, 0, 0
	for _, c := range cells {
		r := c.newest()
		if len(c.results) == 0 || now > r.until() {
			continue
		}
		fresh++
		out.at = max(out.at, r.at)
		out.until = max(out.until, r.until())
		switch r.state {
		case core.ProbeUp:
			up++
			out.success = true
		case core.ProbeDown:
			down++
			if r.at > out.downAt {
				out.downAt, out.reason = r.at, r.reason
			}
			if out.since == 0 || c.run.first < out.since {
				out.since = c.run.first
			}
		case core.ProbeUnknown:
		}
		t.sumUp(c, objective, now, &out)
	}
	switch {
	case 2*up > fresh:
		out.state = core.ProbeUp
	case 2*down > fresh:
		out.state = core.ProbeDown
	}
	if out.state != core.ProbeDown {
		out.downAt, out.since, out.reason = 0, 0, 0
	}
	out.slow = out.ups >= slowUps && 2*out.late > out.ups
	return out
}

func (t *Tracker) sumUp(c *cell, objective float64, now int64, out *seen) {
	ups, downs, changes := 0, 0, 0
	last := core.ProbeUnknown
	for i := len(c.results) - 1; i >= 0; i-- {
		r := &c.results[i]
		if now-r.at > t.window {
			break
		}
		switch r.state {
		case core.ProbeUp:
			ups++
			if objective > 0 && r.took > objective {
				out.late++
			}
		case core.ProbeDown:
			downs++
			if r.at > out.lostAt {
				out.lost, out.lostAt = r.reason, r.at
			}
		case core.ProbeUnknown:
			continue
		}
		if last != core.ProbeUnknown && last != r.state {
			changes++
		}
		last = r.state
	}
	out.ups += ups
	out.downs += downs
	if downs >= grayDowns && changes >= grayChanges && float64(downs) >= grayLeave*float64(ups+downs) {
		out.gray = true
	}
}

// signal is that of the vote when it is down, else that of the newest failure in the window.
func (o *seen) signal() string {
	if o.state == core.ProbeDown {
		return signalOf(reasons[o.reason])
	}
	return signalOf(reasons[o.lost])
}

// matrix is who sees whom over all services: rows are vantages, columns are sites.
type matrix struct {
	n    int
	cell []core.ProbeState // [row*n+column]
	upAt []int64           // newest success of the cell's votes that are up
	down []int64           // start of the failures of the cell's votes that are down
	sick []bool            // by row: a vantage whose failures say something of itself
}

// fill reads the table. A row that is bad while others saw its columns well after that is a bad vantage; so
// is one whose own column is bad, since a site in trouble sees trouble.
func (m *matrix) fill(t *Tracker) {
	n := len(t.vantages)
	m.n = n
	if len(m.cell) != n*n {
		m.cell, m.sick = make([]core.ProbeState, n*n), make([]bool, n)
		m.upAt, m.down = make([]int64, n*n), make([]int64, n*n)
	}
	clear(m.cell)
	clear(m.upAt)
	clear(m.down)
	clear(m.sick)
	for i, s := range t.subjects {
		for v := range n {
			k, o := v*n+s.site, &t.seen[i*n+v]
			switch o.state {
			case core.ProbeUp:
				m.cell[k], m.upAt[k] = core.ProbeUp, max(m.upAt[k], o.at)
			case core.ProbeDown:
				if m.cell[k] == core.ProbeUnknown {
					m.cell[k] = core.ProbeDown
				}
				if m.down[k] == 0 || o.since < m.down[k] {
					m.down[k] = o.since
				}
			case core.ProbeUnknown:
			}
		}
	}
	for x := range n {
		downs, ups := 0, 0
		for v := range n {
			switch m.cell[v*n+x] {
			case core.ProbeDown:
				downs++
			case core.ProbeUp:
				if v != x {
					ups++
				}
			case core.ProbeUnknown:
			}
		}
		if m.cell[x*n+x] == core.ProbeDown {
			downs--
		}
		m.sick[x] = ups == 0 && downs >= quorum(n-1)
	}
	for v := range n {
		up, down, contradicted := 0, 0, 0
		for x := range n {
			if x == v {
				continue
			}
			switch m.cell[v*n+x] {
			case core.ProbeUp:
				up++
			case core.ProbeDown:
				down++
				for w := range n {
					if w != v && w != x && m.cell[w*n+x] == core.ProbeUp && m.upAt[w*n+x] >= m.down[v*n+x] {
						contradicted++
						break
					}
				}
			case core.ProbeUnknown:
			}
		}
		if up == 0 && down >= 2 && contradicted == down {
			m.sick[v] = true
		}
	}
}

// sees is the state of the row's view of the column.
func (m *matrix) sees(row, column int) core.ProbeState { return m.cell[row*m.n+column] }

// quorum is how many of the eligible vantages must agree: more than half, and at least two.
func quorum(eligible int) int { return max(2, eligible/2+1) }
