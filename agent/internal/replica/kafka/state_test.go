package kafka

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

var (
	begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	spec  = LinkSpec{Store: "log", From: "a", To: "b", Channel: "copier", End: replica.Source}
	mm2   = LinkSpec{Store: "log", From: "a", To: "b", End: replica.Target}
)

const second = time.Second

// part is a partition of which the group has read up to committed (below 0: nothing was committed); its first unread record is
// so old.
func part(committed, start, end int64, age time.Duration) PartitionRow {
	p := PartitionRow{Place: Place{"orders", 0}, Start: start, End: end}
	if committed >= 0 {
		p.Committed = replica.Some(committed)
	}
	if from := max(committed, start); from < end {
		p.First = replica.Some(RecordRow{Offset: from, At: begin.Add(-age), Appended: true})
	}
	return p
}

// another is the same in another partition.
func another(p PartitionRow) PartitionRow {
	p.Partition++
	return p
}

func show(d replica.Opt[time.Duration]) string {
	if !d.OK {
		return "-"
	}
	return d.V.String()
}

func TestGroup(t *testing.T) {
	f := func(name string, members int, parts []PartitionRow, state replica.State, reason replica.Reason, lower, upper string, messages int64) {
		t.Helper()
		row := GroupRow{Partitions: parts, Now: begin}
		if members >= 0 {
			row.Members = replica.Some(members)
		}
		var m Memory
		s := Group(spec, row, &m)
		if s.State != state || s.Reason != reason || show(s.Lower) != lower || show(s.Upper) != upper || s.Messages.V != messages {
			t.Errorf("%s: %s (%s) %s..%s %d messages, want %s (%s) %s..%s %d: %s", name,
				s.State, s.Reason, show(s.Lower), show(s.Upper), s.Messages.V, state, reason, lower, upper, messages, s.Detail)
		}
		if s.State == replica.Unknown && (s.Messages.OK || s.Detail == "") {
			t.Errorf("%s: unknown with a figure or without a word: %+v", name, s)
		}
		if s.Link != (replica.Link{Store: "log", From: "a", To: "b", Channel: "copier"}) || s.End != replica.Source {
			t.Errorf("%s: %+v", name, s)
		}
	}
	of := func(parts ...PartitionRow) []PartitionRow { return parts }
	change := func(p PartitionRow, f func(*PartitionRow)) PartitionRow { f(&p); return p }
	ok, behind, stopped, unknown := replica.CaughtUp, replica.CatchingUp, replica.ApplierStopped, replica.Unknown
	f("nothing committed, nothing declared", 1, nil, unknown, replica.ReasonMisconfigured, "-", "-", 0)
	f("complete", 1, of(part(7, 0, 7, 0)), ok, "", "-", "-", 0)
	f("complete, members not known", -1, of(part(7, 0, 7, 0)), ok, "", "-", "-", 0)
	f("complete, and nobody is there", 0, of(part(7, 0, 7, 0)), stopped, "", "0s", "0s", 0)
	f("behind", 1, of(part(5, 0, 7, 3*second)), behind, "", "3s", "3s", 2)
	f("the worst of two", 1, of(part(5, 0, 7, 3*second), another(part(1, 0, 7, 2*second))), behind, "", "3s", "3s", 8)
	f("one of two", 1, of(another(part(7, 0, 7, 0)), part(5, 0, 7, 3*second)), behind, "", "3s", "3s", 2)
	f("behind, and nobody is there", 0, of(part(5, 0, 7, 3*second)), stopped, "", "3s", "3s", 2)
	f("the producer's clock bounds from above only", 1, of(change(part(5, 0, 7, 3*second), func(p *PartitionRow) { p.First.V.Appended = false })), behind, "", "0s", "3s", 2)
	after := func(at int64) []PartitionRow {
		return of(change(part(5, 0, 7, 3*second), func(p *PartitionRow) { p.After = replica.Some(at) }))
	}
	f("it did not go on meanwhile", 1, after(5), behind, "", "3s", "3s", 2)
	f("it went on meanwhile", 1, after(6), behind, "", "0s", "3s", 2)
	f("it read all meanwhile", 1, after(7), ok, "", "-", "-", 0)
	f("a record of the future", 1, of(part(5, 0, 7, -3*second)), behind, "", "0s", "-3s", 2)
	f("only a mark of a transaction", 1, of(change(part(6, 0, 7, 0), func(p *PartitionRow) { p.First = replica.Opt[RecordRow]{} })), ok, "", "-", "-", 0)
	f("not read in time", 1, of(change(part(5, 0, 7, 0), func(p *PartitionRow) { p.First, p.Unread = replica.Opt[RecordRow]{}, true })), behind, replica.ReasonNotMeasured, "0s", "-", 2)
	f("no commit is not 0", 1, of(part(-1, 2, 7, 3*second)), behind, replica.ReasonNotMeasured, "3s", "-", 5)
	f("no commit and nobody there", 0, of(part(-1, 2, 7, 3*second)), stopped, replica.ReasonNotMeasured, "3s", "-", 5)
	f("no commit in an empty partition", 1, of(part(-1, 7, 7, 0)), ok, "", "-", "-", 0)
	f("expired", 1, of(part(2, 5, 7, 3*second)), behind, replica.ReasonLost, "3s", "3s", 2)
	f("all expired", 1, of(part(2, 7, 7, 0)), ok, replica.ReasonLost, "-", "-", 0)
	f("more than there is", 1, of(part(9, 0, 7, 0)), unknown, replica.ReasonDisagree, "-", "-", 0)
}

