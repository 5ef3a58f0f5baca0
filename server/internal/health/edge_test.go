package health

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// blindEdge is an edge whose clock nobody knows.
type blindEdge struct {
	tr    *Tracker
	agent string
	skew  time.Duration
}

// tells reports a count made at one time and received at another.
func (e blindEdge) tells(value float64, made, received time.Time) {
	e.tr.Fact(core.Fact{
		Kind: core.FactEdgeRequests, Site: "director", Agent: e.agent, TargetSite: "fra", Service: "checkout", Reason: "2xx",
		Value: value, AgentAt: made.Add(e.skew), ReceivedAt: received, Interval: time.Second,
	}, received)
}

func wantTraffic(t *testing.T, tr core.Traffic, known bool, rate float64) {
	t.Helper()
	if tr.Known != known || (known && math.Abs(tr.Requests-rate) > 1e-6) {
		t.Errorf("got %+v, want known %t at %g/s", tr, known, rate)
	}
}

func half(n int) time.Time { return epoch.Add(time.Duration(n) * 500 * time.Millisecond) }

// A minute of reports that waited and came at once is no peak of traffic, and proves nothing about now.
func TestBacklogOfAnEdge(t *testing.T) {
	f := func(skew time.Duration, before int) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		e := blindEdge{tr: tr, skew: skew}
		for i := range before { // told in time, then nothing for a minute
			e.tells(float64(5*i), half(i), half(i))
		}
		now := half(before + 120)
		for i := before; i < before+120; i++ {
			e.tells(float64(5*i), half(i), now.Add(time.Duration(i-before)*time.Millisecond))
		}
		now = now.Add(120 * time.Millisecond)
		wantTraffic(t, tr.Traffic("fra", "checkout", now), true, 10)
		wantTraffic(t, tr.TrafficSince("fra", "checkout", half(before+118)), false, 0)
		// It goes on in time, and three reports are what a proof takes.
		for i := range 3 {
			made := now.Add(time.Duration(i) * 500 * time.Millisecond)
			wantTraffic(t, tr.TrafficSince("fra", "checkout", now), false, 0)
			e.tells(float64(5*(before+121+i)), made, made)
		}
		wantTraffic(t, tr.TrafficSince("fra", "checkout", now), true, 10)
	}
	f(0, 0)
	f(0, 20)
	f(5*time.Second, 0)
	f(-5*time.Second, 20)
}

// Reports that arrive late one by one, after others came in time, are as old as they are late.
func TestLateReportsProveNothing(t *testing.T) {
	tr := New("r1", twoAndWitness())
	e := blindEdge{tr: tr, skew: 3 * time.Second}
	for i := range 20 {
		e.tells(float64(5*i), half(i), half(i))
	}
	for i := 20; i < 30; i++ {
		e.tells(float64(5*i), half(i), half(i+4))
	}
	wantTraffic(t, tr.Traffic("fra", "checkout", half(33)), true, 10)
	wantTraffic(t, tr.Traffic("fra", "checkout", half(36)), false, 0)
	wantTraffic(t, tr.TrafficSince("fra", "checkout", half(30)), false, 0)
	wantTraffic(t, tr.TrafficSince("fra", "checkout", half(26)), true, 10)
}

// A few reports in a row from one retry, however close they were made, are no proof.
func TestBurstsProveNothing(t *testing.T) {
	f := func(apart time.Duration) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		e := blindEdge{tr: tr}
		now := epoch.Add(8 * time.Second)
		for i := range 6 {
			e.tells(float64(i), epoch.Add(time.Duration(i)*apart), now.Add(time.Duration(i)*time.Millisecond))
		}
		wantTraffic(t, tr.TrafficSince("fra", "checkout", now.Add(-time.Second)), false, 0)
	}
	f(10 * time.Millisecond)
	f(100 * time.Millisecond)
	f(500 * time.Millisecond)
	f(time.Second)
}

// Two processes behind one token count for themselves. When they do not say who they are nothing is known.
func TestTwoWritersOfOneEdge(t *testing.T) {
	f := func(a, b string, known bool) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		one, two := blindEdge{tr: tr, agent: a}, blindEdge{tr: tr, agent: b}
		for i := range 20 {
			one.tells(10_000+float64(5*i), half(i), half(i))
			two.tells(float64(10*i), half(i).Add(200*time.Millisecond), half(i).Add(200*time.Millisecond))
		}
		at := half(20)
		wantTraffic(t, tr.Traffic("fra", "checkout", at), known, 30)
		wantTraffic(t, tr.TrafficSince("fra", "checkout", half(10)), known, 30)
		n := 0
		for _, w := range tr.Judge(at, nil).Writers {
			if w.Name == "director" {
				n++
				if !w.Fresh || !w.LastAt.Equal(half(19).Add(200*time.Millisecond)) {
					t.Errorf("%+v", w)
				}
			}
		}
		if n != 1 {
			t.Errorf("the edge is listed %d times", n)
		}
	}
	f("one", "two", true)
	f("", "two", true)
	f("", "", false)
	f("one", "one", false)
}

