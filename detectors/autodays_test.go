package detectors

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// The days begin what they change anew whether or not the series has points on the very day: one that rests for a day forgets when it is back.
func TestAutoBeginsAnewAfterADayWithoutPoints(t *testing.T) {
	f := func(what string, of func(m *Auto) int, rests, last int) {
		t.Helper()
		const aDay = 288
		seen := func(rests int) int {
			r := rand.New(rand.NewPCG(7, 8)) //nolint:gosec // a test series, not a secret
			m := &Auto{}
			start := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
			for i := range last * aDay {
				if x := 10 + r.NormFloat64(); i/aDay != rests {
					m.Observe(Point{At: start.Add(time.Duration(i) * 5 * time.Minute), Value: x})
				}
			}
			return of(m)
		}
		if all, rested := seen(-1), seen(rests); all > last*aDay/2 || rested > all {
			t.Errorf("%s: %d with all days, %d without points on day %d, which is a day less", what, all, rested, rests+1)
		}
	}
	f("rows of what lasts", func(m *Auto) int { return m.st.Stands.Rows }, 2, 4)
	f("rows before the episodes", func(m *Auto) int { return m.st.Odd.Rows - m.st.Odd.From }, 8, 11)
}

// A model that is restored again and again, also right after it has begun anew and across both changes of the clocks, says what one that went on says.
func TestAutoIsRestoredAcrossTheDays(t *testing.T) {
	f := func(start time.Time, zone string) {
		t.Helper()
		where, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(9, 10)) //nolint:gosec // a test series, not a secret
		one, other := &Auto{Location: where}, &Auto{Location: where}
		for i := range 12 * 48 {
			p := Point{At: start.Add(time.Duration(i) * 30 * time.Minute), Value: 10 + r.NormFloat64()}
			if i%70 > 60 {
				p.Value += 30
			}
			snap, err := other.Snapshot()
			fresh := &Auto{Location: where}
			if err == nil {
				err = fresh.Restore(snap)
			}
			if err != nil {
				t.Fatalf("point %d at %s: %v", i, p.At, err)
			}
			other = fresh
			if want, got := one.Observe(p), other.Observe(p); got != want {
				t.Fatalf("point %d at %s: restored says %+v, want %+v", i, p.At, got, want)
			}
		}
	}
	f(time.Date(2026, 3, 22, 0, 0, 0, 0, time.UTC), "Europe/Berlin")
	f(time.Date(2026, 10, 17, 0, 0, 0, 0, time.UTC), "Europe/Berlin")
	f(time.Date(2018, 2, 11, 0, 0, 0, 0, time.UTC), "America/Sao_Paulo") // midnight came twice
}

// After a pause in which all days were forgotten it takes two days again before they say anything.
func TestDaysThatAreForgottenBeginAnew(t *testing.T) {
	f := func(pause, want int) {
		t.Helper()
		m := &Auto{}
		at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
		next := func() {
			m.Observe(Point{At: at, Value: float64(at.Hour())})
			at = at.Add(5 * time.Minute)
		}
		for range 4 * 288 {
			next()
		}
		at = at.AddDate(0, 0, pause)
		got := 0
		for next(); !m.st.Daily.has && got < 9*288; got++ {
			next()
		}
		if got != want {
			t.Errorf("a pause of %d days: %d points before days are known again, want %d", pause, got, want)
		}
	}
	f(0, 0)
	f(6, 0)
	f(8, 288+144) // half of this day, and the next one
	f(30, 288+144)
}

// A series of one point a day, or of a week, has one slot a day, and learns what is usual in it as any other does.
func TestAutoLearnsWhatIsUsualOfSlowSeries(t *testing.T) {
	f := func(interval time.Duration) {
		t.Helper()
		r := rand.New(rand.NewPCG(7, 8)) //nolint:gosec // a test series, not a secret
		m := &Auto{}
		at := time.Date(2026, 3, 2, 6, 0, 0, 0, time.UTC)
		for range 180 {
			m.Observe(Point{At: at, Value: 10 + r.NormFloat64()})
			at = at.Add(interval)
		}
		for slot := range m.st.Daily.Slots {
			if m.st.Usual.at(slot) == 0 && !math.IsNaN(float64(*m.st.Daily.at(m.st.Daily.Day-1, slot))) {
				t.Errorf("a point in %s: nothing is usual in slot %d of %d", interval, slot, m.st.Daily.Slots)
			}
		}
		if u := m.st.Usual.at(m.st.Daily.Slot); u < 0.1 || u > 1 {
			t.Errorf("a point in %s: %v is usual, want about the mean oddness of noise", interval, u)
		}
	}
	f(time.Hour)
	f(8 * time.Hour)
	f(24 * time.Hour)
	f(7 * 24 * time.Hour)
}
