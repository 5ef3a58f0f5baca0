package calendar

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	maxLasts = 366 * 24 * time.Hour
	// maxJump is more than any clock has ever jumped in civil time; Samoa left out a whole day in 2011.
	maxJump = 25 * time.Hour
	// maxExpand bounds how much one call may expand: a window a minute over ten years is five million.
	maxExpand = 10 * 366 * 24 * time.Hour
)

// Window is a window as it is written in the configuration: it opens again and again, or on some dates.
type Window struct {
	Name  string
	Cron  string        // five fields, minute hour day month weekday, or a name such as @daily; when it opens
	Dates []string      // in place of Cron: "2027-03-29", when it opens at midnight, or "2027-03-29 18:00"
	Lasts time.Duration // wall-clock time
	Zone  string        // IANA name; empty means UTC
	Scope []string
}

// Error names the field of a window that is wrong and says what would be right.
type Error struct {
	Window string // its name
	Field  string // name, cron, dates, lasts, time_zone
	Value  string
	Why    string
	Want   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("window %q: %s %q: %s; want %s", e.Window, e.Field, e.Value, e.Why, e.Want)
}

// Schedule is a window that has been read. It is immutable.
type Schedule struct {
	window Window
	starts cron.Schedule // in UTC, which stands for the wall clock
	zone   *time.Location
}

// Interval is one opening: from Open until Close, which is no longer in it.
type Interval struct{ Open, Close time.Time }

// Contains reports whether the window is open at t.
func (i Interval) Contains(t time.Time) bool { return !t.Before(i.Open) && t.Before(i.Close) }

const wantCron = `five fields "minute hour day month weekday", such as "0 18 11 11 *"`

// Parse reads a window. Its error is an *Error.
func Parse(w Window) (*Schedule, error) {
	bad := func(field, value, why, want string) error {
		return &Error{Window: w.Name, Field: field, Value: value, Why: why, Want: want}
	}
	if w.Name == "" {
		return nil, bad("name", "", "it is empty", "a name to speak of it by")
	}
	if w.Lasts <= 0 || w.Lasts > maxLasts {
		return nil, bad("lasts", w.Lasts.String(), "it is out of range", "more than 0 and at most 8784h, such as 8h")
	}
	starts, err := w.starts(bad)
	if err != nil {
		return nil, err
	}
	zone, err := location(w.Zone)
	if err != nil {
		return nil, bad("time_zone", w.Zone, err.Error(), "an IANA name such as Europe/Berlin, or none for UTC")
	}
	w.Scope, w.Dates = slices.Clone(w.Scope), slices.Clone(w.Dates)
	return &Schedule{window: w, starts: starts, zone: zone}, nil
}

