package detect

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What is written more seldom than the watch asks is told from what is asked each time and mostly stands still.
func TestCadence(t *testing.T) {
	const tick = 10 * time.Second
	r := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // a test series, not a secret
	// f gives the values of a function of the tick, and none where it says so.
	f := func(what string, ticks int, of func(k int) (x float64, there bool), want time.Duration, wantStill bool) {
		t.Helper()
		var c cadence
		at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		fresh := 0
		for k := range ticks {
			if x, ok := of(k); ok && !c.observe(at.Add(time.Duration(k)*tick), x, tick) && k >= ticks/2 {
				fresh++
			}
		}
		got, still := c.of(tick)
		if got = rounded(got, tick); got != want || still != wantStill {
			t.Errorf("%s: %s, still %t; want %s, %t", what, got, still, want, wantStill)
		}
		if most := 1 + ticks/2/max(1, int(want/tick)*3/4); want > 0 && fresh > most {
			t.Errorf("%s: %d values of %d ticks were new, want at most %d", what, fresh, ticks/2, most)
		}
	}
	noise := make([]float64, 10_000)
	for i := range noise {
		noise[i] = r.NormFloat64()
	}
	f("none", 100, func(int) (float64, bool) { return 0, false }, 0, true)
	f("constant", 10_000, func(int) (float64, bool) { return 7, true }, 0, true)
	f("noise", 1000, func(k int) (float64, bool) { return noise[k], true }, 0, false)
	f("written in 5 min, repeated", 1000, func(k int) (float64, bool) { return noise[k/30], true }, 320*time.Second, false)
	f("written in 5 min, not repeated", 1000, func(k int) (float64, bool) { return noise[k/30], k%30 == 7 }, 320*time.Second, false)
	f("written in 5 min, whole numbers", 3000, func(k int) (float64, bool) { return float64(int(noise[k/30])), true }, 320*time.Second, false)
	f("written in 5 min, seen a tick early or late", 3000, func(k int) (float64, bool) { return noise[(k+k*7919%3)/30], true }, 320*time.Second, false)
	f("written in 20 s", 1000, func(k int) (float64, bool) { return noise[k/2], true }, 20*time.Second, false)
	f("a whole number that moves now and then", 10_000, func(k int) (float64, bool) {
		n := 0.0
		for _, x := range noise[:k/10] {
			if x > 2.5 {
				n++
			}
		}
		return n, true
	}, 0, false)
	f("an error now and then, as a rate over a minute", 10_000, func(k int) (float64, bool) {
		n := 0.0
		for _, x := range noise[max(0, k-6):k] {
			if x > 2.3 {
				n++
			}
		}
		return n, true
	}, 0, false)
	f("an hour, at first", 700, func(k int) (float64, bool) { return noise[k/360], true }, 0, true)
	f("an hour", 7*8640, func(k int) (float64, bool) { return noise[k/360], true }, 384*tick, false)
}

// A cadence is told so that values that come a tick early or late do not make it another one.
func TestCadenceIsRounded(t *testing.T) {
	var got []string
	for _, n := range []time.Duration{0, 1, 2, 3, 6, 7, 9, 29, 30, 31, 32, 33, 300, 360, 8640} {
		got = append(got, fmt.Sprint(int(rounded(n*time.Second, time.Second).Seconds())))
	}
	if s := fmt.Sprint(got); s != "[0 1 2 3 6 7 10 32 32 32 32 40 320 384 10240]" {
		t.Error(s)
	}
}

// What a service is anomalous by may be one value that is written seldom: it says so, and not of the others.
func TestAServiceIsStillByASlowMetric(t *testing.T) {
	f := func(odd string, want bool) {
		t.Helper()
		w := Watch{Name: "w", Model: ModelService, Metrics: map[string]string{"a": "a", "b": "b", "c": "c"}, About: AboutSite, Every: 10 * time.Second}
		at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
		m, err := New(Options{Watches: []Watch{w}, Querier: silent{}, Writer: silent{}, Signals: func([]core.Signal) {}})
		if err != nil {
			t.Fatal(err)
		}
		x := m.watchers[0]
		r := rand.New(rand.NewPCG(5, 6)) //nolint:gosec // a test series, not a secret
		values := map[string]float64{}
		for k := range 2000 {
			var answers []answer[core.SeriesValue]
			for _, name := range []string{"a", "b", "c"} {
				if name != "c" || k%30 == 0 {
					values[name] = r.NormFloat64()
				}
				if k >= 1980 && strings.Contains(odd, name) && (name != "c" || k%30 == 0) {
					values[name] = 200 + r.NormFloat64()
				}
				answers = append(answers, answer[core.SeriesValue]{name, []core.SeriesValue{{Labels: map[string]string{"site": "fra"}, Value: values[name]}}})
			}
			x.takeRows(answers, at.Add(time.Duration(k)*w.Every))
		}
		for _, s := range x.series {
			sig := s.signal(w, w.Every, at)
			if sig.State != core.DetectorAnomalous || sig.Still != want || sig.Cadence != 0 {
				t.Errorf("%s is odd: %s, still %t, cadence %s, want anomalous, %t and none: %s", odd, sig.State, sig.Still, sig.Cadence, want, sig.Sentence)
			}
		}
	}
	f("a", false)
	f("ab", false)
	f("ac", true)
}