func measure(s replica.Sighting, name string) float64 {
	for _, m := range s.Extra {
		if m.Name == name {
			return m.Value
		}
	}
	return -1
}

// The rules that judge a group over several looks.
func TestStatus(t *testing.T) {
	type look struct{ committed, end int64 }
	f := func(name string, members int, want Status, state replica.State, looks ...look) {
		t.Helper()
		var m Memory
		var s replica.Sighting
		for i, l := range looks {
			now := begin.Add(time.Duration(i) * second)
			s = Group(spec, GroupRow{Members: replica.Some(members), Partitions: []PartitionRow{part(l.committed, 0, l.end, second)}, Now: now}, &m)
		}
		got := measure(s, "kafka.group.status")
		if want == NotJudged && got != -1 {
			t.Errorf("%s: judged as %s", name, Status(got))
		}
		if want != NotJudged && Status(got) != want {
			t.Errorf("%s: %s, want %s", name, Status(got), want)
		}
		if s.State != state {
			t.Errorf("%s: %s, want %s", name, s.State, state)
		}
	}
	many := func(n int, at func(i int64) look) (out []look) {
		for i := range n {
			out = append(out, at(int64(i)))
		}
		return out
	}
	flat := func(int64) look { return look{5, 9} }
	behind, stopped := replica.CatchingUp, replica.ApplierStopped
	f("too little is seen", 1, NotJudged, behind, many(9, flat)...)
	f("stall", 1, Stall, stopped, many(10, flat)...)
	f("stall while more comes", 1, Stall, stopped, many(10, func(i int64) look { return look{5, 9 + i} })...)
	f("stop at once", 0, Stop, stopped, look{5, 9})
	f("no members for a moment, and it moved", 0, NotJudged, behind, look{5, 9}, look{6, 9})
	f("zero once", 1, OK, behind, append(many(9, flat), look{9, 9}, look{9, 12})...)
	f("slower than the producers", 1, Warning, behind, many(10, func(i int64) look { return look{5 + i, 9 + 2*i} })...)
	f("catches up", 1, OK, behind, many(10, func(i int64) look { return look{5 + 2*i, 100 + i} })...)
	f("went back", 1, Rewind, behind, look{5, 9}, look{3, 9})
	f("a window slides", 1, Stall, stopped, append([]look{{9, 9}}, many(10, func(int64) look { return look{9, 12} })...)...)
}

// Without the producer's clock the lower bound is since when the record is known to be there.
func TestSince(t *testing.T) {
	var m Memory
	var s replica.Sighting
	for i, l := range []struct{ committed, end int64 }{{5, 5}, {5, 7}, {5, 9}, {6, 9}, {7, 9}} {
		p := part(l.committed, 0, l.end, time.Minute)
		if p.First.OK {
			p.First.V.Appended = false
		}
		s = Group(spec, GroupRow{Partitions: []PartitionRow{p}, Now: begin.Add(time.Duration(i) * second)}, &m)
		if want := []string{"-", "0s", "1s", "2s", "2s"}[i]; show(s.Lower) != want {
			t.Errorf("look %d: lower %s, want %s", i, show(s.Lower), want)
		}
	}
	w := &window{}
	for i := range int64(3 * maxPoints) {
		w.reached(i, begin)
	}
	if len(w.points) > maxPoints {
		t.Errorf("%d points", len(w.points))
	}
	w.reached(1, begin)
	if len(w.points) != 1 {
		t.Errorf("a log that went back leaves %d points", len(w.points))
	}
}

