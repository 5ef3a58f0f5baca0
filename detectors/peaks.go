package detectors

import (
	"math"
	"slices"
)

// peaks turns a score into a rate: how often a week, by chance, an episode as odd as this or odder is to be expected in
// this very series. It keeps the peaks of the last episodes above a moving level, six calm rows apart at least and so nearly
// independent (runs declustering, Leadbetter 1991), and extrapolates their excesses: peaks over threshold (Pickands,
// Ann. Stat. 3 (1975); Siffer et al., KDD 2017) with an exponential tail. The largest excesses are censored, since some
// of them may be true anomalies, and the few that the estimate rests on make the tail heavier: the predictive
// distribution of an exponential with an estimated mean is a Pareto (Geisser 1993).
//
// An estimate from the bulk is not believed where the series contradicts it: what came every few days of late is not
// said to come once a year.
type peaks struct {
	Rows   int     // seen
	Level  float64 // about the quantile 1-peakShare of the score
	Sigma  float64 // mean excess over the level
	Rate   float64 // episodes a row above the level
	Peak   float64 // of the present episode
	Calm   int     // rows below the level since
	In     bool
	N, Pos int
	Keep   int // excesses that the estimate rests on
	Peaks  peakRing
	When   [peakCount]uint32 // row, modulo 2^32: see age
}

const (
	peakCount  = 96
	peakFirst  = 60   // rows before there is a first estimate
	peakEarly  = 96   // rows of which the first level is a quantile
	peakFew    = 8    // episodes before they make an estimate of their own
	peakRate   = 0.1  // episodes a row that are supposed at first
	peakShare  = 0.03 // of the rows above the level
	peakGap    = 5    // rows below the level that end an episode
	peakTrim   = 0.35 // share of the excesses that is censored
	peakStep   = 0.05 // of the level, in scales
	peakSigma  = 0.03 // smallest mean excess
	peakWeight = 0.5  // of the sample size in the predictive tail
	peakMemory = 4    // weeks in which what came often is remembered
	peakOften  = 25   // episodes a week that are tolerated before they count
	peakPrior  = 8    // episodes that the experience with other series is worth
	peakUsual  = 0.3  // their mean excess: of normal noise, on the logarithmic scale
	peakSlack  = 0.1  // scales by which an episode may be smaller and still count as like this one
)

func (k *peaks) ready() bool { return k.Sigma > 0 }

// early reports whether the estimates still rest on the rows themselves, where an anomaly would weigh too much.
func (k *peaks) early() bool { return k.ready() && k.Rows < peakEarly }

// weight is the sample size behind the predictive tail.
func (k *peaks) weight() float64 { return peakWeight*float64(k.Keep) + peakPrior }

// rate is the decimal logarithm of the number of episodes a week expected to reach x, where a week is that many rows. Ask
// only when ready.
func (k *peaks) rate(x, week float64) float64 {
	often := math.Log10(k.Rate * week)
	z := (x - k.Level) / k.Sigma
	if z <= 0 {
		return often - z/math.Ln10
	}
	n := k.weight()
	fit := often - n*math.Log1p(z/n)/math.Ln10
	if fit >= 0.5 { // nobody asks how seldom that is
		return fit
	}
	like := 0
	for i := range k.N {
		if float64(k.age(i)) <= peakMemory*week && float64(k.Peaks[i]) >= x-peakSlack*k.Sigma {
			like++
		}
	}
	if like == 0 {
		return fit
	}
	weeks := min(peakMemory, max(1, float64(k.span())/week))
	return max(fit, math.Log10(float64(like)/weeks/peakOften))
}

// reach is the score that is expected to be reached 10^rate times a week, as far as the bulk says.
func (k *peaks) reach(rate, week float64) float64 {
	n := k.weight()
	y := (math.Log10(k.Rate*week) - rate) * math.Ln10
	if y <= 0 { // no row that is not above the level is an alarm
		return k.Level
	}
	return k.Level + n*math.Expm1(y/n)*k.Sigma
}

// learn takes the score of a row.
func (k *peaks) learn(x float64) {
	k.Rows++
	if k.Rows <= peakEarly {
		k.Peaks[k.Rows-1] = float32(x)
		if k.Rows >= peakFirst && k.Rows%12 == 0 {
			k.first()
		}
		return
	}
	if k.N < peakFew { // as often as the first rows said, and then as rarely as it came
		k.Rate = (peakRate*peakFirst + float64(k.N)) / (peakFirst + float64(k.Rows-peakEarly))
	}
	step := peakStep * max(k.Sigma, 0.02) * max(0.02, min(1, 100/float64(k.Rows)))
	if x > k.Level {
		k.Level += step * (1 - peakShare)
	} else {
		k.Level -= step * peakShare
	}
	switch {
	case x > k.Level && !k.In:
		k.In, k.Peak, k.Calm = true, x, 0
	case x > k.Level:
		k.Peak, k.Calm = max(k.Peak, x), 0
	case k.In:
		if k.Calm++; k.Calm > peakGap {
			k.In = false
			k.add(k.Peak)
		}
	}
}

// first makes the first estimate, of the rows themselves.
func (k *peaks) first() {
	var s [peakCount]float32
	v := s[:copy(s[:], k.Peaks[:k.Rows])]
	slices.Sort(v)
	k.Level = float64(v[len(v)*8/10])
	sum, n := 0.0, 0
	for _, x := range v {
		if float64(x) > k.Level {
			sum += float64(x) - k.Level
			n++
		}
	}
	k.Sigma = (sum + peakPrior*peakUsual) / (float64(n) + peakPrior)
	k.Rate = peakRate
	k.Keep = n
}

// age is how many rows ago a peak came, which are fewer than 2^32: of points a millisecond apart, seven weeks.
func (k *peaks) age(i int) int {
	return int(uint32(k.Rows) - k.When[i]) //nolint:gosec // what is beyond 2^32 cancels out
}

// span is how many rows the peaks kept go back.
func (k *peaks) span() int {
	if k.N == peakCount {
		return k.age(k.Pos)
	}
	return k.Rows - peakEarly
}

// add takes the peak of an episode that is over, and estimates again.
func (k *peaks) add(peak float64) {
	k.Peaks[k.Pos], k.When[k.Pos] = float32(peak), uint32(k.Rows) //nolint:gosec // see age
	k.Pos = (k.Pos + 1) % peakCount
	k.N = min(k.N+1, peakCount)
	if k.N < peakFew {
		return
	}
	var s [peakCount]float32
	v := s[:0]
	for _, x := range k.Peaks[:k.N] {
		if float64(x) > k.Level {
			v = append(v, x)
		}
	}
	if len(v) < 6 {
		return
	}
	slices.Sort(v)
	k.Rate = float64(len(v)) / float64(max(1, k.span()))
	keep := len(v) - int(peakTrim*float64(len(v)))
	sum := 0.0
	for _, x := range v[:keep] {
		sum += float64(x) - k.Level
	}
	// The estimate of greatest likelihood where all above the largest kept are only known to be above it.
	top := float64(v[keep-1]) - k.Level
	k.Sigma = max(peakSigma, (sum+float64(len(v)-keep)*top+peakPrior*peakUsual)/(float64(keep)+peakPrior))
	k.Keep = len(v)
}
