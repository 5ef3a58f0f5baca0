package health

import (
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Limits of what the edge's counters must show before they object.
const (
	symptomCount  = 20   // requests in the window
	symptomFailed = 5    // failed ones
	symptomRatio  = 0.10 // of the requests; half of it ends the symptom
	grayConfirm   = 3 * time.Second
)

// bench is where one judgement is made.
type bench struct {
	t       *Tracker
	now     int64
	routes  []route
	sums    []sum
	signals [][]objection
	links   []core.LinkStanding
	fresh   int
	votes   []core.Vote
	claims  []core.Claim
	times   []time.Time
	cases   []trial
}

// trial is what was found about one subject.
type trial struct {
	condition core.Condition
	kind      string
	signal    string
	sigOnset  int64
	failing   int64 // FailingSince, 0 for none
	global    []string

	up, down, unknown int // eligible locations
	confirmed         int // of the down ones, with a failure newer than the last success
	gray, slow        int // eligible locations
	accuser           int // a location behind a matrix kind
	inside            core.ProbeState
	silentFor         int64 // 0: not silent
	symptom           bool
	over              int64   // the window of the edge's counters that shows it
	requests          float64 // in it
	failed, elsewhere float64 // ratios at the edge
}

// weigh finds the condition, the kind and the signal of subject i.
func (b *bench) weigh(i int, row serviceRow) {
	t := b.t
	s, c := t.subjects[i], &b.cases[i]
	run := s.run()
	n := len(t.vantages)
	view := t.seen[i*n : (i+1)*n]
	success, sure := false, false
	ups, downs := 0, 0
	for v := range view {
		o := &view[v]
		if v == s.site {
			c.inside = o.state
			continue
		}
		success = success || o.success
		switch o.state {
		case core.ProbeUp:
			c.up++
		case core.ProbeDown:
			c.down++
			sure = sure || o.downAt > o.since
			if o.downAt > run.lastUp {
				c.confirmed++
			}
		case core.ProbeUnknown:
			c.unknown++
		}
		ups, downs = ups+o.ups, downs+o.downs
		if o.gray {
			c.gray++
		}
		if o.slow {
			c.slow++
		}
	}
	if c.down > 0 && !success {
		c.failing = run.first
	}
	if w := &t.vantages[s.site]; w.silent(b.now) {
		c.silentFor = b.now - w.heardAt()
	}
	b.symptoms(i, row)
	b.judgeGray(i, ups, downs)
	s.graySince = keep(s.graySince, c.gray > 0, func() int64 { return b.first(i, isGray, isDown) })
	s.slowSince = keep(s.slowSince, c.slow > 0, func() int64 {
		return b.first(i, isSlow, func(r *result) bool { return r.state == core.ProbeUp && r.took > s.objective })
	})

	need := quorum(s.eligible)
	s.gray = c.gray >= need
	lone := s.eligible == 1 && c.inside == core.ProbeDown && view[s.site].downAt > run.lastUp // two locations in the world: the accused confesses
	agreed := c.confirmed >= need || (lone && c.confirmed == 1)
	shaky := c.gray > 0 && b.now-c.failing <= int64(grayConfirm)
	switch {
	case c.failing != 0 && agreed && !shaky:
		c.condition, c.sigOnset = core.Failing, c.failing
		c.signal = b.downSignal(i)
		switch {
		case c.inside == core.ProbeDown:
			c.kind = core.KindDeadService
		case c.silentFor > 0:
			c.kind = core.KindIsolatedSite
		case c.inside == core.ProbeUp && view[s.site].at >= c.failing:
			c.kind = core.KindDeadEdge
		default:
			c.kind = core.KindUnreachable
		}
	case c.gray >= need:
		c.condition, c.kind, c.signal, c.sigOnset = core.Degraded, core.KindGray, b.downSignal(i), s.graySince
	case c.symptom:
		c.condition, c.kind, c.signal, c.sigOnset = core.Degraded, core.KindErrors, b.edgeSignal(i), s.symptomSince
	case c.slow >= need:
		c.condition, c.kind, c.signal, c.sigOnset = core.Degraded, core.KindSlow, core.SignalSlow, s.slowSince
	case c.gray > 0:
		c.condition, c.kind, c.signal, c.sigOnset = core.Suspect, core.KindGray, b.downSignal(i), s.graySince
	case c.down > 1 || sure || (c.down > 0 && c.up == 0): // one lost probe among successes is no suspicion
		c.condition, c.signal, c.sigOnset = core.Suspect, b.downSignal(i), b.downOnset(i)
		c.kind = b.readMatrix(i)
	case c.inside == core.ProbeDown && (c.up == 0 || view[s.site].downAt > view[s.site].since):
		c.condition, c.kind = core.Suspect, core.KindNoQuorum
		c.signal, c.sigOnset = view[s.site].signal(), view[s.site].since
	case c.silentFor > 0 && c.up > 0:
		c.condition, c.kind, c.signal = core.Suspect, core.KindSilent, core.SignalSilence
		c.sigOnset = b.now - c.silentFor
	case c.up > 0 && s.statistics.accuses():
		c.condition, c.kind, c.signal, c.sigOnset = core.Suspect, core.KindAnomaly, core.SignalAnomaly, s.statistics.onset
	case c.up > 0:
		c.condition = core.Healthy
	default:
		c.condition = core.ConditionUnknown
	}
}

// judgeGray settles how many locations see the subject gray. What was gray by quorum stays so, as long as a
// quorum sees both successes and failures, until the share of failures is low: a coin has quiet seconds.
func (b *bench) judgeGray(i, ups, downs int) {
	s, c := b.t.subjects[i], &b.cases[i]
	limit := grayRatio
	if s.gray {
		limit = grayLeave
	}
	if float64(downs) < limit*float64(ups+downs) {
		c.gray = 0
		return
	}
	if !s.gray {
		return
	}
	mixed := 0
	b.eachOutside(i, func(o *seen) {
		if o.ups > 0 && o.downs > 0 {
			mixed++
		}
	})
	if mixed < quorum(s.eligible) {
		return
	}
	c.gray = mixed
	b.eachOutside(i, func(o *seen) { o.gray = o.ups > 0 && o.downs > 0 })
}

// symptoms judges what users feel, by the edge's counters. A drained site has no users to ask. What users feel goes on until it is over in
// a longer window as well: a coin has quiet seconds, and few users fewer.
func (b *bench) symptoms(i int, row serviceRow) {
	s, c, own := b.t.subjects[i], &b.cases[i], b.sums[i]
	limit := symptomRatio
	if s.symptomSince != 0 {
		limit /= 2
	}
	c.over = int64(TrafficWindow)
	if s.symptomSince != 0 && !own.fails(limit) {
		c.over = b.t.window
		own = b.t.flows(i, b.now, 0, c.over)
	}
	if b.routes[i].away || !own.fails(limit) {
		s.symptomSince = 0
		return
	}
	if s.symptomSince == 0 {
		s.symptomSince = own.from
	}
	c.symptom, c.requests, c.failed = true, own.count, own.failed()/own.count
	var count, failed float64
	for _, j := range row.subjects {
		if j != i && b.sums[j].ok {
			count += b.sums[j].count
			failed += b.sums[j].failed()
		}
	}
	if count > 0 {
		c.elsewhere = failed / count
	}
}

// fails reports whether so large a share of the requests fails, and enough of them to tell.
func (s *sum) fails(share float64) bool {
	return s.ok && s.count >= symptomCount && s.failed() >= symptomFailed && s.failed() >= share*s.count
}

// keep is the time at which something now true began: the one known, or that of onset when it is new.
func keep(known int64, now bool, onset func() int64) int64 {
	switch {
	case !now:
		return 0
	case known != 0:
		return known
	}
	return onset()
}

func isGray(o *seen) bool   { return o.gray }
func isSlow(o *seen) bool   { return o.slow }
func isDown(r *result) bool { return r.state == core.ProbeDown }

// first is the first result within the window that is what is looked for, at the eligible vantages that count.
func (b *bench) first(i int, who func(*seen) bool, what func(*result) bool) int64 {
	t, s := b.t, b.t.subjects[i]
	n := len(t.vantages)
	var onset int64
	for v := range n {
		if v == s.site || !who(&t.seen[i*n+v]) {
			continue
		}
		for _, c := range s.way(v) {
			for k := range c.results {
				if r := &c.results[k]; b.now-r.at <= t.window && what(r) && (onset == 0 || r.at < onset) {
					onset = r.at
				}
			}
		}
	}
	return onset
}