// One fall is a restart, under the same name or a new one. The second of a pair that dies is missed.
func TestEdgeRestarts(t *testing.T) {
	f := func(before, after string) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		e := blindEdge{tr: tr, agent: before}
		for i := range 20 {
			e.tells(float64(5*i), half(i), half(i))
		}
		e.agent = after
		for i := 20; i < 24; i++ {
			e.tells(float64(5*(i-19)), half(i), half(i))
		}
		wantTraffic(t, tr.Traffic("fra", "checkout", half(23)), true, 10)
	}
	f("", "")
	f("one", "one")
	f("one", "two")

	tr := New("r1", twoAndWitness())
	one, two := blindEdge{tr: tr, agent: "one"}, blindEdge{tr: tr, agent: "two"}
	for i := range 40 {
		one.tells(float64(5*i), half(i), half(i))
		if i < 20 {
			two.tells(float64(5*i), half(i), half(i))
		}
	}
	wantTraffic(t, tr.Traffic("fra", "checkout", half(40)), false, 0)
}

// However many names the writers of one edge take, another edge is heard.
func TestWritersAreBounded(t *testing.T) {
	tr := New("r1", twoAndWitness())
	for i := range 1000 {
		e := blindEdge{tr: tr, agent: time.Duration(i).String()}
		e.tells(1, half(i), half(i))
	}
	count(tr, "other", "fra", "2xx", 1, half(1000))
	if len(tr.edges) != maxWriters+1 || !tr.isEdge("other") {
		t.Errorf("%d writers are kept", len(tr.edges))
	}
}

// What an agent saw an hour ago is no vote because nobody knows its clock, and its old success ends no failure.
func TestOldProbesOfAnUnknownClock(t *testing.T) {
	tr := New("r1", twoAndWitness())
	now := epoch.Add(time.Hour)
	old := func(state core.ProbeState) core.Fact {
		f := probeFact("ams", "fra", state, now.Add(-time.Hour))
		f.ReceivedAt, f.ClockKnown, f.Agent = now, false, "ghost"
		return f
	}
	tr.Fact(old(core.ProbeDown), now)
	tr.Fact(probeFact("lon", "fra", core.ProbeDown, now), now)
	tr.Fact(old(core.ProbeUp), now)
	a := find(t, tr.Judge(now, nil), "fra")
	if a.Down != 1 || a.FailingSince == nil || !a.FailingSince.Equal(now) || a.Condition == core.Failing {
		t.Errorf("%s with %d down since %v", a.Condition, a.Down, a.FailingSince)
	}
}

// Two agents of one location have one vote together, and none when they disagree.
func TestAgentsOfOneLocation(t *testing.T) {
	f := func(want core.ProbeState, states ...core.ProbeState) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		for i, s := range states {
			p := probeFact("lon", "fra", s, epoch)
			p.Agent = string(rune('a' + i))
			tr.Fact(p, epoch)
		}
		a := find(t, tr.Judge(epoch, nil), "fra")
		i := slices.IndexFunc(a.Votes, func(v core.Vote) bool { return v.Vantage == "lon" })
		if got := a.Votes[i].State; got != want || a.Down > 1 {
			t.Errorf("agents %v vote %s with %d down, want %s", states, got, a.Down, want)
		}
	}
	f(core.ProbeUp, core.ProbeUp, core.ProbeUp)
	f(core.ProbeDown, core.ProbeDown, core.ProbeDown)
	f(core.ProbeUnknown, core.ProbeUp, core.ProbeDown)
	f(core.ProbeUnknown, core.ProbeDown, core.ProbeUp)
	f(core.ProbeDown, core.ProbeDown, core.ProbeUp, core.ProbeDown)
}

// What is not known of one site makes the shares of the others unknown: nobody has all the users because the
// rest cannot be counted.
func TestShareOfAnUnknownWhole(t *testing.T) {
	tr := New("r1", twoAndWitness())
	for i := range 20 {
		count(tr, "director", "fra", "2xx", float64(5*i), half(i))
		count(tr, "director", "ams", "2xx", float64(5*i), half(i))
	}
	wantTraffic(t, tr.Traffic("ams", "checkout", half(19)), true, 10)
	for i := 20; i < 28; i++ { // two senders that look like one, of one site
		count(tr, "director", "fra", "2xx", float64(5*i*(i%2)), half(i))
		count(tr, "director", "ams", "2xx", float64(5*i), half(i))
	}
	wantTraffic(t, tr.Traffic("fra", "checkout", half(27)), false, 0)
	wantTraffic(t, tr.Traffic("ams", "checkout", half(27)), false, 0)
}
