package detectors

import (
	"errors"
	"fmt"
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// manyDegrees is how many degrees of freedom make the approximation of tail good to 3 % of a tail of 1e-6.
const manyDegrees = 20

// floors are the smallest scales that a model believes: without them a series that hardly moves accuses crumbs.
type floors struct {
	absolute   float64 // in the unit of the series
	relative   float64 // as a share of |expected|; zero means 0.02, negative none
	resolution float64 // the step in which the series can move
}

// apply is the largest of the estimate and the floors, and which of them it is.
func (f floors) apply(s float64, from ScaleSource, expected float64) (float64, ScaleSource) {
	relative := f.relative
	if relative == 0 {
		relative = defaultRelative
	}
	if a := orFloat(f.absolute, 0); a > s {
		s, from = a, ScaleAbsolute
	}
	if a := finite(orFloat(relative, 0) * math.Abs(expected)); a > s {
		s, from = a, ScaleRelative
	}
	if a := orFloat(f.resolution, 0) / 2; a > s {
		s, from = a, ScaleResolution
	}
	return s, from
}

func (f floors) validate() []error {
	var errs []error
	if !(f.absolute >= 0) || math.IsInf(f.absolute, 0) {
		errs = append(errs, fmt.Errorf("absolute floor %v: want 0 or more in the unit of the series", f.absolute))
	}
	if math.IsNaN(f.relative) || math.IsInf(f.relative, 0) {
		errs = append(errs, fmt.Errorf("relative floor %v: want a share such as 0.05, 0 for %v, or negative for none", f.relative, defaultRelative))
	}
	if !(f.resolution >= 0) || math.IsInf(f.resolution, 0) {
		errs = append(errs, fmt.Errorf("resolution %v: want 0 or more in the unit of the series", f.resolution))
	}
	return errs
}

// band is how a distance from what was expected becomes a state. The fields are parameters of a model.
type band struct {
	threshold float64 // scales; zero means otherwise
	otherwise float64 // the default of threshold
	recoverAt float64
	direction Direction
	runs
}

func (b band) validate() []error {
	var errs []error
	if !(b.threshold >= 0) || math.IsInf(b.threshold, 0) {
		errs = append(errs, fmt.Errorf("threshold %v: want a number of scales above 0, or 0 for %v", b.threshold, b.otherwise))
	}
	if !(b.recoverAt >= 0) || b.recoverAt > b.reach() {
		errs = append(errs, fmt.Errorf("recover at %v: want 0 to the threshold of %v scales", b.recoverAt, b.reach()))
	}
	return append(errs, b.runs.validate(b.direction)...)
}

func (b band) reach() float64 { return orFloat(b.threshold, b.otherwise) }

func (b band) back() float64 { return min(orFloat(b.recoverAt, 0.6*b.reach()), b.reach()) }

// judge fills in the verdict of v.Value against v.Expected in units of v.Scale, and moves the latch. nu is how
// many degrees of freedom the scale has. A scale of zero, a series that has never moved, makes every other value
// an accusation of its own kind.
func (b band) judge(v *Verdict, l *latch, nu float64) {
	edge := finite(b.reach() * v.Scale)
	v.Lower, v.Upper = finite(v.Expected-edge), finite(v.Expected+edge)
	v.HasExpected, v.HasLower, v.HasUpper, v.HasScore = true, true, true, true

	constant := v.Scale == 0
	switch {
	case v.Value == v.Expected:
	case constant:
		v.Deviation = math.Copysign(math.MaxFloat64, v.Value-v.Expected)
	default:
		v.Deviation = finite(finite(v.Value-v.Expected) / v.Scale)
	}
	watched := towards(b.direction, v.Deviation)
	v.Tail = tail(max(0, watched), nu)
	v.Score = 1 - v.Tail

	out := watched > b.reach()
	l.stepOf(v.At, out, watched <= b.back(), b.runs)
	v.Since = l.Since.time()
	other := !out && math.Abs(v.Deviation) > b.reach()
	v.State, v.Reason = outcome(l.On, out && v.Deviation > 0, out && v.Deviation < 0, other)
	if constant && out && l.On {
		v.Reason = ReasonConstant
	}
}

// towards is a deviation as seen from the watched side.
func towards(d Direction, deviation float64) float64 {
	switch d {
	case Above:
		return deviation
	case Below:
		return -deviation
	default:
		return math.Abs(deviation)
	}
}

// tail is the probability that Student's t with nu degrees of freedom deviates from 0 by z scales or more to
// either side. For many degrees it is the normal tail at Wallace's transform (Ann. Math. Stat. 30 (1959)), at a
// twentieth of the cost.
func tail(z, nu float64) float64 {
	if z == 0 {
		return 1
	}
	z = min(z, 1e9) // beyond that the tail is zero for every practical purpose, and the square would overflow
	if nu < manyDegrees {
		return min(1, 2*distuv.StudentsT{Sigma: 1, Nu: max(1, nu)}.CDF(-z))
	}
	u := (8*nu + 1) / (8*nu + 3) * math.Sqrt(nu*math.Log1p(z*z/nu))
	return math.Erfc(u / math.Sqrt2)
}

func join(errs ...[]error) error {
	var all []error
	for _, e := range errs {
		all = append(all, e...)
	}
	return errors.Join(all...)
}

// adapts reports whether a deviation that has lasted since a time is the new normal: after, or otherwise when
// that is zero; never when it is negative.
func adapts(after, otherwise time.Duration, since instant, at time.Time) bool {
	if after == 0 {
		after = otherwise
	}
	return after > 0 && since.Set && at.Sub(since.time()) >= after
}
