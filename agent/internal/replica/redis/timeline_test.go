package redis

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func seen(offset int64, began, ended time.Duration) Row {
	return Row{
		Info:  Info{Role: "master", ReplID: "a", RunID: "r", Offset: replica.Some(offset)},
		Began: start.Add(began), Ended: start.Add(ended),
	}
}

func TestTimelineMissing(t *testing.T) {
	f := func(what string, applied int64, at time.Duration, lower, upper string, rows ...Row) {
		t.Helper()
		var line timeline
		for _, r := range rows {
			line.note(r)
		}
		l, u, behind := line.missing(applied, start.Add(at))
		text := func(o replica.Opt[time.Duration]) string {
			if !o.OK {
				return ""
			}
			return o.V.String()
		}
		if text(l) != lower || text(u) != upper || behind != (lower != "") {
			t.Errorf("%s: [%s %s] behind %v, want [%s %s]", what, text(l), text(u), behind, lower, upper)
		}
	}
	const s = time.Second
	f("nothing seen", 5, s, "", "")
	f("complete", 100, s, "", "", seen(100, 0, 0))
	f("behind since before", 50, 3*s, "2s", "", seen(100, s, s))
	f("behind", 150, 5*s, "2s", "3s", seen(100, 0, 0), seen(150, 2*s, 2*s), seen(200, 3*s, 3*s), seen(300, 4*s, 4*s))
	f("one write after an idle hour", 100, 3601*s, "1s", "2s", seen(100, 0, 0), seen(100, 3599*s, 3599*s), seen(150, 3600*s, 3600*s))
	f("a slow look", 100, 10*s, "4s", "9s", seen(100, s, 2*s), seen(150, 3*s, 6*s))
	f("only a PING is missing", 100, 9*s, "", "", seen(100, 0, 0), seen(114, s, s))
	f("only PINGs are missing", 100, 9*s, "", "", seen(100, 0, 0), seen(114, s, s), seen(128, 2*s, 2*s))
	f("only half of what is known to be PINGs", 107, 9*s, "", "", seen(100, 0, 0), seen(114, s, s))
	f("a write after PINGs", 100, 9*s, "6s", "7s", seen(100, 0, 0), seen(114, s, s), seen(128, 2*s, 2*s), seen(160, 3*s, 3*s))
	f("a write as long as two PINGs", 100, 9*s, "8s", "9s", seen(100, 0, 0), seen(128, s, s))
	f("an offset that went back", 50, 3*s, "1s", "", seen(500, 0, 0), seen(100, 2*s, 2*s))
	other := seen(100, 2*s, 2*s)
	other.ReplID = "b"
	f("another history", 50, 3*s, "1s", "", seen(10, 0, 0), other)
}

// Whatever is forgotten, the bounds enclose the true age of the oldest missing byte.
func TestTimelineForgets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var line timeline
		var offset int64 = 1
		var rows []Row
		n := rapid.IntRange(2, 3*maxPoints).Draw(t, "looks")
		step := rapid.Int64Range(15, 99).Draw(t, "step")
		for i := range n {
			r := seen(offset, time.Duration(i)*time.Second, time.Duration(i)*time.Second+time.Millisecond)
			rows = append(rows, r)
			line.note(r)
			offset += step
		}
		if len(line.points) > maxPoints {
			t.Fatalf("%d points", len(line.points))
		}
		k := rapid.IntRange(0, n-2).Draw(t, "applied")
		at := rows[n-1].Ended
		lower, upper, behind := line.missing(rows[k].Offset.V, at)
		if !behind || !lower.OK || lower.V > at.Sub(rows[k+1].Ended) {
			t.Fatalf("look %d of %d: lower %v", k, n, lower)
		}
		if upper.OK && upper.V < at.Sub(rows[k].Began) {
			t.Fatalf("look %d of %d: upper %v", k, n, upper)
		}
		if k > n-maxPoints/4 && !upper.OK {
			t.Fatalf("look %d of %d is forgotten", k, n)
		}
	})
}
