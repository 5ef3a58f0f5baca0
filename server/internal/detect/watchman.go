package detect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Querier answers MetricsQL.
type Querier interface {
	// Query is the answer of QueryRange at one of its times.
	Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error)
	QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error)
}

// Writer keeps what the watchman writes back.
type Writer interface {
	// Append does not retain the samples.
	Append(ctx context.Context, samples []core.Sample) error
}

// Options are what a Watchman works with. Watches, Querier, Writer and Signals are required.
type Options struct {
	Watches []Watch
	Querier Querier
	Writer  Writer
	// Signals hears of every series at every tick, of a few hundred at a time. It is called from one goroutine at a time and
	// must return soon; the slice is good until then, and the Labels of a signal are shared and must not be changed.
	Signals func([]core.Signal)
	// Mine says whether this replica is to evaluate a watch; Share is made for it. Of the others it hears from the store
	// what their owners have written back, which takes one that all replicas share. It is asked at each tick, from
	// several goroutines, and must return soon. Nil means all are ours.
	Mine func(watch string) bool
	// Zone is the civil time of a site, which does not change; nil, and nil of it, mean UTC.
	Zone func(site string) *time.Location
	// Marks are the times that are not like others and touch the time from from until until. It is asked at each tick, from
	// several goroutines, and must return soon. Nil means none.
	Marks func(from, until time.Time) []Mark
	// Dir is where what the watches have learned is kept, for a start to go on with; it is made where it is not there. Nobody else may write
	// there. Empty means that it is not kept.
	Dir string
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Log may be nil.
	Log *slog.Logger
	// Registry may be nil.
	Registry prometheus.Registerer
	// Parallel is how many evaluations run at the same time, and beside them up to two parts of replays. Zero means the
	// number of processors and at least 2: more would only keep those waiting who share the processors with them.
	Parallel int
}

// Watchman runs watches.
type Watchman struct {
	watchers []*watcher
	keeper   *keeper // nil: what is learned is not kept
}

const (
	leastParallel   = 2
	parallelReplays = 2
)

// New checks the watches. Its error has everything that is wrong with them.
func New(o Options) (*Watchman, error) {
	if o.Querier == nil || o.Writer == nil || o.Signals == nil {
		return nil, errors.New("detect needs a Querier, a Writer and Signals")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Zone == nil {
		o.Zone = func(string) *time.Location { return nil }
	}
	if o.Marks == nil {
		o.Marks = func(time.Time, time.Time) []Mark { return nil }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Parallel <= 0 {
		o.Parallel = max(leastParallel, runtime.GOMAXPROCS(0))
	}
	var errs []error
	names := map[string]bool{}
	for _, w := range o.Watches {
		errs = append(errs, w.Validate())
		if names[w.Name] {
			errs = append(errs, fmt.Errorf("watch %q: name: there are two of them; want another name", w.Name))
		}
		names[w.Name] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	metrics, err := newMetrics(o.Registry, o.Watches)
	if err != nil {
		return nil, err
	}
	slots, replays := make(chan struct{}, o.Parallel), make(chan struct{}, parallelReplays)
	var mu sync.Mutex
	tell := func(s []core.Signal) {
		mu.Lock()
		defer mu.Unlock()
		o.Signals(s)
	}
	m := &Watchman{}
	if o.Dir != "" {
		m.keeper = newKeeper(o.Dir, o.Log, metrics)
	}
	for _, w := range o.Watches {
		schedule, _, err := w.schedule()
		if err != nil {
			return nil, err
		}
		m.watchers = append(m.watchers, &watcher{
			watch: w, schedule: schedule, querier: o.Querier, writer: o.Writer, tell: tell, now: o.Now,
			mine: o.Mine, zone: remembered(o.Zone), marks: o.Marks, ours: o.Mine == nil,
			log: o.Log.With(slog.String("watch", w.Name)), metrics: metrics, slots: slots, replays: replays, series: map[string]*series{}, rows: w.newRows(),
			keeper: m.keeper,
		})
	}
	return m, nil
}

// remembered asks once for each site that has a zone: a location that is read again for each series is 3 kB of it. It is for one goroutine.
func remembered(zone func(site string) *time.Location) func(site string) *time.Location {
	known := map[string]*time.Location{}
	return func(site string) *time.Location {
		if z := known[site]; z != nil {
			return z
		}
		z := zone(site)
		if z != nil {
			known[site] = z
		}
		return z
	}
}

// Run has each watch go on with what it had learned before and replays what came since, or the training window, and then asks at its times, until ctx is done. It returns nil
// when every evaluation has ended. A Watchman runs once.
func (m *Watchman) Run(ctx context.Context) error {
	if m.keeper != nil {
		m.keeper.tidy(m.watchers)
		defer m.keeper.start(context.WithoutCancel(ctx))()
	}
	var wg sync.WaitGroup
	for _, w := range m.watchers {
		first := w.schedule.Next(w.now().UTC())
		w.progress.judge(first, w.pause(first), nil, nil)
		wg.Go(func() { w.run(ctx) })
	}
	wg.Go(func() { m.doubt(ctx) })
	wg.Wait()
	return nil
}
