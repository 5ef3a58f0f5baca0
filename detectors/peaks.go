package detectors

import (
	"math"
	"slices"
)

// peaks turns a score into a rate: how often a week, by chance, an episode as odd as this or odder is to be expected in
// this very series. It keeps the peaks of the last episodes above a moving level, six calm rows apart at least and so nearly
// independent (runs declustering, Leadbetter 1991), and extrapolates their excesses: peaks over threshold (Pickands,
// Ann. Stat. 3 (1975); Siffer et al., KDD 2017). The largest excesses are censored when their scale is estimated, since
// some of them may be true anomalies, and the few that the estimate rests on make the tail heavier: the predictive
// distribution of an exponential with an estimated mean is a Pareto (Geisser 1993).
//
// The scores are logarithms of residuals. A residual with the tail of a Pareto has an exponential logarithm, which is what
// a series is taken for at first; one with the tail of a Weibull distribution, as of normal noise, has one by Gompertz
// (Phil. Trans. 115 (1825)), whose hazard grows. How fast it grows is learned from how deep each new peak is in the tail
// that was supposed before it, by the gradient of the likelihood (Titterington, J. R. Stat. Soc. B 46 (1984)). Noise so
// earns a lighter tail in time, while incidents, which are deep, keep it heavy. A series of quick rows has a little of it from the start.
//
// Of quick rows there are so many in a week that what comes once in it lies far beyond the few hours that the peaks go back, and the
// bulk says little of so rare a thing. So their level is higher from the start, and is raised until the peaks go back for half a week.
//
// An estimate from the bulk is not believed where the series contradicts it: what came every few days of late is not
// said to come once a year.
type peaks struct {
	// Combined says that the score is made of calibrated ones, so that more is known of it: see prior.
	Combined bool
	// Fixed says that the tail is taken as it is supposed: the peaks are too few, and too near to each other, to learn how its hazard grows.
	Fixed bool

	In           bool  // an episode
	Calm         uint8 // rows below the level since its last above
	N, Pos, Keep uint8 // peaks kept; the place of the next; excesses that the estimate rests on
	Raised       uint8 // how many times the share of the rows above the level was halved

	Rows  int     // seen
	From  int     // rows at which those of the peaks begin, when some were forgotten
	Last  int     // rows at the newest peak
	Level float64 // about the quantile 1-share of the score
	Sigma float64 // mean excess over the level
	Rate  float64 // episodes a row above the level
	Peak  float64 // of the present episode
	Bend  float64 // growth of the hazard per mean excess: 0 is exponential
	Sure  float64 // information about it
	Peaks peakRing
	Gaps  peakGaps // rows between a peak and the one before it, at most 65535: the age of the oldest may be taken for less
}

const (
	peakCount  = 96
	peakFirst  = 60    // rows before there is a first estimate
	peakSoon   = 36    // the same of a score that is made of calibrated ones
	peakEarly  = 96    // rows of which the first level is a quantile
	peakFresh  = 12    // episodes that are kept when the others are forgotten
	peakFew    = 8     // episodes before they make an estimate of their own
	peakRate   = 0.1   // episodes a row that are supposed at first
	peakShare  = 0.03  // of the rows above the level
	peakRaises = 8     // times that this share is halved at most
	peakRaise  = 26880 // rows a week, one in 22.5 s: of these and of quicker ones it is halved
	peakVoid   = 5     // peaks that fail to come before the level falls as fast as it rises
	peakGap    = 5     // rows below the level that end an episode
	peakTrim   = 0.35  // share of the excesses that is censored
	peakStep   = 0.05  // of the level, in scales
	peakSigma  = 0.03  // smallest mean excess
	peakWeight = 0.5   // of the sample size in the predictive tail
	peakMemory = 4     // weeks in which what came often is remembered
	peakOften  = 25    // episodes a week that are tolerated before they count
	peakPrior  = 8     // episodes that the experience with other series is worth
	peakSurely = 64    // the same of a score that is made of calibrated ones
	peakUsual  = 0.3   // their mean excess: of normal noise, on the logarithmic scale
	peakDoubt  = 25    // information that this experience is worth about Bend, which is then 0
	peakKnown  = 800   // largest information about it: of some hundreds of peaks
	peakBend   = 2     // its largest value
	peakSlow   = 10080 // rows a week, one a minute: of quicker ones a lighter tail is supposed at first
	peakQuick  = 0.15  // by how much it is lighter, for each factor of ten: a step of twenty deviations is to be seen within the first hour
	peakDeep   = 8     // no peak counts as deeper: a chance of e^-8
	peakBottom = 30    // depth below which the chance falls slowly: nobody knows
	peakSlack  = 0.1   // scales by which an episode may be smaller and still count as like this one
)

