package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/api"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

const (
	// feedbackEvery is how soon what was said at another replica counts here.
	feedbackEvery = 10 * time.Second
	alarmsEvery   = time.Second
	alarmsMost    = 500
)

// opinions are what people say of alarms and episodes, and the alarms of late, of which they may say it.
type opinions struct {
	*ledger.Ledger
	store       asker
	observation func() core.Observation // the latest
	watches     []config.Watch
	log         *slog.Logger
	stale       chan struct{} // one pending sign that something was said

	mu        sync.Mutex
	alarms    map[string]core.Alarm
	precision []core.Precision
}

var _ api.Opinions = (*opinions)(nil)

func newOpinions(l *ledger.Ledger, store asker, observation func() core.Observation, watches []config.Watch, log *slog.Logger) *opinions {
	o := &opinions{
		Ledger: l, store: store, observation: observation, watches: watches, log: log, stale: make(chan struct{}, 1), alarms: map[string]core.Alarm{},
	}
	o.precision = precisions(nil, o.Watches())
	return o
}

// Say keeps a word, and counts it at once.
func (o *opinions) Say(ctx context.Context, f core.Feedback) (kept core.Feedback, fresh bool, err error) {
	defer poke(o.stale)
	return o.Ledger.Say(ctx, f)
}

// Watches are the names of those that are configured.
func (o *opinions) Watches() []string {
	out := make([]string, 0, len(o.watches))
	for _, w := range o.watches {
		out = append(out, w.Name)
	}
	return out
}

// raisedWithin is how far from an onset a state may have been written for it: of a watch by cron that is not known.
const raisedWithin = time.Hour

// Raised asks the store whether any series of a watch was anomalous at an onset.
func (o *opinions) Raised(ctx context.Context, watch string, onset time.Time) (bool, error) {
	within := raisedWithin
	for _, w := range o.watches {
		if every := w.Detect().Every; w.Name == watch && every > 0 {
			within = max(2*every, time.Minute)
		}
	}
	at := onset.Add(within)
	if now := time.Now(); at.After(now) {
		at = now
	}
	answer, err := o.store.Query(ctx, fmt.Sprintf(`count(max_over_time(evenkeel_detector_state{detector=%q}[%ds]) == %d)`,
		watch, int((at.Sub(onset)+within).Seconds()), core.DetectorAnomalous), at, 0)
	if err != nil {
		return false, &core.Error{
			Code: core.CodeUnavailable, Message: "it is not known whether there was such an alarm: the store does not answer", Err: err,
			Hint: "try again in a while",
		}
	}
	return len(answer) > 0 && answer[0].Value > 0, nil
}

// see takes the alarms of an observation in.
func (o *opinions) see(now []core.Alarm, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for id, a := range o.alarms {
		a.Over = true
		o.alarms[id] = a
		if at.Sub(a.Last) > core.FeedbackKept {
			delete(o.alarms, id)
		}
	}
	for _, a := range now {
		o.alarms[a.ID] = a
	}
	if len(o.alarms) > alarmsMost {
		for _, a := range o.sorted()[alarmsMost:] {
			delete(o.alarms, a.ID)
		}
	}
}

// sorted are the alarms, the newest first. The lock is held.
func (o *opinions) sorted() []core.Alarm {
	out := make([]core.Alarm, 0, len(o.alarms))
	for _, a := range o.alarms {
		out = append(out, a)
	}
	slices.SortFunc(out, core.NewestAlarm)
	return out
}

// Alarms are those of late, the newest first, what is seen now among them.
func (o *opinions) Alarms() []core.Alarm {
	o.see(api.AlarmsIn(o.observation()), time.Now())
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sorted()
}

// Precision is how often they were right.
func (o *opinions) Precision() []core.Precision {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.precision)
}

// count reads what was said.
func (o *opinions) count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, feedbackEvery)
	defer cancel()
	all, err := o.Feedback(ctx)
	if err != nil {
		return err
	}
	p := precisions(all, o.Watches())
	o.mu.Lock()
	defer o.mu.Unlock()
	o.precision = p
	return nil
}

// follow counts what is said, and takes the alarms of observations in, until ctx ends. What was counted last stands while the ledger
// does not answer.
func (o *opinions) follow(ctx context.Context) {
	count := func() {
		if err := o.count(ctx); err != nil && ctx.Err() == nil {
			o.log.Debug("feedback not read", slog.Any("error", err))
		}
	}
	count()
	counts, looks := time.NewTicker(feedbackEvery), time.NewTicker(alarmsEvery)
	defer counts.Stop()
	defer looks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case at := <-looks.C:
			o.see(api.AlarmsIn(o.observation()), at)
		case <-counts.C:
			count()
		case <-o.stale:
			count()
		}
	}
}

// precisions count what people say, with the share and what it may be.
func precisions(all []core.Feedback, watches []string) []core.Precision {
	out := core.Precisions(all, watches)
	for i := range out {
		p := &out[i]
		if sure := p.True + p.False; sure > 0 {
			share := float64(p.True) / float64(sure)
			lower, upper := detectors.ShareInterval(p.True, sure, calibrationConfidence)
			p.Precision, p.Lower, p.Upper = &share, &lower, &upper
		}
	}
	return out
}

// opinionMetrics show what people say. They are gauges: who changes their mind, and what is older than the ledger keeps, goes down.
type opinionMetrics struct {
	precision func() []core.Precision

	watch, episodes, share *prometheus.Desc
}

var _ prometheus.Collector = (*opinionMetrics)(nil)

func newOpinionMetrics(precision func() []core.Precision) *opinionMetrics {
	return &opinionMetrics{
		precision: precision,
		watch: prometheus.NewDesc("evenkeel_watch_labels", "Alarms of a watch of the last 90 days that people labelled, by whether they were right.",
			[]string{"watch", "label"}, nil),
		episodes: prometheus.NewDesc("evenkeel_episode_labels", "Episodes of the last 90 days that people labelled, by whether they were right.",
			[]string{"label"}, nil),
		share: prometheus.NewDesc("evenkeel_watch_precision", "Share of the alarms of a watch that were right, of those labelled true or false; absent while there is none.",
			[]string{"watch"}, nil),
	}
}

// Describe names the series.
func (m *opinionMetrics) Describe(to chan<- *prometheus.Desc) {
	to <- m.watch
	to <- m.episodes
	to <- m.share
}

// Collect shows the counts of now.
func (m *opinionMetrics) Collect(to chan<- prometheus.Metric) {
	for _, p := range m.precision() {
		for label, n := range map[core.Said]int{core.SaidTrue: p.True, core.SaidFalse: p.False, core.SaidUnsure: p.Unsure} {
			if p.Watch == "" {
				to <- prometheus.MustNewConstMetric(m.episodes, prometheus.GaugeValue, float64(n), string(label))
				continue
			}
			to <- prometheus.MustNewConstMetric(m.watch, prometheus.GaugeValue, float64(n), p.Watch, string(label))
		}
		if p.Watch != "" && p.Precision != nil {
			to <- prometheus.MustNewConstMetric(m.share, prometheus.GaugeValue, *p.Precision, p.Watch)
		}
	}
}
