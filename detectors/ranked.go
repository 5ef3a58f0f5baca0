package detectors

// ranked is the value that would be at k if s, which has no NaN, were sorted, and moves those not above it before k and those
// not below it behind: Hoare's FIND, CACM 4 (1961), with the median of three as pivot. It costs a few passes over s.
func ranked(s []float64, k int) float64 {
	for lo, hi := 0, len(s)-1; lo < hi; {
		a, b, c := s[lo], s[lo+(hi-lo)/2], s[hi]
		pivot := max(min(a, b), min(max(a, b), c))
		i, j := lo, hi
		for i <= j {
			for s[i] < pivot {
				i++
			}
			for s[j] > pivot {
				j--
			}
			if i <= j {
				s[i], s[j] = s[j], s[i]
				i++
				j--
			}
		}
		switch {
		case k <= j:
			hi = j
		case k >= i:
			lo = i
		default:
			return s[k]
		}
	}
	return s[k]
}
