package postgresql

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Beat is one heartbeat of an origin.
type Beat struct {
	Origin     string
	Epoch, Seq int64
	At         time.Time // the writer's clock
	Interval   time.Duration
}

// Echo is how far an observer has applied the heartbeats of an origin.
type Echo struct {
	Observer   string
	Epoch, Seq int64
	At         time.Time // the observer's clock
}

// after says whether b was written after other by the same line of writers.
func (b Beat) after(other Beat) bool {
	return b.Epoch > other.Epoch || (b.Epoch == other.Epoch && b.Seq > other.Seq)
}

// Bounds puts what the newest heartbeat proves into a sighting of the target end. It is a pure function; now is the reader's
// clock before the read, before is what was read at the look before.
//
// All that was committed before the beat was stamped is there, so its age is Upper, with the link down too. The next beat was
// due one interval later and is not there, so Lower is the age less the interval: true while the origin's writer works.
// A heartbeat that went back was written by two writers: unknown(split_brain).
func Bounds(s replica.Sighting, beat Beat, before replica.Opt[Beat], now time.Time) replica.Sighting {
	if before.OK && before.V != beat && !beat.after(before.V) {
		s.Lower, s.Upper = replica.Opt[time.Duration]{}, replica.Opt[time.Duration]{}
		return because(s, replica.Unknown, replica.ReasonSplitBrain,
			fmt.Sprintf("the heartbeat of %s went from epoch %d seq %d to epoch %d seq %d", beat.Origin,
				before.V.Epoch, before.V.Seq, beat.Epoch, beat.Seq))
	}
	age := now.Sub(beat.At)
	s.Lower, s.Upper = replica.Some(max(age-beat.Interval, 0)), replica.Some(age)
	s.SourceClock, s.Resolution = true, time.Microsecond
	return s
}

// Sent is when the writer wrote its heartbeats, by its own clock. The zero value has written none.
type Sent struct {
	epoch int64
	beats marks
}

// Note returns Sent with one more: seq of epoch was written, and at is the time before the write began.
func (s Sent) Note(epoch, seq int64, at time.Time) Sent {
	if epoch != s.epoch {
		s = Sent{epoch: epoch}
	}
	s.beats = s.beats.add(at, at, uint64(max(seq, 0)))
	return s
}

// Exposure is how old the oldest commit can be that the observer does not have: all that was committed before the write of the
// beat that it echoes is proven to be there. One clock measures it. Absent for a beat that is not remembered.
func (s Sent) Exposure(e Echo, now time.Time) replica.Opt[time.Duration] {
	if e.Epoch != s.epoch || e.Seq < 0 {
		return replica.Opt[time.Duration]{}
	}
	at, ok := s.beats.complete(uint64(e.Seq))
	if !ok {
		return replica.Opt[time.Duration]{}
	}
	return replica.Some(now.Sub(at))
}
