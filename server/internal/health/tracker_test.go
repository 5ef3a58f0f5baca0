package health

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func find(tb testing.TB, obs core.Observation, site string) core.Assessment {
	tb.Helper()
	for _, a := range obs.Assessments {
		if a.Subject.Site == site && a.Subject.Service == "checkout" {
			return a
		}
	}
	tb.Fatalf("no assessment of checkout at %s", site)
	return core.Assessment{}
}

func twoAndWitness() core.Topology {
	return testTopology([]string{"fra", "ams"}, []string{"lon"}, []string{"checkout"})
}

// Whatever the phase of the probes, a dead service is failing at most 1.1 s after the first failed probe, the
// hold is counted from that probe, and that probe is at most one interval after the fault. So at the end of
// any hold of 1.1 s or more the judgement is already there.
func TestDetectionAddsNothingToTheHold(t *testing.T) {
	f := func(offset time.Duration, reason string) {
		t.Helper()
		w := newWorld(t, twoAndWitness())
		w.run(10*time.Second + offset)
		fault := w.now
		if err := w.do("fra/checkout down " + reason); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			w.run(tickLen)
			if a := find(t, w.last, "fra"); a.Condition == core.Failing {
				since := a.FailingSince.Sub(fault)
				if late := w.now.Sub(*a.FailingSince); late > 1100*time.Millisecond {
					t.Errorf("offset %s, %s: failing %s after the first failure", offset, reason, late)
				}
				if limit := time.Second + 900*time.Millisecond; since > limit {
					t.Errorf("offset %s, %s: the first failure counted is %s after the fault", offset, reason, since)
				}
				return
			}
		}
		t.Errorf("offset %s, %s: never failing", offset, reason)
	}
	for offset := time.Duration(0); offset < time.Second; offset += tickLen {
		f(offset, core.ReasonRefused)
		f(offset, core.ReasonTimeout)
	}
}

// FailingSince stands still while the failure goes on, far longer than the results are kept.
func TestFailingSinceStands(t *testing.T) {
	w := newWorld(t, twoAndWitness())
	w.run(10 * time.Second)
	if err := w.do("fra/checkout down refused"); err != nil {
		t.Fatal(err)
	}
	w.run(3 * time.Second)
	since := *find(t, w.last, "fra").FailingSince
	onset := *find(t, w.last, "fra").Onset
	for range 60 {
		w.run(5 * time.Second)
		a := find(t, w.last, "fra")
		if a.FailingSince == nil || !a.FailingSince.Equal(since) || !a.Onset.Equal(onset) {
			t.Fatalf("%s: failing since %v, onset %v; were %s and %s", w.at(), a.FailingSince, a.Onset, since, onset)
		}
	}
	if last := w.last.Assessments; len(last) != 2 {
		t.Fatalf("%d assessments", len(last))
	}
}

// What nobody looked at is not known to have failed.
func TestGapBreaksContinuity(t *testing.T) {
	tr := New("r1", twoAndWitness())
	at := epoch
	down := func() {
		tr.Fact(probeFact("ams", "fra", core.ProbeDown, at), at)
		tr.Fact(probeFact("lon", "fra", core.ProbeDown, at), at)
	}
	for range 3 {
		at = at.Add(time.Second)
		down()
	}
	at = at.Add(30 * time.Second)
	if a := find(t, tr.Judge(at, nil), "fra"); a.Condition != core.ConditionUnknown || a.FailingSince != nil {
		t.Fatalf("nobody looked and it is %s since %v", a.Condition, a.FailingSince)
	}
	down()
	if a := find(t, tr.Judge(at, nil), "fra"); a.FailingSince == nil || !a.FailingSince.Equal(at) {
		t.Fatalf("failing since %v, want %s", a.FailingSince, at)
	}
}

func TestHistoryHasNoVote(t *testing.T) {
	tr := New("r1", twoAndWitness())
	at := epoch.Add(time.Minute)
	for _, v := range []string{"ams", "lon"} {
		f := probeFact(v, "fra", core.ProbeDown, epoch)
		f.ReceivedAt = at
		tr.Fact(f, at)
		f.AgentAt = at.Add(10 * time.Second)
		tr.Fact(f, at)
	}
	if a := find(t, tr.Judge(at, nil), "fra"); a.Condition != core.ConditionUnknown || a.Down != 0 || tr.Counts().History != 4 {
		t.Fatalf("%s with %d down, %+v", a.Condition, a.Down, tr.Counts())
	}
}

