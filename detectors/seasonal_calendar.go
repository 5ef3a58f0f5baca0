package detectors

import (
	"fmt"
	"time"
)

// Day is a day of the week that a special time resembles. The zero value is no day.
type Day uint8

// The days.
const (
	NoDay Day = iota
	Sunday
	Monday
	Tuesday
	Wednesday
	Thursday
	Friday
	Saturday
)

// Interval is a special time, such as a public holiday: From is inside it, Until is not.
type Interval struct {
	From, Until time.Time
	// Like is the day of the week that it resembles: the time is judged as that day at the same time by the wall
	// clock. Zero, NoDay, resembles none: the time is judged by the recent past alone.
	Like Day
}

const (
	daySeconds  = 24 * 60 * 60
	defaultSlot = time.Hour
	minSlot     = time.Minute
)

// seat is a visit of a slot.
type seat struct {
	Visit   int64 // slots since 1970 by the wall clock
	Day     int   // slot of the day
	Week    int   // slot of the week, of the day it is like when special
	Special bool  // trains nothing
	Nothing bool  // resembles no day
}

// place is where a time lies in the week of the wall clock.
type place struct {
	seat
	share float64 // of the slot that is over
}

// calendar turns times into places. The week is that of the wall clock: on the day that has 23 hours one hour's slots
// are skipped, and on the day that has 25 one hour's slots are visited for two.
type calendar struct {
	loc     *time.Location
	slot    int64 // seconds, a divisor of a day
	special []Interval
}

func (c calendar) perDay() int { return int(daySeconds / c.slot) }

func (c calendar) place(t time.Time) place {
	_, offset := t.In(c.loc).Zone()
	wall := t.Unix() + int64(offset)
	day, second := floorDiv(wall, daySeconds)
	of, rest := second/c.slot, second%c.slot
	_, weekday := floorDiv(day+4, 7) // 1970 began on a Thursday
	p := place{
		seat:  seat{Visit: day*int64(c.perDay()) + of, Day: int(of)},
		share: (float64(rest) + float64(t.Nanosecond())/1e9) / float64(c.slot),
	}
	for _, s := range c.special {
		if t.Before(s.From) || !t.Before(s.Until) {
			continue
		}
		p.Special, p.Nothing = true, s.Like == NoDay || s.Like > Saturday
		if !p.Nothing {
			weekday = int64(s.Like - Sunday)
		}
		break
	}
	p.Week = int(weekday)*c.perDay() + p.Day
	return p
}

// floorDiv is a/b rounded down, and what is left, for b above 0.
func floorDiv(a, b int64) (quotient, rest int64) {
	quotient, rest = a/b, a%b
	if rest < 0 {
		quotient, rest = quotient-1, rest+b
	}
	return quotient, rest
}

func goodSlot(slot time.Duration) bool {
	return slot >= minSlot && slot <= 24*time.Hour && slot%time.Second == 0 && 24*time.Hour%slot == 0
}

func validSlot(slot time.Duration) []error {
	if slot == 0 || goodSlot(slot) {
		return nil
	}
	return []error{fmt.Errorf("slot %v: want a divisor of 24 hours in whole seconds of %v or more, or 0 for %v", slot, minSlot, defaultSlot)}
}

func validSpecial(special []Interval) []error {
	var errs []error
	for i, s := range special {
		if !s.From.Before(s.Until) {
			errs = append(errs, fmt.Errorf("special %d: from %v is not before until %v", i, s.From, s.Until))
		}
		if s.Like > Saturday {
			errs = append(errs, fmt.Errorf("special %d: like %d is not a day of the week", i, s.Like))
		}
	}
	return errs
}

// visits are the last few visits of each slot: their medians and scales.
type visits struct {
	Per    int       // how many are kept of each slot
	Count  []int     // of each slot, ever
	Level  []float64 // Per of each slot
	Scale  []float64
	Points []int
}

func newVisits(slots, per int) visits {
	n := slots * per
	return visits{per, make([]int, slots), make([]float64, n), make([]float64, n), make([]int, n)}
}

func (v *visits) usable(slots, per int) bool {
	n := slots * per
	if v.Per != per || len(v.Count) != slots || len(v.Level) != n || len(v.Scale) != n || len(v.Points) != n {
		return false
	}
	for _, c := range v.Count {
		if c < 0 {
			return false
		}
	}
	for i, s := range v.Scale {
		if s < 0 || v.Points[i] < 0 {
			return false
		}
	}
	return true
}

func (v *visits) clear() {
	clear(v.Count)
	clear(v.Level)
	clear(v.Scale)
	clear(v.Points)
}

func (v *visits) add(slot int, level, scale float64, points int) {
	i := slot*v.Per + v.Count[slot]%v.Per
	v.Level[i], v.Scale[i], v.Points[i] = level, scale, points
	v.Count[slot]++
}

// kept is how many visits of the slot there are to go by.
func (v *visits) kept(slot int) int { return min(v.Count[slot], v.Per) }

// get is the median level and scale of the kept visits, of which there must be one, and their points.
func (v *visits) get(slot int) (level, scale float64, points int) {
	from, n := slot*v.Per, v.kept(slot)
	for _, p := range v.Points[from : from+n] {
		points += p
	}
	return medianOf(v.Level[from : from+n]), medianOf(v.Scale[from : from+n]), points
}

// medianOf up to maxVisits values, which are left as they are.
func medianOf(xs []float64) float64 {
	var room [maxVisits]float64
	n := 0
	for _, x := range xs {
		i := n
		for ; i > 0 && room[i-1] > x; i-- {
			room[i] = room[i-1]
		}
		room[i] = x
		n++
	}
	return middle(room[(n-1)/2], room[n/2])
}
