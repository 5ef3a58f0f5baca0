package heartbeat

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Sent is when a writer wrote its beats, by its own clock. The zero value has written none.
type Sent struct {
	writes []write
}

type write struct {
	epoch, seq int64
	at         time.Time // before the write began, with monotonic reading
}

// keepWrites bounds what is remembered. When there are more, every second one of the older half goes: what is bounded with
// them gets wider and stays true.
const keepWrites = 2048

// Note remembers that a beat was written; at is the time before the write began.
func (s *Sent) Note(b Beat, at time.Time) {
	s.writes = append(s.writes, write{b.Epoch, b.Seq, at})
	if len(s.writes) <= keepWrites {
		return
	}
	kept := s.writes[:0]
	for i, w := range s.writes {
		if i >= keepWrites/2 || i%2 == 0 {
			kept = append(kept, w)
		}
	}
	s.writes = kept
}

// Before is a time before which all that was committed is at the observer of an echo; absent for beats that are not remembered,
// as after a restart until the first echo of a new beat.
func (s *Sent) Before(e Echo) replica.Opt[time.Time] {
	ours := false
	for _, w := range slices.Backward(s.writes) {
		ours = ours || (w.epoch == e.Epoch && w.seq >= e.Seq)
		if w.epoch > e.Epoch || (w.epoch == e.Epoch && w.seq > e.Seq) {
			continue
		}
		if !ours {
			break // it answers a beat that was not written here
		}
		return replica.Some(w.at)
	}
	return replica.Opt[time.Time]{}
}

// Exactly is when the beat of an echo was written, if it is remembered.
func (s *Sent) Exactly(e Echo) replica.Opt[time.Time] {
	for _, w := range slices.Backward(s.writes) {
		if w.epoch == e.Epoch && w.seq == e.Seq {
			return replica.Some(w.at)
		}
	}
	return replica.Opt[time.Time]{}
}
