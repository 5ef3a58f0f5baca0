package health

import (
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func (b *bench) edgeSignal(i int) string {
	if b.sums[i].lost > b.sums[i].errors {
		return core.SignalTimeout
	}
	return core.SignalErrors
}

// downSignal is the dominant signal of the failures. Refused, which has the shortest hold, needs all voices; in
// a tie the signal with the longer hold stands.
func (b *bench) downSignal(i int) string {
	refused, timeout, errs := 0, 0, 0
	b.eachOutside(i, func(o *seen) {
		if o.state != core.ProbeDown && !o.gray {
			return
		}
		switch o.signal() {
		case core.SignalRefused:
			refused++
		case core.SignalErrors:
			errs++
		default:
			timeout++
		}
	})
	switch {
	case timeout == 0 && errs == 0 && refused > 0:
		return core.SignalRefused
	case errs >= timeout && errs > 0:
		return core.SignalErrors
	default:
		return core.SignalTimeout
	}
}

func (b *bench) eachOutside(i int, f func(*seen)) {
	n := len(b.t.vantages)
	for v := range n {
		if v != b.t.subjects[i].site {
			f(&b.t.seen[i*n+v])
		}
	}
}

func (b *bench) downOnset(i int) int64 {
	var onset int64
	b.eachOutside(i, func(o *seen) {
		if o.since != 0 && (onset == 0 || o.since < onset) {
			onset = o.since
		}
	})
	return onset
}

// odd is since when the first of the detectors holds a symptom against the subject, whether that says enough or not; 0 for none.
func (b *bench) odd(i int) int64 {
	if b.signals == nil {
		return 0
	}
	return oldest(b.signals[i])
}

// readMatrix names failures that no quorum shares: a bad row is the vantage, a bad cell the link, and a cell
// that is good the other way round a one-way cut.
func (b *bench) readMatrix(i int) string {
	t, s, c := b.t, b.t.subjects[i], &b.cases[i]
	n := len(t.vantages)
	rows, cells := 0, 0
	for v := range n {
		if v == s.site || t.seen[i*n+v].state != core.ProbeDown {
			continue
		}
		if t.matrix.sick[v] {
			if rows == 0 && cells == 0 {
				c.accuser = v
			}
			rows++
			continue
		}
		cells++
		c.accuser = v
	}
	switch {
	case cells == 0:
		return core.KindVantage
	case cells > 1 || c.inside == core.ProbeDown:
		return core.KindNoQuorum
	}
	// Votes are compared by time: only a success younger than the failure contradicts it.
	since := t.seen[i*n+c.accuser].since
	back := t.matrix.sees(s.site, c.accuser)
	switch {
	case b.contradicted(i, c.accuser):
		switch {
		case back != core.ProbeUp:
			return core.KindLink
		case t.matrix.upAt[s.site*n+c.accuser] >= since:
			return core.KindOneWay
		}
	case s.eligible == 1 && c.inside == core.ProbeUp && back == core.ProbeDown &&
		t.matrix.sees(c.accuser, c.accuser) == core.ProbeUp:
		return core.KindLink // two sites that see themselves well and not each other
	}
	return core.KindNoQuorum
}

// contradicted reports whether another eligible vantage had a success while v was failing: after its first
// failure and before its newest one.
func (b *bench) contradicted(i, v int) bool {
	t, s := b.t, b.t.subjects[i]
	n := len(t.vantages)
	o := &t.seen[i*n+v]
	for w := range n {
		if w == v || w == s.site || !t.seen[i*n+w].success {
			continue
		}
		for _, c := range s.way(w) {
			for k := len(c.results) - 1; k >= 0; k-- {
				r := &c.results[k]
				if r.at < o.since {
					break
				}
				if r.state == core.ProbeUp && r.at <= o.downAt {
					return true
				}
			}
		}
	}
	return false
}

// global names the serving sites that show the same signal together, when they are at least two and more than
// half: a drain cannot help then.
func (b *bench) global(i int, row serviceRow) []string {
	own := &b.cases[i]
	if !accused(own) {
		return nil
	}
	serving, same := 0, 0
	for _, j := range row.subjects {
		if b.routes[j].state == core.RoutingDrained && j != i {
			continue
		}
		serving++
		if b.together(own, j) {
			same++
		}
	}
	if same < 2 || 2*same <= serving {
		return nil
	}
	out := make([]string, 0, same)
	for _, j := range row.subjects {
		if (b.routes[j].state != core.RoutingDrained || j == i) && b.together(own, j) {
			out = append(out, b.t.subjects[j].subject.Site)
		}
	}
	return out
}

func accused(c *trial) bool {
	return c.condition >= core.Degraded || (c.condition == core.Suspect && c.kind == core.KindAnomaly)
}

// together reports whether subject j shows what x shows. What detectors find odd at the same time is the same, even where it
// has not yet said enough: it objects to an accusation before it makes one.
func (b *bench) together(x *trial, j int) bool {
	y := &b.cases[j]
	if x.kind == core.KindAnomaly && b.odd(j) != 0 && abs(x.sigOnset-b.odd(j)) <= b.t.window {
		return true
	}
	return accused(y) && x.signal == y.signal && abs(x.sigOnset-y.sigOnset) <= b.t.window
}
