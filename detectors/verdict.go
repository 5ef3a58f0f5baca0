package detectors

import (
	"math"
	"strconv"
	"time"
)

// ScaleSource says which of its candidates the scale of a verdict is.
type ScaleSource uint8

// The sources of a scale.
const (
	ScaleNone       ScaleSource = iota // the model has no scale
	ScaleMAD                           // the median absolute deviation of the window
	ScaleDeviation                     // the standard deviation, where half of the window or more is one value
	ScaleAbsolute                      // the absolute floor
	ScaleRelative                      // the relative floor
	ScaleResolution                    // half of the resolution of the series
	ScaleMean                          // the clipped running mean of the absolute deviations
	ScaleQuantile                      // the 90 % quantile of the absolute residuals
	ScaleSpread                        // a share of the spread of the series
	ScaleBudget                        // the error budget
)

func (s ScaleSource) String() string {
	switch s {
	case ScaleMAD:
		return "median absolute deviation"
	case ScaleDeviation:
		return "standard deviation"
	case ScaleAbsolute:
		return "absolute floor"
	case ScaleRelative:
		return "relative floor"
	case ScaleResolution:
		return "resolution"
	case ScaleMean:
		return "mean absolute deviation"
	case ScaleQuantile:
		return "90 % quantile of the residuals"
	case ScaleSpread:
		return "spread of the series"
	case ScaleBudget:
		return "error budget"
	case ScaleNone:
	}
	return "none"
}

// Basis says which past the expectation of a verdict rests on, for models that have more than one.
type Basis uint8

// The bases of an expectation.
const (
	BasisNone   Basis = iota // the model has only one
	BasisRecent              // the recent past
	BasisDay                 // the same time of the past days
	BasisWeek                // the same time of the past weeks
)

func (b Basis) String() string {
	switch b {
	case BasisRecent:
		return "recent past"
	case BasisDay:
		return "same time of the past days"
	case BasisWeek:
		return "same time of the past weeks"
	case BasisNone:
	}
	return "none"
}

// Never is a time that does not come.
const Never = time.Duration(math.MaxInt64)

// ETA is how long after a point its series reaches a limit, if it goes on as it did. The zero value is not known.
type ETA struct {
	Known    bool
	Earliest time.Duration // Never when it does not
	Likely   time.Duration
	Latest   time.Duration
}

func (e ETA) String() string {
	if !e.Known {
		return "at a time that is not known"
	}
	word := func(d time.Duration) string {
		part := func(unit time.Duration) string { return strconv.FormatFloat(float64(d)/float64(unit), 'g', 2, 64) }
		switch {
		case d == Never:
			return "never"
		case d >= 99*24*time.Hour:
			return "months"
		case d >= 48*time.Hour:
			return part(24*time.Hour) + " d"
		case d >= time.Hour:
			return part(time.Hour) + " h"
		case d >= time.Minute:
			return part(time.Minute) + " min"
		}
		return part(time.Second) + " s"
	}
	return "in " + word(e.Likely) + " (" + word(e.Earliest) + " to " + word(e.Latest) + ")"
}

// Verdict is what a model says of one point. Values are in the unit of the series. No field is ever NaN or
// infinite; a figure that is not known says so in its Has field and is zero.
type Verdict struct {
	At     time.Time
	State  State
	Reason Reason
	Value  float64 // the point's value; zero when Reason is missing or not_finite

	// Expected is the centre of the band and Lower and Upper its ends, as they were before the point was
	// learned. A band may have one end only.
	Expected    float64
	Lower       float64
	Upper       float64
	HasExpected bool
	HasLower    bool
	HasUpper    bool

	// Score is one minus Tail, from 0 (as expected, deviating to the side that is not watched, or by less than matters) to 1. Tail
	// is the probability of a deviation of this size or more by chance, kept apart because it goes on
	// where one minus it can no longer be told from 1. Both mean something only when HasScore.
	Score    float64
	Tail     float64
	HasScore bool

	// PerWeek is how many episodes as odd as this or odder are expected in a week by chance in this very series, for the
	// models that calibrate it; zero for the others. It means the same for every series.
	PerWeek float64

	// Since is the time of the first point of the present deviation; zero when there is none.
	Since time.Time

	// The figures of the judgement.
	Deviation float64     // distance from Expected in scales; negative below
	Scale     float64     // what one scale is, in the unit of the series
	ScaleFrom ScaleSource // where the scale came from
	Basis     Basis       // which past Expected rests on
	ETA       ETA         // when the limit is reached
	Points    int         // how many points the band rests on
	Needed    int         // how many it takes to judge
}

