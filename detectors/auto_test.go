package detectors_test

import (
	"testing"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
)

func TestAutoContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Model { return &detectors.Auto{} })
}

func BenchmarkAuto(b *testing.B) {
	xs := noise(3, 4096, 10, 1)
	m := &detectors.Auto{}
	for i := range 30_000 {
		m.Observe(detectors.Point{At: at(i), Value: xs[i%len(xs)]})
	}
	b.ReportAllocs()
	i := 30_000
	for b.Loop() {
		i++
		m.Observe(detectors.Point{At: at(i), Value: xs[(i*7)%len(xs)]})
	}
}
