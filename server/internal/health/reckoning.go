package health

import (
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// reckonBefore and reckonAfter are how near to an alarm something else must object to confirm it.
	reckonBefore = int64(10 * time.Minute)
	reckonAfter  = int64(30 * time.Minute)
	maxAlarms    = 4096

	weekNs = float64(7 * 24 * time.Hour)
)

// alarm is one that is not reckoned yet. A crossing is one of a whole subject.
type alarm struct {
	subject  core.Subject
	at       int64
	crossing bool
}

// Reckoning is what came of the alarms since the start.
func (t *Tracker) Reckoning() core.Reckoning { return t.reckoning }

// count takes a word of a calibrated detector: for how long it has judged.
func (t *Tracker) count(s core.Signal) {
	if !s.Calibrated() || (s.State != core.DetectorNormal && s.State != core.DetectorAnomalous) {
		return
	}
	weeks := float64(max(0, s.Interval)) / weekNs
	t.reckoning.SeriesWeeks += weeks
	t.reckoning.Expected += weeks * s.FalseAlarms
}

// raise waits for what else objects. One too many is not confirmed.
func (t *Tracker) raise(a alarm) {
	if len(t.alarms) < maxAlarms {
		t.alarms = append(t.alarms, a)
	} else {
		t.settle(a, false)
	}
}

func (t *Tracker) settle(a alarm, confirmed bool) {
	switch {
	case a.crossing && !confirmed:
		t.reckoning.Crossings++
	case a.crossing:
	case confirmed:
		t.reckoning.Confirmed++
	default:
		t.reckoning.Unconfirmed++
	}
}

// reckon settles the alarms near which something else objected, and those whose time is over.
func (t *Tracker) reckon(now int64) {
	left := t.alarms[:0]
	for _, a := range t.alarms {
		confirmed := false
		for _, s := range t.subjects {
			confirmed = confirmed || (a.subject.Covers(s.subject) && s.troubledAt != 0 && s.troubledAt >= a.at-reckonBefore && s.troubledAt <= a.at+reckonAfter)
		}
		if confirmed || now > a.at+reckonAfter {
			t.settle(a, confirmed)
		} else {
			left = append(left, a)
		}
	}
	t.alarms = left
}

// objects reports whether something besides statistics objects to subject i: a probe, the edge, a silence; or its users are
// being moved, or people work at it, which makes its numbers odd for a reason.
func (b *bench) objects(i int) bool {
	c, r := &b.cases[i], &b.routes[i]
	return r.away || (r.changedAt != 0 && b.now < r.changedAt+int64(Rebase)) || c.down > 0 || c.gray > 0 || c.slow > 0 || c.symptom ||
		c.silentFor > 0 || c.inside == core.ProbeDown || b.t.topo.Maintenance(b.t.subjects[i].subject, stamp(b.now)) != nil
}
