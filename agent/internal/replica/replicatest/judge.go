package replicatest

import (
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// goal is the share of the samples whose bounds must hold the true lag.
const goal = 0.999

// least is how many samples must be judged.
const least = 100

// notZero is the least lower bound of a link that is down: it stands for "not 0".
const notZero = time.Millisecond

// verdict is what the harness can say of one sample.
type verdict uint8

const (
	untold  verdict = iota // no bounds
	unsure                 // the harness does not know the truth at that moment
	wrong                  // the true lag was surely outside of the bounds
	right                  // it was inside, or the harness cannot tell
	certain                // it was surely inside
)

// verdict judges one sample. What is proven from below was so when the servers answered: an applier that catches up takes
// seconds off the lag while a look lasts milliseconds. The lower bound of a link that is down is the lag of a source that goes on
// writing, by a heartbeat too, whose writer a busy machine may hold up: this load does not always write, and the bound must not
// say more than the time since the last write arrived.
func (s *subject) verdict(r report) (v verdict, least, most time.Duration) {
	least, most, ok := s.lag(r.At)
	switch {
	case !r.Lower.OK:
		return untold, least, most
	case !ok:
		return unsure, least, most
	}
	low, high := least, most
	if then, earlier, ok := s.lag(r.began); ok {
		low, high = min(low, then), max(high, earlier)
	}
	if r.State == replica.LinkDown {
		high = max(high, notZero)
		for _, c := range s.copies {
			silent := r.At.Sub(c.arrived(r.began)) // what arrives during the look may have come after the answer
			low, high = max(low, silent), max(high, silent)
		}
	}
	switch {
	case r.Lower.V > high || r.Upper.OK && r.Upper.V < least:
		return wrong, least, high
	case r.Lower.V <= low && (!r.Upper.OK || r.Upper.V >= most):
		return certain, least, high
	}
	return right, least, high
}

// judge prints what the samples of a subject are worth, and fails when they do not hold the truth or show too little of it.
func (tr *Truth) judge(s *subject) {
	t := tr.t
	t.Helper()
	var count [certain + 1]int
	states := map[replica.State]int{}
	var widths []time.Duration
	var worst time.Duration
	shown := 0
	for _, r := range s.seen {
		states[r.State]++
		v, least, most := s.verdict(r)
		count[v]++
		worst = max(worst, least)
		if v > unsure && r.Upper.OK {
			widths = append(widths, r.Upper.V-r.Lower.V)
		}
		if v == wrong || v == untold {
			if shown++; shown <= 20 {
				t.Logf("%s: %v(%s) %q [%v, %v] of a look of %s; truth [%v, %v]", s.name, r.State, r.Reason, r.Detail, r.Lower, r.Upper, r.At.Sub(r.began), least, most)
			}
		}
	}
	judged := count[wrong] + count[right] + count[certain]
	if judged < least || len(widths) < judged/2 || worst < time.Second || count[untold] > len(s.seen)/100 {
		t.Errorf("%s: the test tests too little: %d samples, %d judged, %d without bounds, %d with an upper one, worst lag %s; %v",
			s.name, len(s.seen), judged, count[untold], len(widths), worst, states)
		return
	}
	coverage := 1 - float64(count[wrong])/float64(judged)
	t.Logf("%s: %d samples, %.3f %% hold the true lag (%.1f %% surely), %d without bounds; with an upper bound %.1f %%, width mean %s, p95 %s; worst true lag %s; %v",
		s.name, judged, 100*coverage, 100*float64(count[certain])/float64(judged), count[untold], 100*float64(len(widths))/float64(judged),
		mean(widths), quantile(widths, 0.95), worst.Round(time.Millisecond), states)
	figure(t, s.name, "coverage", 100*coverage, "%")
	figure(t, s.name, "width_mean", mean(widths).Seconds(), "s")
	figure(t, s.name, "width_p95", quantile(widths, 0.95).Seconds(), "s")
	figure(t, s.name, "worst", worst.Seconds(), "s")
	if coverage < goal {
		t.Errorf("%s: coverage %.4f, want %v", s.name, coverage, goal)
	}
}

func mean(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	var sum time.Duration
	for _, d := range all {
		sum += d
	}
	return (sum / time.Duration(len(all))).Round(10 * time.Microsecond)
}

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].Round(10 * time.Microsecond)
}
