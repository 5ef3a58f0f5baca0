package detect_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// archive is a store with some series that stand at 1, which notes the ranges that are asked for.
type archive struct {
	world
	series int
	takes  time.Duration                    // of a range query
	fail   func(from time.Time) (err error) // may be nil
	parts  []part
}

type part struct {
	from, to time.Time
	err      error
}

func (a *archive) labels(i int) map[string]string {
	return map[string]string{"target_site": "fra", "instance": strconv.Itoa(i)}
}

func (a *archive) Query(_ context.Context, _ string, at time.Time, _ time.Duration) ([]core.SeriesValue, error) {
	a.mu.Lock()
	a.queries = append(a.queries, at)
	a.mu.Unlock()
	var out []core.SeriesValue
	for i := range a.series {
		out = append(out, core.SeriesValue{Labels: a.labels(i), Value: 1, At: at})
	}
	return out, nil
}

func (a *archive) QueryRange(ctx context.Context, _ string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	select {
	case <-time.After(a.takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var err error
	if a.fail != nil {
		err = a.fail(from)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts = append(a.parts, part{from, to, err})
	if err != nil {
		return nil, err
	}
	n := int(to.Sub(from)/step) + 1
	times, values := make([]time.Time, n), make([]float64, n)
	for i := range times {
		times[i], values[i] = from.Add(time.Duration(i)*step), 1
	}
	var out []core.SeriesRange
	for i := range a.series {
		out = append(out, core.SeriesRange{Labels: a.labels(i), Times: times, Values: values})
	}
	return out, nil
}

// replayed checks that the parts follow one another and are bounded, and says how long they are together.
func (a *archive) replayed(t *testing.T, step time.Duration) time.Duration {
	t.Helper()
	var last part
	var first time.Time
	for _, p := range a.parts {
		n := int(p.to.Sub(p.from)/step) + 1
		if n > 10_000 || n > 60 && n*a.series > 1_000_000 && !last.to.IsZero() {
			t.Errorf("a part has %d points of %d series", n, a.series)
		}
		if p.err != nil {
			continue
		}
		if !last.to.IsZero() && !p.from.Equal(last.to.Add(step)) {
			t.Errorf("a part begins at %s, the one before ended at %s", p.from, last.to)
		}
		if first.IsZero() {
			first = p.from
		}
		last = p
	}
	return last.to.Sub(first)
}

func (a *archive) run(t *testing.T, d time.Duration, watches ...detect.Watch) {
	t.Helper()
	runFor(t, d, detect.Options{Watches: watches, Querier: a, Writer: a, Signals: a.signal})
}

// The whole training window is read, in parts that fit into memory and in the answer of a store.
func TestAReplayIsReadInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &archive{series: 3}
		watch := errorsWatch()
		watch.Training = 7 * 24 * time.Hour
		a.run(t, 15*time.Second, watch)
		if got := a.replayed(t, watch.Every); got != watch.Training {
			t.Errorf("%s were read, want %s", got, watch.Training)
		}
		if len(a.parts) < 7 {
			t.Errorf("in %d parts", len(a.parts))
		}
		if got := states(&a.world); got != "normal*3" {
			t.Errorf("states %s", got)
		}
	})
}

// A watch of seldom points is given as many of them as its model takes: it judges from its first tick on.
func TestASlowWatchReadsEnoughToJudge(t *testing.T) {
	f := func(every time.Duration, want time.Duration, change func(w *detect.Watch)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			a := &archive{series: 1}
			watch := detect.Watch{Name: "slow", Query: "slow", About: detect.AboutTargetSite, Every: every}
			change(&watch)
			a.run(t, every+time.Second, watch)
			if got := a.parts[len(a.parts)-1].to.Sub(a.parts[0].from); got != want {
				t.Errorf("every %s: %s were read, want %s", every, got, want)
			}
			if got := states(&a.world); got != "normal*1" {
				t.Errorf("every %s: states %s, want normal*1", every, got)
			}
		})
	}
	auto := func(*detect.Watch) {}
	f(time.Hour, 180*time.Hour, auto)
	f(6*time.Hour, 45*24*time.Hour, auto)
	f(24*time.Hour, 180*24*time.Hour, auto)
	f(6*time.Hour, 45*24*time.Hour, func(w *detect.Watch) {
		w.Query, w.Model, w.Metrics = "", detect.ModelService, map[string]string{"a": "a", "b": "b"}
	})
}

