package health

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// point is one word of a calibrated detector about checkout at a site.
func point(detector, site string, at time.Time, interval time.Duration, state core.DetectorState, tail float64) core.Signal {
	return core.Signal{
		Detector: detector, Subject: core.Subject{Site: site, Service: "checkout"}, Class: core.ClassSymptom, At: at, Interval: interval,
		State: state, Score: 1 - tail, FalseAlarms: 1,
	}
}

// What a limit of somebody's own, a forecast or a comparison says is no chance, however sure it is: it is a symptom and no step of the test,
// and where a calibrated detector has accused somebody and says no more, it does not keep the accusation up.
func TestOnlyCalibratedScoresAreSteps(t *testing.T) {
	f := func(accused string, calibratedFor time.Duration) {
		t.Helper()
		tr := New("r1", testTopology([]string{"fra", "ams"}, nil, []string{"checkout"}))
		begin := epoch.Truncate(StatisticsWindow)
		st := &tr.subjects[tr.sIndex[key{"fra", "checkout"}]].statistics
		got := ""
		for d := time.Duration(0); d <= 4*time.Hour; d += 10 * time.Second {
			limit := point("limit", "fra", begin.Add(d), 10*time.Second, core.DetectorAnomalous, 0)
			limit.FalseAlarms = 0
			tr.Signal(limit)
			if d < calibratedFor {
				tr.Signal(point("auto", "fra", begin.Add(d), 10*time.Second, core.DetectorAnomalous, 1e-9))
			}
			o := tr.Judge(begin.Add(d), nil)
			if a := find(t, o, "fra"); len(a.Odd) == 0 && !a.Has(core.ClassSymptom) {
				t.Fatalf("after %s the limit is no symptom: %+v", d, a)
			}
			if d%time.Hour == 0 {
				got += map[bool]string{true: "+", false: "-"}[st.accuses()]
			}
		}
		if got != accused {
			t.Errorf("a calibrated detector speaks for %s: accused at each hour %s, want %s", calibratedFor, got, accused)
		}
		if calibratedFor == 0 && (st.verdict().Steps != 0 || tr.Reckoning() != core.Reckoning{}) {
			t.Errorf("%d steps, and reckoned %+v", st.verdict().Steps, tr.Reckoning())
		}
	}
	f("-----", 0)
	f("-+++-", time.Hour)
}

// Whatever detectors say: statistics are evidence only while one of them objects that was not void, at no time before half of the
// second window, and every assessment is well-formed. The order of words of one instant does not matter.
func TestStatisticsNeverSayMoreThanTheirDetectors(t *testing.T) {
	accusations := 0
	rapid.Check(t, func(t *rapid.T) {
		topo := drawTopology(t)
		one, other := New("r1", topo), New("r1", topo)
		one.Judge(epoch, nil)
		other.Judge(epoch, nil)
		var routing []core.Routing
		at := epoch
		state := core.DetectorAnomalous
		for range rapid.IntRange(20, 80).Draw(t, "steps") {
			at = at.Add(10 * time.Second)
			if rapid.IntRange(0, 30).Draw(t, "turn") == 17 {
				state = core.DetectorState(rapid.IntRange(0, 3).Draw(t, "state"))
			}
			if rapid.IntRange(0, 50).Draw(t, "route") == 17 {
				routing = []core.Routing{{
					Subject: core.Subject{Site: "fra", Service: core.AllServices}, ChangedAt: at,
					State: core.RoutingState(rapid.IntRange(0, 4).Draw(t, "routing")),
				}}
			}
			var words []core.Signal
			for _, site := range topo.Sites {
				for _, d := range []string{"latency", "errors"} {
					words = append(words, point(d, site.Name, at, 10*time.Second, state, rapid.SampledFrom([]float64{0, 1e-9, 1e-5, 0.5}).Draw(t, "tail")))
				}
			}
			for i := range words {
				one.Signal(words[i])
				other.Signal(words[len(words)-1-i])
			}
			o := one.Judge(at, routing)
			a, _ := json.Marshal(o)
			b, _ := json.Marshal(other.Judge(at, routing))
			if !bytes.Equal(a, b) {
				t.Fatalf("the order of words matters:\n%s\n%s", a, b)
			}
			objections := one.signalEvidence(at.UnixNano(), one.routes(routing))
			for i, a := range o.Assessments {
				checkAssessment(t, a)
				accused := a.Has(core.ClassSymptom)
				if accused {
					accusations++
				}
				if accused && (objections == nil || len(objections[i]) == 0) {
					t.Fatalf("%s is accused while no detector objects: %+v", a.Subject, a.Evidence)
				}
				if accused && at.Before(epoch.Add(3*StatisticsWindow/2)) {
					t.Fatalf("%s is accused after %s", a.Subject, at.Sub(epoch))
				}
				if a.Condition > core.Suspect {
					t.Fatalf("%s is %s by statistics", a.Subject, a.Condition)
				}
			}
		}
	})
	if accusations == 0 {
		t.Error("nobody was ever accused: the test looks at nothing")
	}
}