// prior is how many episodes the supposed scale is worth. What is made of logarithms of calibrated chances has a scale that is known,
// and an exponential tail: a hazard that grows in its bulk, where several of them add up, does not go on growing.
func (k *peaks) prior() float64 {
	if k.Combined {
		return peakSurely
	}
	return peakPrior
}

// least is how many rows there are before the first estimate.
func (k *peaks) least() int {
	if k.Combined {
		return peakSoon
	}
	return peakFirst
}

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
	fit := often - k.depth(z, k.grows(week))/math.Ln10
	if fit >= 0.5 { // nobody asks how seldom that is
		return fit
	}
	like := 0
	age, i := k.Rows-k.Last, int(k.Pos)
	for range k.N {
		if float64(age) > peakMemory*week {
			break
		}
		if i--; i < 0 {
			i = peakCount - 1
		}
		if float64(k.Peaks[i]) >= x-peakSlack*k.Sigma {
			like++
		}
		age += int(k.Gaps[i])
	}
	if like == 0 {
		return fit
	}
	weeks := min(peakMemory, max(1, float64(k.span())/week))
	return max(fit, math.Log10(float64(like)/weeks/peakOften))
}

// lasting is the chance, as rate says it, of a score x of what lasts, which has this part of the budget: it counts as far as that goes, and
// no further than sure.
func (k *peaks) lasting(chance, x, budget, share float64) float64 {
	chance = max(chance, budget-autoSure) + share
	if x <= k.Level {
		chance = max(chance, budget)
	}
	return chance
}

// reach is the score that is expected to be reached 10^rate times a week, as far as the bulk says.
func (k *peaks) reach(rate, week float64) float64 {
	y := (math.Log10(k.Rate*week) - rate) * math.Ln10
	if y <= 0 { // no row that is not above the level is an alarm
		return k.Level
	}
	if y > peakBottom {
		y = peakBottom * math.Exp(y-peakBottom)
	}
	n := k.weight()
	return k.Level + n*math.Expm1(straight(y, k.grows(week))/n)*k.Sigma
}

// grows is how fast the hazard is taken to grow, of a series with so many rows a week: as it was learned, and where the rows are
// quick a little faster while little is known, since the chance that is asked for lies so far beyond what an hour can show.
func (k *peaks) grows(week float64) float64 {
	if k.Combined || week <= peakSlow {
		return k.Bend
	}
	ignorance := peakDoubt / max(peakDoubt, k.Sure)
	return k.Bend + peakQuick*math.Log10(week/peakSlow)*ignorance*ignorance
}

// depth is minus the logarithm of the chance that a peak exceeds the level by z mean excesses.
func (k *peaks) depth(z, grows float64) float64 {
	y := k.predictive(z)
	if grows > 0 {
		y = math.Expm1(grows*y) / grows
	}
	if y > peakBottom {
		y = peakBottom + math.Log(y/peakBottom)
	}
	return y
}

// predictive is the depth of an exponential tail whose mean is estimated.
func (k *peaks) predictive(z float64) float64 {
	n := k.weight()
	return n * math.Log1p(z/n)
}

// straight is the depth that an exponential tail would have where one with a hazard that grows so has the depth y.
func straight(y, grows float64) float64 {
	if grows > 0 {
		return math.Log1p(grows*y) / grows
	}
	return y
}

// bend learns the hazard from a new peak: how deep it is, given that it is in the deeper half, since the scale rests on the
// others.
func (k *peaks) bend(peak float64) {
	y := min(k.predictive(max(0, peak-k.Level)/k.Sigma), straight(peakDeep, k.Bend))
	half := straight(math.Ln2, k.Bend)
	if y <= half {
		return
	}
	slope := y - (k.growth(y) - k.growth(half)) // of the logarithm of the likelihood
	k.Sure = min(peakKnown, max(peakDoubt, k.Sure)+y*y)
	k.Bend = max(0, min(peakBend, k.Bend+slope/k.Sure))
}

// growth is how fast the depth of what would have the depth y in an exponential tail grows with Bend.
func (k *peaks) growth(y float64) float64 {
	b := k.Bend
	if b < 1e-3 {
		return y * y / 2
	}
	e := math.Exp(b * y)
	return (b*y*e - e + 1) / (b * b)
}

// quick reports whether so many rows a week are so many that the share of those above the level is halved. How many there are may not be known.
func quick(week float64) bool { return week >= peakRaise && !math.IsInf(week, 0) }

