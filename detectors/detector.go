package detectors

import (
	"math"
	"time"
)

// Point is one value of a series.
type Point struct {
	At      time.Time
	Value   float64
	Missing bool // there was no value at this time; Value is ignored
}

// Model judges one series.
type Model interface {
	// Observe judges the point and learns from it. It never fails: what cannot be judged is answered
	// with StateUnknown and a Reason. After the first call it allocates nothing.
	Observe(Point) Verdict
	// Snapshot returns the learned state. It can be kept anywhere and given to Restore.
	Snapshot() ([]byte, error)
	// Restore replaces the learned state by that of a snapshot of the same kind of model; parameters are
	// the receiver's own. After an error the model is as it was before. The error wraps ErrSnapshot.
	Restore([]byte) error
	// Validate says which parameter makes no sense, and what would. Observe puts the default in its place.
	Validate() error
}

// State is what a model knows of its series.
type State uint8

// The states of a series. The zero value is unknown, and unknown is never good news.
const (
	StateUnknown   State = iota
	StateWarming         // too few points yet to judge by
	StateNormal          // inside the band
	StateAnomalous       // outside the band, or not yet long enough back in it
)

func (s State) String() string {
	switch s {
	case StateWarming:
		return "warming"
	case StateNormal:
		return "normal"
	case StateAnomalous:
		return "anomalous"
	case StateUnknown:
	}
	return "unknown"
}

// Reason says why a verdict has its state.
type Reason uint8

// The reasons of a verdict.
const (
	ReasonNone       Reason = iota
	ReasonMissing           // unknown: the point has no value
	ReasonNotFinite         // unknown: the value is NaN or infinite
	ReasonParameters        // unknown: a parameter makes no sense and has no default; see Validate
	ReasonOutOfOrder        // unknown: the point is not later than the one before
	ReasonFewPoints         // warming
	ReasonInside            // normal: the value is inside the band
	ReasonOtherSide         // normal: outside the band, on the side that is not watched
	ReasonPending           // normal: outside the band, not yet for enough points
	ReasonAbove             // anomalous: above the band
	ReasonBelow             // anomalous: below the band
	ReasonRecovering        // anomalous: back, but not yet for enough points
	ReasonConstant          // anomalous: the series had never moved, and no floor says how much may be
	ReasonAdapted           // normal: the new level has stood long enough to be the level
	ReasonLasting           // anomalous: not odd enough at any one point, but it lasts
	ReasonTogether          // anomalous: several series of a whole are odd at once
	ReasonAlone             // anomalous: one series of a whole is odd enough by itself
	ReasonRepeated          // normal: outside the band, but what came as often of late is no news
	ReasonGap               // anomalous: no value for much longer than usual
	ReasonFlat              // anomalous: exactly constant for much longer than ever before
	ReasonShift             // anomalous: the level has shifted by little, lastingly
	ReasonBurn              // anomalous: the error budget is burning too fast
	ReasonTrend             // anomalous: on its way past the limit within the horizon
	ReasonFewPeers          // unknown: too few siblings have a value to compare with
	ReasonEither            // unknown: two siblings have parted, and nothing says which of them is wrong
)

func (r Reason) String() string {
	switch r {
	case ReasonMissing:
		return "missing"
	case ReasonNotFinite:
		return "not_finite"
	case ReasonParameters:
		return "parameters"
	case ReasonOutOfOrder:
		return "out_of_order"
	case ReasonFewPoints:
		return "few_points"
	case ReasonInside:
		return "inside"
	case ReasonOtherSide:
		return "other_side"
	case ReasonPending:
		return "pending"
	case ReasonAbove:
		return "above"
	case ReasonBelow:
		return "below"
	case ReasonRecovering:
		return "recovering"
	case ReasonConstant:
		return "constant"
	case ReasonAdapted:
		return "adapted"
	case ReasonLasting:
		return "lasting"
	case ReasonTogether:
		return "together"
	case ReasonAlone:
		return "alone"
	case ReasonRepeated:
		return "repeated"
	case ReasonGap:
		return "gap"
	case ReasonFlat:
		return "flat"
	case ReasonShift:
		return "shift"
	case ReasonBurn:
		return "burn"
	case ReasonTrend:
		return "trend"
	case ReasonFewPeers:
		return "few_peers"
	case ReasonEither:
		return "either"
	case ReasonNone:
	}
	return "none"
}

// Direction is the side on which a deviation counts.
type Direction uint8

// The directions. The zero value watches both sides.
const (
	Both Direction = iota
	Above
	Below
)

func (d Direction) String() string {
	switch d {
	case Above:
		return "above"
	case Below:
		return "below"
	case Both:
	}
	return "both"
}

// accept is the checks that every model makes of a point before it looks at the value. It returns
// ReasonNone for a point that may be judged.
func accept(p Point, last instant) Reason {
	switch {
	case last.Set && !last.before(p.At):
		return ReasonOutOfOrder
	case p.Missing:
		return ReasonMissing
	case math.IsNaN(p.Value) || math.IsInf(p.Value, 0):
		return ReasonNotFinite
	}
	return ReasonNone
}

// finite brings an overflow back to the largest number there is.
func finite(x float64) float64 {
	if x-x == 0 { // not infinite, which is nearly always and quickly seen
		return x
	}
	return max(-math.MaxFloat64, min(math.MaxFloat64, x))
}