// A private path of a whole site is news for each of its services, and accuses none of them. There is no user path of a
// whole site.
func TestAPrivatePathAccusesNobody(t *testing.T) {
	topo := testTopology([]string{"fra", "ams", "waw"}, nil, []string{"checkout", "cart"})
	tr := New("r1", topo)
	at := epoch
	for range 60 {
		at = at.Add(time.Second)
		for _, from := range topo.Vantages() {
			for _, service := range []string{"checkout", "cart"} {
				f := probeFact(from, "fra", core.ProbeUp, at)
				f.Service, f.Target = service, service+"-http"
				tr.Fact(f, at)
			}
			f := probeFact(from, "fra", core.ProbeDown, at)
			f.Service, f.Target, f.Path = core.AllServices, "backbone", "private"
			tr.Fact(f, at)
			f.Path = "user"
			tr.Fact(f, at)
		}
	}
	o := tr.Judge(at, nil)
	for _, service := range []string{"checkout", "cart"} {
		i := slices.IndexFunc(o.Assessments, func(a core.Assessment) bool {
			return a.Subject == core.Subject{Site: "fra", Service: service}
		})
		a := o.Assessments[i]
		if a.Condition != core.Healthy || a.FailingSince != nil || a.Down != 0 || len(a.Evidence) != 2 {
			t.Errorf("%s: %+v", service, a)
		}
		for _, e := range a.Evidence {
			if e.Class != core.ClassLink || !strings.HasPrefix(e.Path, "private:") || !strings.Contains(e.Sentence, "backbone") {
				t.Errorf("%s: %+v", service, e)
			}
		}
	}
	if n := tr.Counts().Unknown; n != 180 {
		t.Errorf("%d facts were about nobody, want those of the user path of a site", n)
	}
}

// A success that arrives late shortens the failure; it can do no harm.
func TestLateSuccessIsHeard(t *testing.T) {
	tr := New("r1", twoAndWitness())
	at := epoch
	for range 10 {
		at = at.Add(time.Second)
		tr.Fact(probeFact("ams", "fra", core.ProbeDown, at), at)
		tr.Fact(probeFact("lon", "fra", core.ProbeDown, at), at)
	}
	late := probeFact("ams", "fra", core.ProbeUp, at.Add(-4500*time.Millisecond))
	tr.Fact(late, at)
	a := find(t, tr.Judge(at, nil), "fra")
	if want := at.Add(-4 * time.Second); a.FailingSince == nil || !a.FailingSince.Equal(want) {
		t.Fatalf("failing since %v, want %s", a.FailingSince, want)
	}
}

func TestMembersOfOneLocation(t *testing.T) {
	f := func(want core.ProbeState, states ...core.ProbeState) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		for i, s := range states {
			p := probeFact("lon", "fra", s, epoch)
			p.Agent = fmt.Sprintf("agent%d", i)
			tr.Fact(p, epoch)
		}
		a := find(t, tr.Judge(epoch, nil), "fra")
		i := slices.IndexFunc(a.Votes, func(v core.Vote) bool { return v.Vantage == "lon" })
		if got := a.Votes[i].State; got != want {
			t.Errorf("members %v vote %s, want %s", states, got, want)
		}
		if a.Condition == core.Failing || (slices.Contains(states, core.ProbeUp) && a.FailingSince != nil) {
			t.Errorf("members %v: %s since %v", states, a.Condition, a.FailingSince)
		}
	}
	up, down, unknown := core.ProbeUp, core.ProbeDown, core.ProbeUnknown
	f(up, up)
	f(down, down)
	f(unknown, up, down)
	f(down, down, down, up)
	f(up, up, up, down)
	f(unknown, down, unknown)
	f(unknown, up, down, unknown)
	f(unknown, unknown)
}

