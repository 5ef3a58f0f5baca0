package saturation

import (
	"math"
	"slices"
)

const (
	// Samples are those of a minute, one a second.
	Samples = 60
	// Enough is how many of them make a percentile.
	Enough = 10
)

// Window holds the last minute of each resource. It is of constant size; one goroutine owns it. The zero value is empty.
type Window struct {
	rings [resources]ring
}

type ring struct {
	values  [Samples]float64
	next, n int
}

// Add takes in one second. A resource that is absent loses its oldest second, so a minute of absence makes it unknown.
func (w *Window) Add(shares Shares) {
	for r := range w.rings {
		share, ok := shares[Resource(r)]
		g := &w.rings[r]
		if !ok {
			g.n = max(g.n-1, 0)
			continue
		}
		g.values[g.next] = min(max(share, 0), 1)
		g.next = (g.next + 1) % Samples
		g.n = min(g.n+1, Samples)
	}
}

// P95 is the 95th percentile of a resource by the nearest rank; ok is false when too little is known.
func (w *Window) P95(r Resource) (p float64, ok bool) {
	if r >= resources || w.rings[r].n < Enough {
		return 0, false
	}
	g := &w.rings[r]
	var sorted [Samples]float64
	for i := range g.n {
		sorted[i] = g.values[(g.next-1-i+2*Samples)%Samples]
	}
	slices.Sort(sorted[:g.n])
	return sorted[int(math.Ceil(0.95*float64(g.n)))-1], true
}

// Index is the largest percentile and its resource; ok is false unless CPU and memory are known: an index without them
// would look good for want of a look.
func (w *Window) Index() (index float64, of Resource, ok bool) {
	for _, needed := range []Resource{CPU, Memory} {
		if _, ok := w.P95(needed); !ok {
			return 0, Unknown, false
		}
	}
	for _, r := range All() {
		if p, ok := w.P95(r); ok && (of == Unknown || p > index) {
			index, of = p, r
		}
	}
	return index, of, true
}