// How often statistics accuse somebody by chance in the whole installation: detectors that raise what they say they do, at any time and
// for no longer than a window, some of them together.
func TestStatisticsKeepTheChanceBudget(t *testing.T) {
	const (
		perYear  = 50_000
		interval = 10 * time.Second
		windows  = 2000
		odd      = 0.3 // episodes in the time of a window
	)
	topo := testTopology([]string{"fra", "ams", "dub"}, nil, []string{"checkout"})
	topo.ChancePerYear = perYear
	tr := New("r1", topo)
	r := rand.New(rand.NewPCG(5, 6))
	crossings := 0
	accused := map[core.Subject]bool{}
	at := epoch
	type episode struct {
		begin, end int
		tail       float64
	}
	episodes := map[[2]int][]episode{} // by site and cause
	for k := range windows * statisticsRows {
		for i, s := range topo.Sites {
			for j, names := range [][]string{{"latency", "p50"}, {"errors"}} {
				of := [2]int{i, j}
				if k%statisticsRows == 0 {
					if u := r.Float64(); u < odd { // so many begin that are as odd as that
						begin := k + r.IntN(statisticsRows)
						episodes[of] = append(episodes[of], episode{begin, begin + 1 + r.IntN(statisticsRows), u / statisticsRows})
					}
				}
				state, tail := core.DetectorNormal, 1.0
				episodes[of] = slices.DeleteFunc(episodes[of], func(e episode) bool { return e.end <= k })
				for _, e := range episodes[of] {
					if k >= e.begin {
						state, tail = core.DetectorAnomalous, min(tail, e.tail)
					}
				}
				for _, name := range names {
					word := point(name, s.Name, at, interval, state, tail)
					word.FalseAlarms = odd / statisticsRows * weekNs / float64(interval)
					tr.Signal(word)
				}
			}
		}
		tr.Judge(at, nil)
		at = at.Add(interval)
		crossings += newlyAccused(tr, accused)
	}
	t.Logf("%d chance crossings, budget %.0f", crossings, perYear*windows/windowsPerYear)
	if float64(crossings) > perYear*windows/windowsPerYear {
		t.Errorf("%d chance crossings, budget %.0f", crossings, perYear*windows/windowsPerYear)
	}
	if crossings == 0 {
		t.Error("there are none: the test looks at nothing")
	}
}

