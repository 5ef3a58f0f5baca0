package detectors

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

const (
	defaultCrossing  = 1e6
	defaultRecovery  = 20
	defaultCalmShare = 0.5
	maxCalmShare     = 0.95
	maxEvidence      = 1e18 // nobody waits for so many steps
	eproQuiet        = 2    // R that says nothing: of e-values of 0.5 it goes to 1 from above and from below
	eproPrior        = 2000 // steps that the presumption of a mean of 1 or less is worth
)

// EProcess makes one statement of many e-values, one after the other: that something is wrong with a thing which nothing but
// chance would say once in so many steps. It is the sum of all bets that could have been begun at a step of the past, each of them
// at fair odds and left standing: R = (1 + R) e. It crosses when R reaches Crossing, and the mean number of steps to the first crossing by
// chance is then at least Crossing (e-detectors of Shin, Ramdas and Rinaldo, New England J. Stat. Data Sci. 2 (2023), theorem 2.4), as long as each e is 1 or
// less on average given all that came before it.
//
// That condition is the caller's. A step must be a look at something fresh: a window that does not overlap the one before and is
// longer than what one cause by chance lasts. Two things are done for callers who do not quite keep it. No step counts for
// more than MaxStep, so that no window crosses alone, however small its p-value is said to be; and an e is divided by the mean of
// those of the past where that is above 1 - of 2000 ones and all that were seen, but for those after a crossing and those that
// R rests on now - so that what is odd all the time loses its weight. Neither makes an e larger.
//
// What has crossed is over by another test, not by R: R reaches no further than Crossing, so a long trouble does not need as long
// to be forgotten. The test bets against "it goes on", under which a window is calm - its e below 1 - with a probability of CalmShare at
// most: M = (1 + M) / CalmShare after a calm window and 0 after another one, and the trouble is over when M reaches Recovery. At the
// defaults that takes four calm windows in a row.
//
// The exported fields are its parameters, which must not be changed after the first Step, but for Crossing. It is not safe for
// concurrent use.
type EProcess struct {
	// Crossing is where R says so. Zero means 1e6.
	Crossing float64
	// MaxStep is the largest e of a step. Zero means the square root of Crossing: two steps at least.
	MaxStep float64
	// Recovery is where M says that it is over. Zero means 20.
	Recovery float64
	// CalmShare is the share of calm windows that a trouble has at most, above 0 and up to 0.95. Zero means 0.5.
	CalmShare float64

	st eproState
}

type eproState struct {
	Last    instant
	R, M    float64
	On      bool
	Calm    int     // windows in a row
	Since   instant // first step of those with an R above eproQuiet
	Crossed instant
	Sum     float64 // of the e of steps that nothing rests on any more
	Pending float64 // of the others
	Steps   int     // all of them, but for those after a crossing
}

// EVerdict is what an EProcess says after a step. No field is ever NaN or infinite.
type EVerdict struct {
	At    time.Time
	State State // anomalous from the crossing to the recovery; unknown: no step was made
	E     float64
	// Mean is the mean of the e-values of the past, which E was divided by where it is above 1. It rests on so many Steps.
	Mean  float64
	Steps int
	// R is the evidence, from 0 to Crossing.
	R, Crossing float64
	// Since is the step at which R went above 2, or crossed below that, and has stayed there, and Crossed when it crossed; zero times
	// while there is neither.
	Since, Crossed time.Time
	// M is the evidence that it is over, Calm the calm windows in a row so far and NeedCalm how many it takes.
	M              float64
	Calm, NeedCalm int
}

// Validate says what is wrong with the parameters.
func (p *EProcess) Validate() error {
	for _, x := range []struct {
		name  string
		value float64
	}{{"crossing", p.Crossing}, {"max step", p.MaxStep}, {"recovery", p.Recovery}} {
		if x.value != 0 && !(x.value > 1 && x.value <= maxEvidence) {
			return fmt.Errorf("%s %v: want a number above 1 and up to %v, or 0 for the default", x.name, x.value, maxEvidence)
		}
	}
	if !(p.CalmShare >= 0 && p.CalmShare <= maxCalmShare) {
		return fmt.Errorf("calm share %v: want a share such as 0.5, at most %v, or 0 for 0.5", p.CalmShare, maxCalmShare)
	}
	return nil
}

