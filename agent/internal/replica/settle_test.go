package replica

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const second = time.Second

// at is a look that took no time, so many seconds after the begin.
func at(s float64) Look {
	t := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(s * float64(second)))
	return Look{Began: t, Ended: t, Interval: second, ClockErr: 100 * time.Millisecond, ClockKnown: true}
}

// follow settles one sighting after the other, a second apart, and returns the last status.
func follow(all ...Sighting) Status {
	var m Memory
	var st Status
	for i, s := range all {
		st, m = Settle(s, m, at(float64(i)))
	}
	return st
}

func TestSettle(t *testing.T) {
	ok := Sighting{State: CaughtUp}
	behind := func(lower, upper time.Duration, twoClocks bool) Sighting {
		return Sighting{State: CatchingUp, Lower: Some(lower), Upper: Some(upper), SourceClock: twoClocks}
	}
	f := func(name string, st Status, state State, reason Reason, lower, upper, exposure string) {
		t.Helper()
		if st.State != state || st.Reason != reason {
			t.Errorf("%s: %s (%s), want %s (%s)", name, st.State, st.Reason, state, reason)
		}
		for _, c := range []struct {
			what string
			got  Opt[time.Duration]
			want string
		}{{"lower", st.Lower, lower}, {"upper", st.Upper, upper}, {"exposure", st.Exposure, exposure}} {
			got := "-"
			if c.got.OK {
				got = c.got.V.String()
			}
			if got != c.want {
				t.Errorf("%s: %s is %s, want %s", name, c.what, got, c.want)
			}
		}
	}
	standing := func(s Sighting, position string) Sighting { s.Position = position; return s }
	f("complete", follow(ok), CaughtUp, "", "0s", "0s", "0s")
	f("behind by one clock", follow(ok, ok, behind(500*time.Millisecond, 700*time.Millisecond, false)), CatchingUp, "", "500ms", "700ms", "700ms")
	f("behind by two clocks", follow(ok, ok, behind(500*time.Millisecond, 700*time.Millisecond, true)), CatchingUp, "", "400ms", "800ms", "800ms")
	f("the first write after an idle hour is no hour of lag", follow(ok, ok, behind(0, time.Hour, true)), CatchingUp, "", "0s", "1s", "1s")
	f("behind, never complete", follow(behind(0, 5*second, true)), CatchingUp, "", "0s", "5.1s", "5.1s")
	f("clocks that contradict each other", follow(ok, behind(-5*second, -5*second, true)), Unknown, ReasonClockSkew, "-", "-", "1s")
	crossed := behind(900*time.Millisecond, 300*time.Millisecond, true)
	f("what is proven to be missing is older than the clocks say", follow(ok, crossed), Unknown, ReasonClockSkew, "-", "-", "1s")
	f("the applier may have moved between the questions", follow(ok, standing(crossed, "7")), CatchingUp, "", "0s", "1s", "1s")
	f("and goes on", follow(ok, standing(crossed, "6"), standing(crossed, "7")), CatchingUp, "", "0s", "2s", "2s")
	f("the applier has not moved", follow(ok, standing(crossed, "7"), standing(crossed, "7")), Unknown, ReasonClockSkew, "-", "-", "2s")
	f("a little before its time", follow(ok, behind(-50*time.Millisecond, -50*time.Millisecond, true)), CatchingUp, "", "0s", "100ms", "100ms")
	f("down", follow(ok, ok, ok, Sighting{State: LinkDown}, Sighting{State: LinkDown}, Sighting{State: LinkDown}), LinkDown, "", "2s", "-", "3s")
	look := func(s Sighting, m Memory, began float64) (Status, Memory) { return Settle(s, m, at(began)) }
	_, mem := look(ok, Memory{}, 0)
	_, mem = look(Sighting{State: LinkDown}, mem, 10) // it may have been alive until now
	seen, _ := look(Sighting{State: LinkDown}, mem, 12)
	f("down, found late", seen, LinkDown, "", "2s", "-", "12s")
	seen, _ = look(Sighting{State: LinkDown, LinkAge: Some(11 * second)}, mem, 12)
	f("down, and silent since", seen, LinkDown, "", "10s", "-", "12s")
	_, mem = look(ok, Memory{}, 0)
	seen, _ = look(behind(100*second, 200*second, false), mem, 10)
	f("a copy that was set back", seen, CatchingUp, "", "1m40s", "3m20s", "3m20s")
	down := Sighting{State: LinkDown}
	f("down, and something is missing for longer than it is", follow(ok, standing(behind(second, second, false), "7"), standing(down, "7"), standing(down, "7")), LinkDown, "", "3s", "-", "3s")
	f("down, and something was applied since", follow(ok, standing(behind(second, second, false), "7"), standing(down, "8"), standing(down, "8")), LinkDown, "", "1s", "-", "3s")
	f("down, and nothing was missing at last", follow(ok, standing(behind(second, second, false), "7"), standing(ok, "7"), standing(down, "7"), standing(down, "7")), LinkDown, "", "1s", "-", "2s")
	f("down at once", follow(ok, Sighting{State: LinkDown}), LinkDown, "", "1ms", "-", "1s")
	f("down, never complete", follow(Sighting{State: LinkDown}, Sighting{State: LinkDown}), LinkDown, "", "1ms", "-", "-")
	f("no answer", follow(ok, Sighting{State: Unknown, Reason: ReasonTimeout}), Unknown, ReasonTimeout, "-", "-", "1s")
	f("stopped", follow(ok, ok, Sighting{State: ApplierStopped, Reason: ReasonPaused}), ApplierStopped, ReasonPaused, "0s", "1s", "1s")
	f("copied anew", follow(ok, Sighting{State: Resyncing}), Resyncing, "", "1ms", "-", "-")
	f("copied anew and not yet complete", follow(ok, Sighting{State: Resyncing}, Sighting{State: CatchingUp}), CatchingUp, "", "0s", "-", "-")
	f("complete as of the newest word", follow(Sighting{State: CaughtUp, Upper: Some(3 * second)}), CaughtUp, "", "0s", "3s", "3s")
	f("down after old news", follow(Sighting{State: CaughtUp, Upper: Some(3 * second)}, Sighting{State: Unknown, Reason: ReasonTimeout}), Unknown, ReasonTimeout, "-", "-", "4s")
	f("complete in the future", follow(Sighting{State: CaughtUp, Upper: Some(-5 * second), SourceClock: true}), Unknown, ReasonClockSkew, "-", "-", "-")
	f("a long idle link is cut", follow(ok, Sighting{State: CaughtUp, LinkAge: Some(30 * second)}, Sighting{State: LinkDown, LinkAge: Some(31 * second)}), LinkDown, "", "1ms", "-", "1s")
	f("the engine knows what is exposed", follow(Sighting{State: CatchingUp, Upper: Some(5 * second), Exposure: Some(2 * second)}), CatchingUp, "", "0s", "5s", "2s")

	// Without the error of the clocks their difference bounds nothing; what the memory knows stands.
	unknown := at(1)
	unknown.ClockKnown = false
	_, m := Settle(ok, Memory{}, at(0))
	st, _ := Settle(behind(500*time.Millisecond, 700*time.Millisecond, true), m, unknown)
	f("clocks of which nothing is known", st, CatchingUp, "", "0s", "1s", "1s")

	// A heartbeat bounds a link that is down too.
	beat := at(1)
	beat.Heartbeat = true
	st, _ = Settle(Sighting{State: LinkDown, Lower: Some(3 * second), Upper: Some(4 * second), SourceClock: true}, m, beat)
	f("down with a heartbeat", st, LinkDown, "", "2.9s", "4.1s", "1s")
	late := at(9)
	late.Heartbeat = true
	st, _ = Settle(Sighting{State: LinkDown, Lower: Some(300 * time.Millisecond), Upper: Some(400 * time.Millisecond)}, m, late)
	f("down, and what is missing is younger than the silence", st, LinkDown, "", "300ms", "400ms", "400ms")
}

