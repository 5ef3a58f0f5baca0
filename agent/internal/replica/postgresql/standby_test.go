package postgresql

import (
	"database/sql"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

func set[T any](v T) sql.Null[T] { return sql.Null[T]{V: v, Valid: true} }

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// healthy is a standby that has all; each case spoils something.
func healthy() standbyRow {
	return standbyRow{
		Now: noon, InRecovery: true, Timeline: set[int64](1), ReplayLSN: set(LSN(1000)), LastXact: set(noon.Add(-time.Hour)),
		Paused: set(false), Silence: time.Minute, ReceiverPID: set[int64](7), Status: set("streaming"), SlotName: set("ams_slot"),
		SenderHost: set("fra.example"), LatestEnd: set(LSN(1000)), LatestEndTime: set(noon.Add(-2 * time.Second)),
		MsgSent: set(noon.Add(-time.Second)), MsgReceived: set(noon.Add(-900 * time.Millisecond)),
	}
}

func TestStandby(t *testing.T) {
	link := LinkSpec{Store: "s", From: "a", To: "b", End: replica.Target}
	type bound = replica.Opt[time.Duration]
	f := func(name string, spoil func(*standbyRow, *standbyKept), state replica.State, reason replica.Reason, lower, upper bound) {
		t.Helper()
		row, kept := healthy(), standbyKept{timeline: 1}
		spoil(&row, &kept)
		s, _ := standby(link, row, kept, 0)
		if s.State != state || s.Reason != reason || s.Lower != lower || s.Upper != upper {
			t.Errorf("%s: %v(%s) [%v, %v] %q, want %v(%s) [%v, %v]", name, s.State, s.Reason, s.Lower, s.Upper, s.Detail, state, reason, lower, upper)
		}
		if s.Upper.OK && !s.SourceClock {
			t.Errorf("%s: a bound by two clocks must say so", name)
		}
	}
	none, sec := bound{}, func(n float64) bound { return replica.Some(time.Duration(n * float64(time.Second))) }
	behindBy := func(n LSN) func(*standbyRow, *standbyKept) {
		return func(r *standbyRow, _ *standbyKept) { r.LatestEnd = set(LSN(1000) + n) }
	}

	f("all is there", func(*standbyRow, *standbyKept) {}, replica.CaughtUp, "", none, sec(1))
	f("replay is ahead of what was told", func(r *standbyRow, _ *standbyKept) { r.ReplayLSN = set(LSN(2000)) }, replica.CaughtUp, "", none, sec(1))
	f("behind, first look", behindBy(10), replica.CatchingUp, "", none, sec(3600))
	f("behind after a rest: what was complete before counts", func(r *standbyRow, k *standbyKept) {
		behindBy(10)(r, k)
		k.sent = k.sent.add(noon.Add(-time.Hour), noon.Add(-3*time.Second), 1000)
	}, replica.CatchingUp, "", none, sec(3))
	f("behind by much for long", func(r *standbyRow, k *standbyKept) {
		behindBy(2*movingGap)(r, k)
		r.LastXact = set(noon.Add(-9 * time.Second))
		k.sent = k.sent.add(noon.Add(-8*time.Second), noon.Add(-8*time.Second), 1000+movingGap)
	}, replica.CatchingUp, "", sec(7), sec(9))
	f("behind by little for long: it may be there at the end of the look", func(r *standbyRow, k *standbyKept) {
		behindBy(2*pausedGap)(r, k)
		r.LastXact = set(noon.Add(-9 * time.Second))
		k.sent = k.sent.add(noon.Add(-8*time.Second), noon.Add(-8*time.Second), 1000+pausedGap)
	}, replica.CatchingUp, "", none, sec(9))
	f("paused for long", func(r *standbyRow, k *standbyKept) {
		behindBy(2*pausedGap)(r, k)
		r.Paused, r.LastXact = set(true), set(noon.Add(-9*time.Second))
		k.sent = k.sent.add(noon.Add(-8*time.Second), noon.Add(-8*time.Second), 1000+pausedGap)
	}, replica.ApplierStopped, replica.ReasonPaused, sec(7), sec(9))
	f("behind, and nothing was replayed yet", func(r *standbyRow, k *standbyKept) {
		behindBy(10)(r, k)
		r.LastXact = sql.Null[time.Time]{}
	}, replica.CatchingUp, replica.ReasonNotMeasured, none, none)
	f("promoted", func(r *standbyRow, _ *standbyKept) { r.InRecovery = false }, replica.Unknown, replica.ReasonRole, none, none)
	f("no receiver", func(r *standbyRow, _ *standbyKept) { r.ReceiverPID, r.Status = sql.Null[int64]{}, sql.Null[string]{} },
		replica.LinkDown, "", none, none)
	f("no receiver, but an archive", func(r *standbyRow, _ *standbyKept) {
		r.ReceiverPID, r.Status, r.Archive = sql.Null[int64]{}, sql.Null[string]{}, true
	}, replica.LinkDown, replica.ReasonArchive, none, none)
	f("waiting at the end of a timeline", func(r *standbyRow, _ *standbyKept) { r.Status = set("waiting") }, replica.LinkDown, "", none, none)
	f("hidden", func(r *standbyRow, _ *standbyKept) { r.Status = sql.Null[string]{} }, replica.Unknown, replica.ReasonPrivilege, none, none)
	f("silent", func(r *standbyRow, _ *standbyKept) { r.MsgReceived = set(noon.Add(-61 * time.Second)) },
		replica.LinkDown, replica.ReasonStale, none, none)
	f("silence cannot be judged", func(r *standbyRow, _ *standbyKept) { r.Silence = 0 }, replica.Unknown, replica.ReasonIncomplete, none, none)
	f("a new receiver that heard nothing", func(r *standbyRow, _ *standbyKept) {
		r.MsgSent, r.MsgReceived, r.LatestEndTime = set(noon), set(noon), set(noon)
	}, replica.LinkDown, replica.ReasonStale, none, none)
	for name, hide := range map[string]func(*standbyRow){
		"no replay position": func(r *standbyRow) { r.ReplayLSN = sql.Null[LSN]{} },
		"no newest position": func(r *standbyRow) { r.LatestEnd = sql.Null[LSN]{} },
		"no time of it":      func(r *standbyRow) { r.LatestEndTime = sql.Null[time.Time]{} },
		"no sending time":    func(r *standbyRow) { r.MsgSent = sql.Null[time.Time]{} },
		"no receipt":         func(r *standbyRow) { r.MsgReceived = sql.Null[time.Time]{} },
	} {
		f(name, func(r *standbyRow, _ *standbyKept) { hide(r) }, replica.Unknown, replica.ReasonIncomplete, none, none)
	}
	f("paused with all", func(r *standbyRow, _ *standbyKept) { r.Paused = set(true) }, replica.ApplierStopped, replica.ReasonPaused, none, sec(1))
	f("paused and behind", func(r *standbyRow, k *standbyKept) {
		behindBy(10)(r, k)
		r.Paused = set(true)
	}, replica.ApplierStopped, replica.ReasonPaused, none, sec(3600))
	f("delayed, the applier waits", func(r *standbyRow, k *standbyKept) {
		behindBy(10)(r, k)
		r.ApplyDelay, r.ApplierWaits = 5*time.Second, set("RecoveryApplyDelay")
	}, replica.DelayedByDesign, "", none, sec(5))
	f("delayed, between two waits", func(r *standbyRow, k *standbyKept) {
		behindBy(10)(r, k)
		r.ApplyDelay, r.LastXact = 5*time.Second, set(noon.Add(-5500*time.Millisecond))
	}, replica.DelayedByDesign, "", none, sec(5.5))
	f("delayed and late", func(r *standbyRow, k *standbyKept) {
		behindBy(10)(r, k)
		r.ApplyDelay, r.LastXact = 5*time.Second, set(noon.Add(-10*time.Second))
	}, replica.CatchingUp, "", none, sec(10))
	f("the source's clock is ahead", func(r *standbyRow, _ *standbyKept) { r.MsgSent = set(noon.Add(5 * time.Second)) },
		replica.CaughtUp, "", none, sec(-5))
	f("another timeline: positions of the old one say nothing", func(r *standbyRow, k *standbyKept) {
		behindBy(10)(r, k)
		r.Timeline = set[int64](2)
		k.sent = k.sent.add(noon.Add(-3*time.Second), noon.Add(-3*time.Second), 1000)
	}, replica.CatchingUp, "", none, sec(3600))

	link.Peer = "elsewhere"
	f("another source", func(*standbyRow, *standbyKept) {}, replica.Unknown, replica.ReasonMisconfigured, none, none)
	link.Peer = "fra.example"
	f("the declared host", func(*standbyRow, *standbyKept) {}, replica.CaughtUp, "", none, sec(1))
}

// TestStandbyClock: the source's clock is 5 s ahead or behind of the standby's.
func TestStandbyClock(t *testing.T) {
	f := func(name string, skew, clockErr time.Duration, want replica.State, reason replica.Reason) {
		t.Helper()
		row := healthy()
		row.LatestEnd = set(LSN(1010))
		row.LastXact, row.MsgSent, row.LatestEndTime = set(noon.Add(skew-50*time.Millisecond)), set(noon.Add(skew)), set(noon.Add(skew))
		s, _ := standby(LinkSpec{End: replica.Target}, row, standbyKept{}, 0)
		st, _ := replica.Settle(s, replica.Memory{}, replica.Look{Began: noon, Ended: noon, ClockErr: clockErr, ClockKnown: true})
		if st.State != want || st.Reason != reason {
			t.Errorf("%s: %v(%s), want %v(%s)", name, st.State, st.Reason, want, reason)
		}
		if truth := 50 * time.Millisecond; st.Upper.OK && (st.Lower.V > truth || st.Upper.V < truth) {
			t.Errorf("%s: [%v, %v] does not hold %v", name, st.Lower.V, st.Upper.V, truth)
		}
	}
	f("ahead, and known to be", 5*time.Second, 6*time.Second, replica.CatchingUp, "")
	f("behind, and known to be", -5*time.Second, 6*time.Second, replica.CatchingUp, "")
	f("ahead, and thought to be right", 5*time.Second, 10*time.Millisecond, replica.Unknown, replica.ReasonClockSkew)
}