// Explain is the verdict in words, for people. It names no unit and no series: the caller knows them.
func (v Verdict) Explain() string {
	switch v.Reason {
	case ReasonMissing:
		return "no value"
	case ReasonNotFinite:
		return "the value is not a number"
	case ReasonParameters:
		return "the model has a parameter that makes no sense"
	case ReasonOutOfOrder:
		return "the point is not later than the one before"
	case ReasonFewPoints:
		return number(v.Value) + ", warming up: " + strconv.Itoa(v.Points) + " of " + strconv.Itoa(v.Needed) + " points"
	case ReasonInside:
		return number(v.Value) + " is inside " + v.band()
	case ReasonOtherSide:
		return number(v.Value) + " is outside " + v.band() + " on the side that is not watched"
	case ReasonPending:
		return number(v.Value) + " is outside " + v.band() + ", not yet for enough points"
	case ReasonAbove:
		return number(v.Value) + " is above " + v.band() + v.chance()
	case ReasonBelow:
		return number(v.Value) + " is below " + v.band() + v.chance()
	case ReasonRecovering:
		return number(v.Value) + " is coming back to " + v.band() + ", not yet for enough points"
	case ReasonConstant:
		return number(v.Value) + " after " + strconv.Itoa(v.Points) + " points of exactly " + number(v.Expected) +
			"; no floor says how much it may move"
	case ReasonAdapted:
		return number(v.Value) + " is the new level: it has stood long enough"
	case ReasonLasting:
		if !v.HasExpected {
			return "its series are odd for the third row in a row, if not beyond doubt in any one" + v.chance()
		}
		return number(v.Value) + " is the third in a row to be off, if not beyond " + v.band() + v.chance()
	case ReasonTogether:
		return "several of its series are odd at once" + v.chance()
	case ReasonAlone:
		return "one of its series is odd enough by itself" + v.chance()
	case ReasonRepeated:
		return number(v.Value) + " is outside " + v.band() + ", but the like came too often of late to be news"
	case ReasonGap:
		return "no value for " + number(v.Value) + " s, where one comes every " + number(v.Expected) + " s and " +
			number(v.Upper) + " s are the limit"
	case ReasonFlat:
		return "exactly constant for " + number(v.Value) + " s, where it used to move after " + number(v.Expected) +
			" s at the latest and " + number(v.Upper) + " s are the limit"
	case ReasonShift:
		return "the level has moved by " + number(finite(v.Deviation*v.Scale)) + " (" + number(v.Deviation) +
			" scales of " + number(v.Scale) + ") from " + number(v.Expected) + " since " + clock(v.Since)
	case ReasonBurn:
		return "errors burn their budget of " + number(v.Scale) + " at " + number(v.Deviation) + " times the speed that lasts, " +
			number(v.Upper/v.Scale) + " times are the limit, since " + clock(v.Since)
	case ReasonTrend:
		limit := v.Upper
		if !v.HasUpper {
			limit = v.Lower
		}
		return number(v.Value) + " reaches " + number(limit) + " " + v.ETA.String()
	case ReasonFewPeers:
		return "too few siblings have a value to compare with"
	case ReasonEither:
		return number(v.Value) + " has parted from its only sibling, and nothing says which of the two is wrong"
	case ReasonNone:
	}
	return v.State.String()
}

func (v Verdict) band() string {
	var s string
	switch {
	case v.HasLower && v.HasUpper:
		s = number(v.Lower) + " to " + number(v.Upper)
	case v.HasUpper:
		s = "the limit " + number(v.Upper)
	case v.HasLower:
		s = "the limit " + number(v.Lower)
	default:
		return "the band"
	}
	if !v.HasExpected {
		return s
	}
	s += " (expected " + number(v.Expected)
	if v.Basis != BasisNone {
		s += " from the " + v.Basis.String()
	}
	if v.ScaleFrom != ScaleNone {
		s += ", " + number(math.Abs(v.Deviation)) + " scales of " + number(v.Scale) + " away, scale from the " +
			v.ScaleFrom.String() + " of " + strconv.Itoa(v.Points) + " points"
	}
	return s + ")"
}

// chance is how often the like is expected, for a model that says so.
func (v Verdict) chance() string {
	if v.PerWeek <= 0 {
		return ""
	}
	if weeks := 1 / v.PerWeek; weeks >= 2 {
		if weeks > 5200 {
			return "; by chance, the like is expected less than once in 100 years"
		}
		return "; by chance, the like is expected once in " + number(math.Round(weeks)) + " weeks"
	}
	return "; by chance, the like is expected " + number(v.PerWeek) + " times a week"
}

// clock is a time of a verdict for people.
func clock(t time.Time) string { return t.UTC().Format("15:04:05") + " UTC" }

// number is a figure with as many digits as a person reads.
func number(x float64) string {
	if math.Abs(x) >= 1e6 || (x != 0 && math.Abs(x) < 1e-4) {
		return strconv.FormatFloat(x, 'g', 4, 64)
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if r := strconv.FormatFloat(x, 'f', digits(x), 64); len(r) < len(s) {
		return r
	}
	return s
}

// digits is how many decimals leave four significant figures.
func digits(x float64) int {
	if x == 0 {
		return 0
	}
	return max(0, 3-int(math.Floor(math.Log10(math.Abs(x)))))
}
