package detect_test

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

var (
	checkoutAtFra = core.Subject{Site: "fra", Service: "checkout"}
	checkoutAtAms = core.Subject{Site: "ams", Service: "checkout"}
)

// levels is a world of one series about fra whose level changes at the given times after start, with a little noise that
// is the same each time.
func levels(start time.Time, before float64, changes map[time.Duration]float64) func(time.Time) ([]core.SeriesValue, error) {
	return func(t time.Time) ([]core.SeriesValue, error) {
		level, newest := before, time.Duration(math.MinInt64)
		for after, to := range changes {
			if after <= t.Sub(start) && after > newest {
				level, newest = to, after
			}
		}
		return one(level * (1 + 0.02*math.Sin(float64(t.Unix())*1.7))), nil
	}
}

// watched runs a watch for a time with marks, and returns its signals by the time since start.
func watched(t *testing.T, w *world, d time.Duration, watch detect.Watch, marks ...detect.Mark) map[time.Duration]core.Signal {
	t.Helper()
	return watchedBy(t, w, w, d, watch, marks...)
}

func watchedBy(
	t *testing.T, by detect.Querier, w *world, d time.Duration, watch detect.Watch, marks ...detect.Mark,
) map[time.Duration]core.Signal {
	t.Helper()
	start := time.Now()
	asked := func(from, until time.Time) (out []detect.Mark) {
		for _, m := range marks {
			if !m.From.After(until) && (m.Until.IsZero() || m.Until.After(from)) {
				out = append(out, m)
			}
		}
		return out
	}
	runFor(t, d, detect.Options{Watches: []detect.Watch{watch}, Querier: by, Writer: w, Signals: w.signal, Marks: asked})
	out := map[time.Duration]core.Signal{}
	for _, s := range w.signals {
		out[s.At.Sub(start)] = s
	}
	return out
}

func trafficWatch() detect.Watch {
	return detect.Watch{
		Name: "traffic", Query: "rate(x)", About: detect.AboutTargetSite, Service: "checkout", Every: time.Minute, Model: detect.ModelRobustZ,
	}
}

// stateAt is the state of the signal at a time since the start.
func stateAt(t *testing.T, signals map[time.Duration]core.Signal, at time.Duration, want core.DetectorState, sentence string) {
	t.Helper()
	s, ok := signals[at]
	if !ok {
		t.Fatalf("no signal at %v", at)
	}
	if s.State != want || !strings.Contains(s.Sentence, sentence) {
		t.Errorf("at %v: %s, want %s with %q: %s", at, s.State, want, sentence, s.Sentence)
	}
}

// What is seen in an incident is no example of how the series is. Without the mark the trouble of three hours is the new
// level, and its end another trouble.
func TestAnIncidentIsNotLearned(t *testing.T) {
	for _, marked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 300, 4 * time.Hour: 100, 5 * time.Hour: 300})}
			var marks []detect.Mark
			after := core.DetectorAnomalous
			if marked {
				marks = []detect.Mark{{Kind: detect.MarkIncident, Subject: checkoutAtFra, From: start.Add(time.Hour), Until: start.Add(4 * time.Hour)}}
				after = core.DetectorNormal
			}
			signals := watched(t, w, 5*time.Hour+10*time.Minute, trafficWatch(), marks...)
			stateAt(t, signals, time.Hour+5*time.Minute, core.DetectorAnomalous, "is above")
			stateAt(t, signals, 4*time.Hour+5*time.Minute, after, "")
			if marked {
				stateAt(t, signals, 5*time.Hour+5*time.Minute, core.DetectorAnomalous, "is above")
			}
			s, want := signals[5*time.Hour+5*time.Minute], 0.0
			if marked {
				want = 180 / 726.0 // of seven hours before the start too
			}
			if math.Abs(s.KeptOut-want) > 0.02 || s.Points == 0 {
				t.Errorf("marked %t: %d points, %g kept out, want %g", marked, s.Points, s.KeptOut, want)
			}
		})
	}
}