// raised is how many times that share is halved from the start.
func raised(week float64) uint8 {
	if !quick(week) {
		return 0
	}
	return uint8(min(peakRaises, 1+math.Log2(week/peakRaise)))
}

// share is that of the rows which are to lie above the level.
func (k *peaks) share() float64 { return math.Ldexp(peakShare, -int(k.Raised)) }

// move moves the level towards the quantile 1-share of the score. An incident is one episode of many rows: it pulls no harder than
// where nothing was raised. Where no peak came for long, the level was raised by what is no more, and falls.
func (k *peaks) move(x, week float64) {
	step := peakStep * max(k.Sigma, 0.02) * max(0.02, min(1, 100/float64(k.Rows)))
	switch {
	case !quick(week):
		k.Raised = 0
	case float64(k.Rows-k.Last)*k.share() > peakVoid:
		k.Raised = raised(week)
		if x <= k.Level {
			k.Level -= step * (1 - peakShare)
			return
		}
	}
	switch up := step * peakShare * (1/k.share() - 1); {
	case x > k.Level && k.In:
		k.Level += min(up, step*(1-peakShare))
	case x > k.Level:
		k.Level += up
	default:
		k.Level -= step * peakShare
	}
}

// learn takes the score of a row, of so many a week.
func (k *peaks) learn(x, week float64) {
	if k.Rows == 0 {
		k.Raised = raised(week)
	}
	k.Rows++
	if k.Rows <= peakEarly {
		k.Peaks[k.Rows-1] = float32(x)
		if k.Rows >= k.least() && k.Rows%12 == 0 {
			k.first()
		}
		return
	}
	if k.N < peakFew { // as often as the first rows said, and then as rarely as it came
		k.Rate = (peakRate*peakFirst + float64(k.N)) / (peakFirst + float64(k.Rows-peakEarly))
	}
	k.move(x, week)
	switch {
	case x > k.Level && !k.In:
		k.In, k.Peak, k.Calm = true, x, 0
	case x > k.Level:
		k.Peak, k.Calm = max(k.Peak, x), 0
	case k.In:
		if k.Calm++; k.Calm > peakGap {
			k.In = false
			k.add(k.Peak, week)
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
	k.Sigma = (sum + k.prior()*peakUsual) / (float64(n) + k.prior())
	k.Rate = peakRate
	k.Keep = uint8(n) //nolint:gosec // at most peakCount
}

// span is how many rows the peaks kept go back.
func (k *peaks) span() int {
	if k.N < peakCount {
		return k.Rows - max(peakEarly, k.From)
	}
	rows := k.Rows - k.Last - int(k.Gaps[k.Pos]) // that of the oldest goes back to one that is no longer kept
	for _, gap := range k.Gaps {
		rows += int(gap)
	}
	return rows
}

// forget keeps the last peakFresh episodes alone. What was learned of the tail stays.
func (k *peaks) forget() {
	if k.N <= peakFresh {
		return
	}
	was, gaps := k.Peaks, k.Gaps
	k.From = k.Last
	for i := range peakFresh {
		from := (int(k.Pos) + peakCount - peakFresh + i) % peakCount
		k.Peaks[i], k.Gaps[i] = was[from], gaps[from]
		k.From -= int(gaps[from])
	}
	k.N, k.Pos = peakFresh, peakFresh
}

// add takes the peak of an episode that is over, and estimates again.
func (k *peaks) add(peak, week float64) {
	if k.N >= peakFew && !k.Combined && !k.Fixed {
		k.bend(peak)
	}
	k.Peaks[k.Pos], k.Gaps[k.Pos] = float32(peak), uint16(min(k.Rows-k.Last, math.MaxUint16)) //nolint:gosec // it fits
	k.Last = k.Rows
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
	if n := len(v); n > peakCount*9/10 && quick(week) && 2*float64(k.span()) < min(float64(k.Rows), week) && k.Raised < peakRaises {
		k.Raised++
		k.Level = float64(v[n/2])
		v = v[n/2+1:]
	}
	k.Rate = float64(len(v)) / float64(max(1, k.span()))
	keep := len(v) - int(peakTrim*float64(len(v)))
	sum := 0.0
	for _, x := range v[:keep] {
		sum += float64(x) - k.Level
	}
	// The estimate of greatest likelihood where all above the largest kept are only known to be above it.
	top := float64(v[keep-1]) - k.Level
	k.Sigma = max(peakSigma, (sum+float64(len(v)-keep)*top+k.prior()*peakUsual)/(float64(keep)+k.prior()))
	k.Keep = uint8(len(v)) //nolint:gosec // at most peakCount
}
