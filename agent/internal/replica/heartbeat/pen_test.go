package heartbeat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// row is what is stored of an origin, and the pens that write it.
type row struct {
	t      *testing.T
	stored replica.Opt[Beat]
	now    time.Time
	epochs []int64 // in the order in which they were begun
}

// write lets a pen write once and says what it did: the how manieth epoch and the seq, or refused.
func (r *row) write(p *Pen) string {
	r.t.Helper()
	r.now = r.now.Add(time.Second)
	next := p.Next(r.stored, r.now, r.now)
	if !next.OK {
		return "refused"
	}
	p.Try(next.V)
	p.Done()
	r.stored = next
	return fmt.Sprintf("%d/%d", r.epoch(next.V), next.V.Seq)
}

// epoch is the how manieth one a beat is of. A new one is above all before.
func (r *row) epoch(b Beat) int {
	r.t.Helper()
	if len(r.epochs) == 0 || b.Epoch > r.epochs[len(r.epochs)-1] {
		r.epochs = append(r.epochs, b.Epoch)
	}
	return slices.Index(r.epochs, b.Epoch) + 1
}

func TestPen(t *testing.T) {
	r := &row{t: t, now: start}
	f := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	pen := func(kept int64) *Pen { return &Pen{Origin: "a", Interval: time.Second, Kept: kept} }
	a := pen(0)
	f("the first beat", r.write(a), "1/1")
	f("the next", r.write(a), "1/2")

	// An answer that was lost: whether it was written or not, a new epoch begins.
	next := a.Next(r.stored, r.now, r.now)
	a.Try(next.V)
	r.epoch(next.V)
	f("after a beat that was lost", r.write(a), "2/1")
	next = a.Next(r.stored, r.now, r.now)
	a.Try(next.V)
	r.stored = next
	f("after a beat that was thought lost", r.write(a), "3/1")
	f("and on", r.write(a), "3/2")

	// A refusal of which it is known that nothing was written changes nothing.
	next = a.Next(r.stored, r.now, r.now)
	a.Try(next.V)
	a.Refused()
	f("after a refusal", r.write(a), "3/3")

	// A failover to an older copy, and to an empty one.
	old := r.stored
	f("written, and lost with the primary", r.write(a), "3/4")
	r.stored = old
	f("after a failover", r.write(a), "4/1")
	r.stored = replica.Opt[Beat]{}
	f("after the row was deleted", r.write(a), "5/1")

	// Another agent begins to write for the same site.
	b := pen(r.epochs[1])
	f("a second writer", r.write(b), "6/1")
	f("the first one gives way", r.write(a), "refused")
	for range 3 * deadAfter {
		r.write(b)
		f("while the other writes", r.write(a), "refused")
	}
	for range deadAfter - 1 {
		f("not at once when it is still", r.write(a), "refused")
	}
	f("it takes over", r.write(a), "7/1")
	f("and goes on", r.write(a), "7/2")
	f("the other one came back", r.write(b), "refused")
	f("and harms nothing", r.write(a), "7/3")

	// Two primaries that meet again: the row of an older writer comes over ours.
	r.stored = replica.Some(Beat{Origin: "a", Epoch: r.epochs[5], Seq: 90, At: r.now, Interval: time.Second})
	f("the row of the other one", r.write(a), "refused")
}

