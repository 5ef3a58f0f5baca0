package deadman

import (
	"time"

	"github.com/evenkeel/evenkeel/remediations/pagerduty"
)

// Times of sending. PagerDuty asks for tens of seconds to minutes between attempts.
const (
	firstRetry   = 10 * time.Second
	longestRetry = 2 * time.Minute
	// slowRetry follows an answer that says no: a key or a relay can be put right while we wait.
	slowRetry = 10 * time.Minute
	// repeatEvery is how often an agent that still sees the trouble says so again.
	repeatEvery = 5 * time.Minute
)

// phase is where an alarm stands.
type phase uint8

const (
	calm    phase = iota
	raised        // the page is wanted, or open and not yet to be closed
	closing       // the trouble is over, and the alert is to be closed
)

// alarm is the way of one kind of trouble from its first sign to its end.
type alarm struct {
	kind  Kind
	phase phase
	key   string    // of the alert; kept from its first trigger to its resolve
	since time.Time // the latest clearing answer before the trouble, or an earlier run's word, or the start
	due   time.Time // when the page was first wanted
	open  bool      // PagerDuty has, or may have, an alert of ours
	said  time.Time // when PagerDuty last accepted a trigger; zero: not yet

	cleared time.Time // the latest clearing answer of any server; zero: none in this run
	steady  time.Time // since when clearing answers come without a lapse; zero: they do not
	next    time.Time // no attempt before
	wait    time.Duration
}

func newAlarm(kind Kind, e Entry) *alarm {
	a := &alarm{kind: kind, since: e.Since}
	if e.Open {
		a.phase, a.key, a.due, a.open, a.said = raised, e.Key, e.Due, true, e.Said
	}
	return a
}

// clears reports whether a heartbeat's outcome shows that the trouble is not there.
func (a *alarm) clears(o Outcome) bool {
	return o == Answered || o == Refused && a.kind == NoServer
}

// step takes one heartbeat in. stands says whether the trouble is there now.
func (a *alarm) step(at time.Time, clears, stands bool, start time.Time, r Rules) (c Change, changed bool) {
	broken := a.cleared.IsZero() || at.Sub(a.cleared) > r.Lapse
	switch {
	case clears && (broken || a.steady.IsZero()):
		a.steady = at
	case broken:
		a.steady = time.Time{}
	}
	if clears {
		a.cleared = at
	}
	switch {
	case a.phase != raised && stands:
		a.raise(at, start)
		return Change{Kind: a.kind, Raised: true, Since: a.since}, true
	case a.phase == raised && !a.open && clears:
		c = Change{Kind: a.kind, Since: a.since}
		a.rest() // nobody was told, so one answer is enough
		return c, true
	case a.phase == raised && !a.steady.IsZero() && at.Sub(a.steady) >= r.Steady:
		a.phase, a.next, a.wait = closing, time.Time{}, 0
		return Change{Kind: a.kind, Since: a.since, Paged: true}, true
	case a.phase == calm && clears:
		a.since = time.Time{} // what an earlier run remembers is over
	}
	return Change{}, false
}

// raise begins a trouble. An alert that was to be closed stays the same alert.
func (a *alarm) raise(at, start time.Time) {
	switch {
	case !a.cleared.IsZero():
		a.since = a.cleared
	case a.since.IsZero():
		a.since = start
	}
	a.phase, a.due, a.said, a.next, a.wait = raised, at, time.Time{}, time.Time{}, 0
}

// rest forgets a trouble that is over.
func (a *alarm) rest() {
	a.phase, a.key, a.open = calm, "", false
	a.since, a.due, a.said, a.next, a.wait = time.Time{}, time.Time{}, time.Time{}, time.Time{}, 0
}

// wants is the event to send now. A trouble that is not there at the moment is not told.
func (a *alarm) wants(at time.Time, stands bool) pagerduty.Action {
	switch {
	case at.Before(a.next):
	case a.phase == closing:
		return pagerduty.Resolve
	case a.phase == raised && stands && a.said.IsZero():
		return pagerduty.Trigger
	case a.phase == raised && stands && at.Sub(a.said) >= repeatEvery:
		return pagerduty.Update
	}
	return pagerduty.ActionUnknown
}

func (a *alarm) told(c Call, v Verdict, at time.Time, jitter float64) {
	resolve := c.Event.Action == pagerduty.Resolve
	switch v {
	case Accepted:
		a.next, a.wait = time.Time{}, 0
		switch {
		case !resolve:
			a.said = at
		case a.phase == closing:
			a.rest()
		default: // it came back while the resolve was on its way
			a.open = false
		}
		return
	case NotSent, TurnedAway:
		if !resolve && !c.wasOpen {
			a.open = false
		}
	case Unclear, VerdictUnknown:
	}
	if !a.open && (a.phase == closing || a.cleared.After(a.due)) {
		a.rest() // it was over before PagerDuty could be told
		return
	}
	a.wait = min(max(2*a.wait, firstRetry), longestRetry)
	wait := a.wait
	if v == TurnedAway {
		wait = slowRetry
	}
	a.next = at.Add(wait + time.Duration(jitter*float64(wait)/4))
}

// entry is what a later run must know; ok is false when there is nothing.
func (a *alarm) entry() (e Entry, ok bool) {
	e = Entry{Key: a.key, Since: a.since, Due: a.due, Open: a.open, Said: a.said}.plain()
	return e, a.phase != calm || !a.since.IsZero()
}
