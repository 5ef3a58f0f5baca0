package nats

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

var (
	begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	spec  = LinkSpec{Store: "bus", From: "a", To: "b", Channel: "ORDERS", End: replica.Target}
)

const second = time.Second

// view is a mirror with everything up to 7 of its origin's 7 messages, heard half a second ago; change changes it.
func view(change func(*View)) View {
	v := View{
		Copy: replica.Some(StreamRow{
			Name: "ORDERS", Made: begin.Add(-time.Hour), Now: begin, First: 1, Last: 7, Messages: 7,
			Mirror: replica.Some(SourceRow{Name: "ORDERS", APIPrefix: "$JS.a.API", Active: replica.Some(second / 2)}),
		}),
		Origin: replica.Some(StreamRow{
			Name: "ORDERS", Made: begin.Add(-2 * time.Hour), Now: begin, First: 1, Last: 7, Messages: 7, Subjects: []string{"orders.>"},
		}),
		Position: replica.Some(uint64(7)), Head: replica.Some(uint64(7)), Now: begin,
	}
	if change != nil {
		change(&v)
	}
	return v
}

func heard(v *View, active replica.Opt[time.Duration]) { v.Copy.V.Mirror.V.Active = active }

// behind makes the origin further than the copy by two messages, the first of which is so old.
func behind(v *View, age time.Duration) {
	v.Origin.V.Last, v.Origin.V.Messages, v.Head = 9, 9, replica.Some(uint64(9))
	v.Missing = replica.Some(MessageRow{Seq: 8, Time: begin.Add(-age)})
	v.After = v.Position
}

func show(d replica.Opt[time.Duration]) string {
	if !d.OK {
		return "-"
	}
	return d.V.String()
}

