package detect

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the watchman's own figures, one child a watch; all stand at zero from the start.
type metrics struct {
	evaluations  *prometheus.CounterVec
	skipped      *prometheus.CounterVec
	queryErrors  *prometheus.CounterVec
	replayErrors *prometheus.CounterVec
	writeErrors  *prometheus.CounterVec
	refused      *prometheus.CounterVec
	ignored      *prometheus.CounterVec
	series       *prometheus.GaugeVec
	anomalous    *prometheus.GaugeVec
	seconds      *prometheus.CounterVec
	cycle        *prometheus.GaugeVec
	behind       *prometheus.GaugeVec
	saveErrors   *prometheus.CounterVec
	savedAt      *prometheus.GaugeVec
	savedBytes   *prometheus.GaugeVec
	silent       *prometheus.GaugeVec
}

// Reasons for which a series or a point of an answer is left out.
const (
	ignoredSubject   = "no_subject" // it does not name the site it is about: judged and written, no signal
	ignoredDuplicate = "duplicate"  // a second series with the same labels in one answer
	ignoredNotFinite = "not_finite"
	ignoredInvalid   = "invalid" // outside the valid range of the watch: told, not judged
)

func newMetrics(reg prometheus.Registerer, watches []Watch) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "evenkeel_detect_" + name, Help: help},
			append([]string{"watch"}, labels...))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "evenkeel_detect_" + name, Help: help}, []string{"watch"})
	}
	m := &metrics{
		evaluations:  counter("evaluations_total", "Evaluations of a watch, failed ones included."),
		skipped:      counter("skipped_total", "Ticks of a watch that passed while the one before was still under way."),
		queryErrors:  counter("query_errors_total", "Evaluations whose query failed; their series are unknown."),
		replayErrors: counter("replay_errors_total", "Failed attempts to replay the training window."),
		writeErrors:  counter("write_errors_total", "Evaluations whose results could not be written back."),
		refused:      counter("refused_series_total", "Answers' series beyond the limit of the watch, once per evaluation."),
		ignored:      counter("ignored_series_total", "Answers' series or points left out, by reason.", "reason"),
		series:       gauge("series", "Series the watch keeps a model of."),
		anomalous:    gauge("anomalous_series", "Series of the watch that are anomalous now."),
		seconds:      counter("evaluation_seconds_total", "Time spent in evaluations, write-back included."),
		cycle:        gauge("cycle_seconds", "From the tick to the end of the latest evaluation, with the wait for its turn and the write-back."),
		behind:       gauge("behind", "1 while the watch has not been judged for three intervals and its series are unknown."),
		saveErrors:   counter("save_errors_total", "Failed attempts to save what the watch has learned."),
		savedAt:      gauge("saved_timestamp_seconds", "Until when the watch had learned what was saved last; 0 when nothing was since the start."),
		savedBytes:   gauge("saved_bytes", "Size of what was saved last of the watch."),
		silent:       gauge("silent", "1 while the watch, which had data, has had none for five minutes and ten intervals."),
	}
	for _, w := range watches {
		for _, c := range []*prometheus.CounterVec{m.evaluations, m.skipped, m.queryErrors, m.replayErrors, m.writeErrors, m.refused, m.seconds, m.saveErrors} {
			c.WithLabelValues(w.Name)
		}
		for _, reason := range []string{ignoredSubject, ignoredDuplicate, ignoredNotFinite, ignoredInvalid} {
			m.ignored.WithLabelValues(w.Name, reason)
		}
		m.series.WithLabelValues(w.Name)
		m.anomalous.WithLabelValues(w.Name)
		m.cycle.WithLabelValues(w.Name)
		m.behind.WithLabelValues(w.Name)
		m.savedAt.WithLabelValues(w.Name)
		m.savedBytes.WithLabelValues(w.Name)
		m.silent.WithLabelValues(w.Name)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{
		m.evaluations, m.skipped, m.queryErrors, m.replayErrors, m.writeErrors, m.refused, m.ignored, m.series, m.anomalous, m.seconds, m.cycle, m.behind, m.silent,
		m.saveErrors, m.savedAt, m.savedBytes,
	} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register detect metrics: %w", err)
		}
	}
	return m, nil
}
