package detectors_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/detectors/detectortest"
)

// erratic is a time series as no contract has it: with gaps, pauses of days and intervals that change, values that stand still, jump and drift.
func erratic(seed uint64, n int, f func(i int, p detectors.Point)) {
	r := rand.New(rand.NewPCG(seed, 12)) //nolint:gosec // a test series, not a secret
	at := time.Date(2026, 3, 20, 22, 0, 0, 0, time.UTC)
	every, level := 10*time.Second, 10.0
	for i := range n {
		switch r.IntN(400) {
		case 0:
			every = []time.Duration{time.Second, 10 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour}[r.IntN(5)]
		case 1:
			at = at.Add(time.Duration(r.IntN(20*24)) * time.Hour)
		case 2:
			level = []float64{0, 10, 1e9, -1e37, 1e300, 1e-300}[r.IntN(6)]
		}
		at = at.Add(every)
		if r.IntN(10) == 0 {
			at = at.Add(time.Duration(r.IntN(int(every))))
		}
		p := detectors.Point{At: at, Value: level, Missing: r.IntN(30) == 0}
		if i/500%3 != 2 {
			p.Value += r.NormFloat64() + float64(i%500)/100
		}
		f(i, p)
	}
}

// A model that is restored now and then says what one that went on says, whatever comes.
func TestEveryModelIsRestoredInTheMidst(t *testing.T) {
	where, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for name, fresh := range map[string]func() detectors.Model{
		"auto":      func() detectors.Model { return &detectors.Auto{Location: where} },
		"threshold": func() detectors.Model { return &detectors.Threshold{Limit: 12} },
		"robust-z":  func() detectors.Model { return &detectors.RobustZ{} },
		"seasonal":  func() detectors.Model { return &detectors.Seasonal{Location: where} },
		"local-fit": func() detectors.Model { return &detectors.LocalFit{} },
		"cusum":     func() detectors.Model { return &detectors.CUSUM{} },
		"trend":     func() detectors.Model { return &detectors.Trend{Limit: 20} },
		"burn-rate": func() detectors.Model { return &detectors.BurnRate{Whole: 10} },
		"absence":   func() detectors.Model { return &detectors.Absence{} },
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				one, other := fresh(), fresh()
				erratic(seed, 3000, func(i int, p detectors.Point) {
					if i%61 == 0 {
						snap, err := other.Snapshot()
						other = fresh()
						if err == nil {
							err = other.Restore(snap)
						}
						if err != nil {
							t.Fatalf("seed %d, point %d at %s: %v", seed, i, p.At, err)
						}
					}
					want, got := one.Observe(p), other.Observe(p)
					if s := detectortest.Check(want); s != "" {
						t.Fatalf("seed %d, point %d at %s: %s: %+v", seed, i, p.At, s, want)
					}
					if got != want {
						t.Fatalf("seed %d, point %d at %s: restored says\n%+v, want\n%+v", seed, i, p.At, got, want)
					}
				})
			}
		})
	}
}

// The same of models of rows.
func TestEveryModelOfRowsIsRestoredInTheMidst(t *testing.T) {
	for seed := range uint64(2) {
		peers, peers2 := &detectors.Peers{}, &detectors.Peers{}
		whole, whole2 := &detectors.Service{}, &detectors.Service{}
		r := rand.New(rand.NewPCG(seed, 13)) //nolint:gosec // a test series, not a secret
		erratic(seed, 2000, func(i int, p detectors.Point) {
			row := []float64{p.Value, p.Value + r.NormFloat64(), 2 * p.Value, r.NormFloat64()}[:1+r.IntN(4)]
			if i%61 == 0 {
				a, err := peers2.Snapshot()
				b, err2 := whole2.Snapshot()
				peers2, whole2 = &detectors.Peers{}, &detectors.Service{}
				if err != nil || err2 != nil || peers2.Restore(a) != nil {
					t.Fatalf("seed %d, row %d: %v %v", seed, i, err, err2)
				}
				if err := whole2.Restore(b); err != nil {
					t.Fatalf("seed %d, row %d: %v", seed, i, err)
				}
			}
			if want, got := whole.Observe(p.At, row), whole2.Observe(p.At, row); got != want {
				t.Fatalf("seed %d, row %d: the whole restored says\n%+v, want\n%+v", seed, i, got, want)
			}
			if want, got := peers.Observe(p.At, row), peers2.Observe(p.At, row); !slices.Equal(got, want) {
				t.Fatalf("seed %d, row %d: peers restored say\n%+v, want\n%+v", seed, i, got, want)
			}
		})
	}
}
