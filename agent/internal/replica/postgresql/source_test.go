package postgresql

import (
	"database/sql"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

func peerRow() sourceRow {
	return sourceRow{
		Now: noon, Timeline: set[int64](1), Newest: set(LSN(1000)), Silence: time.Minute, PID: set[int64](7), AppName: set("ams"),
		ClientAddr: set("192.0.2.7"), State: set("streaming"), ReplayLSN: set(LSN(1000)), ReplyTime: set(noon),
	}
}

func TestSource(t *testing.T) {
	link := LinkSpec{Store: "s", From: "a", To: "b", End: replica.Source, Peer: "ams"}
	type bound = replica.Opt[time.Duration]
	none, sec := bound{}, func(n int) bound { return replica.Some(time.Duration(n) * time.Second) }
	nobody := sourceRow{Now: noon, Timeline: set[int64](1), Newest: set(LSN(1000)), Silence: time.Minute}
	// Three seconds ago 900 was the newest position and the peer had it.
	before := sourceKept{timeline: 1, pid: 7, replayed: 900, reply: noon.Add(-time.Minute), heard: noon.Add(-time.Minute), looked: noon.Add(-time.Second)}
	before.written = before.written.add(noon.Add(-3*time.Second), noon.Add(-3*time.Second), 900)
	slot := slotRow{Name: "ams_slot", Kind: "physical", WALStatus: set("reserved"), Retained: set[int64](5)}

	f := func(name string, rows []sourceRow, slots []slotRow, kept sourceKept, state replica.State, reason replica.Reason, upper, exposure bound) {
		t.Helper()
		s, _ := source(link, rows, slots, kept, 0, noon)
		if s.State != state || s.Reason != reason || s.Upper != upper || s.Exposure != exposure {
			t.Errorf("%s: %v(%s) upper %v exposure %v %q, want %v(%s) %v %v", name, s.State, s.Reason, s.Upper, s.Exposure, s.Detail,
				state, reason, upper, exposure)
		}
		if s.SourceClock {
			t.Errorf("%s: one clock measured it", name)
		}
	}
	with := func(spoil func(*sourceRow)) []sourceRow {
		r := peerRow()
		spoil(&r)
		return []sourceRow{r}
	}
	f("all is there", []sourceRow{peerRow()}, nil, sourceKept{}, replica.CaughtUp, "", sec(0), sec(0))
	f("behind", with(func(r *sourceRow) { r.ReplayLSN = set(LSN(950)) }), nil, before, replica.CatchingUp, "", sec(3), sec(3))
	f("behind at the first look", with(func(r *sourceRow) { r.ReplayLSN = set(LSN(950)) }), nil, sourceKept{},
		replica.CatchingUp, replica.ReasonNotMeasured, none, none)
	f("no replay position yet", with(func(r *sourceRow) { r.ReplayLSN = sql.Null[LSN]{} }), nil, sourceKept{},
		replica.CatchingUp, replica.ReasonNotMeasured, none, none)
	f("nobody, never seen", []sourceRow{nobody}, nil, sourceKept{}, replica.LinkDown, "", none, none)
	f("nobody, and something is missing", []sourceRow{nobody}, nil, before, replica.LinkDown, "", none, sec(3))
	f("nobody, and nothing is missing", []sourceRow{nobody}, nil, func() sourceKept { k := before; k.replayed = 1000; return k }(),
		replica.LinkDown, "", none, sec(0))
	f("slot without a user", []sourceRow{nobody}, []slotRow{slot}, func() sourceKept { k := before; k.slot = "ams_slot"; return k }(),
		replica.LinkDown, "", none, sec(3))
	gone := slot
	gone.WALStatus = set("lost")
	f("slot lost", []sourceRow{nobody}, []slotRow{gone}, func() sourceKept { k := before; k.slot = "ams_slot"; return k }(),
		replica.LinkDown, replica.ReasonLost, none, sec(3))
	gone = slot
	gone.Invalid = set("rows_removed")
	f("slot invalid", []sourceRow{nobody}, []slotRow{gone}, func() sourceKept { k := before; k.slot = "ams_slot"; return k }(),
		replica.LinkDown, replica.ReasonLost, none, sec(3))
	f("hidden", with(func(r *sourceRow) { r.AppName, r.State = sql.Null[string]{}, sql.Null[string]{} }), nil, sourceKept{},
		replica.Unknown, replica.ReasonPrivilege, none, none)
	f("another peer only", with(func(r *sourceRow) { r.AppName = set("lon") }), nil, sourceKept{}, replica.LinkDown, "", none, none)
	f("base backup", with(func(r *sourceRow) { r.State = set("backup") }), nil, before, replica.Resyncing, "", none, none)
	stream := peerRow()
	stream.ReplayLSN, stream.PID = sql.Null[LSN]{}, set[int64](8)
	backup := peerRow()
	backup.State = set("backup")
	f("base backup and its log", []sourceRow{backup, stream}, nil, before, replica.Resyncing, "", none, none)
	f("base backup beside a live peer", []sourceRow{backup, peerRow()}, nil, sourceKept{}, replica.CaughtUp, "", sec(0), sec(0))
	f("a standby that feeds nobody", []sourceRow{func() sourceRow { r := nobody; r.InRecovery = true; return r }()}, nil, sourceKept{},
		replica.Unknown, replica.ReasonRole, none, none)
	f("a standby that feeds the target", with(func(r *sourceRow) { r.InRecovery, r.Timeline = true, sql.Null[int64]{} }), nil, sourceKept{},
		replica.CaughtUp, "", sec(0), sec(0))
	f("no rows", nil, nil, sourceKept{}, replica.Unknown, replica.ReasonIncomplete, none, none)
	f("no position", with(func(r *sourceRow) { r.Newest = sql.Null[LSN]{} }), nil, sourceKept{}, replica.Unknown, replica.ReasonIncomplete, none, none)
	f("silence cannot be judged", with(func(r *sourceRow) { r.Silence = 0 }), nil, sourceKept{}, replica.Unknown, replica.ReasonIncomplete, none, sec(0))
	quiet := before
	quiet.reply, quiet.heard = noon, noon.Add(-61*time.Second)
	f("no reply for too long", []sourceRow{peerRow()}, nil, quiet, replica.LinkDown, replica.ReasonStale, none, sec(0))
	f("another timeline", with(func(r *sourceRow) { r.ReplayLSN, r.Timeline = set(LSN(950)), set[int64](2) }), nil, before,
		replica.CatchingUp, replica.ReasonNotMeasured, none, none)

	link.Peer = "192.0.2.7"
	f("by address", []sourceRow{peerRow()}, nil, sourceKept{}, replica.CaughtUp, "", sec(0), sec(0))
	link.Peer = "ams_slot"
	slot.Active, slot.ActivePID = true, set[int64](7)
	f("by slot", []sourceRow{peerRow()}, []slotRow{slot}, sourceKept{}, replica.CaughtUp, "", sec(0), sec(0))
	f("no such slot", []sourceRow{peerRow()}, nil, sourceKept{}, replica.LinkDown, "", none, none)
}

// TestSourceHears: the age of a link is told by the agent's clock alone, whatever the peer's clock says.
func TestSourceHears(t *testing.T) {
	link := LinkSpec{End: replica.Source, Peer: "ams"}
	var kept sourceKept
	look := func(second int, reply time.Time) replica.Opt[time.Duration] {
		t.Helper()
		row := peerRow()
		row.ReplyTime = set(reply)
		var s replica.Sighting
		s, kept = source(link, []sourceRow{row}, nil, kept, 0, noon.Add(time.Duration(second)*time.Second))
		return s.LinkAge
	}
	want := func(got replica.Opt[time.Duration], seconds int) {
		t.Helper()
		if !got.OK || got.V != time.Duration(seconds)*time.Second {
			t.Errorf("link age %v, want %d s", got, seconds)
		}
	}
	odd := noon.Add(-40 * 24 * time.Hour)
	want(look(0, odd), 0)
	want(look(1, odd), 1)
	want(look(2, odd), 2)
	want(look(3, odd.Add(time.Second)), 1)
	want(look(4, odd.Add(time.Second)), 2)
}

func TestMeasures(t *testing.T) {
	f := func(name string, got []replica.Measure, want ...string) {
		t.Helper()
		if len(got) != len(want) {
			t.Fatalf("%s: %+v, want %v", name, got, want)
		}
		for i, m := range got {
			if m.Name != want[i] {
				t.Errorf("%s: %s, want %s", name, m.Name, want[i])
			}
		}
	}
	f("a slot of NULLs", slotRow{Name: "s"}.measures(), "slot.active")
	f("a full slot", slotRow{
		Name: "s", Active: true, WALStatus: set("extended"), SafeSize: set[int64](1), Retained: set[int64](2),
		Unconfirmed: set[int64](3),
	}.measures(), "slot.active", "slot.retained", "slot.unconfirmed", "slot.safe", "slot.wal_status")
	f("a peer of NULLs", sourceRow{}.measures())
	f("a server of NULLs", extraRow{}.measures())
	f("conflicts", extraRow{InDoubt: set[int64](0), Conflicts: set(`{"snapshot": 2, "lock": 1, "odd": null}`)}.measures(),
		"in_doubt", "standby.conflicts", "standby.conflicts")
	f("conflicts that cannot be read", extraRow{InDoubt: set[int64](0), Conflicts: set(`[`)}.measures(), "in_doubt")
	f("no timeline", timeline(sql.Null[int64]{}))
}
