package detectors

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat"
)

// window is the last values of a series, in the order of arrival and sorted. Adding one costs a binary search
// and a move of memory, and allocates nothing.
type window struct {
	ring   []float64 // the oldest value is at next once the ring is full
	sorted []float64
	next   int
}

func newWindow(size int) window {
	return window{ring: make([]float64, 0, size), sorted: make([]float64, 0, size)}
}

func (w *window) len() int { return len(w.ring) }

func (w *window) clear() { w.ring, w.sorted, w.next = w.ring[:0], w.sorted[:0], 0 }

// add takes a finite value and drops the oldest when the window is full.
func (w *window) add(x float64) {
	if len(w.ring) < cap(w.ring) {
		w.ring = append(w.ring, x)
		i, _ := slices.BinarySearch(w.sorted, x)
		w.sorted = slices.Insert(w.sorted, i, x)
		return
	}
	old := w.ring[w.next]
	w.ring[w.next] = x
	if w.next++; w.next == len(w.ring) {
		w.next = 0
	}
	if x == old {
		return
	}
	i, _ := slices.BinarySearch(w.sorted, old)
	j, _ := slices.BinarySearch(w.sorted, x)
	if i < j { // those between move towards the place that is free now
		j--
		copy(w.sorted[i:j], w.sorted[i+1:])
	} else {
		copy(w.sorted[j+1:i+1], w.sorted[j:])
	}
	w.sorted[j] = x
}

// each calls f with the values from the oldest to the newest.
func (w *window) each(f func(float64)) {
	for i := range w.ring {
		f(w.ring[(w.next+i)%len(w.ring)])
	}
}

// values is a copy, oldest first.
func (w *window) values() []float64 {
	out := make([]float64, 0, len(w.ring))
	w.each(func(x float64) { out = append(out, x) })
	return out
}

// median of the window, which must not be empty.
func (w *window) median() float64 {
	n := len(w.sorted)
	return middle(w.sorted[(n-1)/2], w.sorted[n/2])
}

// mad is the median absolute deviation from m, which must be the median of the window. The absolute deviations grow outwards
// from the middle on both sides, so the smaller half of them is the nearest few on the left and the nearest of the right;
// how many are of the left is found by bisection.
func (w *window) mad(m float64) float64 {
	n := len(w.sorted)
	if n < 2 {
		return 0
	}
	left, right := (n+1)/2, n/2 // the middle value of an odd window is of the left
	l := func(i int) float64 { return m - w.sorted[left-1-i] }
	r := func(i int) float64 { return w.sorted[left+i] - m }
	i := 1 + sort.Search(left-1, func(i int) bool { return l(i+1) >= r(right-1-i) })
	j := right + 1 - i
	if j == 0 {
		return finite(l(i - 1))
	}
	low, high := l(i-1), r(j-1)
	switch {
	case low > high:
		low, high = high, low
		if i > 1 {
			low = max(low, l(i-2))
		}
	case j > 1:
		low = max(low, r(j-2))
	}
	if n%2 == 1 {
		low = high
	}
	return finite(middle(finite(low), finite(high)))
}

// deviation is the sample standard deviation of the window, 0 for fewer than two values.
func (w *window) deviation() float64 {
	if len(w.sorted) < 2 || w.sorted[0] == w.sorted[len(w.sorted)-1] {
		return 0
	}
	sd := stat.StdDev(w.sorted, nil)
	if math.IsNaN(sd) || math.IsInf(sd, 0) {
		return math.MaxFloat64
	}
	return sd
}

// middle is the mean of two numbers, without overflow.
func middle(a, b float64) float64 {
	if a == b {
		return a
	}
	return a/2 + b/2
}