// What is seen while people work at a site is no example either, however long that takes; of an incident so long it is.
func TestAMaintenanceIsNotLearned(t *testing.T) {
	for kind, after := range map[detect.MarkKind]core.DetectorState{
		detect.MarkMaintenance: core.DetectorNormal, detect.MarkIncident: core.DetectorAnomalous,
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 300, 31 * time.Hour: 100, 32 * time.Hour: 300})}
			work := detect.Mark{
				Kind: kind, Subject: core.Subject{Site: "fra", Service: core.AllServices}, From: start.Add(time.Hour), Until: start.Add(31 * time.Hour),
			}
			signals := watched(t, w, 32*time.Hour+10*time.Minute, trafficWatch(), work)
			stateAt(t, signals, time.Hour+5*time.Minute, core.DetectorAnomalous, "is above")
			stateAt(t, signals, 31*time.Hour+5*time.Minute, after, "")
			if kind == detect.MarkMaintenance {
				stateAt(t, signals, 32*time.Hour+5*time.Minute, core.DetectorAnomalous, "is above")
			}
		})
	}
}

// An alarm that was raised before the incident was known of is over with it, and not some points later; a new one counts at once.
func TestAnAlarmFromBeforeAnIncidentEndsWithIt(t *testing.T) {
	f := func(changes map[time.Duration]float64, want core.DetectorState) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, changes)}
			incident := detect.Mark{Kind: detect.MarkIncident, Subject: checkoutAtFra, From: start.Add(62 * time.Minute), Until: start.Add(2 * time.Hour)}
			signals := watched(t, w, 2*time.Hour+10*time.Minute, trafficWatch(), incident)
			stateAt(t, signals, 61*time.Minute, core.DetectorAnomalous, "above")
			for at := 2*time.Hour + time.Minute; at < 2*time.Hour+5*time.Minute; at += time.Minute {
				stateAt(t, signals, at, want, "")
			}
		})
	}
	f(map[time.Duration]float64{time.Hour: 300, 2 * time.Hour: 100}, core.DetectorNormal)
	f(map[time.Duration]float64{time.Hour: 300, 2 * time.Hour: 500}, core.DetectorAnomalous)
}

// Users that are moved away are no evidence, and what a copy lacks still is.
func TestADrainedSiteIsNotJudgedByItsUsers(t *testing.T) {
	for _, class := range []core.Class{core.ClassSymptom, core.ClassCause} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 0, 2 * time.Hour: 100})}
			watch := trafficWatch()
			watch.Class = class
			drained := detect.Mark{
				Kind: detect.MarkDrained, Subject: core.Subject{Site: "fra", Service: core.AllServices}, From: start.Add(time.Hour), Until: start.Add(2 * time.Hour),
				What: "drill of March",
			}
			signals := watched(t, w, 2*time.Hour+10*time.Minute, watch, drained)
			if class == core.ClassSymptom {
				stateAt(t, signals, 90*time.Minute, core.DetectorUnknown, "not judged, its users are moved away since "+start.Add(time.Hour).UTC().Format("15:04:05")+" UTC: drill of March")
			} else {
				stateAt(t, signals, 90*time.Minute, core.DetectorAnomalous, "0 is below")
			}
			stateAt(t, signals, 2*time.Hour+5*time.Minute, core.DetectorNormal, "")
		})
	}
}

// Users come back before the incident is over, and before others are back: the site is judged by what it was with them, and not by the time without.
func TestASiteThatIsBackIsJudgedAsBefore(t *testing.T) {
	for kind, during := range map[detect.MarkKind]core.DetectorState{
		detect.MarkDrained: core.DetectorUnknown, detect.MarkMaintenance: core.DetectorAnomalous,
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 0, 4 * time.Hour: 100, 5 * time.Hour: 0})}
			signals := watched(t, w, 5*time.Hour+10*time.Minute, trafficWatch(),
				detect.Mark{Kind: detect.MarkIncident, Subject: checkoutAtFra, From: start.Add(time.Hour), Until: start.Add(6 * time.Hour)},
				detect.Mark{Kind: kind, Subject: checkoutAtFra, From: start.Add(time.Hour), Until: start.Add(4 * time.Hour)})
			stateAt(t, signals, time.Hour+5*time.Minute, during, "")
			stateAt(t, signals, 4*time.Hour+time.Minute, core.DetectorNormal, "")
			stateAt(t, signals, 5*time.Hour+5*time.Minute, core.DetectorAnomalous, "0 is below")
		})
	}
}