func TestWhatIsNotUsedIsCounted(t *testing.T) {
	f := func(want Counts, change func(*core.Fact)) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		p := probeFact("lon", "fra", core.ProbeUp, epoch)
		change(&p)
		tr.Fact(p, epoch)
		if got := tr.Counts(); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
	}
	f(Counts{}, func(*core.Fact) {})
	f(Counts{Unknown: 1}, func(f *core.Fact) { f.Site = "mars" })
	f(Counts{Unknown: 1}, func(f *core.Fact) { f.TargetSite = "lon" })
	f(Counts{Unknown: 1}, func(f *core.Fact) { f.Service = "cart" })
	f(Counts{Malformed: 1}, func(f *core.Fact) { f.State = 9 })
	f(Counts{Malformed: 1}, func(f *core.Fact) { f.Path = "" })
	f(Counts{Malformed: 1}, func(f *core.Fact) { f.Kind = 77 })
	f(Counts{Unknown: 1}, func(f *core.Fact) { f.Kind = core.FactEdgeRequests }) // a site does not count its users
	f(Counts{Malformed: 1}, func(f *core.Fact) { f.Kind, f.Site, f.Reason = core.FactEdgeRequests, "director", "9xx" })
	f(Counts{Malformed: 1}, func(f *core.Fact) { f.Kind, f.Site, f.Value = core.FactEdgeWeight, "director", math.NaN() })
	f(Counts{History: 1}, func(f *core.Fact) { f.AgentAt = time.Time{} })
}

