package detectors

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// smallestP is as small as a p-value is taken to be; what an e-value of 1e294 says cannot be told from what a larger one says.
const smallestP = 1e-300

// EValue is the e-value of a p-value: how many times over a bet against chance at fair odds has paid. Of a p-value that is valid,
// which is at most x with a probability of at most x, it is at most 1 on average, whatever else is true, and that lets it be
// averaged and multiplied where p-values cannot. It is 0.5 at a p of 1, 1 at 0.2, 118 at 1e-4 and 5200 at 1e-6.
//
// The calibrator is the mixture of all of the powers k p^(k-1), (1 - p + p ln p) / (p (ln p)^2): nobody has to choose k (Vovk and
// Wang, E-values: calibration, combination and applications, Ann. Stat. 49 (2021), equation 2). A p below 1e-300 counts as 1e-300, one above 1 as
// 1; a negative one and NaN are no p-value and say nothing: 1.
func EValue(p float64) float64 {
	switch {
	case math.IsNaN(p) || p < 0:
		return 1
	case p >= 1:
		return 0.5
	}
	p = max(p, smallestP)
	u := -math.Log(p)
	if u < 1e-3 { // the two ends of the fraction cancel: its series
		return 0.5 + u/6
	}
	return (1 - p - p*u) / (p * u * u)
}

// MeanEValue is the average of e-values of the same hypothesis, which is an e-value whatever depends on what (Vovk and Wang 2021,
// proposition 3.1: no other symmetric rule is better under every dependence). Those that are NaN or negative are left out; ok is false
// when none is left.
func MeanEValue(es ...float64) (mean float64, ok bool) {
	n := 0.0
	for _, e := range es {
		if e >= 0 {
			n++
		}
	}
	for _, e := range es {
		if e >= 0 {
			mean += min(e, math.MaxFloat64) / n
		}
	}
	return finite(mean), n > 0
}

// CountInterval is what the mean of a count may be of which n were counted, with that confidence, such as 0.9: the exact interval
// of a Poisson count (Garwood, Biometrika 28 (1936)). A negative n counts as 0. A confidence that is not between 0 and 1 counts as 0.9.
func CountInterval(n int, confidence float64) (lower, upper float64) {
	n = max(n, 0)
	if !(confidence > 0 && confidence < 1) {
		confidence = 0.9
	}
	side := (1 - confidence) / 2
	if n > 0 {
		lower = distuv.Gamma{Alpha: float64(n), Beta: 1}.Quantile(side)
	}
	return lower, distuv.Gamma{Alpha: float64(n) + 1, Beta: 1}.Quantile(1 - side)
}