// A site that carries the users of another is judged by what it would have without them.
func TestDemandIsJudgedByWhatWasMoved(t *testing.T) {
	for _, demand := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 150, 2 * time.Hour: 75, 3 * time.Hour: 100})}
			watch := trafficWatch()
			watch.Demand = demand
			moved := detect.Mark{
				Kind: detect.MarkShifted, Subject: checkoutAtFra, From: start.Add(time.Hour), Until: start.Add(3 * time.Hour), Load: 1.5,
			}
			signals := watched(t, w, 3*time.Hour+11*time.Minute, watch, moved)
			if !demand {
				stateAt(t, signals, time.Hour+10*time.Minute, core.DetectorAnomalous, "above")
				return
			}
			stateAt(t, signals, time.Hour+10*time.Minute, core.DetectorNormal, "with 1.5 times the users it had")
			if s := signals[time.Hour+10*time.Minute]; math.Abs(s.Expected-150) > 2 || math.Abs(s.Value-150) > 4 || !s.HasBand {
				t.Errorf("%+v", s)
			}
			stateAt(t, signals, 2*time.Hour+10*time.Minute, core.DetectorAnomalous, "below") // half of what it ought to have
			stateAt(t, signals, 3*time.Hour+10*time.Minute, core.DetectorNormal, "")
		})
	}
}

// After a declared change a series may be as before or as since; in its first hour it has to be as before.
func TestADeclaredChangeMayMoveTheLevel(t *testing.T) {
	for _, declared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			day := 24 * time.Hour
			w := &world{at: levels(start, 100, map[time.Duration]float64{
				time.Hour: 150, 5 * time.Hour: 100, 8 * time.Hour: 150, 10 * time.Hour: 400, 10*time.Hour + 30*time.Minute: 150,
				2 * day: 100,
			})}
			var marks []detect.Mark
			if declared {
				marks = append(marks, detect.Mark{
					Kind: detect.MarkChange, Subject: core.Subject{Site: "fra", Service: core.AllServices}, What: "checkout 2.4",
					From: start.Add(50 * time.Minute), Until: start.Add(61 * time.Minute),
				})
			}
			signals := watched(t, w, 2*day+10*time.Minute, trafficWatch(), marks...)
			if !declared {
				stateAt(t, signals, time.Hour, core.DetectorAnomalous, "above")
				stateAt(t, signals, 5*time.Hour+time.Minute, core.DetectorAnomalous, "below") // the new level is the level, and it was left
				return
			}
			stateAt(t, signals, time.Hour, core.DetectorAnomalous, `while the change "checkout 2.4" is under way since `)
			stateAt(t, signals, 90*time.Minute, core.DetectorAnomalous, `after the change "checkout 2.4" that ended at `)
			for _, at := range []time.Duration{130 * time.Minute, 5*time.Hour + 5*time.Minute, 8*time.Hour + 5*time.Minute, 12 * time.Hour} {
				stateAt(t, signals, at, core.DetectorNormal, "")
			}
			stateAt(t, signals, 10*time.Hour+time.Minute, core.DetectorAnomalous, "above")
			stateAt(t, signals, 2*day+time.Minute, core.DetectorAnomalous, "below") // a day later only one of the two is left
		})
	}
}

// What lasts for more than a day is how things are, whatever it is called.
func TestALongIncidentIsTheNewLevel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 300})}
		incident := detect.Mark{Kind: detect.MarkIncident, Subject: checkoutAtFra, From: start.Add(time.Hour), Until: start.Add(26 * time.Hour)}
		signals := watched(t, w, 26*time.Hour+10*time.Minute, trafficWatch(), incident)
		stateAt(t, signals, 26*time.Hour+5*time.Minute, core.DetectorNormal, "")
		if s := signals[26*time.Hour+5*time.Minute]; s.KeptOut != 0 {
			t.Errorf("%g is kept out of what was learned after all", s.KeptOut)
		}
	})
}

