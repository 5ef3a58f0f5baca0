package calendar_test

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests must not depend on the zones of the machine

	"github.com/evenkeel/evenkeel/server/internal/calendar"
	"pgregory.net/rapid"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	x, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func schedule(t *testing.T, cron string, lasts time.Duration, zone string) *calendar.Schedule {
	t.Helper()
	s, err := calendar.Parse(calendar.Window{Name: "w", Cron: cron, Lasts: lasts, Zone: zone})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// intervals are the openings between two times, as "open close" in the zone's own time.
func intervals(t *testing.T, cron string, lasts time.Duration, zone, from, until string) string {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, i := range schedule(t, cron, lasts, zone).Intervals(at(t, from), at(t, until)) {
		out = append(out, i.Open.In(loc).Format("02T15:04Z07:00")+" "+i.Close.In(loc).Format("02T15:04Z07:00"))
	}
	return strings.Join(out, ", ")
}

func TestIntervalsAtTheEdges(t *testing.T) {
	var zone, from, until string
	f := func(cron string, lasts time.Duration, want string) {
		t.Helper()
		if got := intervals(t, cron, lasts, zone, from, until); got != want {
			t.Errorf("%s %s for %v:\n got %s\nwant %s", zone, cron, lasts, got, want)
		}
	}
	// Berlin leaves out 02:00 to 03:00 on 29 March 2026.
	zone, from, until = "Europe/Berlin", "2026-03-28T12:00:00+01:00", "2026-03-29T12:00:00+02:00"
	f("30 2 * * *", time.Hour, "29T03:00+02:00 29T04:00+02:00")       // a start in the gap opens at its end
	f("30 2 * * *", 15*time.Minute, "29T03:00+02:00 29T03:15+02:00")  // and is not shorter for it
	f("0 2 * * *", time.Hour, "29T03:00+02:00 29T04:00+02:00")        // the first minute of the gap
	f("0 3 * * *", time.Hour, "29T03:00+02:00 29T04:00+02:00")        // the first minute after it
	f("30 1 * * *", time.Hour, "29T01:30+01:00 29T03:00+02:00")       // a close in the gap is its end
	f("0 1 * * *", 4*time.Hour, "29T01:00+01:00 29T05:00+02:00")      // three real hours
	f("0 22 * * *", 8*time.Hour, "28T22:00+01:00 29T06:00+02:00")     // seven real hours
	f("*/20 2 * * *", time.Minute, "29T03:00+02:00 29T03:01+02:00")   // three starts in the gap open once
	f("0 2,3 * * *", 30*time.Minute, "29T03:00+02:00 29T03:30+02:00") // as do one in it and one at its end
	// Berlin repeats 02:00 to 03:00 on 25 October 2026.
	zone, from, until = "Europe/Berlin", "2026-10-24T12:00:00+02:00", "2026-10-25T12:00:00+01:00"
	f("30 2 * * *", 15*time.Minute, "25T02:30+02:00 25T02:45+02:00") // opens in the first pass, once
	f("30 2 * * *", time.Hour, "25T02:30+02:00 25T03:30+01:00")      // two real hours
	f("0 2 * * *", time.Hour, "25T02:00+02:00 25T03:00+01:00")
	f("0 3 * * *", time.Hour, "25T03:00+01:00 25T04:00+01:00")
	f("30 1 * * *", time.Hour, "25T01:30+02:00 25T02:30+02:00") // the first time the clock shows it
	f("0 22 * * *", 8*time.Hour, "24T22:00+02:00 25T06:00+01:00")
	f("* * * * *", time.Minute, "24T12:00+02:00 25T12:00+01:00") // no hole in the second pass
	// New York leaves out 02:00 to 03:00 on 8 March 2026 and repeats 01:00 to 02:00 on 1 November.
	zone, from, until = "America/New_York", "2026-03-07T12:00:00-05:00", "2026-03-08T12:00:00-04:00"
	f("15 2 * * *", time.Hour, "08T03:00-04:00 08T04:00-04:00")
	f("0 1 * * *", 90*time.Minute, "08T01:00-05:00 08T03:00-04:00")
	f("0 20 * * *", 12*time.Hour, "07T20:00-05:00 08T08:00-04:00")
	from, until = "2026-10-31T12:00:00-04:00", "2026-11-01T12:00:00-05:00"
	f("0 1 * * *", time.Hour, "01T01:00-04:00 01T02:00-05:00")
	f("30 1 * * *", 10*time.Minute, "01T01:30-04:00 01T01:40-04:00")
	f("0 0 * * *", 3*time.Hour, "01T00:00-04:00 01T03:00-05:00")
	// Lord Howe jumps by half an hour: 02:00 to 02:30 is left out on 4 October 2026, and 01:30 to 02:00 comes twice
	// on 5 April.
	zone, from, until = "Australia/Lord_Howe", "2026-10-03T12:00:00+10:30", "2026-10-04T12:00:00+11:00"
	f("15 2 * * *", time.Hour, "04T02:30+11:00 04T03:30+11:00")
	f("30 2 * * *", time.Hour, "04T02:30+11:00 04T03:30+11:00")
	f("30 1 * * *", 40*time.Minute, "04T01:30+10:30 04T02:30+11:00")
	f("0 1 * * *", 3*time.Hour, "04T01:00+10:30 04T04:00+11:00")
	from, until = "2026-04-04T12:00:00+11:00", "2026-04-05T12:00:00+10:30"
	f("45 1 * * *", 10*time.Minute, "05T01:45+11:00 05T01:55+11:00")
	f("45 1 * * *", 30*time.Minute, "05T01:45+11:00 05T02:15+10:30")
	f("0 1 * * *", time.Hour, "05T01:00+11:00 05T02:00+10:30")
	// Samoa left out the whole of 30 December 2011.
	zone, from, until = "Pacific/Apia", "2011-12-29T00:00:00-10:00", "2012-01-01T00:00:00+14:00"
	f("0 12 * * *", time.Hour, "29T12:00-10:00 29T13:00-10:00, 31T00:00+14:00 31T01:00+14:00, 31T12:00+14:00 31T13:00+14:00")
}

func TestIntervalsAreWholeAndMerged(t *testing.T) {
	f := func(cron string, lasts time.Duration, from, until, want string) {
		t.Helper()
		if got := intervals(t, cron, lasts, "UTC", from, until); got != want {
			t.Errorf("%s for %v:\n got %s\nwant %s", cron, lasts, got, want)
		}
	}
	f("0 18 11 11 *", 8*time.Hour, "2026-11-11T20:00:00Z", "2026-11-11T21:00:00Z", "11T18:00Z 12T02:00Z")
	f("0 18 11 11 *", 8*time.Hour, "2026-11-12T02:00:00Z", "2026-11-12T03:00:00Z", "") // the close is not in it
	f("0 18 11 11 *", 8*time.Hour, "2026-11-11T17:00:00Z", "2026-11-11T18:00:00Z", "") // nor is until
	f("0 */6 * * *", 7*time.Hour, "2026-01-02T00:00:00Z", "2026-01-02T08:00:00Z", "01T18:00Z 02T13:00Z")
	f("@daily", time.Hour, "2026-01-02T00:00:00Z", "2026-01-02T00:00:01Z", "02T00:00Z 02T01:00Z")
	f("0 0 29 2 *", time.Hour, "2026-01-01T00:00:00Z", "2029-01-01T00:00:00Z", "29T00:00Z 29T01:00Z")
}

func TestInsideAndNext(t *testing.T) {
	s := schedule(t, "0 22 * * 5", 8*time.Hour, "Europe/Berlin")
	f := func(when string, want bool) {
		t.Helper()
		i, got := s.Inside(at(t, when))
		if got != want || (got && !i.Contains(at(t, when))) {
			t.Errorf("inside at %s: %v (%v), want %v", when, got, i, want)
		}
	}
	f("2026-11-13T21:59:59+01:00", false)
	f("2026-11-13T22:00:00+01:00", true)
	f("2026-11-14T05:59:59+01:00", true)
	f("2026-11-14T06:00:00+01:00", false)
	next := s.Next(at(t, "2026-11-13T22:00:00+01:00"), 2)
	if len(next) != 2 || !next[0].Open.Equal(at(t, "2026-11-20T22:00:00+01:00")) ||
		!next[1].Close.Equal(at(t, "2026-11-28T06:00:00+01:00")) {
		t.Errorf("next: %v", next)
	}
	if got := s.Next(at(t, "2026-11-13T22:00:00+01:00"), 0); len(got) != 0 {
		t.Errorf("next 0: %v", got)
	}
	if w := s.Window(); w.Zone != "Europe/Berlin" || w.Lasts != 8*time.Hour {
		t.Errorf("window %v", w)
	}
}

func TestErrorsNameTheFieldAndWhatWouldBeRight(t *testing.T) {
	f := func(w calendar.Window, field, why, want string) {
		t.Helper()
		_, err := calendar.Parse(w)
		var e *calendar.Error
		if !errors.As(err, &e) || e.Field != field || !strings.Contains(e.Why, why) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", w, err)
		}
		if _, err := calendar.Expand([]calendar.Window{w}, time.Unix(0, 0), time.Unix(1, 0)); err == nil {
			t.Errorf("%+v was expanded", w)
		}
	}
	ok := func(change func(*calendar.Window)) calendar.Window {
		w := calendar.Window{Name: "peak", Cron: "0 18 * * *", Lasts: time.Hour, Zone: "Europe/Berlin"}
		change(&w)
		return w
	}
	f(ok(func(w *calendar.Window) { w.Name = "" }), "name", "empty", "a name")
	f(ok(func(w *calendar.Window) { w.Lasts = 0 }), "lasts", "out of range", "8h")
	f(ok(func(w *calendar.Window) { w.Lasts = 9000 * time.Hour }), "lasts", "out of range", "8784h")
	f(ok(func(w *calendar.Window) { w.Cron = " " }), "cron", "empty", "five fields")
	f(ok(func(w *calendar.Window) { w.Cron = "0 25 * * *" }), "cron", "above maximum (23)", "five fields")
	f(ok(func(w *calendar.Window) { w.Cron = "0 0 18 * * *" }), "cron", "6", "five fields")
	f(ok(func(w *calendar.Window) { w.Cron = "0 0 31 2 *" }), "cron", "no such day", "five fields")
	f(ok(func(w *calendar.Window) { w.Cron = "TZ=UTC" }), "cron", "time zone inside", "time_zone")
	f(ok(func(w *calendar.Window) { w.Cron = "@every 5m" }), "cron", "wall clock", "five fields")
	f(ok(func(w *calendar.Window) { w.Cron = "@reboot" }), "cron", "unrecognized", "five fields")
	f(ok(func(w *calendar.Window) { w.Zone = "Europe/Berln" }), "time_zone", "unknown time zone", "Europe/Berlin")
	f(ok(func(w *calendar.Window) { w.Zone = "Local" }), "time_zone", "every machine", "IANA")
}

