package health

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// A series that is written seldom accuses as soon as it would alone, however many quick ones beside it are calm: of those there are many steps to
// one of its own, and they say nothing of it.
func TestCalmQuickSeriesSilenceNoSlowOne(t *testing.T) {
	f := func(interval time.Duration, tail float64, want time.Duration) {
		t.Helper()
		for _, quick := range []int{0, 1, 8} {
			tr := New("r1", testTopology([]string{"fra", "ams", "dub"}, nil, []string{"checkout"}))
			begin := epoch.Add(2 * time.Hour)
			got := time.Duration(-1)
			for at := epoch; at.Before(begin.Add(6*time.Hour)) && got < 0; at = at.Add(10 * time.Second) {
				for i := range quick {
					tr.Signal(point("quick"+strconv.Itoa(i), "fra", at, 10*time.Second, core.DetectorNormal, 1))
				}
				if at.Sub(epoch)%interval == 0 {
					state, chance := core.DetectorNormal, 1.0
					if !at.Before(begin) {
						state, chance = core.DetectorAnomalous, tail
					}
					tr.Signal(point("slow", "fra", at, interval, state, chance))
				}
				tr.Judge(at, nil)
				if tr.subjects[tr.sIndex[key{"fra", "checkout"}]].statistics.accuses() {
					got = at.Sub(begin)
				}
			}
			if got != want {
				t.Errorf("a chance of %v each %s beside %d calm series: accused after %s, want %s", tail, interval, quick, got, want)
			}
		}
	}
	f(30*time.Second, 1e-9, 13*time.Minute)
	f(time.Minute, 1e-9, 28*time.Minute)
	f(5*time.Minute, 1e-9, 150*time.Minute)
	f(5*time.Minute, 1e-6, 225*time.Minute)
}

// Series of several paces together accuse by chance no oftener than is set for the whole installation.
func TestAllPacesTogetherKeepTheChanceBudget(t *testing.T) {
	const (
		perYear = 50_000
		windows = 4000
		odd     = 0.3 // episodes in the time of a window of the detector
		step    = 10 * time.Second
	)
	type episode struct {
		begin, end int
		tail       float64
	}
	f := func(intervals ...time.Duration) {
		t.Helper()
		topo := testTopology([]string{"fra", "ams", "dub"}, nil, []string{"checkout"})
		topo.ChancePerYear = perYear
		tr := New("r1", topo)
		r := rand.New(rand.NewPCG(5, 6))
		crossings := 0
		accused := map[core.Subject]bool{}
		episodes := map[string][]episode{}
		for n := range windows * statisticsRows {
			at := epoch.Add(time.Duration(n) * step)
			for _, site := range []string{"fra", "ams", "dub"} {
				for _, interval := range intervals {
					every := int(interval / step)
					if n%every != 0 {
						continue
					}
					k, name := n/every, interval.String()
					all := episodes[site+name]
					if k%statisticsRows == 0 {
						if u := r.Float64(); u < odd { // so many begin that are as odd as that
							begin := k + r.IntN(statisticsRows)
							all = append(all, episode{begin, begin + 1 + r.IntN(statisticsRows), u / statisticsRows})
						}
					}
					all = slices.DeleteFunc(all, func(e episode) bool { return e.end <= k })
					state, tail := core.DetectorNormal, 1.0
					for _, e := range all {
						if k >= e.begin {
							state, tail = core.DetectorAnomalous, min(tail, e.tail)
						}
					}
					episodes[site+name] = all
					word := point(name, site, at, interval, state, tail)
					word.FalseAlarms = odd / statisticsRows * weekNs / float64(interval)
					tr.Signal(word)
				}
			}
			tr.Judge(at, nil)
			crossings += newlyAccused(tr, accused)
		}
		budget := perYear * windows / windowsPerYear
		t.Logf("series each %v: %d chance crossings, budget %.0f", intervals, crossings, budget)
		if crossings == 0 || float64(crossings) > budget {
			t.Errorf("series each %v: %d chance crossings, budget %.0f", intervals, crossings, budget)
		}
	}
	f(10 * time.Second)
	f(30 * time.Second)
	f(10*time.Second, 30*time.Second)
	f(10*time.Second, 20*time.Second, 30*time.Second, time.Minute, 2*time.Minute, 4*time.Minute)
}
