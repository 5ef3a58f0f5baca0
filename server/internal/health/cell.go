package health

import (
	"cmp"
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// result is one answer of one probe. Times are nanoseconds of the server's clock; id is what makes the result
// the same one when it is sent again.
type result struct {
	at, id, ivl, err int64
	took             float64
	state            core.ProbeState
	reason           uint8
}

// until is how long the result may vote.
func (r result) until() int64 { return r.at + VoteIntervals*r.ivl + r.err }

// milder reports whether r is to be believed over o when both claim to be the same result: success before
// failure, the later before the earlier.
func (r result) milder(o result) bool {
	return cmp.Or(
		cmp.Compare(mildness(r.state), mildness(o.state)), cmp.Compare(r.at, o.at), cmp.Compare(o.reason, r.reason),
		cmp.Compare(o.took, r.took), cmp.Compare(r.ivl, o.ivl), cmp.Compare(r.err, o.err),
	) > 0
}

func mildness(s core.ProbeState) int {
	switch s {
	case core.ProbeUp:
		return 2
	case core.ProbeUnknown:
		return 1
	case core.ProbeDown:
		return 0
	}
	return 0
}

// cell is one probe of one agent of a vantage: its newest results, oldest first.
type cell struct {
	target  string
	agent   string
	results []result
	run     run
}

// newest is the newest result; the zero result when there is none.
func (c *cell) newest() result {
	if len(c.results) == 0 {
		return result{}
	}
	return c.results[len(c.results)-1]
}

// added is what became of a result.
type added uint8

const (
	addedNothing added = iota // there was nothing new in it
	addedNew
	addedInstead // it stands for a failure that is taken back
)

// add takes a result in, in order of time.
func (c *cell) add(r result) added {
	what := addedNew
	if i := slices.IndexFunc(c.results, func(o result) bool { return o.id == r.id }); i >= 0 {
		old := c.results[i]
		if !r.milder(old) {
			return addedNothing
		}
		c.results = slices.Delete(c.results, i, i+1)
		if old.state == core.ProbeDown {
			what = addedInstead
		}
	}
	n := len(c.results)
	i := n
	for i > 0 && before(r, c.results[i-1]) {
		i--
	}
	if n >= maxResults {
		if i == 0 {
			return addedNothing
		}
		copy(c.results, c.results[1:i])
		c.results[i-1] = r
	} else {
		c.results = slices.Insert(c.results, i, r)
	}
	switch {
	case r.state == core.ProbeUp && c.run.up(r.at), what == addedInstead:
		c.run.clear()
		c.rebuild()
	case r.state == core.ProbeDown:
		c.run.down(r.at, GapIntervals*r.ivl)
	}
	return what
}

// before orders results by time; at the same time the milder one comes last and is the newest.
func before(a, b result) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	if x, y := mildness(a.state), mildness(b.state); x != y {
		return x < y
	}
	return a.id < b.id
}

func (c *cell) rebuild() {
	for _, r := range c.results {
		if r.state == core.ProbeDown {
			c.run.down(r.at, GapIntervals*r.ivl)
		}
	}
}

// run is continuous failure: the newest success, and the first and last failure after it with no gap in
// looking. The run before the last gap is kept because facts may arrive out of order and close the gap.
// All fields are 0 for none.
type run struct {
	lastUp              int64
	first, last         int64
	prevFirst, prevLast int64
}

func (r *run) clear() { *r = run{lastUp: r.lastUp} }

// up notes a success. It reports true when failures after it must be given anew by down.
func (r *run) up(at int64) bool {
	if at <= r.lastUp {
		return false
	}
	r.lastUp = at
	if (r.first == 0 || r.first > at) && (r.prevFirst == 0 || r.prevFirst > at) {
		return false
	}
	r.clear()
	return true
}

// down notes a failure. A time longer than gap without one ends a run.
func (r *run) down(at, gap int64) {
	switch {
	case at <= r.lastUp:
		return
	case r.first == 0:
		r.first, r.last = at, at
	case at > r.last+gap:
		r.prevFirst, r.prevLast = r.first, r.last
		r.first, r.last = at, at
	case at >= r.first-gap:
		r.first, r.last = min(r.first, at), max(r.last, at)
	case r.prevFirst == 0 || at > r.prevLast+gap:
		r.prevFirst, r.prevLast = at, at
	case at >= r.prevFirst-gap:
		r.prevFirst, r.prevLast = min(r.prevFirst, at), max(r.prevLast, at)
	}
	if r.prevFirst != 0 && r.first-r.prevLast <= gap {
		r.first = r.prevFirst
		r.prevFirst, r.prevLast = 0, 0
	}
}

// reasons of a probe by index; 0 is none or one we do not know.
var reasons = []string{ //nolint:gochecknoglobals // read-only table
	"", core.ReasonDNS, core.ReasonConnect, core.ReasonRefused, core.ReasonTLS, core.ReasonStatus, core.ReasonBody,
	core.ReasonTimeout, core.ReasonProbeError,
}

func reasonIndex(reason string) uint8 { return uint8(max(0, slices.Index(reasons, reason))) }

// signalOf is which signal a failure with the reason is. What is not known counts as a time-out, which is the
// longer hold.
func signalOf(reason string) string {
	switch reason {
	case core.ReasonRefused:
		return core.SignalRefused
	case core.ReasonStatus, core.ReasonBody:
		return core.SignalErrors
	default:
		return core.SignalTimeout
	}
}