// No interval or clock error a writer claims keeps its facts alive for ever.
func TestClaimsOfWritersAreBounded(t *testing.T) {
	tr := New("r1", twoAndWitness())
	p := probeFact("lon", "fra", core.ProbeUp, epoch)
	p.Interval, p.ClockErr = 1000*time.Hour, 1000*time.Hour
	tr.Fact(p, epoch)
	h := core.Fact{Kind: core.FactHeartbeat, Site: "fra", AgentAt: epoch, ReceivedAt: epoch, Interval: 1000 * time.Hour}
	tr.Fact(h, epoch)
	at := epoch.Add(10 * time.Minute)
	if a := find(t, tr.Judge(at, nil), "fra"); a.Condition != core.ConditionUnknown {
		t.Fatalf("after ten minutes it is still %s", a.Condition)
	}
	if w := tr.Judge(at, nil).Writers; slices.ContainsFunc(w, func(w core.Writer) bool { return w.Fresh }) {
		t.Fatalf("fresh writers: %+v", w)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	tr := New("r1", twoAndWitness())
	for i := range 20000 {
		at := epoch.Add(time.Duration(i) * 10 * time.Millisecond)
		name := fmt.Sprint(i)
		p := probeFact("lon", "fra", core.ProbeUp, at)
		p.Target = name
		tr.Fact(p, at)
		p.Path = "private"
		tr.Fact(p, at)
		tr.Fact(probeFact("ams", "fra", core.ProbeDown, at), at)
		e := core.Fact{Kind: core.FactEdgeRequests, Site: name, TargetSite: "fra", Service: "checkout", Reason: "2xx", AgentAt: at, ReceivedAt: at}
		tr.Fact(e, at)
		e.Site = "0"
		tr.Fact(e, at)
		tr.Fact(core.Fact{
			Kind: core.FactLink, Site: "fra", Agent: name, Target: name + ":fra>ams", AgentAt: at, ReceivedAt: at, Link: &core.LinkFigures{End: "source"},
		}, at)
		tr.Fact(core.Fact{
			Kind: core.FactLink, Site: "fra", Agent: name, Target: "orders:fra>ams", AgentAt: at, ReceivedAt: at, Link: &core.LinkFigures{End: "source"},
		}, at)
		tr.Signal(core.Signal{Detector: name, Subject: core.Subject{Site: "fra"}, Class: core.ClassCause, At: at, State: core.DetectorAnomalous})
		tr.Signal(core.Signal{Detector: "s" + name, Subject: core.Subject{Site: "fra"}, Class: core.ClassSymptom, At: at, State: core.DetectorAnomalous})
	}
	fra := tr.subjects[tr.sIndex[key{"fra", "checkout"}]]
	lon, ams := tr.vIndex["lon"], tr.vIndex["ams"]
	if len(fra.user[lon]) > maxTargets || len(fra.private[lon]) > maxTargets || len(fra.user[ams][0].results) > maxResults ||
		len(tr.edges) > maxEdges || len(tr.edges[0].series[tr.sIndex[key{"fra", "checkout"}]].reports) > maxReports ||
		len(tr.channels) > maxLinks || len(tr.channels[channelKey{"orders:fra>ams", ""}].voices) > maxVoices || len(tr.signals) > maxSignals || len(tr.tallies) > maxTallies {
		t.Fatal("a bound does not hold")
	}
	if tr.Counts().Dropped == 0 {
		t.Fatal("nothing was counted as dropped")
	}
}

// However many series are watched, the anomalous one among them is heard.
func TestNormalSeriesTakeNoRoom(t *testing.T) {
	tr := New("r1", twoAndWitness())
	say := func(name string, at time.Time, state core.DetectorState) bool {
		return tr.Signal(core.Signal{
			Detector: "load", Subject: core.Subject{Site: "fra", Service: "checkout"}, Class: core.ClassCause, At: at, State: state,
			Labels: map[string]string{"instance": name},
		})
	}
	for i := range 2 * maxSignals {
		if say(strconv.Itoa(i), epoch, core.DetectorNormal) {
			t.Fatal("a normal series matters")
		}
	}
	if !say("one", epoch, core.DetectorAnomalous) {
		t.Fatal("an anomaly does not matter")
	}
	if n := tr.Counts().Dropped; n != 0 {
		t.Fatalf("%d signals were dropped", n)
	}
	heard := func() bool {
		return slices.ContainsFunc(find(t, tr.Judge(epoch, nil), "fra").Evidence, func(e core.Evidence) bool { return e.Source == "load" })
	}
	if !heard() {
		t.Fatal("the anomaly is no evidence")
	}
	for i := range maxSignals {
		say(strconv.Itoa(i), epoch, core.DetectorAnomalous)
	}
	if n := tr.Counts().Dropped; n != 1 {
		t.Fatalf("%d of one too many anomalies were dropped", n)
	}
	next := epoch.Add(10 * time.Second)
	for i := range maxSignals {
		say(strconv.Itoa(i), next, core.DetectorNormal)
	}
	if !say("another", next.Add(time.Second), core.DetectorAnomalous) {
		t.Fatal("what is over takes room")
	}
	if !say("one", next, core.DetectorNormal) || !say("another", next.Add(2*time.Second), core.DetectorUnknown) || heard() {
		t.Fatal("the end of an anomaly does not matter")
	}
}

func count(tr *Tracker, edge, site, class string, value float64, at time.Time) {
	tr.Fact(core.Fact{
		Kind: core.FactEdgeRequests, Site: edge, TargetSite: site, Service: "checkout", Reason: class, Value: value,
		AgentAt: at, ReceivedAt: at, ClockKnown: true, Interval: time.Second,
	}, at)
}

func TestTraffic(t *testing.T) {
	sec := func(n float64) time.Time { return epoch.Add(time.Duration(n * float64(time.Second))) }
	near := func(got, want float64) bool { return math.Abs(got-want) < 1e-9 }
	expect := func(tr core.Traffic, known bool, count, success float64) {
		t.Helper()
		if tr.Known != known || (known && (!near(tr.Count, count) || !near(tr.Success, success))) {
			t.Errorf("%+v, want known %t, count %g, success %g", tr, known, count, success)
		}
	}
	tr := New("r1", twoAndWitness())
	expect(tr.Traffic("fra", "checkout", sec(0)), false, 0, 0)
	count(tr, "director", "fra", "2xx", 1000, sec(0))
	expect(tr.Traffic("fra", "checkout", sec(0)), false, 0, 0) // one report counts nothing
	count(tr, "director", "fra", "2xx", 1100, sec(1))
	expect(tr.Traffic("fra", "checkout", sec(1)), true, 100, 1)
	// A class that appears when its first request does began at zero.
	count(tr, "director", "fra", "2xx", 1150, sec(2))
	count(tr, "director", "fra", "5xx", 50, sec(2))
	expect(tr.Traffic("fra", "checkout", sec(2)), true, 200, 0.75)
	// Restarted counters, and out of order.
	count(tr, "director", "fra", "2xx", 60, sec(4))
	count(tr, "director", "fra", "2xx", 20, sec(3))
	count(tr, "director", "fra", "5xx", 0, sec(3))
	expect(tr.Traffic("fra", "checkout", sec(4)), true, 50+50+20+40, 110.0/160)
	// A second edge adds up; when it is stale the sum is unknown, when it is gone it does not matter.
	count(tr, "other", "fra", "2xx", 0, sec(3))
	count(tr, "other", "fra", "2xx", 40, sec(4))
	expect(tr.Traffic("fra", "checkout", sec(4)), true, 200, 150.0/200)
	for i := 5; i < 80; i++ {
		count(tr, "director", "fra", "2xx", float64(i), sec(float64(i)))
	}
	expect(tr.Traffic("fra", "checkout", sec(30)), false, 0, 0)
	expect(tr.Traffic("fra", "checkout", sec(79)), true, 3, 1)
	expect(tr.Traffic("ams", "checkout", sec(79)), false, 0, 0)
	expect(tr.Traffic("mars", "checkout", sec(79)), false, 0, 0)
	// Only what is counted after a time.
	expect(tr.TrafficSince("fra", "checkout", sec(78.5)), false, 0, 0)
	expect(tr.TrafficSince("fra", "checkout", sec(78)), true, 1, 1)
	expect(tr.TrafficSince("fra", "checkout", sec(10)), true, 3, 1)
}

func TestTilt(t *testing.T) {
	f := func(want bool, doubt func(*Tracker)) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		tr.Judge(epoch, nil)
		doubt(tr)
		got := tr.Judge(epoch.Add(time.Second), nil).Tilt
		if got.On != want || (want && got.Reason == "") {
			t.Errorf("tilt %+v, want on: %t", got, want)
		}
		wake := tr.NextWake(epoch.Add(time.Second))
		if want && (wake.IsZero() || wake.After(got.Until.Add(time.Second))) {
			t.Errorf("the end of the tilt at %s is no wake: %s", got.Until, wake)
		}
		if late := tr.Judge(epoch.Add(time.Minute), nil).Tilt; late.On {
			t.Errorf("a tilt that does not end: %+v", late)
		}
	}
	f(false, func(*Tracker) {})
	f(false, func(tr *Tracker) { tr.Paused(2*time.Second, epoch) })
	f(true, func(tr *Tracker) { tr.Paused(2100*time.Millisecond, epoch) })
	f(false, func(tr *Tracker) { tr.ClockJumped(-time.Second, epoch) })
	f(true, func(tr *Tracker) { tr.ClockJumped(-3*time.Second, epoch) })
	f(true, func(tr *Tracker) { tr.Judge(epoch.Add(10*time.Second), nil) }) // and then back to second one
	f(false, func(tr *Tracker) { tr.Canary(false, epoch) })
}