// parameters are those in force. What Validate refuses counts as zero.
func (p *EProcess) parameters() (crossing, maxStep, recovery, calm float64) {
	or := func(x, otherwise float64) float64 {
		if x > 1 && x <= maxEvidence {
			return x
		}
		return otherwise
	}
	crossing = or(p.Crossing, defaultCrossing)
	calm = defaultCalmShare
	if p.CalmShare > 0 && p.CalmShare <= maxCalmShare {
		calm = p.CalmShare
	}
	return crossing, or(p.MaxStep, math.Sqrt(crossing)), or(p.Recovery, defaultRecovery), calm
}

// Step takes the e-value of the window that ended at a time. A window that does not end after the one before, NaN and what is
// negative are no step.
func (p *EProcess) Step(at time.Time, e float64) EVerdict {
	if !(e >= 0) || (p.st.Last.Set && !p.st.Last.before(at)) {
		v := p.Verdict()
		v.At, v.State = at, StateUnknown
		return v
	}
	crossing, maxStep, recovery, share := p.parameters()
	st := &p.st
	st.Last = instantOf(at)
	raw := min(e, maxStep)
	e = raw / max(1, p.mean())
	was := st.R
	st.R = min((1+st.R)*e, crossing)
	if !st.On {
		st.Pending += raw
		st.Steps++
		switch {
		case st.R <= eproQuiet:
			st.Since = instant{}
			st.Sum, st.Pending = st.Sum+st.Pending, 0
		case was <= eproQuiet:
			st.Since = instantOf(at)
		}
	}
	switch {
	case !st.On && st.R >= crossing:
		st.On, st.M, st.Calm, st.Crossed = true, 0, 0, instantOf(at)
		if !st.Since.Set { // Crossing is eproQuiet or less
			st.Since = st.Crossed
		}
	case st.On && raw < 1:
		st.Calm++
		st.M = (1 + st.M) / share
		if st.M >= recovery {
			p.Reset()
		}
	case st.On:
		st.M, st.Calm = 0, 0
	}
	v := p.Verdict()
	v.E = e
	return v
}

// Reset forgets the evidence, and keeps what is usual: for a change that makes what was seen before it void.
func (p *EProcess) Reset() {
	p.st = eproState{Last: p.st.Last, Sum: p.st.Sum + p.st.Pending, Steps: p.st.Steps}
}

// mean is that of the e-values of the past, which are presumed to be 1 at first.
func (p *EProcess) mean() float64 { return (eproPrior + p.st.Sum) / (eproPrior + float64(p.st.Steps)) }

// Verdict is what the last step said, but for its E.
func (p *EProcess) Verdict() EVerdict {
	st := &p.st
	crossing, _, recovery, share := p.parameters()
	v := EVerdict{
		At: st.Last.time(), State: StateNormal, Mean: p.mean(), Steps: st.Steps, R: st.R, Crossing: crossing, M: st.M, Calm: st.Calm,
		Since: st.Since.time(), Crossed: st.Crossed.time(),
	}
	if st.On {
		v.State = StateAnomalous
	}
	for m := 0.0; m < recovery; m = (1 + m) / share {
		v.NeedCalm++
	}
	return v
}

// Explain is the verdict in words, for people.
func (v EVerdict) Explain() string {
	of := "evidence " + number(v.R) + " of " + number(v.Crossing)
	switch {
	case v.State == StateUnknown:
		return "no step: " + of
	case v.State == StateAnomalous && v.Calm > 0:
		return "crossed at " + clock(v.Crossed) + ", calm for " + strconv.Itoa(v.Calm) + " of " + strconv.Itoa(v.NeedCalm) + " windows"
	case v.State == StateAnomalous:
		return "crossed at " + clock(v.Crossed) + ", since " + clock(v.Since)
	case !v.Since.IsZero():
		return of + ", since " + clock(v.Since)
	}
	return of
}

// Snapshot returns the learned state, as that of a Model does.
func (p *EProcess) Snapshot() ([]byte, error) { return seal("e-process", p.st) }

// Restore replaces the learned state, as that of a Model does.
func (p *EProcess) Restore(b []byte) error {
	var st eproState
	if err := unseal("e-process", b, &st); err != nil {
		return err
	}
	crossing, _, _, _ := p.parameters()
	if !between(st.R, 0, crossing) || !between(st.M, 0, maxEvidence) || !between(st.Calm, 0, maxRows) || !between(st.Steps, 0, maxRows) ||
		!between(st.Sum, 0, maxResidual) || !between(st.Pending, 0, maxResidual) {
		return fmt.Errorf("%w: evidence of %v after %d steps", ErrSnapshot, st.R, st.Steps)
	}
	p.st = st
	return nil
}
