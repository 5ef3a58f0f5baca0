package detectors

import (
	"math"
	"slices"
)

const (
	// sizeToSigma makes the mean absolute deviation of a normal sample estimate its standard deviation: sqrt(pi/2).
	sizeToSigma = 1.2533141373155003
	// startPoints is how many points a running estimate begins from.
	startPoints = 30
	// levelClip and sizeClip are the scales beyond which a point pulls no harder.
	levelClip = 2.5
	sizeClip  = 6
)

// running is a level and the mean absolute deviation from it, with exponential forgetting: the recursive
// M-estimates of location and scale with Huber's psi (Huber, Ann. Math. Stat. 35 (1964)) that begin at the median
// and the deviations of the first 30 points. A point costs a few multiplications.
type running struct {
	N     int
	Level float64
	Size  float64   // mean absolute deviation from Level
	Start []float64 `json:",omitempty"` // the first points, until there are enough
}

// ready makes room for the first points, so that add allocates nothing.
func (r *running) ready() {
	if cap(r.Start) < startPoints {
		r.Start = append(make([]float64, 0, startPoints), r.Start...)
	}
}

func (r *running) reset() { *r = running{Start: r.Start[:0]} }

func (r *running) usable() bool {
	return r.N >= 0 && r.Size >= 0 && len(r.Start) < startPoints && (r.N >= startPoints) == (len(r.Start) == 0 && r.N > 0) &&
		(r.N >= startPoints || r.N == len(r.Start))
}

// sigma is the deviation as a standard deviation of normal noise.
func (r *running) sigma() float64 { return finite(sizeToSigma * r.Size) }

// add takes a finite value; scale is what the caller takes one scale to be (its floors included) and memory the
// number of points after which a point counts for 1/e.
func (r *running) add(x, scale, memory float64) {
	r.N++
	if r.N <= startPoints {
		r.Start = append(r.Start, x)
		if r.N == startPoints {
			r.Level, r.Size = r.begin()
			r.Start = r.Start[:0]
		}
		return
	}
	r.N = min(r.N, math.MaxInt32)
	gain := max(1/memory, 1/float64(r.N))
	s := max(scale, r.sigma())
	d := finite(x - r.Level)
	r.Level = finite(r.Level + gain*max(-levelClip*s, min(levelClip*s, d)))
	r.Size += gain * (min(math.Abs(d), finite(sizeClip*s)) - r.Size)
}

// begin is the median of the first points and their mean absolute deviation, clipped; where half of them or more
// are one value, the median size of the others, weighted by their share. A tenth of the points is never believed.
func (r *running) begin() (level, size float64) {
	var room [startPoints]float64
	s := room[:copy(room[:], r.Start)]
	slices.Sort(s)
	n := len(s)
	level = middle(s[(n-1)/2], s[n/2])
	for i, x := range s {
		s[i] = finite(math.Abs(x - level))
	}
	slices.Sort(s)
	if mad := middle(s[(n-1)/2], s[n/2]); mad > 0 {
		for _, d := range s {
			size += min(d, finite(sizeClip*madToSigma*mad)) / float64(n)
		}
		return level, finite(size)
	}
	moved := s[n:]
	for i, d := range s {
		if d > 0 {
			moved = s[i:]
			break
		}
	}
	if len(moved) <= n/10 {
		return level, 0
	}
	return level, finite(moved[(len(moved)-1)/2] * float64(len(moved)) / float64(n))
}