func TestMirror(t *testing.T) {
	beat := func(age time.Duration) replica.Opt[HeartbeatRow] {
		return replica.Some(HeartbeatRow{Source: "a", Target: "b", At: begin.Add(-age)})
	}
	var m Memory
	f := func(name string, row MirrorRow, state replica.State, reason replica.Reason, lower, upper, heard string) {
		t.Helper()
		s, bounded := Mirror(mm2, row, second, 5*second, &m)
		if s.State != state || s.Reason != reason || show(s.Lower) != lower || show(s.Upper) != upper || show(s.LinkAge) != heard || bounded != s.Upper.OK {
			t.Errorf("%s: %s (%s) %s..%s heard %s bounded %v: %s", name, s.State, s.Reason, show(s.Lower), show(s.Upper), show(s.LinkAge), bounded, s.Detail)
		}
	}
	at := func(offset int64, age, later time.Duration) MirrorRow {
		return MirrorRow{Beat: beat(age), Offset: offset, Now: begin.Add(later)}
	}
	f("none yet", MirrorRow{Now: begin}, replica.LinkDown, "", "-", "-", "-")
	f("an old one at first sight", at(1, 9*second, 0), replica.LinkDown, replica.ReasonStale, "8s", "9s", "9s")
	f("a newer one that is old: it catches up", at(2, 9*second, second), replica.CatchingUp, "", "9s", "10s", "0s")
	f("fresh", at(3, -1*second, 2*second), replica.CatchingUp, "", "0s", "1s", "0s")
	f("quiet", at(3, -1*second, 7*second), replica.CatchingUp, "", "5s", "6s", "5s")
	f("too quiet", at(3, -1*second, 8*second), replica.LinkDown, replica.ReasonStale, "6s", "7s", "6s")
	f("the topic was made anew", at(1, -9*second, 9*second), replica.CatchingUp, "", "0s", "0s", "0s")
	f("of the future", at(2, -15*second, 10*second), replica.CatchingUp, "", "0s", "-5s", "0s")
	m = Memory{}
	f("fresh at first sight", at(7, second, 0), replica.CatchingUp, "", "0s", "1s", "1s")
	other := at(8, second, 0)
	other.Beat.V.Source = "c"
	f("of another cluster", other, replica.Unknown, replica.ReasonMisconfigured, "-", "-", "-")

	// What is reported of clocks that are 5 s apart.
	settle := func(off time.Duration) replica.Status {
		var m Memory
		s, bounded := Mirror(mm2, MirrorRow{Beat: beat(second), Offset: 1, Now: begin.Add(off)}, second, 10*second, &m)
		st, _ := replica.Settle(s, replica.Memory{}, replica.Look{Began: begin, Ended: begin, Interval: second, ClockErr: second / 10, ClockKnown: true, Heartbeat: bounded})
		return st
	}
	if st := settle(-5 * second); st.State != replica.Unknown || st.Reason != replica.ReasonClockSkew {
		t.Errorf("5 s slow: %s (%s)", st.State, st.Reason)
	}
	if st := settle(5 * second); st.State != replica.CatchingUp || st.Upper.V < 6*second {
		t.Errorf("5 s fast: %s (%s) %v", st.State, st.Reason, st.Upper)
	}
}

// heartbeat writes a record as MirrorMaker does.
func mirrorBeat(source, target string, at time.Time) (key, value []byte) {
	for _, s := range []string{source, target} {
		key = binary.BigEndian.AppendUint16(key, uint16(len(s)))
		key = append(key, s...)
	}
	value = binary.BigEndian.AppendUint16(value, 0)
	return key, binary.BigEndian.AppendUint64(value, uint64(at.UnixMilli()))
}

func TestParseHeartbeat(t *testing.T) {
	key, value := mirrorBeat("a", "west", begin)
	b, ok := ParseHeartbeat(key, value)
	if !ok || b.Source != "a" || b.Target != "west" || !b.At.Equal(begin) {
		t.Errorf("%+v %v", b, ok)
	}
	if _, ok := ParseHeartbeat(key, append(value, 1, 2)); !ok {
		t.Error("a later version may be longer")
	}
	f := func(name string, key, value []byte) {
		t.Helper()
		if b, ok := ParseHeartbeat(key, value); ok {
			t.Errorf("%s: %+v", name, b)
		}
	}
	f("nothing", nil, nil)
	f("half a key", key[:4], value)
	f("more key", append(slices.Clip(key), 0), value)
	f("half a value", key, value[:9])
	f("a length below 0", []byte{255, 255, 'a'}, value)
	f("no time", key, make([]byte, 10))
	f("a time without end", key, []byte{0, 0, 127, 255, 255, 255, 255, 255, 255, 255})
	f("a time below 0", key, []byte{0, 0, 255, 255, 255, 255, 255, 255, 255, 255})
}

func FuzzParseHeartbeat(f *testing.F) {
	k, v := mirrorBeat("a", "b", begin)
	f.Add(k, v)
	f.Fuzz(func(t *testing.T, key, value []byte) {
		if b, ok := ParseHeartbeat(key, value); ok {
			again, _ := mirrorBeat(b.Source, b.Target, b.At)
			if string(again) != string(key) || b.At.UnixMilli() <= 0 {
				t.Errorf("%+v", b)
			}
		}
	})
}
