package detect_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// A value that cannot be is said to every model of one series, and neither judged nor learned: after it all is as before. Without a range it is news or
// spoils what comes after.
func TestValuesThatCannotBe(t *testing.T) {
	for _, model := range []detect.Model{
		detect.ModelAuto, detect.ModelThreshold, detect.ModelRobustZ, detect.ModelSeasonal, detect.ModelLocalFit, detect.ModelCUSUM, detect.ModelTrend,
		detect.ModelBurnRate,
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			watch := rowWatch(model)
			watch.Valid = detect.Range{Min: new(0.0), Max: new(1.0)}
			switch model {
			case detect.ModelThreshold:
				watch.Threshold, watch.Direction = new(0.9), detect.DirectionAbove
			case detect.ModelTrend:
				watch.Limit, watch.Direction = new(0.9), detect.DirectionAbove
			default:
			}
			wrong := func(at time.Time) bool { // in the past, and twice at the present
				return at.Before(start) && at.Unix()%70 == 0 || at.After(start.Add(30*time.Second)) && at.Before(start.Add(55*time.Second))
			}
			q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
				if wrong(at) {
					return []core.SeriesValue{value("fra", 1e9)}
				}
				return []core.SeriesValue{value("fra", 0.0005+0.0001*wobble(at, 1))}
			}})
			reg := watchOver(t, q, 95*time.Second, watch)
			figure(t, reg, "evenkeel_detect_ignored_series_total", "invalid w 2")
			if got := told(q, "fra"); got != "normal*3 unknown*2 normal*4" {
				t.Errorf("%s: %s: %s", model, got, last(t, q, "fra").Sentence)
			}
			if s := q.signals[3]; s.Sentence != "w of fra: not judged, 1e+09 is outside the valid range, 0 to 1" {
				t.Errorf("%s: %s", model, s.Sentence)
			}
		})
	}
}

// To absence a value that cannot be is no value.
func TestAbsenceOfValuesThatCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		watch := rowWatch(detect.ModelAbsence)
		watch.Valid = detect.Range{Min: new(0.0)}
		q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
			if at.After(start.Add(2 * time.Minute)) {
				return []core.SeriesValue{value("fra", -1)}
			}
			return []core.SeriesValue{value("fra", 5+wobble(at, 1))}
		}})
		watchOver(t, q, 5*time.Minute, watch)
		unknown := false
		for _, s := range q.signals {
			unknown = unknown || s.State == core.DetectorUnknown && strings.Contains(s.Sentence, "not judged, -1 is outside the valid range, 0 or more")
		}
		if s := last(t, q, "fra"); s.State != core.DetectorAnomalous || !strings.Contains(s.Sentence, "no value for") || !unknown {
			t.Errorf("%s: %s", told(q, "fra"), s.Sentence)
		}
	})
}

// In a row the value is one that is missing: siblings are compared without it, and a service is judged by its other metrics.
func TestValuesOfRowsThatCannotBe(t *testing.T) {
	f := func(watch detect.Watch, by map[string]func(time.Time) []core.SeriesValue, state core.DetectorState, sentence string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			q := ask(by)
			watchOver(t, q, 35*time.Second, watch)
			if s := last(t, q, "fra"); s.State != state || !strings.Contains(s.Sentence, sentence) {
				t.Errorf("%s: %s", s.State, s.Sentence)
			}
			for _, s := range q.signals {
				if s.Subject.Site != "fra" && s.State != core.DetectorNormal {
					t.Errorf("%s: %s", s.State, s.Sentence)
				}
			}
		})
	}
	series := func(of int, wrong bool, sites ...string) func(time.Time) []core.SeriesValue {
		start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of the clock of a test
		return func(at time.Time) (out []core.SeriesValue) {
			for i, site := range sites {
				x := 100 + wobble(at, of+i)
				if wrong && site == "fra" && at.After(start) {
					x = 1e9
				}
				out = append(out, value(site, x))
			}
			return out
		}
	}
	limit := detect.Range{Max: new(1000.0)}
	peers := rowWatch(detect.ModelPeers)
	peers.Valid = limit
	f(peers, map[string]func(time.Time) []core.SeriesValue{"q": series(1, true, "fra", "ams", "waw", "lon")},
		core.DetectorUnknown, "not judged, 1e+09 is outside the valid range, 1000 or less")
	whole := rowWatch(detect.ModelService)
	whole.Query, whole.Metrics, whole.ValidOf = "", map[string]string{"a": "a", "b": "b"}, map[string]detect.Range{"a": limit}
	f(whole, map[string]func(time.Time) []core.SeriesValue{"a": series(1, true, "fra"), "b": series(2, false, "fra")},
		core.DetectorNormal, "a 1e+09 is outside the valid range, 1000 or less and passed over")
	whole.ValidOf["b"] = limit
	f(whole, map[string]func(time.Time) []core.SeriesValue{"a": series(1, true, "fra"), "b": series(2, true, "fra")},
		core.DetectorUnknown, "not judged, a 1e+09 is outside the valid range, 1000 or less, b 1e+09 is outside")
	counts := rowWatch(detect.ModelBurnRate)
	counts.Query, counts.Bad, counts.Total, counts.Valid = "", "a", "b", limit
	f(counts, map[string]func(time.Time) []core.SeriesValue{"a": series(1, true, "fra"), "b": series(2, false, "fra")},
		core.DetectorUnknown, "not judged, bad 1e+09 is outside the valid range")
}

