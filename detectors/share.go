package detectors

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// ShareInterval is what a share may be of which k in n were counted, with that confidence, such as 0.9: the score interval of
// Wilson (JASA 22 (1927) 209). Of none it is 0 to 1. A k outside 0 to n counts as the nearer of them, and a confidence that is not
// between 0 and 1 as 0.9.
func ShareInterval(k, n int, confidence float64) (lower, upper float64) {
	if n <= 0 {
		return 0, 1
	}
	if !(confidence > 0 && confidence < 1) {
		confidence = 0.9
	}
	k = min(max(k, 0), n)
	size, share := float64(n), float64(k)/float64(n)
	z := distuv.UnitNormal.Quantile((1 + confidence) / 2)
	middle := share + z*z/(2*size)
	half := z * math.Sqrt(share*(1-share)/size+z*z/(4*size*size))
	whole := 1 + z*z/size
	return max(0, (middle-half)/whole), min(1, (middle+half)/whole)
}