func TestJudge(t *testing.T) {
	f := func(name string, l LinkSpec, v View, state replica.State, reason replica.Reason, lower, upper, exposure string, bounded bool) {
		t.Helper()
		var m Memory
		s, b := Judge(l, v, 5*second, &m)
		if s.State != state || s.Reason != reason || b != bounded {
			t.Errorf("%s: %s (%s) %v, want %s (%s) %v: %s", name, s.State, s.Reason, b, state, reason, bounded, s.Detail)
		}
		if show(s.Lower) != lower || show(s.Upper) != upper || show(s.Exposure) != exposure {
			t.Errorf("%s: lag %s..%s exposure %s, want %s..%s %s", name, show(s.Lower), show(s.Upper), show(s.Exposure), lower, upper, exposure)
		}
		if s.State == replica.Unknown && (s.Reason == "" || s.Detail == "") {
			t.Errorf("%s: unknown without a word", name)
		}
		if s.Link != (replica.Link{Store: "bus", From: "a", To: "b", Channel: "ORDERS"}) || s.End != l.End || s.SourceClock {
			t.Errorf("%s: %+v", name, s)
		}
	}
	giver := spec
	giver.End = replica.Source
	caught, catching, down, unknown := replica.CaughtUp, replica.CatchingUp, replica.LinkDown, replica.Unknown
	f("complete", spec, view(nil), caught, "", "-", "-", "0s", false)
	f("complete, by the source's end", giver, view(nil), caught, "", "-", "-", "0s", false)
	f("behind", spec, view(func(v *View) { behind(v, 3*second) }), catching, "", "3s", "3s", "3s", true)
	f("behind, but the first missing came meanwhile", spec, view(func(v *View) {
		behind(v, 3*second)
		v.After = replica.Some(uint64(8))
	}), catching, "", "0s", "3s", "3s", true)
	f("behind, but all came meanwhile", spec, view(func(v *View) {
		behind(v, 3*second)
		v.After = replica.Some(uint64(9))
	}), caught, "", "-", "-", "0s", false)
	f("what was removed is not missing", spec, view(func(v *View) {
		behind(v, 3*second)
		v.Missing, v.After = replica.Opt[MessageRow]{}, replica.Opt[uint64]{}
	}), caught, "", "-", "-", "0s", false)
	f("what came after the origin was asked is not missing", spec, view(func(v *View) {
		behind(v, 0)
		v.Missing.V.Seq = 10
	}), caught, "", "-", "-", "0s", false)
	f("lost", spec, view(func(v *View) {
		behind(v, second)
		v.Origin.V.First, v.Missing.V.Seq = 9, 9
	}), catching, replica.ReasonLost, "1s", "1s", "1s", true)
	f("an empty copy has lost nothing", spec, view(func(v *View) {
		behind(v, second)
		v.Copy.V.Last, v.Position, v.After = 0, replica.Some(uint64(0)), replica.Some(uint64(0))
		v.Origin.V.First, v.Missing.V.Seq = 9, 9
	}), catching, "", "1s", "1s", "1s", true)
	f("a message from the future", spec, view(func(v *View) { behind(v, -3*second) }), catching, "", "0s", "-3s", "0s", true)
	f("stale and complete", spec, view(func(v *View) { heard(v, replica.Some(6*second)) }), down, replica.ReasonStale, "-", "-", "0s", false)
	f("stale and behind", spec, view(func(v *View) {
		heard(v, replica.Some(6*second))
		behind(v, 4*second)
	}), down, replica.ReasonStale, "4s", "4s", "4s", true)
	f("never heard", spec, view(func(v *View) { heard(v, replica.Opt[time.Duration]{}) }), down, "", "-", "-", "0s", false)
	f("an error", spec, view(func(v *View) {
		heard(v, replica.Some(6*second))
		v.Copy.V.Mirror.V.Error = replica.Some(int64(10059))
	}), down, replica.ReasonError, "-", "-", "0s", false)
	f("ahead of its origin", spec, view(func(v *View) { v.Ahead = true }), unknown, replica.ReasonDisagree, "-", "-", "-", false)
	f("promoted", spec, view(func(v *View) { v.Copy.V.Mirror = replica.Opt[SourceRow]{} }), unknown, replica.ReasonRole, "-", "-", "-", false)
	f("mirrors another", spec, view(func(v *View) { v.Copy.V.Mirror.V.Name = "OTHER" }), unknown, replica.ReasonMisconfigured, "-", "-", "-", false)
	f("the copy has no leader", spec, view(func(v *View) { v.Copy.V.Clustered = true }), unknown, replica.ReasonIncomplete, "-", "-", "-", false)
	f("the copy has no leader, and nobody tells what it copies", spec, view(func(v *View) {
		v.Copy.V.Clustered, v.Copy.V.Mirror = true, replica.Opt[SourceRow]{}
	}), unknown, replica.ReasonIncomplete, "-", "-", "-", false)
	f("the origin has no leader", spec, view(func(v *View) { v.Origin.V.Clustered = true }), unknown, replica.ReasonIncomplete, "-", "-", "-", false)

	hidden := func(why *Failure) func(*View) {
		return func(v *View) {
			v.Origin, v.Head, v.OriginWhy = replica.Opt[StreamRow]{}, replica.Opt[uint64]{}, why
		}
	}
	timeout := &Failure{replica.ReasonTimeout, "no answer in time"}
	f("alone", spec, view(hidden(nil)), catching, replica.ReasonNotMeasured, "-", "-", "-", false)
	f("the origin does not answer", spec, view(hidden(timeout)), catching, replica.ReasonNotMeasured, "-", "-", "-", false)
	f("the origin does not answer at the source's end", giver, view(hidden(timeout)), unknown, replica.ReasonTimeout, "-", "-", "-", false)
	f("there is no origin", spec, view(hidden(refused(codeNoStream))), unknown, replica.ReasonMisconfigured, "-", "-", "-", false)
	f("no answer", spec, View{CopyWhy: timeout}, unknown, replica.ReasonTimeout, "-", "-", "-", false)
	f("the source's end alone", giver, view(func(v *View) { v.Copy = replica.Opt[StreamRow]{} }), unknown, replica.ReasonNotMeasured, "-", "-", "-", false)
	f("no position", spec, view(func(v *View) { v.Position = replica.Opt[uint64]{} }), catching, replica.ReasonNotMeasured, "-", "-", "-", false)
}