// What was seen by a clock that was ahead does not stay the newest word when the clock is right again, nor does its doubt.
func TestAClockThatWasAheadIsForgotten(t *testing.T) {
	tr := New("r1", twoAndWitness())
	see := func(state core.ProbeState, at time.Time) core.Assessment {
		t.Helper()
		for _, from := range []string{"ams", "lon"} {
			tr.Fact(probeFact(from, "fra", state, at), at)
		}
		return find(t, tr.Judge(at, nil), "fra")
	}
	see(core.ProbeUp, epoch)
	tr.ClockJumped(time.Hour, epoch.Add(time.Hour))
	if a := see(core.ProbeDown, epoch.Add(time.Hour)); a.Condition != core.Failing {
		t.Fatalf("%+v", a)
	}
	back := epoch.Add(2 * time.Second)
	if a := see(core.ProbeUp, back); a.Condition != core.Healthy {
		t.Errorf("the clock is back and all answer: %s: %s", a.Condition, a.Sentence)
	}
	if tilt := tr.Judge(back, nil).Tilt; !tilt.On || tilt.Since.After(back) || tilt.Until.After(back.Add(TiltFor)) {
		t.Errorf("tilt %+v", tilt)
	}
}

// A replica whose clock is not that of the agents doubts itself until it is; one agent whose clock is wrong is alone with it.
func TestAClockThatIsNotThatOfTheAgents(t *testing.T) {
	f := func(want string, offs ...time.Duration) {
		t.Helper()
		tr := New("r1", testTopology([]string{"fra", "ams", "waw"}, []string{"lon"}, []string{"checkout"}))
		at := epoch
		for range 100 {
			for i, site := range []string{"fra", "ams", "waw", "lon"}[:len(offs)] {
				tr.Fact(core.Fact{
					Kind: core.FactHeartbeat, Site: site, Agent: site, Target: site, AgentAt: at.Add(offs[i]), ReceivedAt: at, Interval: time.Second,
					ClockOffset: offs[i], ClockKnown: true,
				}, at)
			}
			at = at.Add(time.Second)
		}
		got := tr.Judge(at, nil).Tilt
		if got.On != (want != "") || !strings.Contains(got.Reason, want) {
			t.Errorf("offsets %v: %+v, want %q", offs, got, want)
		}
		if late := tr.Judge(at.Add(time.Minute), nil).Tilt; late.On {
			t.Errorf("a tilt that does not end: %+v", late)
		}
	}
	h := time.Hour
	f("", 0, 0, 0, 0)
	f("", 0, 0, h, 0)
	f("", h, -h, 0, 0)
	f("", h, h, 0, 0)
	f("", h)
	f("", 29*time.Second, 29*time.Second)
	f("3600.0 s behind those of the agents at 2 locations", h, h)
	f("3600.0 s ahead of those of the agents at 3 locations", -h, -h, 0, -h)
	f("31.0 s ahead of", -31*time.Second, -31*time.Second, -31*time.Second, -h)
	f("", h, 2*h, 3*h, 4*h)
}