// What was kept and what is stored are both lost, or set back to the same state: the writer that begins there is told from the one before, also
// where both begin in the same second, or by a clock that was set back with them.
func TestAnEpochDoesNotComeBack(t *testing.T) {
	f := func(what string, kept int64, stored replica.Opt[Beat], walls ...time.Time) {
		t.Helper()
		used := map[int64]bool{}
		for _, wall := range walls {
			p := &Pen{Origin: "a", Interval: time.Second, Kept: kept}
			next := p.Next(stored, start, wall)
			if !next.OK || next.V.Epoch <= max(kept, stored.V.Epoch) {
				t.Errorf("%s: %+v over %d", what, next, stored.V.Epoch)
			}
			if b, ok := ParseBeat("a", next.V.Text()); !ok || b.Epoch != next.V.Epoch {
				t.Errorf("%s: %q cannot be read", what, next.V.Text())
			}
			used[next.V.Epoch] = true
		}
		// Of three that are drawn two may be the same once in 300 000 times, all three hardly ever.
		if len(used) == 1 {
			t.Errorf("%s: the same epoch again: %v", what, used)
		}
	}
	none, one := replica.Opt[Beat]{}, replica.Some(Beat{Origin: "a", Epoch: 4, Seq: 900, At: start, Interval: time.Second})
	later := start.Add(time.Hour)
	f("both lost", 0, none, start, later)
	f("both set back", 4, one, start, later)
	f("both lost, in the same second", 0, none, start, start, start)
	f("both set back, in the same second", 4, one, start, start, start)
	f("the clock as well", 4, one, time.Unix(5, 0), time.Unix(5, 0), time.Unix(5, 0))
	ahead := newEpoch(0, later)
	f("a clock that was ahead", ahead, none, start, start, start)

	// What the observer echoed of the writer that is gone says nothing of this one's writes.
	before, after := &Pen{Origin: "a", Interval: time.Second}, &Pen{Origin: "a", Interval: time.Second}
	var sent Sent
	echo := Echo{Observer: "b", Origin: "a", Epoch: before.Next(none, start, start).V.Epoch, Seq: 1}
	sent.Note(after.Next(none, later, later).V, later)
	if sent.Before(echo).OK || sent.Exactly(echo).OK {
		t.Error("an echo of the writer before bounds what this one exposes")
	}
	// And two writers that meet find each other, though neither knows of an earlier one.
	a, b := &row{t: t, now: start}, &row{t: t, now: later}
	here, there := &Pen{Origin: "a", Interval: time.Second}, &Pen{Origin: "a", Interval: time.Second}
	for range 5 {
		a.write(here)
	}
	for range 3 {
		b.write(there)
	}
	a.stored = b.stored // fewer beats, which in the same epoch would be a failover to an older copy
	if got := a.write(here); got != "refused" {
		t.Errorf("the row of a second writer was taken for an older own one: %s", got)
	}
}

// Whatever happens, no epoch and seq is written twice, and what one pen writes grows.
func TestPenNeverRepeats(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := &Pen{Origin: "a", Interval: time.Second}
		var stored, older replica.Opt[Beat]
		var last Beat
		used := map[version]bool{}
		now := start
		for range rapid.IntRange(1, 40).Draw(rt, "ticks") {
			now = now.Add(time.Second)
			next := p.Next(stored, now, now)
			if !next.OK {
				rt.Fatalf("refused without another writer: stored %+v", stored)
			}
			if used[version{next.V.Epoch, next.V.Seq}] || !next.V.After(last) {
				rt.Fatalf("%+v after %+v", next.V, last)
			}
			p.Try(next.V)
			switch rapid.SampledFrom([]string{"written", "lost", "unheard", "refused", "failover"}).Draw(rt, "what") {
			case "written":
				p.Done()
				older, stored, last = stored, next, next.V
			case "lost":
				last = next.V
			case "unheard": // written, and the answer is lost
				older, stored, last = stored, next, next.V
			case "refused":
				p.Refused()
				continue
			case "failover":
				p.Done()
				stored, last = older, next.V
			}
			used[version{next.V.Epoch, next.V.Seq}] = true
		}
	})
}

func TestCanaries(t *testing.T) {
	// written are the rows after so many beats of an epoch over those of the one before.
	written := func(epoch, seq int64, before []Canary) (Beat, []Canary) {
		rows := map[int64]Canary{}
		for _, c := range before {
			rows[c.Slot] = c
		}
		var b Beat
		for s := int64(1); s <= seq; s++ {
			b = Beat{Origin: "a", Epoch: epoch, Seq: s}
			rows[s%Slots] = b.Canary()
		}
		var out []Canary
		for slot := range int64(Slots) {
			if c, ok := rows[slot]; ok {
				out = append(out, c)
			}
		}
		return b, out
	}
	f := func(what string, beat Beat, rows []Canary, want int64) {
		t.Helper()
		var c Canaries
		c.Check(beat, rows, start)
		if c.Diverged != 0 {
			t.Errorf("%s: counted while the copy is being made", what)
		}
		c.Check(beat, rows, start.Add(settling))
		c.Check(beat, rows, start.Add(2*settling))
		if c.Diverged != want || c.Checked == 0 {
			t.Errorf("%s: %d of %d rows diverged, want %d", what, c.Diverged, c.Checked, want)
		}
	}
	b, rows := written(1, 3, nil)
	f("the first beats", b, rows, 0)
	f("one is missing", b, rows[1:], 1)
	b, rows = written(1, 25, nil)
	f("all slots", b, rows, 0)
	f("none is there", b, nil, Slots)
	old := append([]Canary(nil), rows...)
	old[4].Seq -= Slots
	f("an old row without its value", b, old, 1)
	old[4] = Beat{Origin: "a", Epoch: 1, Seq: old[4].Seq}.Canary()
	f("an old row", b, old, 1)
	changed := append([]Canary(nil), rows...)
	changed[7].Value = "00"
	f("a changed row", b, changed, 1)
	f("a row twice", b, append(append([]Canary(nil), rows...), rows[3]), 1)
	f("a row of no slot", b, append(append([]Canary(nil), rows...), Canary{Origin: "a", Slot: 77}), 1)
	f("rows of another origin are not looked at", b, append(append([]Canary(nil), rows...), Canary{Origin: "b", Slot: 3}), 0)
	newer, over := written(2, 4, rows)
	f("a new epoch", newer, over, 0)
	f("a new epoch that lacks an old row may", newer, over[:9], 0)
	f("rows of a newer epoch than the beat", b, over, 4)

	var c Canaries
	c.Check(b, rows, start)
	c.Check(b, changed, start)
	if c.Diverged != 1 {
		t.Errorf("once right, then wrong: %d", c.Diverged)
	}
	for _, c := range rows {
		if got := ParseCanary("a", c.Slot, c.Text()); got != c {
			t.Errorf("%+v became %+v", c, got)
		}
	}
	if ParseCanary("a", 3, "x").sound() {
		t.Error("what cannot be read is sound")
	}
}