// starts are the times on the wall clock at which the window opens.
func (w Window) starts(bad func(field, value, why, want string) error) (cron.Schedule, error) {
	spec := strings.TrimSpace(w.Cron)
	switch {
	case len(w.Dates) > 0 && spec != "":
		return nil, bad("dates", strings.Join(w.Dates, ", "), "they stand beside cron", "one of the two")
	case len(w.Dates) > 0:
		return w.dates(bad)
	case spec == "":
		return nil, bad("cron", w.Cron, "it is empty", wantCron+`, or dates such as ["2027-03-29"] in its place`)
	case strings.Contains(spec, "TZ="):
		return nil, bad("cron", w.Cron, "it has a time zone inside", "the zone in time_zone, and "+wantCron)
	case strings.HasPrefix(spec, "@every"):
		return nil, bad("cron", w.Cron, "an interval has no place on the wall clock", wantCron)
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	schedule, err := parser.Parse("CRON_TZ=UTC " + spec)
	if err != nil {
		return nil, bad("cron", w.Cron, err.Error(), wantCron)
	}
	if schedule.Next(time.Date(2023, 12, 31, 23, 59, 59, 0, time.UTC)).IsZero() {
		return nil, bad("cron", w.Cron, "there is no such day", wantCron)
	}
	return schedule, nil
}

// dates are times on the wall clock, in order.
type dates []time.Time

// Next implements cron.Schedule.
func (d dates) Next(t time.Time) time.Time {
	for _, x := range d {
		if x.After(t) {
			return x
		}
	}
	return time.Time{}
}

func (w Window) dates(bad func(field, value, why, want string) error) (cron.Schedule, error) {
	const want = `days such as "2027-03-29", or with a time of the day, "2027-03-29 18:00"`
	var out dates
	for _, text := range w.Dates {
		x, err := time.Parse("2006-01-02 15:04", text)
		if err != nil {
			x, err = time.Parse(time.DateOnly, text)
		}
		if err != nil {
			return nil, bad("dates", text, "it is no day of the calendar", want)
		}
		out = append(out, x)
	}
	slices.SortFunc(out, time.Time.Compare)
	return out, nil
}

// location is a named zone. "Local" is refused: it would mean another thing on every machine.
func location(name string) (*time.Location, error) {
	switch name {
	case "", "UTC":
		return time.UTC, nil
	case "Local":
		return nil, fmt.Errorf("it means another zone on every machine")
	}
	return time.LoadLocation(name)
}

// Window is what the schedule was read from.
func (s *Schedule) Window() Window {
	w := s.window
	w.Scope, w.Dates = slices.Clone(w.Scope), slices.Clone(w.Dates)
	return w
}

// Intervals are the openings that touch [from, until), in order, whole: the first may have opened before from and
// the last may close after until. Openings that overlap or touch each other are one.
func (s *Schedule) Intervals(from, until time.Time) []Interval {
	var out []Interval
	s.each(from, func(i Interval) bool {
		if !i.Open.Before(until) {
			return false
		}
		if !i.Close.After(from) {
			return true
		}
		if n := len(out); n > 0 && !i.Open.After(out[n-1].Close) {
			if i.Close.After(out[n-1].Close) {
				out[n-1].Close = i.Close
			}
			return true
		}
		out = append(out, i)
		return true
	})
	return out
}

// Inside reports whether the window is open at t, and the opening that closes last among those that contain t.
func (s *Schedule) Inside(t time.Time) (Interval, bool) {
	var found Interval
	s.each(t, func(i Interval) bool {
		if i.Open.After(t) {
			return false
		}
		if i.Contains(t) && i.Close.After(found.Close) {
			found = i
		}
		return true
	})
	return found, !found.Close.IsZero()
}

// Next are the next n openings after t, each by itself even where they overlap. It returns fewer when the
// schedule has no more.
func (s *Schedule) Next(t time.Time, n int) []Interval {
	var out []Interval
	s.each(t, func(i Interval) bool {
		if i.Open.After(t) {
			out = append(out, i)
		}
		return len(out) < n
	})
	return out[:min(len(out), max(n, 0))]
}

// each calls f with every opening that may still be open at from or opens later, in order, until f returns
// false. The search starts lasts earlier, and a jump of the clock more.
func (s *Schedule) each(from time.Time, f func(Interval) bool) {
	wall := wallClock(from, s.zone).Add(-s.window.Lasts - maxJump)
	var last time.Time
	for {
		wall = s.starts.Next(wall)
		if wall.IsZero() {
			return
		}
		i := s.interval(wall)
		if i.Open.Equal(last) {
			continue // several starts in one gap open together, once
		}
		last = i.Open
		if !f(i) {
			return
		}
	}
}

// interval is the opening that starts at a time of the wall clock.
func (s *Schedule) interval(wall time.Time) Interval {
	open := instant(wall, wall.Add(-maxJump), s.zone)
	// Where wall was in a gap, the wall clock at open is later than wall.
	end := wallClock(open, s.zone).Add(s.window.Lasts)
	return Interval{Open: open, Close: instant(end, open, s.zone)}
}

// Expand turns windows into the freezes that touch [from, until), sorted by start and then by name.
func Expand(windows []Window, from, until time.Time) ([]core.Freeze, error) {
	if until.Sub(from) > maxExpand {
		return nil, fmt.Errorf("expand from %s until %s: want at most ten years", from.Format(time.RFC3339), until.Format(time.RFC3339))
	}
	var out []core.Freeze
	for _, w := range windows {
		s, err := Parse(w)
		if err != nil {
			return nil, err
		}
		for _, i := range s.Intervals(from, until) {
			out = append(out, core.Freeze{Name: w.Name, From: i.Open, Until: i.Close, Scope: slices.Clone(w.Scope)})
		}
	}
	slices.SortStableFunc(out, func(a, b core.Freeze) int {
		return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}
