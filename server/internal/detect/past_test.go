package detect

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// A series that stands at another level since a change is judged by what was before it for a day, and that model is not copied for each point.
func TestTheModelFromBeforeAChangeIsCopiedSeldom(t *testing.T) {
	copies := 0
	fresh := func() detectors.Model { copies++; return Watch{Model: ModelRobustZ}.newModel(nil) }
	p := newPast(fresh, true)
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	observe := func(value float64, m marked) detectors.Verdict {
		at = at.Add(10 * time.Second)
		v, _ := p.observe(at, value, 1, m)
		return v
	}
	for i := range 1000 {
		observe(float64(100+i%7), marked{})
	}
	change := marked{changes: []Mark{{Kind: MarkChange, From: at, Until: at.Add(time.Second)}}}
	copies = 0
	const points = 350 // of the first hour after it
	for i := range points {
		if v := observe(200, change); v.State != detectors.StateAnomalous || v.Expected > 107 {
			t.Fatalf("point %d after the change: %s", i, v.Explain())
		}
	}
	if most := 2 + points/strayPoints; copies > most {
		t.Errorf("%d copies for %d points, want %d at most", copies, points, most)
	}
	for i := range 7 {
		observe(float64(100+i), change)
	}
	if v := observe(103, change); v.State != detectors.StateNormal {
		t.Errorf("back to what was before the change: %s", v.Explain())
	}
}

// Once a change has had its hour, either level is right, and going from one to the other is no news: also to the default model, which calls
// a series anomalous for some points more.
func TestARollbackIsNoNews(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := newPast(func() detectors.Model { return Watch{Model: ModelAuto}.newModel(nil) }, true)
		at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		observe := func(level float64, points int, m marked) (anomalous int) {
			for range points {
				at = at.Add(time.Minute)
				if v, _ := p.observe(at, level+r.NormFloat64(), 1, m); v.State == detectors.StateAnomalous {
					anomalous++
				}
			}
			return anomalous
		}
		observe(100, 3*24*60, marked{})
		change := marked{changes: []Mark{{Kind: MarkChange, From: at, Until: at.Add(time.Second)}}}
		if n := observe(130, 60, change); n < 50 {
			t.Errorf("%d: anomalous at %d of the 60 points after the change", seed, n)
		}
		observe(130, 90, change)
		for _, level := range []float64{100, 130, 100} {
			if n := observe(level, 15, change); n > 1 {
				t.Errorf("%d: anomalous at %d of 15 points at %g", seed, n, level)
			}
		}
		if n := observe(170, 5, change); n < 4 {
			t.Errorf("%d: anomalous at %d of 5 points of a third level", seed, n)
		}
	}
}

// BenchmarkSinceChange is one point, every ten seconds, of a series that stands at another level since a declared change: the trial of a day.
func BenchmarkSinceChange(b *testing.B) {
	for _, name := range learners() {
		b.Run(string(name), func(b *testing.B) {
			start := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
			r := rand.New(rand.NewPCG(1, 2))
			fresh := func() detectors.Model { return Watch{Model: name}.newModel(nil) }
			p := newPast(fresh, true)
			n := 0
			observe := func(level float64, m marked) detectors.Verdict {
				v, _ := p.observe(start.Add(time.Duration(n)*10*time.Second), level+10*r.NormFloat64(), 1, m)
				n++
				return v
			}
			for range 7 * 8640 {
				observe(100, marked{})
			}
			at := start.Add(time.Duration(n) * 10 * time.Second)
			change := marked{changes: []Mark{{Kind: MarkChange, Subject: core.Subject{Site: "fra"}, From: at, Until: at.Add(time.Second)}}}
			snap, _ := p.model.Snapshot()
			b.ReportMetric(float64(len(snap)), "B/snapshot")
			observe(1000, change)
			observe(1000, change)
			used := processor()
			b.ReportAllocs()
			odd := 0
			for b.Loop() {
				if v := observe(1000, change); v.State == detectors.StateAnomalous {
					odd++
				}
				p.changed.change.Until = start.Add(time.Duration(n) * 10 * time.Second) // the trial does not end
			}
			b.ReportMetric(float64(processor()-used)/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(odd)/float64(b.N), "odd/op")
		})
	}
}
