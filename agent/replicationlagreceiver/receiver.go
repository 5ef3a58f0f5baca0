package replicationlagreceiver

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// TypeName is the name of this receiver in a pipeline.
const TypeName = "replicationlag"

// NewFactory makes the receivers.
func NewFactory() receiver.Factory {
	create := func(_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics) (receiver.Metrics, error) {
		return &watch{log: set.Logger, cfg: cfg.(*Config), next: next, wall: time.Now}, nil
	}
	return receiver.NewFactory(component.MustNewType(TypeName), createDefaultConfig, receiver.WithMetrics(create, component.StabilityLevelBeta))
}

// watch keeps one goroutine per server.
type watch struct {
	log    *zap.Logger
	cfg    *Config
	next   consumer.Metrics
	wall   func() time.Time // the agent's wall clock
	memory *memory
	all    []*Watcher
	cancel context.CancelFunc
	done   sync.WaitGroup
}

var _ receiver.Metrics = (*watch)(nil)

// Start returns at once; it waits for no server.
func (w *watch) Start(start context.Context, _ component.Host) error { //nolint:contextcheck // a component outlives the context of its start
	var err error
	if w.memory, err = recall(w.cfg.Directory); err != nil {
		w.log.Warn("when the copies were last complete is not known", zap.Error(err))
	}
	kept := openEpochs(w.cfg.Directory, func(err error) { w.log.Warn("heartbeat", zap.Error(err)) })
	for _, s := range w.cfg.Servers {
		one, err := NewWatcher(start, s)
		if err != nil {
			return err
		}
		one.memory, one.wall = w.memory.of(s.Links), w.wall
		if one.beats != nil {
			one.beats.epochs, one.beats.wall = kept, w.wall
		}
		w.all = append(w.all, one)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	for _, one := range w.all {
		w.done.Go(func() { w.keepLooking(ctx, one) })
		if one.beats != nil && one.beats.set.Write {
			w.done.Go(func() { one.beats.write(ctx, w.log) })
		}
	}
	w.done.Go(func() { w.keepMemory(ctx) })
	return nil
}

// Shutdown ends the looks under way and waits for them.
func (w *watch) Shutdown(context.Context) error {
	if w.cancel == nil {
		return nil
	}
	w.cancel()
	w.done.Wait()
	for _, one := range w.all {
		one.Close()
	}
	return w.memory.keep()
}

// keepLooking looks at one server until ctx ends. A look that takes longer than the interval leaves the next one out.
func (w *watch) keepLooking(ctx context.Context, one *Watcher) {
	ticker := time.NewTicker(one.server.Interval)
	defer ticker.Stop()
	told := map[int]replica.Status{}
	for {
		all := one.Look(ctx)
		if ctx.Err() != nil {
			return
		}
		w.memory.set(one.memory)
		for i, st := range all {
			if last, ok := told[i]; !ok || last.State != st.State || last.Reason != st.Reason {
				w.log.Info("replication link", zap.String("link", st.Link.Name()), zap.String("channel", st.Link.Channel), zap.String("end", string(st.End)),
					zap.Stringer("state", st.State), zap.String("reason", string(st.Reason)), zap.String("detail", st.Detail))
			}
			told[i] = st
		}
		if err := w.next.ConsumeMetrics(ctx, report(all)); err != nil && ctx.Err() == nil {
			w.log.Warn("replication status was not taken", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *watch) keepMemory(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := w.memory.keep(); err != nil {
				w.log.Warn("when the copies were last complete was not written down", zap.Error(err))
			}
		}
	}
}
