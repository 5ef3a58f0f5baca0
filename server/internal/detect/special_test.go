package detect_test

import (
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

var allAtFra = core.Subject{Site: "fra", Service: core.AllServices}

// A special time of more than a day is neither judged nor learned, and is said: after it the series is as it was, and what is odd then is found. Without
// it the values of the time are the new level.
func TestASpecialTimeIsNotLearned(t *testing.T) {
	for _, special := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 300, 31 * time.Hour: 100, 32 * time.Hour: 300})}
			var marks []detect.Mark
			if special {
				marks = []detect.Mark{{
					Kind: detect.MarkSpecial, Subject: allAtFra, What: "sale", From: start.Add(time.Hour), Until: start.Add(31 * time.Hour),
				}}
			}
			signals := watched(t, w, 32*time.Hour+10*time.Minute, trafficWatch(), marks...)
			if !special {
				stateAt(t, signals, time.Hour+5*time.Minute, core.DetectorAnomalous, "is above")
				stateAt(t, signals, 31*time.Hour+5*time.Minute, core.DetectorAnomalous, "is below")
				return
			}
			stateAt(t, signals, 59*time.Minute, core.DetectorNormal, "normal")
			stateAt(t, signals, time.Hour+5*time.Minute, core.DetectorUnknown, "not judged in the special time sale, until 2000-01-02 07:00:00 UTC")
			stateAt(t, signals, 30*time.Hour, core.DetectorUnknown, "not judged in the special time sale, until 07:00:00 UTC")
			stateAt(t, signals, 31*time.Hour+5*time.Minute, core.DetectorNormal, "normal")
			stateAt(t, signals, 32*time.Hour+5*time.Minute, core.DetectorAnomalous, "is above")
		})
	}
}

// A special time that is to be judged is, and not learned; one of other watches, or of another service, is none.
func TestWhatASpecialTimeIsTo(t *testing.T) {
	f := func(state, after core.DetectorState, sentence string, change func(*detect.Mark)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			w := &world{at: levels(start, 100, map[time.Duration]float64{time.Hour: 300, 4 * time.Hour: 100})}
			m := detect.Mark{Kind: detect.MarkSpecial, Subject: allAtFra, What: "sale", From: start.Add(time.Hour), Until: start.Add(4 * time.Hour)}
			change(&m)
			signals := watched(t, w, 4*time.Hour+10*time.Minute, trafficWatch(), m)
			stateAt(t, signals, time.Hour+5*time.Minute, state, sentence)
			stateAt(t, signals, 4*time.Hour+5*time.Minute, after, "")
		})
	}
	f(core.DetectorAnomalous, core.DetectorNormal, "in the special time sale, until 04:00:00 UTC, which is not learned", func(m *detect.Mark) { m.Judged = true })
	f(core.DetectorUnknown, core.DetectorNormal, "not judged", func(m *detect.Mark) { m.Watches = []string{"errors", "traffic"} })
	f(core.DetectorAnomalous, core.DetectorAnomalous, "is above", func(m *detect.Mark) { m.Watches = []string{"errors"} })
	f(core.DetectorAnomalous, core.DetectorAnomalous, "is above", func(m *detect.Mark) { m.Subject.Service = "cart" })
	f(core.DetectorAnomalous, core.DetectorAnomalous, "is above", func(m *detect.Mark) { m.Subject.Site = "ams" })
}

// What has no memory is judged as ever.
func TestAThresholdHoldsInASpecialTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, limit := time.Now(), 200.0
		watch := trafficWatch()
		watch.Model, watch.Threshold = detect.ModelThreshold, &limit
		w := &world{at: levels(start, 300, nil)}
		m := detect.Mark{Kind: detect.MarkSpecial, Subject: allAtFra, What: "sale", From: start, Until: start.Add(time.Hour)}
		stateAt(t, watched(t, w, 10*time.Minute, watch, m), 5*time.Minute, core.DetectorAnomalous, "is above")
	})
}

// weekly is 100, and 20 on the days that are quiet, in a world that begins on a Saturday.
func weekly(quiet func(time.Time) bool) func(time.Time) ([]core.SeriesValue, error) {
	return func(at time.Time) ([]core.SeriesValue, error) {
		level := 100.0
		if quiet(at) {
			level = 20
		}
		return one(level * (1 + 0.02*math.Sin(float64(at.Unix())*1.7))), nil
	}
}

func seasonalWatch() detect.Watch {
	watch := trafficWatch()
	watch.Model, watch.Every = detect.ModelSeasonal, 10*time.Minute
	return watch
}

// The seasonal model judges a holiday like the day that it resembles, or by the recent past. Without the mark it is odd to it.
func TestAHolidayIsLikeASunday(t *testing.T) {
	f := func(state core.DetectorState, sentence string, of ...detect.Mark) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now() // a Saturday
			from, until := start.Add(4*24*time.Hour), start.Add(5*24*time.Hour)
			w := &world{at: weekly(func(at time.Time) bool { return at.Weekday() == time.Sunday || !at.Before(from) && at.Before(until) })}
			for i := range of {
				of[i].Kind, of[i].Subject, of[i].What, of[i].From, of[i].Until = detect.MarkSpecial, allAtFra, "holiday", from, until
			}
			signals := watched(t, w, 5*24*time.Hour+2*time.Hour, seasonalWatch(), of...)
			stateAt(t, signals, 4*24*time.Hour+time.Hour, state, sentence)
			if of != nil {
				stateAt(t, signals, 5*24*time.Hour+time.Hour, core.DetectorNormal, "normal")
			}
		})
	}
	f(core.DetectorAnomalous, "is below")
	f(core.DetectorNormal, ", judged like a sunday in the special time holiday, until ", detect.Mark{Like: detectors.Sunday})
	f(core.DetectorNormal, "from the recent past", detect.Mark{})
	f(core.DetectorNormal, ", judged by the recent past in the special time holiday, until ", detect.Mark{})
}