// A new configuration keeps what is known of those who stay.
func TestSetTopologyKeeps(t *testing.T) {
	w := newWorld(t, twoAndWitness())
	w.run(10 * time.Second)
	for _, line := range []string{"edge sends fra/checkout 100", "fra/checkout down refused", "wait 5s"} {
		if err := w.do(line); err != nil {
			t.Fatal(err)
		}
	}
	before := find(t, w.last, "fra")
	topo := testTopology([]string{"dub", "ams", "fra"}, []string{"lon"}, []string{"cart", "checkout"})
	w.tracker.SetTopology(topo)
	obs := w.tracker.Judge(w.now, nil)
	after := find(t, obs, "fra")
	if after.Condition != core.Failing || !after.FailingSince.Equal(*before.FailingSince) || !after.Onset.Equal(*before.Onset) || after.Eligible != 3 {
		t.Fatalf("was %+v\nis %+v", before, after)
	}
	if a := find(t, obs, "dub"); a.Condition != core.ConditionUnknown {
		t.Fatalf("the new site is %s", a.Condition)
	}
	if tr := w.tracker.Traffic("fra", "checkout", w.now); !tr.Known {
		t.Fatalf("traffic was forgotten: %+v", tr)
	}
	w.tracker.SetTopology(twoAndWitness())
	if a := find(t, w.tracker.Judge(w.now, nil), "fra"); a.Condition != core.Failing {
		t.Fatalf("back again it is %s", a.Condition)
	}
}

// A quorum is more than half and at least two, whatever the answer of those who are silent would be.
func TestQuorum(t *testing.T) {
	f := func(want core.Condition, vantages, down int) {
		t.Helper()
		var witnesses []string
		for i := range vantages {
			witnesses = append(witnesses, fmt.Sprintf("w%d", i))
		}
		tr := New("r1", testTopology([]string{"fra"}, witnesses, []string{"checkout"}))
		for i := range down {
			tr.Fact(probeFact(witnesses[i], "fra", core.ProbeDown, epoch), epoch)
		}
		if a := find(t, tr.Judge(epoch, nil), "fra"); a.Condition != want || a.Eligible != vantages || a.Down != down {
			t.Errorf("%d of %d down: %s", down, vantages, a.Condition)
		}
	}
	f(core.ConditionUnknown, 1, 0)
	f(core.Suspect, 1, 1)
	f(core.Suspect, 2, 1)
	f(core.Failing, 2, 2)
	f(core.Suspect, 3, 1)
	f(core.Failing, 3, 2)
	f(core.Suspect, 4, 2)
	f(core.Failing, 4, 3)
	f(core.Suspect, 5, 2)
	f(core.Failing, 5, 3)
}

// Evidence says over which path it came, so that decide can count paths, and of which series it is.
func TestPaths(t *testing.T) {
	tr := New("r1", twoAndWitness())
	count(tr, "director", "fra", "2xx", 1, epoch)
	f := func(want, writer string) {
		t.Helper()
		s := core.Signal{
			Detector: "d" + writer, Subject: core.Subject{Site: "fra", Service: "checkout"}, Class: core.ClassCause, At: epoch,
			State: core.DetectorAnomalous, HasBand: true, Series: "series of " + writer,
		}
		if writer != "" {
			s.Labels = map[string]string{"site": writer}
		}
		tr.Signal(s)
		for _, e := range find(t, tr.Judge(epoch, nil), "fra").Evidence {
			if e.Source == "d"+writer {
				if e.Path != want || e.Band == nil || e.Series != "series of "+writer {
					t.Errorf("writer %q: %+v", writer, e)
				}
				return
			}
		}
		t.Errorf("writer %q: no evidence", writer)
	}
	f("local:fra", "fra")
	f("user:lon>fra", "lon")
	f("edge:director", "director")
	f(PathUnknown, "")
	f(PathUnknown, "_server")
}