// What would take too long is not read: the newest counts.
func TestAReplayIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &archive{series: 2000}
		watch := errorsWatch()
		watch.Model, watch.Floor, watch.Threshold = detect.ModelThreshold, detect.Floor{}, new(5.0)
		watch.Every, watch.MaxSeries, watch.Training = time.Minute, 2000, 100*24*time.Hour
		a.fail = func(from time.Time) error {
			if time.Since(from) < 50_010*time.Minute {
				return errors.New("enough")
			}
			return nil
		}
		a.run(t, 30*time.Second, watch)
		if len(a.parts) < 2 {
			t.Fatal("nothing was read")
		}
		if ago := time.Since(a.parts[1].from); ago > 50_002*time.Minute || ago < 49_998*time.Minute {
			t.Errorf("the second part begins %s ago, want what 100 million points reach back, 50000m", ago)
		}
		if n := int(a.parts[1].to.Sub(a.parts[1].from)/watch.Every) + 1; n*a.series > 1_000_000 {
			t.Errorf("the second part has %d points of %d series", n, a.series)
		}
	})
}

// A bound that reaches back further than a duration can is none.
func TestAReplayOfFewRarePointsIsWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, every := range []time.Duration{2 * time.Minute, 5 * time.Minute, time.Hour, 24 * time.Hour} {
			a := &archive{series: 1}
			watch := errorsWatch()
			watch.Model, watch.Floor, watch.Threshold = detect.ModelThreshold, detect.Floor{}, new(5.0)
			watch.Every, watch.Training = every, 100*24*time.Hour
			a.run(t, every+time.Minute, watch)
			if got := a.replayed(t, every); got < watch.Training {
				t.Errorf("every %s: %s were read, want %s", every, got, watch.Training)
			}
		}
	})
}

// A part that fails is read again at the next tick, and those before it are not.
func TestAReplayGoesOnWhereItFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		a := &archive{series: 1}
		a.fail = func(from time.Time) error {
			if start.Sub(from) < 72*time.Hour && time.Since(start) < 25*time.Second {
				return errors.New("busy")
			}
			return nil
		}
		watch := errorsWatch()
		watch.Training = 7 * 24 * time.Hour
		a.run(t, 45*time.Second, watch)
		if got := a.replayed(t, watch.Every); got < watch.Training {
			t.Errorf("%s were read, want %s and the ticks since", got, watch.Training)
		}
		if got := states(&a.world); got != "warming*2 normal*2" {
			t.Errorf("states %s", got)
		}
	})
}

// Watches whose replay takes long keep no other one waiting, and begin when theirs is done.
func TestALongReplayDelaysNoOtherWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		long := &archive{series: 1, takes: 9 * time.Second}
		quick := &world{at: func(time.Time) ([]core.SeriesValue, error) { return one(1), nil }}
		var watches []detect.Watch
		for i := range 8 { // more than run at a time
			w := errorsWatch()
			w.Name, w.Query, w.Training = "long"+strconv.Itoa(i), "long", 7*24*time.Hour
			w.Model, w.Floor, w.Threshold = detect.ModelThreshold, detect.Floor{}, new(5.0)
			watches = append(watches, w)
		}
		watches = append(watches, errorsWatch())
		watches[8].Model, watches[8].Floor, watches[8].Threshold, watches[8].Training = detect.ModelThreshold, detect.Floor{}, new(5.0), 10*time.Second
		runFor(t, 10*time.Minute, detect.Options{Watches: watches, Querier: &two{long: long, quick: quick}, Writer: quick, Signals: long.signal})
		if len(quick.queries) < 55 || quick.queries[0].Sub(start) > time.Minute {
			t.Errorf("the quick watch was asked %d times, first at %s", len(quick.queries), quick.queries[0].Sub(start))
		}
		asked := map[time.Time]int{}
		for _, at := range long.queries {
			asked[at]++
		}
		if len(asked) == 0 || len(asked) > 40 {
			t.Errorf("the long ones were asked at %d times", len(asked))
		}
		for _, s := range long.signals {
			if s.Detector != "checkout-errors" && s.State != core.DetectorNormal {
				t.Fatalf("signal %+v", s)
			}
		}
	})
}

// two is a store with two kinds of series.
type two struct {
	long  *archive
	quick *world
}

func (x *two) Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	if expr == "long" {
		return x.long.Query(ctx, expr, at, step)
	}
	return x.quick.Query(ctx, expr, at, step)
}

func (x *two) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	if expr == "long" {
		return x.long.QueryRange(ctx, expr, from, to, step)
	}
	return x.quick.QueryRange(ctx, expr, from, to, step)
}
