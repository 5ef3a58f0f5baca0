package detect_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// jam is a writer that for a while takes long and does not look at the context.
type jam struct {
	*world
	takes atomic.Int64
}

func (j *jam) Append(ctx context.Context, samples []core.Sample) error {
	time.Sleep(time.Duration(j.takes.Load()))
	return j.world.Append(ctx, samples)
}

// What was not judged for three intervals is unknown, and the watchman says that it is its own fault.
func TestAWatchmanThatIsBehindDoubtsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: func(time.Time) ([]core.SeriesValue, error) { return one(0.2), nil }}
		slow := &jam{world: w}
		reg := prometheus.NewRegistry()
		m, err := detect.New(detect.Options{Watches: []detect.Watch{errorsWatch()}, Querier: w, Writer: slow, Signals: w.signal, Registry: reg})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 125*time.Second)
		defer cancel()
		at := func(d time.Duration, f func()) { time.AfterFunc(time.Until(start.Add(d)), f) }
		at(15*time.Second, func() { slow.takes.Store(int64(65 * time.Second)) })
		at(35*time.Second, func() {
			if err := m.Behind(); err != nil {
				t.Errorf("after 35 s: %v", err)
			}
		})
		at(75*time.Second, func() {
			slow.takes.Store(0)
			err := m.Behind()
			if err == nil || !strings.Contains(err.Error(), "watch checkout-errors has not been judged for 1m5s; the series are unknown") {
				t.Errorf("after 75 s: %v", err)
			}
			figure(t, reg, "evenkeel_detect_behind", "checkout-errors 1")
		})
		if err := m.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if err := m.Behind(); err != nil {
			t.Errorf("at the end: %v", err)
		}
		figure(t, reg, "evenkeel_detect_behind", "checkout-errors 0")
		// Judged at 10 s and 20 s; the write of the latter ends at 85 s.
		if got := states(w); got != "normal*2 unknown*1 normal*4" {
			t.Fatalf("states %s", got)
		}
		s := w.signals[2]
		if d := s.At.Sub(start); d < 40*time.Second || d > 42*time.Second {
			t.Errorf("unknown after %s", d)
		}
		want := "checkout-errors of checkout at fra: unknown, detection is behind and has not judged it since 00:00:10 UTC"
		if s.Sentence != want || s.Labels["site"] != "lb" || s.HasBand || s.Interval != 10*time.Second {
			t.Errorf("signal %+v", s)
		}
	})
}
