package health

import (
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// matrix is who sees whom over all services: rows are vantages, columns are sites.
type matrix struct {
	n    int
	cell []core.ProbeState // [row*n+column]
	upAt []int64           // newest success of the cell's votes that are up
	down []int64           // start of the failures of the cell's votes that are down
	bad  []bool            // by column: a quorum sees the site down with everything on it, and nobody sees it up
	sick []bool            // by row: a vantage whose failures say something of itself
}

// fill reads the table. A row that is bad while others saw its columns well after that is a bad vantage; so
// is one whose own column is bad, since a site in trouble sees trouble.
func (m *matrix) fill(t *Tracker) {
	n := len(t.vantages)
	m.n = n
	if len(m.cell) != n*n {
		m.cell, m.bad, m.sick = make([]core.ProbeState, n*n), make([]bool, n), make([]bool, n)
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
		m.bad[x] = ups == 0 && downs >= quorum(n-1)
	}
	for v := range n {
		up, down, bad, contradicted := 0, 0, 0, 0
		for x := range n {
			switch {
			case x == v:
			case m.cell[v*n+x] == core.ProbeUp:
				up++
			case m.cell[v*n+x] == core.ProbeDown:
				down++
				if m.bad[x] {
					bad++
				} else if m.contradicted(v, x) {
					contradicted++
				}
			}
		}
		m.sick[v] = m.bad[v] || (up == 0 && contradicted >= 2 && contradicted+bad == down)
	}
}

// contradicted reports whether somebody saw the column up after the row began to see it down.
func (m *matrix) contradicted(row, column int) bool {
	for w := range m.n {
		k := w*m.n + column
		if w != row && w != column && m.cell[k] == core.ProbeUp && m.upAt[k] >= m.down[row*m.n+column] {
			return true
		}
	}
	return false
}

// sees is the state of the row's view of the column.
func (m *matrix) sees(row, column int) core.ProbeState { return m.cell[row*m.n+column] }

// quorum is how many of the eligible vantages must agree: more than half, and at least two.
func quorum(eligible int) int { return max(2, eligible/2+1) }
