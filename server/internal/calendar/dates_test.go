package calendar_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/calendar"
)

// What comes once, or on another day each year, is told by its dates, in the civil time of the zone.
func TestAWindowOnDates(t *testing.T) {
	w := calendar.Window{Name: "easter", Dates: []string{"2028-04-17", "2027-03-28 01:00"}, Lasts: 24 * time.Hour, Zone: "Europe/Berlin"}
	s, err := calendar.Parse(w)
	if err != nil {
		t.Fatal(err)
	}
	got := s.Intervals(at(t, "2027-01-01T00:00:00Z"), at(t, "2029-01-01T00:00:00Z"))
	want := []calendar.Interval{
		{Open: at(t, "2027-03-28T01:00:00+01:00"), Close: at(t, "2027-03-29T01:00:00+02:00")}, // 23 hours
		{Open: at(t, "2028-04-17T00:00:00+02:00"), Close: at(t, "2028-04-18T00:00:00+02:00")},
	}
	if len(got) != 2 || !got[0].Open.Equal(want[0].Open) || !got[0].Close.Equal(want[0].Close) ||
		!got[1].Open.Equal(want[1].Open) || !got[1].Close.Equal(want[1].Close) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, in := s.Inside(at(t, "2028-04-17T21:59:00Z")); !in {
		t.Error("not inside on the day")
	}
	if next := s.Next(at(t, "2028-05-01T00:00:00Z"), 3); next != nil {
		t.Errorf("after the last date: %v", next)
	}
	f := func(change func(*calendar.Window), why string) {
		t.Helper()
		w := w
		change(&w)
		_, err := calendar.Parse(w)
		if e, ok := errors.AsType[*calendar.Error](err); !ok || e.Field != "dates" || !strings.Contains(err.Error(), why) {
			t.Errorf("%+v: %v", w, err)
		}
	}
	f(func(w *calendar.Window) { w.Cron = "0 0 25 12 *" }, "beside cron")
	f(func(w *calendar.Window) { w.Dates = []string{"2027-02-30"} }, `"2027-02-30": it is no day of the calendar; want days such as "2027-03-29"`)
	f(func(w *calendar.Window) { w.Dates = []string{"29.3.2027"} }, "no day")
}
