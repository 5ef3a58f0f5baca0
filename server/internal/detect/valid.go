package detect

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// Range is what the values of a series can be. One without ends is any.
type Range struct{ Min, Max *float64 }

func (r Range) any() bool { return r.Min == nil && r.Max == nil }

func (r Range) holds(x float64) bool {
	return (r.Min == nil || x >= *r.Min) && (r.Max == nil || x <= *r.Max)
}

func (r Range) String() string {
	switch {
	case r.Min == nil && r.Max == nil:
		return "any"
	case r.Max == nil:
		return figure(*r.Min) + " or more"
	case r.Min == nil:
		return figure(*r.Max) + " or less"
	}
	return figure(*r.Min) + " to " + figure(*r.Max)
}

// refusal says of a value that it is out of the range.
func (r Range) refusal(x float64) string {
	return figure(x) + " is outside the valid range, " + r.String()
}

// problem is what is wrong with the range, empty when nothing is.
func (r Range) problem() string {
	for _, end := range []*float64{r.Min, r.Max} {
		if end != nil && (math.IsNaN(*end) || math.IsInf(*end, 0)) {
			return fmt.Sprintf("%v is no end of a range; want a number, or leave the end out", *end)
		}
	}
	if r.Min != nil && r.Max != nil && *r.Min > *r.Max {
		return fmt.Sprintf("%v is above %v and no value is in between; want {min: %[2]v, max: %[1]v}", *r.Min, *r.Max)
	}
	return ""
}

// valid is what the values of a question can be.
func (w Watch) valid(question string) Range {
	if w.model() == ModelService {
		return w.ValidOf[question]
	}
	return w.Valid
}

// refuse takes a value that none of the series can have: it is a fault of who measures, no sign of the subject, and neither judged nor learned. To
// absence it is no value.
func (s *series) refuse(w Watch, at time.Time, value float64) {
	s.unknown, s.note, s.special = "not judged, "+w.Valid.refusal(value), "", ""
	if w.model() == ModelAbsence {
		s.miss(at)
		return
	}
	s.lastAt, s.absent, s.gone = at, false, time.Time{}
}

// fitValues says what is wrong with what is said of the values.
func (w Watch) fitValues(bad func(field, format string, args ...any)) {
	if text := w.Valid.problem(); text != "" {
		bad("valid_range", "%s", text)
	}
	names := strings.Join(slices.Sorted(maps.Keys(w.Metrics)), ", ")
	known := func(field, name string) bool {
		if _, ok := w.Metrics[name]; !ok {
			bad(field, "%q is none of the metrics; want one of %s", name, names)
			return false
		}
		return true
	}
	if w.model() != ModelService { // told where settings are
		return
	}
	for _, name := range slices.Sorted(maps.Keys(w.ValidOf)) {
		if text := w.ValidOf[name].problem(); known("valid_ranges", name) && text != "" {
			bad("valid_ranges."+name, "%s", text)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Floors)) {
		f := w.Floors[name]
		if known("floors", name) && !(f.Absolute >= 0 && f.Relative >= 0 && f.Absolute+f.Relative < math.Inf(1)) {
			bad("floors."+name, "%v and %v: want an absolute and a relative floor of 0 or more", f.Absolute, f.Relative)
		}
	}
}
