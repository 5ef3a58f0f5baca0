package heartbeat

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Seen is what is remembered of one origin's beats as they arrive at a server. The zero value has seen none.
type Seen struct {
	Canaries
	newest replica.Opt[Beat]
	torn   time.Time // when it last went back
}

// Note takes in what was read of the origin at a time.
func (s *Seen) Note(beat replica.Opt[Beat], rows Rows, at time.Time) {
	if !beat.OK {
		return
	}
	if s.newest.OK && !beat.V.Same(s.newest.V) && !beat.V.After(s.newest.V) {
		s.torn = at
	}
	s.newest = beat
	if rows.Whole {
		s.Check(beat.V, rows.Canaries, at)
	}
}

// Torn reports whether the beats went back no longer ago than so: two writers write them, and take turns.
func (s *Seen) Torn(at time.Time, within time.Duration) bool {
	return !s.torn.IsZero() && at.Sub(s.torn) < within
}

// Ever reports whether a beat of the origin was ever seen.
func (s *Seen) Ever() bool { return s.newest.OK }

// Merge puts what a beat of the origin proves into a sighting of the target's end. now is the reader's wall clock at the end of
// the look, clockErr how far the clocks may be apart, beaten says that the sighting has the bounds of a heartbeat already.
//
// All that was committed before the beat was written is there, with the link down too: its age is an upper bound, and the tighter
// one is taken. It gives no lower bound: a beat that does not come may be missing because its writer does not write. Where the
// copy is made anew it proves nothing: tables are copied one after the other. A beat from the future beyond the
// error of the clocks is used only where there is no other figure, so that the clocks are called wrong.
func (b Beat) Merge(s replica.Sighting, beaten bool, now time.Time, clockErr time.Duration) (replica.Sighting, bool) {
	// Wall clocks of two hosts: without the monotonic reading of this one.
	age := now.Round(0).Sub(b.At.Round(0))
	wrong := age < -clockErr-time.Millisecond
	switch s.State {
	case replica.LinkDown:
		if wrong {
			return s, beaten
		}
		if !beaten {
			s.Lower, s.Upper = replica.Opt[time.Duration]{}, replica.Opt[time.Duration]{} // of a live link, if any
		}
	case replica.CaughtUp, replica.CatchingUp, replica.ApplierStopped, replica.DelayedByDesign:
		if wrong && s.Upper.OK {
			return s, beaten
		}
	default:
		return s, beaten
	}
	cost := func(twoClocks bool) time.Duration {
		if twoClocks {
			return clockErr
		}
		return 0
	}
	tighter := !s.Upper.OK || age+cost(true) < s.Upper.V+cost(s.SourceClock)
	if !tighter || (s.Lower.OK && age+clockErr < s.Lower.V) {
		return s, beaten
	}
	s.Upper, s.SourceClock = replica.Some(age), true
	s.Resolution = max(s.Resolution, time.Microsecond)
	if s.Reason == replica.ReasonNotMeasured {
		s.Reason, s.Detail = "", fmt.Sprintf("by the heartbeat of %s", b.Origin)
		if s.State == replica.CatchingUp && age <= b.Interval+b.Interval/2 && s.Bytes.V == 0 && s.Transactions.V == 0 && s.Messages.V == 0 {
			s.State = replica.CaughtUp // nothing is known to be missing, and what may be is younger than that
		}
	}
	return s, true
}