func TestExpandIsSortedAndCopies(t *testing.T) {
	scope := []string{"drills"}
	windows := []calendar.Window{
		{Name: "b", Cron: "0 6 * * *", Lasts: time.Hour, Scope: scope},
		{Name: "a", Cron: "0 6,12 * * *", Lasts: time.Hour, Scope: scope},
	}
	got, err := calendar.Expand(windows, at(t, "2026-01-01T00:00:00Z"), at(t, "2026-01-02T00:00:00Z"))
	if err != nil || len(got) != 3 || got[0].Name != "a" || got[1].Name != "b" || got[2].From.Hour() != 12 {
		t.Fatalf("%v, %v", got, err)
	}
	scope[0] = "changed"
	if got[0].Scope[0] != "drills" {
		t.Fatal("the scope is shared with the caller")
	}
	if _, err := calendar.Expand(nil, at(t, "2026-01-01T00:00:00Z"), at(t, "2046-01-01T00:00:00Z")); err == nil {
		t.Fatal("twenty years were expanded")
	}
}

// In any zone, at any time: openings are in order, do not overlap once merged, are never empty, and Inside says the
// same as Intervals.
func TestIntervalsAgreeWithInside(t *testing.T) {
	zones := []string{
		"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo",
		"Antarctica/Troll", "Asia/Kathmandu", "Africa/Casablanca", "Pacific/Apia",
	}
	rapid.Check(t, func(t *rapid.T) {
		s, err := calendar.Parse(calendar.Window{
			Name:  "w",
			Cron:  rapid.SampledFrom([]string{"30 2 * * *", "*/20 * * * *", "0 1,2,3 * * 0", "59 23 * * *", "15 2 1-7 * *", "0 0 * * *"}).Draw(t, "cron"),
			Lasts: time.Duration(rapid.IntRange(1, 3000).Draw(t, "minutes")) * time.Minute,
			Zone:  rapid.SampledFrom(zones).Draw(t, "zone"),
		})
		if err != nil {
			t.Fatal(err)
		}
		from := time.Unix(int64(rapid.IntRange(1262304000, 1893456000).Draw(t, "from")), 0)
		until := from.Add(time.Duration(rapid.IntRange(1, 30*24).Draw(t, "hours")) * time.Hour)
		got := s.Intervals(from, until)
		for k, i := range got {
			if !i.Close.After(i.Open) || !i.Close.After(from) || !i.Open.Before(until) {
				t.Fatalf("interval %v of [%v, %v)", i, from, until)
			}
			if k > 0 && !i.Open.After(got[k-1].Close) {
				t.Fatalf("%v and %v overlap", got[k-1], i)
			}
		}
		probe := from.Add(time.Duration(rapid.Int64Range(0, int64(until.Sub(from))-1).Draw(t, "probe")))
		var want bool
		for _, i := range got {
			want = want || i.Contains(probe)
		}
		if _, inside := s.Inside(probe); inside != want {
			t.Fatalf("inside(%v) is %v, intervals say %v: %v", probe, inside, want, got)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("0 18 11 11 *", "Europe/Berlin", int64(3600))
	f.Add("CRON_TZ=", "", int64(1))
	f.Add("@daily", "UTC", int64(1))
	f.Add("*/0 * * * ?", "../../etc/passwd", int64(1))
	f.Fuzz(func(t *testing.T, cron, zone string, seconds int64) {
		s, err := calendar.Parse(calendar.Window{Name: "w", Cron: cron, Zone: zone, Lasts: time.Duration(seconds) * time.Second})
		if err != nil {
			var e *calendar.Error
			if !errors.As(err, &e) || e.Want == "" {
				t.Fatalf("error without a remedy: %v", err)
			}
			return
		}
		for _, i := range s.Next(time.Unix(1_700_000_000, 0), 3) {
			if !i.Close.After(i.Open) {
				t.Fatalf("empty opening %v", i)
			}
		}
	})
}
