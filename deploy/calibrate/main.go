package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

func main() {
	p := plan{budgets: []float64{7, 1, 7.0 / 30}}
	flag.IntVar(&p.series, "series", 200, "how many series of each kind")
	flag.IntVar(&p.train, "train", 2, "weeks before alarms are counted")
	flag.IntVar(&p.weeks, "weeks", 4, "weeks in which alarms are counted")
	flag.DurationVar(&p.step, "step", 5*time.Minute, "distance of the points")
	flag.Parse()
	if err := p.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "calibrate:", err)
		os.Exit(1)
	}
}

// plan is what is measured.
type plan struct {
	series, train, weeks int
	step                 time.Duration
	budgets              []float64 // a week
}

const week = 7 * 24 * time.Hour

func (p plan) run(out io.Writer) error {
	if p.series < 1 || p.train < 0 || p.weeks < 1 || p.step < time.Second || p.step > time.Hour {
		return errors.New("want a series and a week at least, no training below 0, and points from 1s to 1h apart")
	}
	if _, err := fmt.Fprintf(out, "| noise | set, a week | alarms | achieved, a week | interval of 95 %% | achieved / set |\n|---|---|---|---|---|---|\n"); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	for _, k := range kinds() {
		for _, budget := range p.budgets {
			n := p.alarms(k, budget)
			exposed := float64(p.series * p.weeks)
			low, high := detectors.CountInterval(n, 0.95)
			if _, err := fmt.Fprintf(out, "| %s | %.2f | %d | %.3f | %.3f to %.3f | %.2f |\n", k.name, budget, n,
				float64(n)/exposed, low/exposed, high/exposed, float64(n)/exposed/budget); err != nil {
				return fmt.Errorf("write the table: %w", err)
			}
		}
	}
	return nil
}

// alarms is how many are raised in all series together after the training.
func (p plan) alarms(k kind, budget float64) int {
	var n atomic.Int64
	var wg sync.WaitGroup
	work := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range work {
				n.Add(p.watch(k, budget, seed))
			}
		})
	}
	for seed := range uint64(p.series) { //nolint:gosec // checked by run
		work <- seed
	}
	close(work)
	wg.Wait()
	return int(n.Load())
}

func (p plan) watch(k kind, budget float64, seed uint64) (n int64) {
	next := k.start(rand.New(rand.NewPCG(seed, 1))) //nolint:gosec // noise, the same in every run
	m := &detectors.Auto{FalseAlarmsPerWeek: budget}
	start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	from := start.Add(time.Duration(p.train) * week)
	end := from.Add(time.Duration(p.weeks) * week)
	on := false
	for at := start; at.Before(end); at = at.Add(p.step) {
		now := m.Observe(detectors.Point{At: at, Value: next(at)}).State == detectors.StateAnomalous
		if now && !on && !at.Before(from) {
			n++
		}
		on = now
	}
	return n
}

// kind is a kind of noise. Start begins a series of it, whose values are then asked for in the order of their times.
type kind struct {
	name  string
	start func(*rand.Rand) func(time.Time) float64
}

func kinds() []kind {
	still := func(value func(*rand.Rand) float64) func(*rand.Rand) func(time.Time) float64 {
		return func(r *rand.Rand) func(time.Time) float64 {
			return func(time.Time) float64 { return value(r) }
		}
	}
	return []kind{
		{"white", still(func(r *rand.Rand) float64 { return 100 + r.NormFloat64() })},
		{"autocorrelated, 0.8", func(r *rand.Rand) func(time.Time) float64 {
			x := r.NormFloat64()
			return func(time.Time) float64 {
				x = 0.8*x + 0.6*r.NormFloat64()
				return 100 + x
			}
		}},
		{"seasonal, a day of 10 deviations", func(r *rand.Rand) func(time.Time) float64 {
			return func(at time.Time) float64 { return 100 + 10*day(at) + r.NormFloat64() }
		}},
		{"counted, 10 a point", still(func(r *rand.Rand) float64 { return poisson(r, 10) })},
		{"counted, a day of 5 to 35", func(r *rand.Rand) func(time.Time) float64 {
			return func(at time.Time) float64 { return poisson(r, 20+15*day(at)) }
		}},
		{"counted, one in five points", still(func(r *rand.Rand) float64 { return poisson(r, 0.2) })},
		{"log-normal, 0.5", still(func(r *rand.Rand) float64 { return math.Exp(0.5 * r.NormFloat64()) })},
		{"Student's t, 4", still(func(r *rand.Rand) float64 {
			return r.NormFloat64() / math.Sqrt((r.ExpFloat64()+r.ExpFloat64())/2)
		})},
	}
}

// day goes from -1 to 1 and back within a day.
func day(at time.Time) float64 {
	return math.Sin(2 * math.Pi * float64(at.Unix()%86400) / 86400)
}

// poisson draws a count by multiplying (Knuth, The Art of Computer Programming 2, 3.4.1); the mean is below 700.
func poisson(r *rand.Rand, mean float64) float64 {
	n, p := 0.0, r.Float64()
	for limit := math.Exp(-mean); p > limit; p *= r.Float64() {
		n++
	}
	return n
}