// Idle is when nothing was written for a while, not when nothing was looked at.
func TestIdle(t *testing.T) {
	var m Memory
	var st Status
	for i := range 12 {
		st, m = Settle(Sighting{State: CaughtUp, Written: "a"}, m, at(float64(i)))
		if want := map[bool]State{true: IdleLinkOK, false: CaughtUp}[i >= 10]; st.State != want {
			t.Errorf("after %d s: %s, want %s", i, st.State, want)
		}
	}
	if st, _ = Settle(Sighting{State: CaughtUp, Written: "b"}, m, at(12)); st.State != CaughtUp || st.LastCaughtUp != at(12).Began {
		t.Errorf("after a write: %s, complete at %s", st.State, st.LastCaughtUp)
	}
}

// Whatever is seen: no bound without a state, bounds that do not cross, nothing below 0, and a link that is down is never at 0.
func TestSettleKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		length := func(name string) Opt[time.Duration] {
			if rapid.Bool().Draw(rt, name+" known") {
				return Some(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(rt, name)))
			}
			return Opt[time.Duration]{}
		}
		var m Memory
		now := 0.0
		for range rapid.IntRange(1, 20).Draw(rt, "looks") {
			s := Sighting{
				State: State(rapid.IntRange(0, int(NoPrimary)).Draw(rt, "state")), Lower: length("lower"), Upper: length("upper"),
				Exposure: length("exposure"), SourceClock: rapid.Bool().Draw(rt, "two clocks"),
			}
			now += rapid.Float64Range(0, 100).Draw(rt, "later")
			look := at(now)
			look.ClockKnown, look.Heartbeat = rapid.Bool().Draw(rt, "clock known"), rapid.Bool().Draw(rt, "heartbeat")
			st, next := Settle(s, m, look)
			switch {
			case st.State == Unknown && (st.Lower.OK || st.Upper.OK):
				rt.Fatalf("unknown with bounds: %+v", st)
			case st.Lower.OK && st.Upper.OK && st.Lower.V > st.Upper.V:
				rt.Fatalf("the bounds cross: %+v", st)
			case st.Lower.V < 0, st.Upper.V < 0, st.Exposure.V < 0:
				rt.Fatalf("a time below 0: %+v", st)
			case (st.State == LinkDown || st.State == Resyncing) && (!st.Lower.OK || (!look.Heartbeat && st.Lower.V == 0)):
				rt.Fatalf("down and not behind: %+v", st)
			case s.State != CaughtUp && next.LastCaughtUp != m.LastCaughtUp:
				rt.Fatalf("complete by %s", s.State)
			}
			m = next
		}
	})
}