// A copy alone has a bound by a heartbeat, also when the link is down, and is complete while the newest one is no later than one
// is due; it tells clocks that contradict each other. A beat that does not come proves no lag: its writer may have stopped.
func TestJudgeHeartbeat(t *testing.T) {
	f := func(name string, age, off, active time.Duration, state replica.State, reason replica.Reason, lower, upper string) {
		t.Helper()
		var m Memory
		v := beaten(begin.Add(-age))
		heard(&v, replica.Some(active))
		v.Now = begin.Add(off)
		s, bounded := Judge(spec, v, 5*second, &m)
		if !bounded || !s.SourceClock {
			t.Errorf("%s: %+v", name, s)
		}
		look := replica.Look{Began: begin, Ended: begin, Interval: second, ClockErr: second / 10, ClockKnown: true, Heartbeat: bounded}
		st, _ := replica.Settle(s, replica.Memory{}, look)
		if st.State != state || st.Reason != reason || show(st.Lower) != lower || show(st.Upper) != upper {
			t.Errorf("%s: %s (%s) %s..%s", name, st.State, st.Reason, show(st.Lower), show(st.Upper))
		}
	}
	f("fresh", second/2, 0, second, replica.CaughtUp, "", "0s", "600.001ms")
	f("as late as may be", 3*second/2, 0, second, replica.CaughtUp, "", "0s", "1.600001s")
	f("late", 3*second, 0, second, replica.CatchingUp, "", "0s", "3.100001s")
	f("with the link down", 7*second, 0, 6*second, replica.LinkDown, replica.ReasonStale, "4.899999s", "7.100001s")
	f("the agent's clock is 5 s fast", 3*second, 5*second, second, replica.CatchingUp, "", "0s", "8.100001s")
	f("the agent's clock is 5 s slow", 3*second, -5*second, second, replica.Unknown, replica.ReasonClockSkew, "-", "-")
}

// beaten is a mirror whose origin is not in sight, with a beat that was written then.
func beaten(then time.Time) View {
	return view(func(v *View) {
		v.Origin, v.Head = replica.Opt[StreamRow]{}, replica.Opt[uint64]{}
		v.Beat = replica.Some(heartbeat.Beat{Origin: "a", Epoch: 1, Seq: 1, At: then, Interval: second})
	})
}

// Streams that are made anew: an origin whose sequences say nothing of the copy, and a copy that has to be filled.
func TestJudgeRemembers(t *testing.T) {
	var m Memory
	f := func(name string, change func(*View), state replica.State, reason replica.Reason) {
		t.Helper()
		s, _ := Judge(spec, view(change), 5*second, &m)
		if s.State != state || s.Reason != reason {
			t.Errorf("%s: %s (%s), want %s (%s)", name, s.State, s.Reason, state, reason)
		}
	}
	newOrigin := func(v *View) { v.Origin.V.Made = begin.Add(-time.Minute) }
	newCopy := func(v *View) { v.Copy.V.Made = begin.Add(-second) }
	f("at first", nil, replica.CaughtUp, "")
	f("the origin is new", newOrigin, replica.Unknown, replica.ReasonDisagree)
	f("and stays so", newOrigin, replica.Unknown, replica.ReasonDisagree)
	f("the copy is new too", func(v *View) {
		newOrigin(v)
		newCopy(v)
		behind(v, second)
		v.Position, v.After = replica.Some(uint64(3)), replica.Some(uint64(3))
	}, replica.Resyncing, "")
	f("nearly there", func(v *View) {
		newOrigin(v)
		newCopy(v)
		behind(v, second)
	}, replica.Resyncing, "")
	f("complete", func(v *View) { newOrigin(v); newCopy(v) }, replica.CaughtUp, "")
	f("restored from a backup", func(v *View) {
		newOrigin(v)
		newCopy(v)
		behind(v, second)
		v.Position, v.After = replica.Some(uint64(5)), replica.Some(uint64(5))
	}, replica.Resyncing, "")
	// With the origin out of sight its newest beat tells when the copy is filled: a mirror gets its messages in order.
	hidden := func(age time.Duration) func(*View) {
		return func(v *View) {
			*v = beaten(begin.Add(-age))
			newCopy(v)
		}
	}
	f("filled up to an old beat", hidden(time.Minute), replica.Resyncing, "")
	f("filled up to a new one", hidden(second), replica.CaughtUp, "")
	f("and behind again", hidden(2*second), replica.CatchingUp, "")
}

