package health

import (
	"math"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// An alarm is confirmed when a probe, the edge or a silence objects near it, or users are being moved, or people work there, and else it is not.
func TestAlarmsAreReckoned(t *testing.T) {
	calibrated := func(at time.Time, state core.DetectorState) core.Signal { // at an alarm in two weeks
		s := point("latency", "fra", at, 10*time.Second, state, 1e-9)
		s.FalseAlarms = 0.5
		return s
	}
	// f raises an alarm an hour after the start, lets else happen a while later or earlier, and looks another hour later.
	f := func(want core.Reckoning, after time.Duration, else_ func(tr *Tracker, at time.Time) []core.Routing) {
		t.Helper()
		tr := New("r1", twoAndWitness())
		alarm := epoch.Add(time.Hour)
		for at := epoch; at.Before(alarm.Add(time.Hour)); at = at.Add(10 * time.Second) {
			state := core.DetectorNormal
			switch now := at.Sub(alarm); {
			case now == time.Minute: // what is not known for a moment is no end, and what goes on then no second alarm
				state = core.DetectorUnknown
			case now >= 0 && now < 2*time.Minute:
				state = core.DetectorAnomalous
			}
			tr.Signal(calibrated(at, state))
			var routing []core.Routing
			if at.Sub(alarm) == after {
				routing = else_(tr, at)
			}
			tr.Judge(at, routing)
		}
		got := tr.Reckoning()
		weeks := 719 * 10. / (7 * 24 * 3600) // two hours but for one word that was not known
		if math.Abs(got.SeriesWeeks-weeks) > 1e-9 || math.Abs(got.Expected-weeks/2) > 1e-9 {
			t.Errorf("%v series-weeks and %v expected, want %v and the half", got.SeriesWeeks, got.Expected, weeks)
		}
		got.SeriesWeeks, got.Expected = 0, 0
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	nothing := func(*Tracker, time.Time) []core.Routing { return nil }
	down := func(tr *Tracker, at time.Time) []core.Routing {
		tr.Fact(probeFact("ams", "fra", core.ProbeDown, at), at)
		return nil
	}
	elsewhere := func(tr *Tracker, at time.Time) []core.Routing {
		tr.Fact(probeFact("lon", "ams", core.ProbeDown, at), at)
		return nil
	}
	moved := func(_ *Tracker, at time.Time) []core.Routing {
		return []core.Routing{{Subject: core.Subject{Site: "ams", Service: "checkout"}, State: core.RoutingDrained, ChangedAt: at}}
	}
	// People work there from the time at which something else happens.
	worked := func(about core.DeclaredChange) func(tr *Tracker, at time.Time) []core.Routing {
		return func(tr *Tracker, at time.Time) []core.Routing {
			about.Start, about.End = at, at.Add(time.Minute)
			tr.Declared([]core.DeclaredChange{about})
			return nil
		}
	}
	f(core.Reckoning{Unconfirmed: 1}, 0, nothing)
	f(core.Reckoning{Confirmed: 1}, 0, worked(core.DeclaredChange{Site: "fra", Service: core.AllServices, Maintenance: true}))
	f(core.Reckoning{Unconfirmed: 1}, 0, worked(core.DeclaredChange{Site: "fra", Service: core.AllServices}))
	f(core.Reckoning{Unconfirmed: 1}, 0, worked(core.DeclaredChange{Site: "ams", Service: core.AllServices, Maintenance: true}))
	f(core.Reckoning{Confirmed: 1}, 0, down)
	f(core.Reckoning{Confirmed: 1}, -9*time.Minute, down)
	f(core.Reckoning{Unconfirmed: 1}, -11*time.Minute, down)
	f(core.Reckoning{Confirmed: 1}, 29*time.Minute, down)
	f(core.Reckoning{Unconfirmed: 1}, 31*time.Minute, down)
	f(core.Reckoning{Unconfirmed: 1}, 0, elsewhere)
	f(core.Reckoning{Confirmed: 1}, time.Minute, moved)
}

// An accusation that nothing else confirms is reckoned beside the alarm that it began with.
func TestCrossingsAreReckoned(t *testing.T) {
	tr := New("r1", twoAndWitness())
	for at := epoch; at.Before(epoch.Add(time.Hour)); at = at.Add(10 * time.Second) {
		tr.Signal(point("latency", "fra", at, 10*time.Second, core.DetectorAnomalous, 1e-9))
		tr.Judge(at, nil)
	}
	got := tr.Reckoning()
	got.SeriesWeeks, got.Expected = 0, 0
	if want := (core.Reckoning{Unconfirmed: 1, Crossings: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Alarms that wait for a confirmation are bounded; one too many is taken as not confirmed.
func TestAlarmsThatWaitAreBounded(t *testing.T) {
	tr := New("r1", twoAndWitness())
	for range maxAlarms + 3 {
		tr.raise(alarm{subject: core.Subject{Site: "fra", Service: core.AllServices}, at: epoch.UnixNano()})
	}
	if len(tr.alarms) != maxAlarms || tr.Reckoning().Unconfirmed != 3 {
		t.Errorf("%d wait, %d are not confirmed", len(tr.alarms), tr.Reckoning().Unconfirmed)
	}
}
