package heartbeat

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestBounds(t *testing.T) {
	beat := Beat{Origin: "a", Epoch: 1, Seq: 7, At: start, Interval: time.Second}
	f := func(what string, readerOff, trueLag, clockErr time.Duration, state replica.State, lower, upper time.Duration) {
		t.Helper()
		now := start.Add(trueLag + readerOff)
		b := beat.Bounds(now)
		s := replica.Sighting{State: replica.CatchingUp, Lower: b.Lower, Upper: b.Upper, SourceClock: true, Resolution: b.Resolution}
		st, _ := replica.Settle(s, replica.Memory{}, replica.Look{Began: now, Ended: now, ClockErr: clockErr, ClockKnown: true})
		if st.State != state || st.Lower.V != lower || st.Upper.V != upper {
			t.Errorf("%s: %v %s %v..%v, want %v %v..%v", what, st.State, st.Reason, st.Lower, st.Upper, state, lower, upper)
		}
		if st.State == replica.CatchingUp && (st.Lower.V > trueLag || st.Upper.V < trueLag) {
			t.Errorf("%s: %v..%v does not hold %v", what, st.Lower.V, st.Upper.V, trueLag)
		}
	}
	const s, u = time.Second, time.Microsecond
	f("fresh", 0, 300*time.Millisecond, 0, replica.CatchingUp, 0, 300*time.Millisecond+u)
	f("late", 0, 10*s, 0, replica.CatchingUp, 8*s-u, 10*s+u)
	f("reader's clock 5 s ahead, known", 5*s, 10*s, 5*s, replica.CatchingUp, 8*s-u, 20*s+u)
	f("reader's clock 5 s behind, known", -5*s, 10*s, 5*s, replica.CatchingUp, 0, 10*s+u)
	f("reader's clock 5 s behind, unknown", -5*s, 0, 100*time.Millisecond, replica.Unknown, 0, 0)
}

func TestConflict(t *testing.T) {
	beat := func(epoch, seq int64) Beat {
		return Beat{Epoch: epoch, Seq: seq, At: start.Add(time.Duration(seq) * time.Second)}
	}
	some := func(epoch, seq int64) replica.Opt[Beat] { return replica.Some(beat(epoch, seq)) }
	f := func(what string, w Writer, stored, next Beat, want bool) {
		t.Helper()
		if got := w.Conflict(stored, next); got != want {
			t.Errorf("%s: %v", what, got)
		}
	}
	f("first beat after an older writer", Writer{}, beat(1, 9), beat(2, 1), false)
	f("first beat, a newer writer is there", Writer{}, beat(3, 1), beat(2, 1), true)
	f("first beat, the same epoch is there", Writer{}, beat(2, 5), beat(2, 1), true)
	f("own beat", Writer{Wrote: some(2, 4)}, beat(2, 4), beat(2, 5), false)
	f("own beat that was thought lost", Writer{Wrote: some(2, 6)}, beat(2, 4), beat(2, 7), false)
	f("same epoch, more beats", Writer{Wrote: some(2, 4)}, beat(2, 5), beat(2, 6), true)
	f("same epoch and number, another time", Writer{Wrote: some(2, 4)}, Beat{Epoch: 2, Seq: 4, At: start}, beat(2, 5), true)
	f("taken over", Writer{Wrote: some(2, 4)}, beat(3, 1), beat(2, 5), true)
	f("the displaced writer still writes", Writer{Displaced: some(1, 9), Wrote: some(2, 4)}, beat(1, 10), beat(2, 5), true)
	f("a failover brought the displaced beat back", Writer{Displaced: some(1, 9), Wrote: some(2, 4)}, beat(1, 8), beat(2, 5), false)
	f("an older writer where there was none", Writer{Wrote: some(2, 4)}, beat(1, 1), beat(2, 5), true)
	f("own earlier epoch", Writer{Displaced: some(1, 9), Wrote: some(2, 4)}, beat(2, 4), beat(3, 1), false)
}

func FuzzParseBeat(f *testing.F) {
	f.Add("7 1700000000000000 3 1000")
	f.Add("7 1700000000000000 3")
	f.Add("-7 +1 03 1e3")
	f.Fuzz(func(t *testing.T, text string) {
		if b, ok := ParseBeat("a", text); ok && (b.Text() != text || b.Interval <= 0) {
			t.Errorf("%q became %q", text, b.Text())
		}
		if e, ok := ParseEcho("b", "a", text); ok && e.Text() != text {
			t.Errorf("%q became %q", text, e.Text())
		}
	})
}
