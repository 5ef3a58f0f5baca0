package postgresql

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

func TestBounds(t *testing.T) {
	down := replica.Sighting{State: replica.LinkDown, End: replica.Target}
	beat := Beat{Origin: "fra", Epoch: 2, Seq: 10, At: noon, Interval: time.Second}
	f := func(name string, b Beat, before replica.Opt[Beat], age time.Duration, state replica.State, reason replica.Reason, lower, upper time.Duration) {
		t.Helper()
		s := Bounds(down, b, before, noon.Add(age))
		if s.State != state || s.Reason != reason {
			t.Errorf("%s: %v(%s), want %v(%s)", name, s.State, s.Reason, state, reason)
		}
		if state == replica.Unknown {
			if s.Lower.OK || s.Upper.OK {
				t.Errorf("%s: bounds without knowledge", name)
			}
			return
		}
		if !s.SourceClock || s.Lower != replica.Some(lower) || s.Upper != replica.Some(upper) {
			t.Errorf("%s: [%v, %v], want [%v, %v]", name, s.Lower, s.Upper, lower, upper)
		}
	}
	first := replica.Opt[Beat]{}
	older := replica.Some(Beat{Origin: "fra", Epoch: 2, Seq: 9, At: noon.Add(-time.Second), Interval: time.Second})
	f("fresh", beat, first, 300*time.Millisecond, replica.LinkDown, "", 0, 300*time.Millisecond)
	f("old", beat, replica.Some(beat), time.Minute, replica.LinkDown, "", 59*time.Second, time.Minute)
	f("newer than before", beat, older, time.Second, replica.LinkDown, "", 0, time.Second)
	f("the clock is behind: no number is hidden", beat, first, -5*time.Second, replica.LinkDown, "", 0, -5*time.Second)
	back := beat
	back.Seq = 8
	f("seq went back", back, older, 0, replica.Unknown, replica.ReasonSplitBrain, 0, 0)
	back = beat
	back.Epoch = 1
	f("epoch went back", back, older, 0, replica.Unknown, replica.ReasonSplitBrain, 0, 0)
	twin := older.V
	twin.At = noon
	f("the same seq from another pen", twin, older, 0, replica.Unknown, replica.ReasonSplitBrain, 0, 0)
	next := Beat{Origin: "fra", Epoch: 3, Seq: 1, At: noon, Interval: time.Second}
	f("a new writer", next, older, time.Second, replica.LinkDown, "", 0, time.Second)
}

// TestBoundsClock: the reader's clock is 5 s wrong, one way and the other.
func TestBoundsClock(t *testing.T) {
	f := func(name string, skew, clockErr time.Duration, state replica.State, reason replica.Reason) {
		t.Helper()
		truth := 200 * time.Millisecond
		now := noon.Add(truth + skew)
		s := Bounds(replica.Sighting{State: replica.CatchingUp}, Beat{Epoch: 1, Seq: 1, At: noon, Interval: time.Second}, replica.Opt[Beat]{}, now)
		st, _ := replica.Settle(s, replica.Memory{}, replica.Look{Began: now, Ended: now, ClockErr: clockErr, ClockKnown: true, Heartbeat: true})
		if st.State != state || st.Reason != reason {
			t.Errorf("%s: %v(%s), want %v(%s)", name, st.State, st.Reason, state, reason)
		}
		if st.Upper.OK && (st.Lower.V > truth || st.Upper.V < truth) {
			t.Errorf("%s: [%v, %v] does not hold %v", name, st.Lower.V, st.Upper.V, truth)
		}
	}
	f("right", 0, 10*time.Millisecond, replica.CatchingUp, "")
	f("ahead, and known to be", 5*time.Second, 6*time.Second, replica.CatchingUp, "")
	f("behind, and known to be", -5*time.Second, 6*time.Second, replica.CatchingUp, "")
	f("behind, and thought to be right", -5*time.Second, 10*time.Millisecond, replica.Unknown, replica.ReasonClockSkew)
}

func TestSent(t *testing.T) {
	at := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	var s Sent
	for i := range 10 {
		s = s.Note(4, int64(i), at(i))
	}
	f := func(name string, e Echo, want replica.Opt[time.Duration]) {
		t.Helper()
		if got := s.Exposure(e, at(20)); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	f("the newest", Echo{Epoch: 4, Seq: 9}, replica.Some(11*time.Second))
	f("an older one", Echo{Epoch: 4, Seq: 3}, replica.Some(17*time.Second))
	f("another epoch", Echo{Epoch: 3, Seq: 9}, replica.Opt[time.Duration]{})
	f("no seq", Echo{Epoch: 4, Seq: -1}, replica.Opt[time.Duration]{})
	s = s.Note(5, 0, at(15))
	f("before a new start", Echo{Epoch: 4, Seq: 9}, replica.Opt[time.Duration]{})
}
