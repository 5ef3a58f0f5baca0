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
