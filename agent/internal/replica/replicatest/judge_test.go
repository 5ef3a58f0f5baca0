package replicatest

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// A link is cut at 2 s, when the copy has two of three writes, and heard again at 5 s.
func TestVerdict(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	j := &Journal{writes: []span{{at(0.9), at(1)}, {at(1.9), at(2)}, {at(2.9), at(3)}}}
	c := j.Copy()
	for _, r := range []struct {
		at float64
		n  int
	}{{0, 0}, {1.5, 1}, {2.1, 2}, {4.9, 2}, {5.1, 3}, {9, 3}} {
		c.Saw(r.n, at(r.at), at(r.at))
	}
	s := &subject{copies: []*Copy{c}}
	f := func(name string, state replica.State, began, ended, lower, upper float64, want verdict) {
		t.Helper()
		r := report{began: at(began)}
		r.State, r.At, r.Lower = state, at(ended), replica.Some(at(lower).Sub(start))
		if upper >= 0 {
			r.Upper = replica.Some(at(upper).Sub(start))
		}
		if got, least, most := s.verdict(r); got != want {
			t.Errorf("%s: %d, want %d; truth [%s, %s]", name, got, want, least, most)
		}
	}
	f("inside", replica.CatchingUp, 4, 4, 0.9, 1.2, certain)
	f("the harness does not know to a hair", replica.CatchingUp, 4, 4, 1.05, 1.2, right)
	f("too high", replica.CatchingUp, 4, 4, 1.2, 3, wrong)
	f("too low", replica.CatchingUp, 4, 4, 0, 0.9, wrong)
	f("complete", replica.CaughtUp, 6, 6, 0, 0, certain)
	f("complete, and said to lack something", replica.CatchingUp, 6, 6, 0.5, 1, wrong)
	f("it was so when the look began", replica.CatchingUp, 4.8, 5.2, 1.7, 3, right)
	f("down, silent since the latest that came", replica.LinkDown, 4, 4, 1.9, -1, certain)
	f("down, and silent for longer than it was", replica.LinkDown, 4, 4, 2.6, -1, wrong)
	f("down, and a heartbeat of a writer that was late", replica.LinkDown, 4, 4, 1.5, 2.2, certain)
	f("down, and the upper bound too low", replica.LinkDown, 4, 4, 0.5, 0.9, wrong)
	f("it comes while is looked", replica.LinkDown, 4.8, 5.2, 2.9, -1, certain)
	f("down and nothing is missing", replica.LinkDown, 8, 8, 0.0005, -1, certain)
	f("no bounds at the end of the run", replica.CaughtUp, 20, 20, 0, 0, unsure)
}
