package detectors

import (
	"errors"
	"fmt"
	"math"
)

// Threshold compares each value with fixed limits. It has nothing to learn, so it never warms up and expects
// nothing: its verdicts have a limit and no centre, and their score is 1 beyond the limit and 0 elsewhere. Margin is the
// hysteresis of a trigger (Schmitt, J. Sci. Instrum. 15 (1938)).
type Threshold struct {
	// Limit is the last value that is all right. With Direction Both the band is -|Limit| to |Limit|.
	Limit float64
	// Direction is the side that is watched. Zero, Both, watches both.
	Direction Direction
	// Margin is how far back inside the limit a value must be to count as recovered. Zero: the limit itself.
	Margin float64
	// TriggerPoints in a row beyond the limit make the series anomalous. Zero means 1.
	TriggerPoints int
	// TriggerOf is of how many points, up to 64, TriggerPoints must be beyond. Zero means all: they are in a row.
	TriggerOf int
	// RecoverPoints in a row back inside make it normal again. Zero means 3.
	RecoverPoints int
	// RecoverOf is the same of RecoverPoints.
	RecoverOf int

	st thresholdState
}

type thresholdState struct {
	Last  instant
	Latch latch
}

var _ Model = (*Threshold)(nil)

// Validate implements Model.
func (m *Threshold) Validate() error {
	var errs []error
	if math.IsNaN(m.Limit) || math.IsInf(m.Limit, 0) {
		errs = append(errs, fmt.Errorf("limit %v is not a finite number", m.Limit))
	}
	if !(m.Margin >= 0) || math.IsInf(m.Margin, 0) {
		errs = append(errs, fmt.Errorf("margin %v is not a finite number of 0 or more", m.Margin))
	}
	if m.Direction == Both && m.Margin > math.Abs(m.Limit) {
		errs = append(errs, fmt.Errorf("margin %v is more than the limit %v: the series could never recover", m.Margin, math.Abs(m.Limit)))
	}
	return errors.Join(append(errs, m.runs().validate(m.Direction)...)...)
}

func (m *Threshold) runs() runs {
	return runs{m.TriggerPoints, m.TriggerOf, m.RecoverPoints, m.RecoverOf}
}

// Observe implements Model.
func (m *Threshold) Observe(p Point) Verdict {
	v := Verdict{At: p.At}
	if v.Reason = accept(p, m.st.Last); v.Reason != ReasonNone {
		return v
	}
	m.st.Last = instantOf(p.At)
	x := p.Value + 0 // -0 becomes 0
	v.Value, v.HasScore = x, true

	limit, margin := m.Limit, m.Margin
	if math.IsNaN(limit) || math.IsInf(limit, 0) {
		return Verdict{At: p.At, Value: x, Reason: ReasonParameters}
	}
	if !(margin >= 0) || math.IsInf(margin, 0) {
		margin = 0
	}
	switch m.Direction {
	case Above:
		v.Upper, v.HasUpper = limit, true
	case Below:
		v.Lower, v.HasLower = limit, true
	case Both:
		v.Upper, v.HasUpper = math.Abs(limit), true
		v.Lower, v.HasLower = -v.Upper, true
		margin = min(margin, v.Upper)
	default:
		return Verdict{At: p.At, Value: x, Reason: ReasonParameters}
	}
	above := v.HasUpper && x > v.Upper
	below := v.HasLower && x < v.Lower
	back := (!v.HasUpper || x <= finite(v.Upper-margin)) && (!v.HasLower || x >= finite(v.Lower+margin))
	m.st.Latch.stepOf(p.At, above || below, back, m.runs())
	v.Since = m.st.Latch.Since.time()
	v.Tail = 1
	if above || below {
		v.Score, v.Tail = 1, 0
	}
	v.State, v.Reason = outcome(m.st.Latch.On, above, below, false)
	return v
}

// outcome turns the latch and the side of the point into the words of the verdict.
func outcome(on, above, below, other bool) (State, Reason) {
	switch {
	case on && above:
		return StateAnomalous, ReasonAbove
	case on && below:
		return StateAnomalous, ReasonBelow
	case on:
		return StateAnomalous, ReasonRecovering
	case above || below:
		return StateNormal, ReasonPending
	case other:
		return StateNormal, ReasonOtherSide
	}
	return StateNormal, ReasonInside
}

func validRuns(d Direction, trigger, calm int) []error {
	var errs []error
	if d > Below {
		errs = append(errs, fmt.Errorf("direction %d is not one of both, above, below", d))
	}
	if trigger < 0 {
		errs = append(errs, fmt.Errorf("trigger points %d: want 1 or more, or 0 for 1", trigger))
	}
	if calm < 0 {
		errs = append(errs, fmt.Errorf("recover points %d: want 1 or more, or 0 for 3", calm))
	}
	return errs
}

func orInt(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// orFloat is x, or the default for a parameter that is zero, negative or no number.
func orFloat(x, otherwise float64) float64 {
	if !(x > 0) || math.IsInf(x, 0) {
		return otherwise
	}
	return x
}

// Snapshot implements Model.
func (m *Threshold) Snapshot() ([]byte, error) { return seal("threshold", m.st) }

// Restore implements Model.
func (m *Threshold) Restore(b []byte) error {
	var st thresholdState
	if err := unseal("threshold", b, &st); err != nil {
		return err
	}
	if st.Latch.Run < 0 {
		return fmt.Errorf("%w: run of %d points", ErrSnapshot, st.Latch.Run)
	}
	m.st = st
	return nil
}