// A clock that was far ahead for a moment does not silence statistics until it gets there again.
func TestStatisticsGoOnAfterAClockThatWasAhead(t *testing.T) {
	tr := New("r1", testTopology([]string{"fra", "ams"}, nil, []string{"checkout"}))
	begin := epoch.Truncate(StatisticsWindow)
	say := func(at time.Time, state core.DetectorState, tail float64) {
		tr.Signal(point("latency", "fra", at, 10*time.Second, state, tail))
		tr.Judge(at, nil)
	}
	for d := time.Duration(0); d <= StatisticsWindow; d += 10 * time.Second {
		say(begin.Add(d), core.DetectorNormal, 1)
	}
	say(begin.Add(24*time.Hour), core.DetectorAnomalous, 1e-9)
	for d := StatisticsWindow; d <= 4*StatisticsWindow; d += 10 * time.Second {
		say(begin.Add(d), core.DetectorAnomalous, 1e-9)
	}
	if s := &tr.subjects[tr.sIndex[key{"fra", "checkout"}]].statistics; !s.accuses() {
		t.Errorf("after three windows of anomalies: %+v", s.verdict())
	}
}

// A window in any part of which this replica did not trust its own clock or its own sight is no step.
func TestATiltInAWindowVoidsIt(t *testing.T) {
	f := func(want int, jumps ...time.Duration) {
		t.Helper()
		tr := New("r1", testTopology([]string{"fra", "ams"}, nil, []string{"checkout"}))
		begin := epoch.Truncate(StatisticsWindow)
		for d := time.Duration(0); d <= 4*StatisticsWindow; d += 10 * time.Second {
			for _, jump := range jumps {
				if d == jump {
					tr.ClockJumped(time.Minute, begin.Add(d))
				}
			}
			if d < 4*StatisticsWindow {
				tr.Signal(point("latency", "fra", begin.Add(d), 10*time.Second, core.DetectorNormal, 1))
			}
			tr.Judge(begin.Add(d), nil)
		}
		if got := tr.subjects[tr.sIndex[key{"fra", "checkout"}]].statistics.verdict().Steps; got != want {
			t.Errorf("jumps after %v: %d steps, want %d", jumps, got, want)
		}
	}
	f(4)
	f(3, StatisticsWindow+10*time.Second)
	f(2, StatisticsWindow+10*time.Second, 3*StatisticsWindow+10*time.Second)
	f(3, 2*StatisticsWindow-30*time.Second)
}

// The budget is the installation's: the more subjects, the further each has to go.
func TestTheChanceBudgetIsDivided(t *testing.T) {
	f := func(want float64, year float64, sites ...string) {
		t.Helper()
		topo := testTopology(sites, nil, []string{"checkout", "cart"})
		topo.ChancePerYear = year
		tr := New("r1", topo)
		for _, s := range tr.subjects {
			if got := s.statistics.crossing; got != want {
				t.Errorf("%s of %d subjects at %v a year: crossing %v, want %v", s.subject, len(tr.subjects), year, got, want)
			}
		}
	}
	f(processes*windowsPerYear*2, 0, "fra")
	f(processes*windowsPerYear*4, 1, "fra", "ams")
	f(processes*windowsPerYear*4/0.1, 0.1, "fra", "ams")
	f(2, 1e12, "fra")
}

// Whenever a trouble begins, its windows begin with it, and the second one is ended when half of it is odd. An alarm that only stays on, for
// calm of its length, is not odd.
func TestWindowsBeginWithTheTrouble(t *testing.T) {
	f := func(calm int, tail float64, want time.Duration) {
		t.Helper()
		tr := New("r1", testTopology([]string{"fra", "ams"}, nil, []string{"checkout"}))
		s := &tr.subjects[tr.sIndex[key{"fra", "checkout"}]].statistics
		got := time.Duration(-1)
		for k := range calm + 60 {
			at := epoch.Add(time.Duration(k) * 10 * time.Second)
			state, chance := core.DetectorNormal, 1.0
			if k >= calm {
				state, chance = core.DetectorAnomalous, tail
			}
			tr.Signal(point("latency", "fra", at, 10*time.Second, state, chance))
			tr.Judge(at, nil)
			if s.accuses() && got < 0 {
				got = time.Duration(k-calm) * 10 * time.Second
			}
		}
		if got != want {
			t.Errorf("%d calm points, then a chance of %v each: accused after %s, want %s", calm, tail, got, want)
		}
	}
	for calm := range 2 * statisticsRows {
		f(calm, 1e-9, StatisticsWindow+80*time.Second)
		f(calm, 1e-3, -1)
	}
}

