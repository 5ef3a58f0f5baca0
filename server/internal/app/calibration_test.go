package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// answers is a store that knows how much each counter has grown.
type answers struct {
	grown map[string]float64 // by a part of the question
	err   error
	asked []string
}

func (a *answers) Query(_ context.Context, expr string, at time.Time, _ time.Duration) ([]core.SeriesValue, error) {
	a.asked = append(a.asked, expr)
	for part, value := range a.grown {
		if strings.Contains(expr, part) {
			return []core.SeriesValue{{Value: value, At: at}}, a.err
		}
	}
	return nil, a.err
}

// The nominal is always said, and the achieved only when enough alarms were to be expected to tell.
func TestCalibrate(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	f := func(grown map[string]float64) core.Calibration {
		t.Helper()
		store := &answers{grown: grown}
		c, err := calibrate(t.Context(), store, "r1", 0.5, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range store.asked {
			if !strings.Contains(q, `{replica="r1"`) || !strings.Contains(q, "[28d]") {
				t.Errorf("asked %s: want this replica's own counts, of four weeks", q)
			}
		}
		if !c.At.Equal(at) || c.ChancePerYear != 0.5 || c.Needed != 10 {
			t.Errorf("%+v", c)
		}
		return c
	}
	if c := f(nil); c.Nominal != 0 || c.Achieved != nil || c.SeriesWeeks != 0 {
		t.Errorf("of nothing: %+v", c)
	}
	if c := f(map[string]float64{metricSeriesWeeks: 19, metricExpected: 9.5, `confirmed="false"`: 0}); c.Nominal != 0.5 || c.Achieved != nil || c.Lower != nil || c.Upper != nil {
		t.Errorf("too little: %+v", c)
	}
	c := f(map[string]float64{metricSeriesWeeks: 40, metricExpected: 20, `confirmed="false"`: 10, `confirmed="true"`: 3.0001, metricCrossings: 2})
	if c.Nominal != 0.5 || c.Achieved == nil || *c.Achieved != 0.25 || c.Counted != 10 || c.Confirmed != 3 || c.Crossings != 2 {
		t.Fatalf("enough: %+v", c)
	}
	if math.Abs(*c.Lower-5.43/40) > 1e-3 || math.Abs(*c.Upper-16.96/40) > 1e-3 {
		t.Errorf("%v to %v, want 5.43 to 16.96 in 40 weeks", *c.Lower, *c.Upper)
	}
	if c := f(map[string]float64{metricSeriesWeeks: 40, metricExpected: 20}); c.Achieved == nil || *c.Achieved != 0 || *c.Lower != 0 || *c.Upper < 0.07 {
		t.Errorf("none at all is known with an upper bound: %+v", c)
	}
	if _, err := calibrate(t.Context(), &answers{err: errors.New("no store")}, "r1", 1, at); err == nil || !strings.Contains(err.Error(), "no store") {
		t.Errorf("without a store: %v", err)
	}
}

// The counts are there from the start; what is not known is absent.
func TestStatisticsMetrics(t *testing.T) {
	var calibration *core.Calibration
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newStatisticsMetrics(
		func() core.Reckoning {
			return core.Reckoning{SeriesWeeks: 1.5, Expected: 0.75, Confirmed: 2, Unconfirmed: 1, Crossings: 3}
		},
		func() *core.Calibration { return calibration },
	))
	f := func(more ...string) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range samplesOf(families, "r1", 0) {
			got = append(got, fmt.Sprintf("%s %s=%g", strings.TrimPrefix(s.Name, "evenkeel_statistics_"), s.Labels[0].Value, s.Value))
		}
		want := append([]string{
			"alarms_total false=1", "alarms_total true=2", "crossings_total r1=3", "expected_alarms_total r1=0.75", "series_weeks_total r1=1.5",
		}, more...)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	f()
	calibration = &core.Calibration{}
	f()
	calibration = &core.Calibration{SeriesWeeks: 2, Nominal: 0.5}
	f("nominal_false_alarms_per_week r1=0.5")
	achieved := 0.25
	calibration.Achieved = &achieved
	f("nominal_false_alarms_per_week r1=0.5", "achieved_false_alarms_per_week r1=0.25")
}

// A question about four weeks is asked once an hour, and once a minute while there is no answer.
func TestFalseAlarmsAreReckonedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 150*time.Minute)
		defer cancel()
		start := time.Now()
		var asked []time.Duration
		var log bytes.Buffer
		calibrateNowAndAgain(ctx, func(at time.Time) error {
			asked = append(asked, at.Sub(start))
			if len(asked) == 2 || len(asked) == 3 {
				return errors.New("no store")
			}
			return nil
		}, slog.New(slog.NewTextHandler(&log, nil)))
		want := []time.Duration{time.Minute, 61 * time.Minute, 62 * time.Minute, 63 * time.Minute, 123 * time.Minute}
		if !slices.Equal(asked, want) {
			t.Errorf("asked after %v, want %v", asked, want)
		}
		if n := strings.Count(log.String(), "false alarms reckoned"); n != 2 {
			t.Errorf("logged %d times, want the begin and the end of the failure: %s", n, log.String())
		}
	})
}
