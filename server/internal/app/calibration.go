package app

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// calibrationFirst is how long after the start it is reckoned first, from what the starts before have stored. A question about four weeks
	// costs the store much, and an hour more or less changes little in the answer.
	calibrationFirst = time.Minute
	calibrationEvery = time.Hour
	// calibrationNeeded is how many alarms must be expected before it is said how many there are.
	calibrationNeeded     = 10
	calibrationConfidence = 0.9

	metricSeriesWeeks = "evenkeel_statistics_series_weeks_total"
	metricExpected    = "evenkeel_statistics_expected_alarms_total"
	metricAlarms      = "evenkeel_statistics_alarms_total"
	metricCrossings   = "evenkeel_statistics_crossings_total"
)

// statisticsMetrics show what came of the alarms since the start, which the server's own store adds up over its starts, and the
// nominal beside the achieved.
type statisticsMetrics struct {
	reckoning func() core.Reckoning
	latest    func() *core.Calibration

	weeks, expected, alarms, crossings, nominal, achieved *prometheus.Desc
}

var _ prometheus.Collector = (*statisticsMetrics)(nil)

func newStatisticsMetrics(reckoning func() core.Reckoning, latest func() *core.Calibration) *statisticsMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &statisticsMetrics{
		reckoning: reckoning, latest: latest,
		weeks:     desc(metricSeriesWeeks, "Weeks that series were judged by calibrated detectors, all series together."),
		expected:  desc(metricExpected, "Alarms that these series may raise by chance, by the settings of their detectors."),
		alarms:    desc(metricAlarms, "Alarms of these series, by whether a probe, the edge, a silence or moved users confirmed them.", "confirmed"),
		crossings: desc(metricCrossings, "Accusations by statistics that nothing else confirmed."),
		nominal:   desc("evenkeel_statistics_nominal_false_alarms_per_week", "False alarms that a series may raise in a week, as set, over the last weeks."),
		achieved: desc("evenkeel_statistics_achieved_false_alarms_per_week",
			"Alarms of a series in a week that nothing confirmed, over the last weeks; absent until enough were to be expected."),
	}
}

// Describe names the series.
func (m *statisticsMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.weeks, m.expected, m.alarms, m.crossings, m.nominal, m.achieved} {
		to <- d
	}
}

// Collect shows the counts of now and the latest calibration. What is not known is absent.
func (m *statisticsMetrics) Collect(to chan<- prometheus.Metric) {
	r := m.reckoning()
	count := func(d *prometheus.Desc, value float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
	}
	count(m.weeks, r.SeriesWeeks)
	count(m.expected, r.Expected)
	count(m.alarms, float64(r.Confirmed), "true")
	count(m.alarms, float64(r.Unconfirmed), "false")
	count(m.crossings, float64(r.Crossings))
	c := m.latest()
	if c == nil || c.SeriesWeeks == 0 {
		return
	}
	to <- prometheus.MustNewConstMetric(m.nominal, prometheus.GaugeValue, c.Nominal)
	if c.Achieved != nil {
		to <- prometheus.MustNewConstMetric(m.achieved, prometheus.GaugeValue, *c.Achieved)
	}
}

// asker is the store as calibrate needs it.
type asker interface {
	Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error)
}

// calibrate adds up what this replica stored of its own counts over the last weeks.
func calibrate(ctx context.Context, store asker, replica string, perYear float64, at time.Time) (core.Calibration, error) {
	c := core.Calibration{At: at, ChancePerYear: perYear, Needed: calibrationNeeded}
	grown := func(metric, labels string) (float64, error) {
		answer, err := store.Query(ctx, fmt.Sprintf(`sum(increase(%s{replica=%q%s}[%dd]))`, metric, replica, labels, 7*core.CalibrationWeeks), at, 0)
		if err != nil {
			return 0, fmt.Errorf("reckon the false alarms: %w", err)
		}
		if len(answer) == 0 || !(answer[0].Value >= 0) || math.IsInf(answer[0].Value, 0) {
			return 0, nil
		}
		return answer[0].Value, nil
	}
	var counts [3]float64
	for _, x := range []struct {
		metric, labels string
		to             *float64
	}{
		{metricSeriesWeeks, "", &c.SeriesWeeks},
		{metricExpected, "", &c.Expected},
		{metricAlarms, `,confirmed="false"`, &counts[0]},
		{metricAlarms, `,confirmed="true"`, &counts[1]},
		{metricCrossings, "", &counts[2]},
	} {
		var err error
		if *x.to, err = grown(x.metric, x.labels); err != nil {
			return core.Calibration{}, err
		}
	}
	c.Counted, c.Confirmed, c.Crossings = int(math.Round(counts[0])), int(math.Round(counts[1])), int(math.Round(counts[2]))
	if c.SeriesWeeks <= 0 {
		return c, nil
	}
	c.Nominal = c.Expected / c.SeriesWeeks
	if c.Expected < calibrationNeeded {
		return c, nil
	}
	lower, upper := detectors.CountInterval(c.Counted, calibrationConfidence)
	achieved := float64(c.Counted) / c.SeriesWeeks
	lower, upper = lower/c.SeriesWeeks, upper/c.SeriesWeeks
	c.Achieved, c.Lower, c.Upper = &achieved, &lower, &upper
	return c, nil
}

// calibrations reckons again and again, until ctx ends. What could not be asked leaves the last answer, and is asked again soon.
func (s *Server) calibrations(ctx context.Context) {
	calibrateNowAndAgain(ctx, func(at time.Time) error {
		c, err := calibrate(ctx, s.store, s.replica, s.world.current().ChancePerYear, at)
		if err == nil {
			s.calibration.Store(&c)
		}
		return err
	}, s.room("app"))
}

// calibrateNowAndAgain calls reckon until ctx ends, and logs when it begins to fail and when that is over.
func calibrateNowAndAgain(ctx context.Context, reckon func(at time.Time) error, log *slog.Logger) {
	var next time.Time
	failed := false
	every(ctx, calibrationFirst, func(at time.Time) {
		if at.Before(next) {
			return
		}
		err := reckon(at)
		if ctx.Err() != nil {
			return
		}
		if (err != nil) != failed {
			failed = err != nil
			log.Warn("false alarms reckoned", slog.Bool("ok", !failed), slog.Any("error", err))
		}
		if err == nil {
			next = at.Add(calibrationEvery)
		}
	})
}
