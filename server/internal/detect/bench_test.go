package detect

import (
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// BenchmarkObserve is one point of a series for each model of one series, after nine days of points every minute; cpu-ns/op is its
// processor time, and B/series the memory that the model of one series then takes.
func BenchmarkObserve(b *testing.B) {
	for _, name := range []Model{
		ModelThreshold, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelCUSUM, ModelBurnRate, ModelAbsence, ModelTrend, ModelAuto,
	} {
		b.Run(string(name), func(b *testing.B) { benchObserve(b, Watch{Model: name}) })
	}
}

func benchObserve(b *testing.B, w Watch) {
	if w.Model == ModelTrend {
		limit := 1000.0
		w.Limit = &limit
	}
	const models, days, every = 20, 9, time.Minute
	values := make([]float64, 4096)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range values {
		values[i] = 100 + 10*r.NormFloat64()
		if w.Model == ModelBurnRate {
			values[i] = 0.001 * r.Float64()
		}
	}
	all := make([]detectors.Model, models)
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	point := func(i int) detectors.Point {
		return detectors.Point{At: start.Add(time.Duration(i) * every), Value: values[i*7%len(values)]}
	}
	before := heap()
	n := int(days * 24 * time.Hour / every)
	for i := range all {
		all[i] = w.newModel(nil)
		for j := range n {
			all[i].Observe(point(j))
		}
	}
	size := float64(heap()-before) / models
	b.ReportAllocs()
	used := processor()
	for b.Loop() {
		all[0].Observe(point(n))
		n++
	}
	b.ReportMetric(float64(processor()-used)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(size, "B/series")
	runtime.KeepAlive(all)
}

// processor is the processor time that this process has used: on a machine that others use too it says more than the clock.
func processor() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap is the memory that is in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one made free is gone with the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