// A watch with seldom points has longer windows.
func TestWindowsOfSlowWatchesAreLonger(t *testing.T) {
	f := func(interval time.Duration, want int64) {
		t.Helper()
		c := &tally{interval: interval}
		if got := c.windows(); got != want {
			t.Errorf("at %s a window is %d of %s, want %d", interval, got, StatisticsWindow, want)
		}
	}
	f(0, 1)
	f(time.Second, 1)
	f(10*time.Second, 1)
	f(11*time.Second, 2)
	f(time.Minute, 6)
	f(24*time.Hour, 8640)

	tr := New("r1", testTopology([]string{"fra", "ams"}, nil, []string{"checkout"}))
	at := epoch.Truncate(6 * StatisticsWindow)
	tr.Judge(at, nil)
	var steps []string
	for m := range 70 {
		at = at.Add(time.Minute)
		tr.Signal(point("slow", "fra", at, time.Minute, core.DetectorAnomalous, 1e-9))
		before := tr.subjects[1].statistics.verdict().At
		tr.Judge(at, nil)
		if now := tr.subjects[1].statistics.verdict().At; !now.Equal(before) {
			steps = append(steps, fmt.Sprint(m+1))
		}
	}
	if got := fmt.Sprint(steps); got != "[16 30 46 61]" || !tr.subjects[1].statistics.accuses() {
		t.Errorf("steps after the minutes %s, accused %t; want 16, 30, 46 and 61, and accused", got, tr.subjects[1].statistics.accuses())
	}
}

// Series that are written more seldom than their watch asks have windows as a watch of their pace has: what is said in between counts once, others of the
// same watch do not wait for them, and a series of which nobody knows how long a value lasts says nothing odd.
func TestWindowsAreAsLongAsTheValuesTake(t *testing.T) {
	f := func(watch, cadence time.Duration, still bool, lasts, want time.Duration) {
		t.Helper()
		topo := testTopology([]string{"fra", "ams"}, nil, []string{"checkout"})
		topo.ChancePerYear = 1000
		tr := New("r1", topo)
		s := &tr.subjects[tr.sIndex[key{"fra", "checkout"}]].statistics
		got := time.Duration(-1)
		const calm = 3 * time.Hour
		for d := time.Duration(0); d < calm+12*time.Hour; d += 10 * time.Second {
			if d%watch != 0 {
				tr.Judge(epoch.Add(d), nil)
				continue
			}
			word := point("gauge", "fra", epoch.Add(d), watch, core.DetectorNormal, 1)
			if d >= calm && d < calm+lasts {
				word = point("gauge", "fra", epoch.Add(d), watch, core.DetectorAnomalous, 1e-9)
			}
			word.Cadence, word.Still = cadence, still
			tr.Signal(word)
			if cadence == 0 { // one that is written more seldom is no part of the windows of the others
				slow := point("gauge", "fra", epoch.Add(d), watch, core.DetectorNormal, 1)
				slow.Labels, slow.Cadence = map[string]string{"other": "slow"}, 32*watch
				tr.Signal(slow)
			}
			tr.Judge(epoch.Add(d), nil)
			if s.accuses() && got < 0 {
				got = d - calm
			}
		}
		if got != want {
			t.Errorf("asked each %s, written each %s, still %t, odd for %s: accused after %s, want %s", watch, cadence, still, lasts, got, want)
		}
	}
	const tick, slow = 10 * time.Second, 320 * time.Second
	f(tick, 0, false, 5*time.Minute, 3*time.Minute+50*time.Second)
	f(tick, slow, false, 5*time.Minute, -1) // one value, or two
	f(tick, slow, false, time.Hour, -1)
	f(tick, slow, false, 4*time.Hour, 2*time.Hour+41*time.Minute+20*time.Second)
	f(tick, 0, true, 4*time.Hour, -1)
	f(5*time.Minute, 0, false, 4*time.Hour, 150*time.Minute)
}
