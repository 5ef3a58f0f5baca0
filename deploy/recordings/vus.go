package main

// Limits of vusWindow, as the evaluator's benchmark has them.
const (
	lagLeast, lagMost = 3, 300
	lagElse           = 125
	lagMax            = 400
)

// vusWindow is the evaluator's buffer around an anomaly: the lag of the strongest local peak of the autocorrelation
// (TSB-AD's rule), or 125 when there is none between 3 and 300.
func vusWindow(x []float64) int {
	acf := autocorrelation(x, lagMax)
	best := 0
	for lag := lagLeast + 1; lag+1 < len(acf); lag++ {
		if acf[lag] > acf[lag-1] && acf[lag] > acf[lag+1] && (best == 0 || acf[lag] > acf[best]) {
			best = lag
		}
	}
	// The rule counts lags from the least one.
	if n := best - lagLeast; best == 0 || n < lagLeast || n > lagMost {
		return lagElse
	}
	return best
}

// autocorrelation for lags 0 to most; all zero for a constant.
func autocorrelation(x []float64, most int) []float64 {
	n := len(x)
	mean := 0.0
	for _, v := range x {
		mean += v / float64(n)
	}
	out := make([]float64, min(most, n-1)+1)
	for lag := range out {
		for i := lag; i < n; i++ {
			out[lag] += (x[i] - mean) * (x[i-lag] - mean)
		}
	}
	whole := out[0]
	for lag := range out {
		if whole > 0 {
			out[lag] /= whole
		}
	}
	return out
}