// A mirror that tries in vain is heard once at each attempt.
func TestHearing(t *testing.T) {
	type look struct {
		at, active float64
		last       uint64
		alive      bool
	}
	f := func(name string, looks ...look) {
		t.Helper()
		var h hearing
		for i, l := range looks {
			active := replica.Opt[time.Duration]{}
			if l.active >= 0 {
				active = replica.Some(time.Duration(l.active * float64(second)))
			}
			if got := h.note(active, begin.Add(time.Duration(l.at*float64(second))), l.last, 5*second); got != l.alive {
				t.Errorf("%s: look %d: %v", name, i, got)
			}
		}
	}
	f("steady", look{0, .5, 7, true}, look{5, .5, 7, true}, look{10, .9, 7, true})
	f("in vain", look{0, .5, 7, true}, look{5, 5.5, 7, false}, look{10, .5, 7, false}, look{10.1, .6, 7, false},
		look{15, 5.5, 7, false}, look{20, 10.5, 7, false}, look{22, .5, 7, false}, look{33, .5, 7, false})
	f("comes back", look{0, 9, 7, false}, look{5, .5, 7, false}, look{10, .5, 7, true})
	f("comes back with a message", look{0, 9, 7, false}, look{5, .5, 8, true})
	f("looked at seldom", look{0, 60, 7, false}, look{60, .5, 7, false}, look{120, .5, 7, false}, look{180, .5, 7, true})
	f("never heard", look{0, -1, 0, false}, look{1, -1, 0, false}, look{2, .1, 0, false}, look{3, .1, 0, true})
}

func TestFind(t *testing.T) {
	from := func(name, domain string) SourceRow {
		s := SourceRow{Name: name}
		if domain != "" {
			s.APIPrefix = "$JS." + domain + ".API"
		}
		return s
	}
	f := func(name string, domain string, sources []SourceRow, want string) {
		t.Helper()
		l := spec
		l.Domain = domain
		up, why := l.find(StreamRow{Sources: sources})
		got := up.APIPrefix
		if why != nil {
			got = string(why.Reason)
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	f("nothing", "", nil, "role")
	f("the only one", "", []SourceRow{from("ORDERS", "x"), from("LOCAL", "")}, "$JS.x.API")
	f("not there", "", []SourceRow{from("LOCAL", "")}, "misconfigured")
	f("named as the site", "", []SourceRow{from("ORDERS", "x"), from("ORDERS", "a")}, "$JS.a.API")
	f("two", "", []SourceRow{from("ORDERS", "x"), from("ORDERS", "y")}, "misconfigured")
	f("declared", "y", []SourceRow{from("ORDERS", "x"), from("ORDERS", "y")}, "$JS.y.API")
	f("the wrong domain", "z", []SourceRow{from("ORDERS", "x")}, "misconfigured")
	f("twice the same", "", []SourceRow{from("ORDERS", "a"), from("ORDERS", "a")}, "misconfigured")
}
