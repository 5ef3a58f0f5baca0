package health

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

var epoch = time.Unix(1_700_000_000, 0).UTC()

func drawTopology(t *rapid.T) core.Topology {
	sites := []string{"fra", "ams", "dub", "waw", "mil"}[:rapid.IntRange(1, 5).Draw(t, "sites")]
	witnesses := []string{"lon", "nyc"}[:rapid.IntRange(0, 2).Draw(t, "witnesses")]
	services := []string{"checkout", "cart"}[:rapid.IntRange(1, 2).Draw(t, "services")]
	return testTopology(sites, witnesses, services)
}

// drawFact draws a fact that may be about anything, near the time at.
func drawFact(t *rapid.T, topo core.Topology, at time.Time) core.Fact {
	ago := time.Duration(rapid.IntRange(-1000, 4000).Draw(t, "ago_ms")) * time.Millisecond
	f := core.Fact{
		Kind:       core.FactKind(rapid.IntRange(1, 5).Draw(t, "kind")),
		Site:       rapid.SampledFrom(append(topo.Vantages(), "director", "nobody")).Draw(t, "writer"),
		TargetSite: rapid.SampledFrom(append(topo.Vantages(), "nowhere")).Draw(t, "site"),
		Service:    rapid.SampledFrom([]string{"checkout", "cart", "nothing"}).Draw(t, "service"),
		Target:     rapid.SampledFrom([]string{"http", "tcp"}).Draw(t, "target"),
		Path:       rapid.SampledFrom([]string{"user", "user", "user", "private", ""}).Draw(t, "path"),
		AgentAt:    at.Add(-ago), ReceivedAt: at, ClockKnown: true, Interval: time.Second,
	}
	switch f.Kind {
	case core.FactProbe:
		f.State = uint8(rapid.IntRange(0, 3).Draw(t, "state"))
		f.Value = rapid.Float64Range(0, 1).Draw(t, "took")
		if f.State == uint8(core.ProbeDown) {
			f.Reason = rapid.SampledFrom(reasons).Draw(t, "reason")
		}
	case core.FactEdgeRequests:
		f.Site = "director"
		f.Value = float64(rapid.IntRange(-1, 1000).Draw(t, "count"))
		f.Reason = rapid.SampledFrom([]string{"2xx", "5xx", "error", "1xx"}).Draw(t, "class")
		f.AgentAt = f.AgentAt.Truncate(time.Second)
	case core.FactEdgeWeight:
		f.Site, f.Value = "director", float64(rapid.IntRange(0, 100).Draw(t, "weight"))
	case core.FactUnknown, core.FactHeartbeat, core.FactLink:
	}
	return f
}

type instant struct {
	at    time.Time
	facts []core.Fact
}

func drawStory(t *rapid.T, topo core.Topology) []instant {
	at := epoch
	out := make([]instant, rapid.IntRange(1, 6).Draw(t, "instants"))
	for i := range out {
		at = at.Add(time.Duration(rapid.IntRange(100, 2500).Draw(t, "step_ms")) * time.Millisecond)
		out[i].at = at
		for range rapid.IntRange(0, 20).Draw(t, "facts") {
			out[i].facts = append(out[i].facts, drawFact(t, topo, at))
		}
	}
	return out
}

// tell gives a story to a tracker and returns every observation and wake as text.
func tell(t *rapid.T, topo core.Topology, story []instant, twice bool) string {
	tracker := New("r1", topo)
	var out []byte
	for _, in := range story {
		for _, f := range in.facts {
			tracker.Fact(f, in.at)
			if twice {
				tracker.Fact(f, in.at)
			}
		}
		b, err := json.Marshal(tracker.Judge(in.at, nil))
		if err != nil {
			t.Fatal(err)
		}
		out = fmt.Appendf(append(out, b...), "\n%s\n", tracker.NextWake(in.at))
	}
	return string(out)
}

func TestSameFactsSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topo := drawTopology(t)
		story := drawStory(t, topo)
		once := tell(t, topo, story, false)
		if again := tell(t, topo, story, false); again != once {
			t.Fatalf("not the same twice:\n%s\n%s", once, again)
		}
		if again := tell(t, topo, story, true); again != once {
			t.Fatalf("repeated facts change the answer:\n%s\n%s", once, again)
		}
	})
}

func TestOrderWithinAnInstantDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topo := drawTopology(t)
		story := drawStory(t, topo)
		once := tell(t, topo, story, false)
		for i := range story {
			if len(story[i].facts) > 1 {
				story[i].facts = rapid.Permutation(slices.Clone(story[i].facts)).Draw(t, "order")
			}
		}
		if again := tell(t, topo, story, false); again != once {
			t.Fatalf("order matters:\n%s\n%s", once, again)
		}
	})
}

func TestWhatIsAlwaysTrueOfAnObservation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topo := drawTopology(t)
		tracker := New("r1", topo)
		for _, in := range drawStory(t, topo) {
			for _, f := range in.facts {
				tracker.Fact(f, in.at)
			}
			obs := tracker.Judge(in.at, nil)
			for _, a := range obs.Assessments {
				checkAssessment(t, a)
			}
			for _, tr := range obs.Traffic {
				if tr.Count < 0 || tr.Requests < 0 || tr.Share < 0 || tr.Share > 1 || tr.Success < 0 || tr.Success > 1 || tr.ServiceSuccess < 0 || tr.ServiceSuccess > 1 {
					t.Fatalf("impossible traffic: %+v", tr)
				}
			}
			if wake := tracker.NextWake(in.at); !wake.IsZero() && !wake.After(in.at) {
				t.Fatalf("wake %s is not after %s", wake, in.at)
			}
		}
	})
}

// Whatever was seen before: while one eligible vantage has a fresh success, nothing is failing.
func TestOneSuccessIsEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topo := drawTopology(t)
		tracker := New("r1", topo)
		at := epoch
		for _, in := range drawStory(t, topo) {
			for _, f := range in.facts {
				tracker.Fact(f, in.at)
			}
			tracker.Judge(in.at, nil)
			at = in.at
		}
		at = at.Add(time.Second)
		site := rapid.SampledFrom(topo.Sites).Draw(t, "accused").Name
		var saviours []string
		for _, v := range topo.Vantages() {
			if v != site {
				saviours = append(saviours, v)
				tracker.Fact(probeFact(v, site, core.ProbeDown, at), at)
			}
		}
		if len(saviours) == 0 {
			return
		}
		v := rapid.SampledFrom(saviours).Draw(t, "saviour")
		for _, target := range []string{probeFact(v, site, core.ProbeUp, at).Target, "http", "tcp"} { // of every probe there is
			f := probeFact(v, site, core.ProbeUp, at.Add(time.Millisecond))
			f.Target = target
			tracker.Fact(f, at.Add(time.Millisecond))
		}
		for _, a := range tracker.Judge(at.Add(10*time.Millisecond), nil).Assessments {
			if a.Subject == (core.Subject{Site: site, Service: "checkout"}) && (a.Condition == core.Failing || a.FailingSince != nil) {
				t.Fatalf("failing in spite of a success: %+v", a)
			}
		}
	})
}

// Unknown is not down: with nothing but probe errors and unknown states nobody is accused from outside.
func TestUnknownIsNeverDown(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topo := drawTopology(t)
		tracker := New("r1", topo)
		for _, in := range drawStory(t, topo) {
			for _, f := range in.facts {
				if f.Kind == core.FactProbe && f.State == uint8(core.ProbeDown) {
					f.Reason = core.ReasonProbeError
				}
				tracker.Fact(f, in.at)
			}
			for _, a := range tracker.Judge(in.at, nil).Assessments {
				if a.Down != 0 || a.FailingSince != nil || a.Condition == core.Failing || a.Has(core.ClassOutside) && a.Signal != core.SignalSlow {
					t.Fatalf("unknown counted as down: %+v", a)
				}
			}
		}
	})
}

func probeFact(from, site string, state core.ProbeState, at time.Time) core.Fact {
	f := core.Fact{
		Kind: core.FactProbe, Site: from, TargetSite: site, Service: "checkout", Target: "checkout-http", Path: "user",
		State: uint8(state), AgentAt: at, ReceivedAt: at, ClockKnown: true, Interval: time.Second,
	}
	if state == core.ProbeDown {
		f.Reason = core.ReasonRefused
	}
	return f
}
