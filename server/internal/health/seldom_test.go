package health

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// newlyAccused is how many subjects statistics accuse that they did not accuse the last time, which accused keeps.
func newlyAccused(tr *Tracker, accused map[core.Subject]bool) (n int) {
	for _, s := range tr.subjects {
		if s.statistics.accuses() && !accused[s.subject] {
			n++
		}
		accused[s.subject] = s.statistics.accuses()
	}
	return n
}

// A store that answers only now and then makes no chance of several windows of one: statistics accuse no oftener for it.
func TestSeldomAnswersAccuseNobody(t *testing.T) {
	const (
		interval = 10 * time.Second
		windows  = 2000
		odd      = 0.3 // episodes in the time of a window
	)
	type episode struct {
		begin, end int
		tail       float64
	}
	f := func(of int) (crossings int) {
		t.Helper()
		topo := testTopology([]string{"fra", "ams", "dub"}, nil, []string{"checkout"})
		topo.ChancePerYear = 50_000
		tr := New("r1", topo)
		r := rand.New(rand.NewPCG(5, 6))
		accused := map[core.Subject]bool{}
		episodes := map[string][]episode{}
		for k := range windows * statisticsRows {
			at, answered := epoch.Add(time.Duration(k)*interval), r.IntN(of) == 0
			for _, site := range []string{"fra", "ams", "dub"} {
				if k%statisticsRows == 0 {
					if u := r.Float64(); u < odd {
						begin := k + r.IntN(statisticsRows)
						episodes[site] = append(episodes[site], episode{begin, begin + 1 + r.IntN(statisticsRows), u / statisticsRows})
					}
				}
				state, tail := core.DetectorNormal, 1.0
				episodes[site] = slices.DeleteFunc(episodes[site], func(e episode) bool { return e.end <= k })
				for _, e := range episodes[site] {
					if k >= e.begin {
						state, tail = core.DetectorAnomalous, min(tail, e.tail)
					}
				}
				if !answered {
					state = core.DetectorUnknown
				}
				word := point("latency", site, at, interval, state, tail)
				word.FalseAlarms = odd / statisticsRows * weekNs / float64(interval)
				tr.Signal(word)
			}
			tr.Judge(at, nil)
			crossings += newlyAccused(tr, accused)
		}
		return crossings
	}
	always := f(1)
	for _, of := range []int{2, 3, 5, 8, 15} {
		n := f(of)
		if n > always {
			t.Errorf("%d chance crossings where one question of %d is answered, %d where all are", n, of, always)
		}
	}
	if always == 0 {
		t.Error("there are none: the test looks at nothing")
	}
}