func TestSent(t *testing.T) {
	at := func(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }
	var s Sent
	for i := range 10 {
		s.Note(Beat{Epoch: 4, Seq: int64(i)}, at(i))
	}
	f := func(what string, e Echo, want string) {
		t.Helper()
		got := "-"
		if b := s.Before(e); b.OK {
			got = b.V.Sub(start).String()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	f("the newest", Echo{Epoch: 4, Seq: 9}, "9s")
	f("an older one", Echo{Epoch: 4, Seq: 3}, "3s")
	f("another run", Echo{Epoch: 3, Seq: 9}, "-")
	f("not written yet", Echo{Epoch: 4, Seq: 10}, "-")
	for i := range 4 * keepWrites {
		s.Note(Beat{Epoch: 5, Seq: int64(i)}, at(i))
	}
	if len(s.writes) > keepWrites {
		t.Errorf("%d writes are remembered", len(s.writes))
	}
	for seq := range int64(4 * keepWrites) {
		if b := s.Before(Echo{Epoch: 5, Seq: seq}); b.OK && b.V.After(at(int(seq))) {
			t.Fatalf("what was committed before %s is said to be there with beat %d", b.V, seq)
		}
	}
	if !s.Before(Echo{Epoch: 5, Seq: 1000}).OK || s.Exactly(Echo{Epoch: 5, Seq: 4*keepWrites - 1}).V != at(4*keepWrites-1) {
		t.Error("old or new beats are forgotten")
	}
}

func TestSeen(t *testing.T) {
	var s Seen
	note := func(epoch, seq int64, at time.Time) bool {
		s.Note(replica.Some(Beat{Origin: "a", Epoch: epoch, Seq: seq, At: start}), Rows{}, at)
		return s.Torn(at, 30*time.Second)
	}
	f := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: torn %v", what, got)
		}
	}
	f("first", note(3, 7, start), false)
	f("the same", note(3, 7, start), false)
	f("on", note(3, 8, start), false)
	f("a new epoch", note(5, 1, start), false)
	f("back", note(3, 9, start), true)
	f("and forth", note(5, 2, start.Add(time.Second)), true)
	f("a while later", note(5, 3, start.Add(time.Minute)), false)
	s.Note(replica.Some(Beat{Origin: "a", Epoch: 5, Seq: 3, At: start.Add(1)}), Rows{}, start.Add(time.Minute))
	f("less than a microsecond", s.Torn(start.Add(time.Minute), 30*time.Second), false)
	s.Note(replica.Some(Beat{Origin: "a", Epoch: 5, Seq: 3, At: start.Add(time.Second)}), Rows{}, start.Add(time.Minute))
	f("the same seq at another time", s.Torn(start.Add(time.Minute), 30*time.Second), true)
	s.Note(replica.Opt[Beat]{}, Rows{}, start.Add(time.Hour))
	f("nothing there", s.Torn(start.Add(time.Hour), 30*time.Second), false)
}

