package siteprobereceiver

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/probe"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// vantage keeps one goroutine per target of the current topology.
type vantage struct {
	log    *zap.Logger
	board  *topology.Board
	vitals *vitals.Vitals
	next   consumer.Metrics
	via    probe.Via
	kinds  map[string]probe.Func

	cancel context.CancelFunc
	done   sync.WaitGroup
}

var _ receiver.Metrics = (*vantage)(nil)

func newVantage(
	log *zap.Logger, board *topology.Board, v *vitals.Vitals, next consumer.Metrics, via probe.Via,
) *vantage {
	return &vantage{log: log, board: board, vitals: v, next: next, via: via, kinds: probe.Catalogue()}
}

// Start returns at once; probing begins as soon as there is a topology.
func (v *vantage) Start(context.Context, component.Host) error { //nolint:contextcheck // a component outlives the context of its start
	ctx, cancel := context.WithCancel(context.Background())
	v.cancel = cancel
	v.done.Go(func() { v.follow(ctx) })
	return nil
}

// Shutdown stops probing and waits for probes under way; they are cut short.
func (v *vantage) Shutdown(context.Context) error {
	if v.cancel != nil {
		v.cancel()
	}
	v.done.Wait()
	return nil
}

// running is one target being probed.
type running struct {
	probe  topology.Probe
	cancel context.CancelFunc
	over   chan struct{}
}

// follow starts and stops targets as the topology changes. A target that did not change goes on undisturbed.
func (v *vantage) follow(ctx context.Context) {
	targets := map[[4]string]*running{}
	tallies := map[[4]string]*tally{}
	defer func() {
		for _, t := range targets {
			t.cancel()
			<-t.over
		}
	}()
	for {
		state, _, changed := v.board.Current()
		wanted := map[[4]string]topology.Probe{}
		for _, p := range state.Probes {
			wanted[p.Key()] = p
		}
		for key, t := range targets {
			if p, ok := wanted[key]; !ok || !p.Same(t.probe) {
				t.cancel()
				<-t.over // the tally has one owner at a time
				delete(targets, key)
			}
		}
		for key, p := range wanted {
			if targets[key] != nil {
				continue
			}
			if tallies[key] == nil {
				tallies[key] = &tally{since: time.Now(), counts: map[probe.Reason]int64{}}
			}
			targets[key] = v.launch(ctx, p, tallies[key])
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (v *vantage) launch(ctx context.Context, p topology.Probe, counts *tally) *running {
	ctx, cancel := context.WithCancel(ctx)
	t := &running{probe: p, cancel: cancel, over: make(chan struct{})}
	go func() {
		defer close(t.over)
		v.keepAsking(ctx, p, counts)
	}()
	return t
}

// keepAsking probes one target until ctx ends.
func (v *vantage) keepAsking(ctx context.Context, p topology.Probe, counts *tally) {
	series := vitals.Series{TargetSite: p.TargetSite, Service: p.Service, Target: p.Name, Path: p.Path}
	v.vitals.Skip(series, 0)
	log := v.log.With(zap.String("target_site", p.TargetSite), zap.String("target", p.Name))
	beat := rhythm{interval: p.Interval, phase: p.Phase}
	due := beat.first(time.Now())
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	last, told := probe.Result{}, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		start := time.Now()
		res := v.ask(ctx, p, start.Sub(due))
		end := time.Now()
		if ctx.Err() != nil {
			return
		}
		if !told || res.State != last.State || res.Reason != last.Reason {
			logChange(log, res)
			last, told = res, true
		}
		counts.add(res.Reason)
		if err := v.next.ConsumeMetrics(ctx, report(p, res, counts, end)); err != nil && ctx.Err() == nil {
			log.Warn("probe result was not taken", zap.Error(err))
		}
		var skipped int64
		due, skipped = beat.next(start, time.Now(), outcomeOf(res), rand.Float64())
		if skipped > 0 {
			v.vitals.Skip(series, skipped)
			log.Warn("probes were skipped", zap.Int64("count", skipped))
		}
		timer.Reset(time.Until(due))
	}
}

// ask makes one probe. late is how much later than planned it starts.
func (v *vantage) ask(ctx context.Context, p topology.Probe, late time.Duration) probe.Result {
	ask, ok := v.kinds[p.Question.Kind]
	if p.Flaw != "" || !ok {
		return probe.Result{Reason: probe.ReasonOurs, Detail: cmp.Or(p.Flaw, "this agent has no probe of kind "+p.Question.Kind)}
	}
	ctx, cancel := context.WithTimeout(ctx, p.Deadline)
	defer cancel()
	w := startWatch()
	res := ask(ctx, v.via, p.Question)
	return doubt(res, w.stop(), late, p.Deadline)
}

// doubt takes back a result that this process was in no state to obtain. A stand-still during the probe
// spoils any answer: a success may be as old as the pause. A late start spoils a failure only.
func doubt(res probe.Result, still, late, deadline time.Duration) probe.Result {
	if still <= pauseLimit(deadline) && (late <= deadline || res.State == probe.Up) {
		return res
	}
	return probe.Result{
		Reason: probe.ReasonOurs,
		Detail: "this agent stood still around the probe, so its result (" + res.State.String() + ") means nothing",
		Phases: res.Phases,
	}
}

func outcomeOf(res probe.Result) outcome {
	switch res.State {
	case probe.Up:
		return succeeded
	case probe.Down:
		return failed
	case probe.Unknown:
	}
	return unclear
}

func logChange(log *zap.Logger, res probe.Result) {
	log.Info("probe state", zap.Stringer("state", res.State), zap.String("reason", string(res.Reason)),
		zap.String("detail", res.Detail), zap.Duration("took", res.Phases.Total))
}