// Special times of the past are no example either: a replay knows them.
func TestSpecialTimesOfThePastAreNotLearned(t *testing.T) {
	for _, marked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			tuesday := start.Add(3 * 24 * time.Hour)
			w := &world{at: weekly(func(at time.Time) bool { return at.Before(tuesday) && at.Weekday() == time.Tuesday })}
			var marks []detect.Mark
			for week := range 10 {
				from := tuesday.Add(-time.Duration(week+1) * 7 * 24 * time.Hour)
				if marked {
					marks = append(marks, detect.Mark{Kind: detect.MarkSpecial, Subject: allAtFra, What: "sale", From: from, Until: from.Add(24 * time.Hour)})
				}
			}
			watch := seasonalWatch()
			watch.Training = 70 * 24 * time.Hour
			want := core.DetectorAnomalous
			if marked {
				want = core.DetectorNormal
			}
			stateAt(t, watched(t, w, 3*24*time.Hour+6*time.Hour, watch, marks...), 3*24*time.Hour+5*time.Hour, want, "")
		})
	}
}

// Siblings are compared in a time that is special to all of them. One that alone is in such a time is not comparable, and the others are without it.
func TestPeersInASpecialTime(t *testing.T) {
	for all, sentence := range map[bool]string{true: "is below", false: "not judged in the special time holiday"} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) (out []core.SeriesValue) {
				for i, site := range []string{"fra", "ams", "waw", "lon"} {
					x := 100 + wobble(at, i)
					if site == "fra" && at.After(start.Add(time.Minute)) {
						x -= 50
					}
					out = append(out, value(site, x))
				}
				return out
			}})
			marks := func(time.Time, time.Time) (out []detect.Mark) {
				for _, site := range []string{"fra", "ams", "waw", "lon"} {
					if all || site == "fra" {
						out = append(out, detect.Mark{
							Kind: detect.MarkSpecial, Subject: core.Subject{Site: site, Service: core.AllServices}, What: "holiday", From: start, Until: start.Add(time.Hour),
						})
					}
				}
				return out
			}
			runFor(t, 95*time.Second, detect.Options{
				Watches: []detect.Watch{rowWatch(detect.ModelPeers)}, Querier: q, Writer: q, Signals: q.signal, Marks: marks,
			})
			if s := last(t, q, "fra"); !strings.Contains(s.Sentence, sentence) || (s.State == core.DetectorAnomalous) != all {
				t.Errorf("fra: %s, %s", s.State, s.Sentence)
			}
			for _, site := range []string{"ams", "waw", "lon"} {
				if s := last(t, q, site); s.State != core.DetectorNormal || strings.Contains(s.Sentence, "as all its siblings") != all {
					t.Errorf("%s: %s, %s", site, s.State, s.Sentence)
				}
			}
		})
	}
}

// A service, too, neither says anything of a special time nor learns of it.
func TestAServiceInASpecialTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		in := func(at time.Time) bool {
			return !at.Before(start.Add(time.Minute)) && at.Before(start.Add(3*time.Minute))
		}
		level := func(of int) func(time.Time) []core.SeriesValue {
			return func(at time.Time) []core.SeriesValue {
				x := 100 + wobble(at, of)
				if in(at) {
					x *= 5
				}
				return []core.SeriesValue{value("fra", x)}
			}
		}
		q := ask(map[string]func(time.Time) []core.SeriesValue{"a": level(0), "b": level(1), "c": level(2)})
		watch := rowWatch(detect.ModelService)
		watch.Query, watch.Metrics = "", map[string]string{"a": "a", "b": "b", "c": "c"}
		m := detect.Mark{Kind: detect.MarkSpecial, Subject: allAtFra, What: "sale", From: start.Add(time.Minute), Until: start.Add(3 * time.Minute)}
		runFor(t, 4*time.Minute, detect.Options{
			Watches: []detect.Watch{watch}, Querier: q, Writer: q, Signals: q.signal,
			Marks: func(time.Time, time.Time) []detect.Mark { return []detect.Mark{m} },
		})
		for _, s := range q.signals {
			want := core.DetectorNormal
			if in(s.At) {
				want = core.DetectorUnknown
			}
			if s.State != want {
				t.Errorf("%v: %s, %s", s.At.Sub(start), s.State, s.Sentence)
			}
		}
	})
}

// Who hears of a series from another replica says of a special time what that one says.
func TestAFollowerKnowsTheCalendar(t *testing.T) {
	f := func(judged bool, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			s := &shared{lag: time.Second}
			s.at = levels(start, 100, nil)
			marks := []detect.Mark{{
				Kind: detect.MarkSpecial, Subject: allAtFra, What: "sale", From: start.Add(time.Minute), Until: start.Add(time.Hour), Judged: judged,
			}}
			watch := errorsWatch()
			owner, follower := &replica{store: s, mine: always, marks: marks}, &replica{store: s, mine: never, marks: marks}
			together(t, 2*time.Minute, watch, owner, follower)
			if got := follower.hears.signals[len(follower.hears.signals)-1]; !strings.Contains(got.Sentence, want) || !strings.Contains(got.Sentence, "as another replica") {
				t.Errorf("%s: %s", got.State, got.Sentence)
			}
		})
	}
	f(false, "not judged in the special time sale, until 01:00:00 UTC")
	f(true, "in the special time sale, until 01:00:00 UTC, which is not learned")
}