// A mark of another site, or of another service, changes nothing; one of a single service keeps the site's own series
// from learning, and they are judged all the same.
func TestMarksAreOfTheirSubject(t *testing.T) {
	drained := func(s core.Subject) detect.Mark { return detect.Mark{Kind: detect.MarkDrained, Subject: s} }
	for _, c := range []struct {
		mark    detect.Mark
		service string
		want    core.DetectorState
	}{
		{drained(checkoutAtAms), "checkout", core.DetectorNormal},
		{drained(core.Subject{Site: "fra", Service: "search"}), "checkout", core.DetectorNormal},
		{drained(checkoutAtFra), "checkout", core.DetectorUnknown},
		{drained(core.Subject{Site: "fra", Service: core.AllServices}), "checkout", core.DetectorUnknown},
		{drained(checkoutAtFra), "", core.DetectorNormal},
		{drained(core.Subject{Site: "fra", Service: core.AllServices}), "", core.DetectorUnknown},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, nil)}
			watch := trafficWatch()
			watch.Service = c.service
			c.mark.From = start
			signals := watched(t, w, 5*time.Minute, watch, c.mark)
			if s := signals[2*time.Minute]; s.State != c.want {
				t.Errorf("%v of %q: %s: %s", c.mark.Subject, c.service, s.State, s.Sentence)
			}
		})
	}
}

// A server that starts anew knows what one that has run all the time knows.
func TestMarksAreReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		change := detect.Mark{
			Kind: detect.MarkChange, Subject: checkoutAtFra, What: "checkout 2.4", From: start.Add(50 * time.Minute), Until: start.Add(61 * time.Minute),
		}
		incident := detect.Mark{Kind: detect.MarkIncident, Subject: checkoutAtFra, From: start.Add(3 * time.Hour), Until: start.Add(6 * time.Hour)}
		at := levels(start, 100, map[time.Duration]float64{time.Hour: 150, 3 * time.Hour: 500, 6 * time.Hour: 150})
		watch := trafficWatch()
		watch.Training = 12 * time.Hour
		through := &world{at: at}
		watched(t, through, 6*time.Hour+10*time.Minute, watch, change, incident)
		anew := &world{at: at}
		watched(t, anew, 5*time.Minute, watch, change, incident)
		last := through.signals[len(through.signals)-1]
		if first := anew.signals[0]; last.State != core.DetectorNormal || first.State != last.State ||
			math.Abs(first.Upper-last.Upper) > 0.1*math.Abs(last.Upper) {
			t.Errorf("after all the time %s\nanew %s", last.Sentence, first.Sentence)
		}
	})
}

// What is known of a whole is kept from an incident as well; without the mark its hour is what the whole is like.
func TestAWholeIsKeptFromAnIncident(t *testing.T) {
	for _, marked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			metric := func(of int) func(time.Time) []core.SeriesValue {
				return func(at time.Time) []core.SeriesValue {
					level := 10.0
					if d := at.Sub(start); d >= time.Hour && d < 5*time.Hour {
						level = 90
					}
					return []core.SeriesValue{value("fra", level+wobble(at, of), "service", "checkout")}
				}
			}
			q := ask(map[string]func(time.Time) []core.SeriesValue{"e": metric(1), "l": metric(2)})
			watch := rowWatch(detect.ModelService)
			watch.Every, watch.Query, watch.Metrics = time.Minute, "", map[string]string{"errors": "e", "latency": "l"}
			var marks []detect.Mark
			if marked {
				marks = []detect.Mark{{Kind: detect.MarkIncident, Subject: checkoutAtFra, From: start.Add(time.Hour), Until: start.Add(5 * time.Hour)}}
			}
			signals := watchedBy(t, q, &q.world, 5*time.Hour+11*time.Minute, watch, marks...)
			want := core.DetectorAnomalous
			if marked {
				want = core.DetectorNormal
			}
			stateAt(t, signals, time.Hour+2*time.Minute, core.DetectorAnomalous, "odd at once")
			stateAt(t, signals, 5*time.Hour+10*time.Minute, want, "")
		})
	}
}

// What grows with users, and cannot be weighed by them, is not judged where users were moved to.
func TestWhatCannotBeWeighedIsNotJudged(t *testing.T) {
	for _, c := range []struct {
		load   float64
		demand bool
		want   core.DetectorState
	}{{0, true, core.DetectorUnknown}, {1, true, core.DetectorNormal}, {0, false, core.DetectorNormal}} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			watch := trafficWatch()
			watch.Demand = c.demand
			moved := detect.Mark{Kind: detect.MarkShifted, Subject: checkoutAtFra, From: start, Load: c.load}
			w := &world{at: levels(start, 100, nil)}
			signals := watched(t, w, 5*time.Minute, watch, moved)
			sentence := ""
			if c.want == core.DetectorUnknown {
				sentence = "not judged, users are moved here since "
			}
			stateAt(t, signals, 2*time.Minute, c.want, sentence)
		})
	}
}