// What cannot be is not learned from the past either, where values are judged in rows.
func TestValuesOfThePastThatCannotBe(t *testing.T) {
	for _, most := range []*float64{new(1000.0), nil} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			q := ask(map[string]func(time.Time) []core.SeriesValue{
				"total": func(time.Time) []core.SeriesValue { return []core.SeriesValue{value("fra", 1000)} },
				"bad": func(at time.Time) []core.SeriesValue {
					if at.Before(start) && at.Unix()%70 == 0 {
						return []core.SeriesValue{value("fra", 1e9)}
					}
					return []core.SeriesValue{value("fra", 0)}
				},
			})
			watch := rowWatch(detect.ModelBurnRate)
			watch.Query, watch.Bad, watch.Total, watch.Valid.Max = "", "bad", "total", most
			watchOver(t, q, 15*time.Second, watch)
			if s := last(t, q, "fra"); (s.State == core.DetectorNormal) != (most != nil) {
				t.Errorf("at most %v: %s: %s", most, s.State, s.Sentence)
			}
		})
	}
}

// So many points, in a row or of the last few, make and end an anomaly as the watch says.
func TestPointsThatTriggerAndRecover(t *testing.T) {
	f := func(trigger, recoverIn, of int, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			watch := rowWatch(detect.ModelThreshold)
			watch.Threshold, watch.Direction, watch.TriggerPoints, watch.RecoverPoints = new(10.0), detect.DirectionAbove, trigger, recoverIn
			watch.TriggerOf, watch.RecoverOf = of, of
			watch.Training = 10 * time.Second
			q := ask(map[string]func(time.Time) []core.SeriesValue{"q": func(at time.Time) []core.SeriesValue {
				if s := at.Sub(start); s > 25*time.Second && s < 65*time.Second && (of == 0 || at.Unix()%20 == 0) { // 4 points, or 2 of them
					return []core.SeriesValue{value("fra", 20)}
				}
				return []core.SeriesValue{value("fra", 1)}
			}})
			watchOver(t, q, 125*time.Second, watch)
			if got := told(q, "fra"); got != want {
				t.Errorf("trigger %d, recover %d, of %d: %s, want %s", trigger, recoverIn, of, got, want)
			}
		})
	}
	f(0, 0, 0, "normal*2 anomalous*6 normal*4")
	f(3, 0, 0, "normal*4 anomalous*4 normal*4")
	f(5, 0, 0, "normal*12")
	f(1, 5, 0, "normal*2 anomalous*8 normal*2")
	f(2, 2, 3, "normal*5 anomalous*2 normal*5")
}

// The floor of a metric of a service is its own.
func TestFloorsOfAService(t *testing.T) {
	for floor, want := range map[float64]core.DetectorState{0: core.DetectorAnomalous, 200: core.DetectorNormal} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			metric := func(of int, jump float64) func(time.Time) []core.SeriesValue {
				return func(at time.Time) []core.SeriesValue {
					x := 100 + wobble(at, of)
					if at.After(start.Add(50 * time.Second)) {
						x += jump
					}
					return []core.SeriesValue{value("fra", x, "host", "a")}
				}
			}
			q := ask(map[string]func(time.Time) []core.SeriesValue{"a": metric(1, 100), "b": metric(2, 0)})
			watch := rowWatch(detect.ModelService)
			watch.Query, watch.Metrics, watch.Floors = "", map[string]string{"a": "a", "b": "b"}, map[string]detect.Floor{"a": {Absolute: floor}, "b": {Relative: 0.1}}
			watchOver(t, q, 95*time.Second, watch)
			if s := last(t, q, "fra"); s.State != want {
				t.Errorf("floor %v: %s: %s", floor, told(q, "fra"), s.Sentence)
			}
		})
	}
}