// However late the looks are and whatever the server tells of the age of its link: the lower bound of a link that is down is no more
// than the time since it was last heard.
func TestSilenceIsNotOverstated(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		span := func(name string, most time.Duration) time.Duration {
			return most * time.Duration(rapid.IntRange(0, 100).Draw(rt, name)) / 100
		}
		// By then the link is cut; until then something is heard every so often.
		start, cut, every := at(0).Began, span("cut", 5*second), max(span("every", second), time.Millisecond)
		heard := func(by time.Duration) time.Time { return start.Add(min(by, cut).Truncate(every)) }
		var m Memory
		var known time.Time // the newest message of which the engine knows
		now := time.Duration(0)
		for range rapid.IntRange(1, 20).Draw(rt, "looks") {
			began := now + span("later", second)
			read := began + span("asked", 100*time.Millisecond)
			now = read + span("answered", 100*time.Millisecond)
			s := Sighting{State: CatchingUp}
			told := rapid.Bool().Draw(rt, "told")
			if read > cut {
				s.State = LinkDown
			}
			if told || s.State == CatchingUp {
				known = heard(read)
			}
			if !known.IsZero() && rapid.Bool().Draw(rt, "age") {
				s.LinkAge = Some(start.Add(read).Sub(known))
			}
			look := at(0)
			look.Began, look.Ended, look.Interval = start.Add(began), start.Add(now), 10*time.Millisecond
			var st Status
			st, m = Settle(s, m, look)
			if most := max(look.Ended.Sub(heard(read)), time.Millisecond); s.State == LinkDown && st.Lower.V > most {
				rt.Fatalf("silent for %s, said to be at least %s", most, st.Lower.V)
			}
		}
	})
}
