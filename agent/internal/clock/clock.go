package clock

import (
	"slices"
	"time"
)

// Exchange is one question and answer. T1 and T4 are the agent's wall clock at sending and receiving, T2 and
// T3 the server's at receiving and answering, in unix nanoseconds. Mono is the agent's monotonic clock at T4,
// from any fixed start.
type Exchange struct {
	T1, T2, T3, T4 int64
	Mono           time.Duration
}

// Estimate is the agent's clock minus the server's, right to within Err either way.
type Estimate struct {
	Offset time.Duration
	Err    time.Duration
	Known  bool
}

// What an Estimator keeps and assumes.
const (
	keep = 64 // exchanges
	// driftPPM is how many microseconds a second two clocks may drift apart. Quartz stays within 100; the
	// kernel steers the monotonic clock by up to 500 ppm.
	driftPPM = 500
)

// Estimator remembers recent exchanges with one server and answers with the best of them. It is not safe for
// concurrent use. The zero value knows nothing.
type Estimator struct {
	kept []measurement
}

// measurement is one exchange, freed of the agent's wall clock.
type measurement struct {
	server time.Duration // server's unix time minus the agent's monotonic clock
	err    time.Duration // half the round trip without the server's hold
	mono   time.Duration // when
}

func (m measurement) errAt(mono time.Duration) time.Duration {
	age := max(mono-m.mono, m.mono-mono)
	return m.err + time.Duration(drift(int64(age)))
}

// drift is how far the clocks may part within so many nanoseconds, rounded up.
func drift(ns int64) int64 { return ns/1_000_000*driftPPM + ns%1_000_000*driftPPM/1_000_000 + 1 }

// Add takes one exchange in. It reports false, and learns nothing, when the stamps contradict each other: an
// answer before its question, or a hold longer than the round trip.
func (e *Estimator) Add(x Exchange) bool {
	roundTrip, hold := x.T4-x.T1, x.T3-x.T2
	if roundTrip < 0 || hold < 0 || hold > roundTrip+drift(hold) {
		return false
	}
	// At T4 the server's clock showed T3 plus the way back, which is between nothing and the whole trip.
	wayBack := max(roundTrip-hold, 0) / 2
	m := measurement{
		server: time.Duration(x.T3+wayBack) - x.Mono,
		err:    time.Duration(wayBack + drift(roundTrip)),
		mono:   x.Mono,
	}
	// Measurements that cannot both be true: the server's clock was stepped. The newest one is right.
	e.kept = slices.DeleteFunc(e.kept, func(old measurement) bool {
		return (old.server - m.server).Abs() > old.errAt(m.mono)+m.err
	})
	if len(e.kept) == keep {
		e.kept = slices.Delete(e.kept, 0, 1)
	}
	e.kept = append(e.kept, m)
	return true
}

// At is the estimate at a moment, given as the agent's wall clock in unix nanoseconds and its monotonic clock.
func (e *Estimator) At(wall int64, mono time.Duration) Estimate {
	best, found := measurement{}, false
	for _, m := range e.kept {
		if !found || m.errAt(mono) < best.errAt(mono) {
			best, found = m, true
		}
	}
	if !found {
		return Estimate{}
	}
	return Estimate{Offset: time.Duration(wall) - mono - best.server, Err: best.errAt(mono), Known: true}
}