func TestMerge(t *testing.T) {
	const s = time.Second
	beat := Beat{Origin: "a", Epoch: 1, Seq: 1, At: start, Interval: s}
	some := replica.Some[time.Duration]
	f := func(what string, in replica.Sighting, beaten bool, age time.Duration, want string) {
		t.Helper()
		out, now := beat.Merge(in, beaten, start.Add(age), 100*time.Millisecond)
		bound := func(o replica.Opt[time.Duration]) string {
			if !o.OK {
				return "-"
			}
			return o.V.String()
		}
		got := strings.Join([]string{out.State.String(), string(out.Reason), bound(out.Lower), bound(out.Upper), fmt.Sprint(out.SourceClock), fmt.Sprint(now)}, " ")
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	measured := replica.Sighting{State: replica.CatchingUp, Lower: some(2 * s), Upper: some(9 * s)}
	f("looser than the beat", measured, false, 5*s, "catching_up  2s 5s true true")
	f("tighter than the beat", measured, false, 20*s, "catching_up  2s 9s false false")
	f("tighter by less than the clocks are wrong", measured, false, 8950*time.Millisecond, "catching_up  2s 9s false false")
	f("the beat says less than is known to be missing", measured, false, s, "catching_up  2s 9s false false")
	f("a beat from the future beside a figure", measured, false, -5*s, "catching_up  2s 9s false false")
	f("a beat from the future alone", replica.Sighting{State: replica.CatchingUp}, false, -5*s, "catching_up  - -5s true true")
	unmeasured := replica.Sighting{State: replica.CatchingUp, Reason: replica.ReasonNotMeasured}
	f("not measured, a fresh beat", unmeasured, false, s, "caught_up  - 1s true true")
	f("not measured, an older beat", unmeasured, false, 3*s, "catching_up  - 3s true true")
	known := unmeasured
	known.Transactions = replica.Some(int64(4))
	f("not measured, and something is missing", known, false, s, "catching_up  - 1s true true")
	f("old news", replica.Sighting{State: replica.CaughtUp, Upper: some(30 * s)}, false, s, "caught_up  - 1s true true")
	f("down", replica.Sighting{State: replica.LinkDown, Lower: some(3 * s), Upper: some(4 * s)}, false, 20*s, "link_down  - 20s true true")
	f("down, with the engine's own beat", replica.Sighting{State: replica.LinkDown, Lower: some(3 * s), Upper: some(4 * s)}, true, 20*s, "link_down  3s 4s false true")
	f("down, and the clocks contradict each other", replica.Sighting{State: replica.LinkDown}, false, -5*s, "link_down  - - false false")
	f("stopped", replica.Sighting{State: replica.ApplierStopped, Reason: replica.ReasonPaused}, false, 20*s, "applier_stopped paused - 20s true true")
	f("copied anew", replica.Sighting{State: replica.Resyncing}, false, s, "resyncing  - - false false")
	f("unknown", replica.Sighting{Reason: replica.ReasonTimeout}, false, s, "unknown timeout - - false false")
}

// The lag is between the bounds whatever the engine knows, as long as the clocks are no more wrong than they are said to be.
func TestMergeHoldsTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		length := func(name string, most int64) time.Duration {
			return time.Duration(rapid.Int64Range(0, most).Draw(rt, name))
		}
		lag, clockErr := length("lag", int64(time.Minute)), length("clock error", int64(10*time.Second))
		skew := time.Duration(rapid.Int64Range(-int64(clockErr), int64(clockErr)).Draw(rt, "skew"))
		in := replica.Sighting{State: rapid.SampledFrom([]replica.State{replica.LinkDown, replica.CatchingUp, replica.ApplierStopped}).Draw(rt, "state")}
		if rapid.Bool().Draw(rt, "engine knows") {
			in.Lower, in.Upper = replica.Some(lag-length("below", int64(lag))), replica.Some(lag+length("above", int64(time.Minute)))
		}
		// The beat is older than what is missing; the reader's clock is wrong.
		now := start.Add(lag + length("older", int64(time.Minute)))
		out, beaten := Beat{Origin: "a", At: start, Interval: time.Second}.Merge(in, false, now.Add(skew), clockErr)
		st, _ := replica.Settle(out, replica.Memory{}, replica.Look{Began: now, Ended: now, Interval: time.Second, ClockErr: clockErr, ClockKnown: true, Heartbeat: beaten})
		if st.State == replica.Unknown || (st.Lower.OK && st.Lower.V > max(lag, time.Millisecond)) || (st.Upper.OK && st.Upper.V < lag) {
			rt.Fatalf("%s [%v, %v] does not hold %s", st.State, st.Lower, st.Upper, lag)
		}
	})
}
