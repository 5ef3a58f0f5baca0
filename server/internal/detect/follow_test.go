package detect_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// shared is a store that replicas share: a world that answers what was written back to it.
type shared struct {
	world
	lag  time.Duration // how long a sample takes to be seen
	fail error         // what the question of a follower fails with
}

// Query answers the question of a follower as MetricsQL does; TestFollowingInARealStore shows that.
func (s *shared) Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	if !strings.HasPrefix(expr, "union(") {
		return s.world.Query(ctx, expr, at, step)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	match := regexp.MustCompile(`,detector="([^"]*)"}\[(\d+)ms\]`).FindStringSubmatch(expr)
	window, err := strconv.ParseInt(match[2], 10, 64)
	if err != nil {
		return nil, err
	}
	newest := map[string]core.Sample{}
	for _, x := range s.samples {
		key := fmt.Sprint(x.Name, x.Labels)
		if x.AtMS > at.UnixMilli()-window && x.AtMS <= at.Add(-s.lag).UnixMilli() && x.AtMS >= newest[key].AtMS &&
			slices.Contains(x.Labels, core.Label{Name: "detector", Value: match[1]}) {
			newest[key] = x
		}
	}
	var out []core.SeriesValue
	for _, x := range newest {
		value, when := map[string]string{"__name__": x.Name}, map[string]string{"__name__": x.Name, "evenkeel_part": "time"}
		for _, l := range x.Labels {
			value[l.Name], when[l.Name] = l.Value, l.Value
		}
		out = append(out, core.SeriesValue{Labels: value, Value: x.Value}, core.SeriesValue{Labels: when, Value: float64(x.AtMS) / 1000})
	}
	return out, nil
}

// replica is one of those that share a store.
type replica struct {
	store interface {
		detect.Querier
		detect.Writer
	}
	mine   func(now time.Duration) bool // by the time since its start
	marks  []detect.Mark                // at any time
	hears  world                        // its signals
	writes []core.Sample
	reg    *prometheus.Registry
}

// Append passes on what the replica writes.
func (r *replica) Append(ctx context.Context, samples []core.Sample) error {
	r.writes = append(r.writes, samples...)
	return r.store.Append(ctx, samples)
}

// together lets replicas work for a time.
func together(t *testing.T, d time.Duration, watch detect.Watch, replicas ...*replica) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for _, r := range replicas {
		r.reg = prometheus.NewRegistry()
		m, err := detect.New(detect.Options{
			Watches: []detect.Watch{watch}, Querier: r.store, Writer: r, Signals: r.hears.signal, Registry: r.reg,
			Mine: func(name string) bool {
				if name != watch.Name {
					t.Errorf("asked for %q", name)
				}
				return r.mine(time.Since(start))
			},
			Marks: func(time.Time, time.Time) []detect.Mark { return r.marks },
		})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func always(time.Duration) bool { return true }
func never(time.Duration) bool  { return false }
func until(end time.Duration) func(time.Duration) bool {
	return func(now time.Duration) bool { return now < end }
}

func from(start time.Duration) func(time.Duration) bool {
	return func(now time.Duration) bool { return now >= start }
}

func wantStates(t *testing.T, r *replica, want string) {
	t.Helper()
	if got := states(&r.hears); got != want {
		t.Fatalf("states %s, want %s: %+v", got, want, r.hears.signals)
	}
}

func TestAFollowerHearsTheOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &shared{lag: 5 * time.Second}
		s.at = step(start.Add(55*time.Second), 0.2, 12)
		owner, follower := &replica{store: s, mine: always}, &replica{store: s, mine: never}
		together(t, 95*time.Second, errorsWatch(), owner, follower)
		wantStates(t, owner, "normal*5 anomalous*4")
		wantStates(t, follower, "normal*5 anomalous*3") // from the second tick on, each of the one before
		for i, sig := range follower.hears.signals {
			own := owner.hears.signals[i]
			if sig.Subject != own.Subject || sig.Class != own.Class || sig.State != own.State || sig.Score != own.Score ||
				!sig.At.Equal(own.At) || sig.Interval != own.Interval || fmt.Sprint(sig.Labels) != fmt.Sprint(own.Labels) ||
				sig.Detector != own.Detector || sig.Direction != own.Direction {
				t.Errorf("signal %d\n    %+v\nwas %+v", i, sig, own)
			}
			if sig.State == core.DetectorAnomalous &&
				(!sig.HasBand || sig.Value != 12 || sig.Expected != own.Expected || sig.Lower != own.Lower || sig.Upper != own.Upper) {
				t.Errorf("the band of signal %d is %+v, was %+v", i, sig, own)
			}
			if sig.State == core.DetectorNormal && sig.HasBand {
				t.Errorf("a band without a value: %+v", sig)
			}
		}
		f := func(i int, want string) {
			t.Helper()
			if got := follower.hears.signals[i].Sentence; got != want {
				t.Errorf("sentence\n got %s\nwant %s", got, want)
			}
		}
		f(0, "checkout-errors of checkout at fra: normal, as another replica judged at 00:00:10 UTC")
		f(5, "checkout-errors of checkout at fra: 12 is above -2.3 to 2.7 (expected 0.2), as another replica judged at 00:01:00 UTC")
		if len(follower.writes) > 0 {
			t.Errorf("the follower wrote %v", follower.writes)
		}
		figure(t, follower.reg, "evenkeel_detect_evaluations_total", "checkout-errors 0")
		figure(t, follower.reg, "evenkeel_detect_series", "checkout-errors 0")
		figure(t, follower.reg, "evenkeel_detect_anomalous_series", "checkout-errors 1")
		figure(t, owner.reg, "evenkeel_detect_series", "checkout-errors 1")
	})
}

// The value of an anomaly is asked for apart, and nothing stands in for it.
func TestAnAnomalyWithoutItsValueHasNoBand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &shared{}
		s.at = step(start.Add(15*time.Second), 0.2, 12)
		owner := &replica{store: s, mine: always}
		follower := &replica{store: blind{s}, mine: never}
		together(t, 45*time.Second, errorsWatch(), owner, follower)
		last := follower.hears.signals[len(follower.hears.signals)-1]
		if last.State != core.DetectorAnomalous || last.HasBand || last.Value != 0 || last.Score < 0.999 ||
			!strings.Contains(last.Sentence, "fra: anomalous, as another replica") {
			t.Errorf("signal %+v", last)
		}
	})
}

// blind answers only what was written back.
type blind struct{ *shared }

func (b blind) Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	if !strings.HasPrefix(expr, "union(") {
		return nil, errors.New("too much for me")
	}
	return b.shared.Query(ctx, expr, at, step)
}

func TestWarmingAndUnknownAreHeardToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &shared{lag: time.Second}
		s.at = func(at time.Time) ([]core.SeriesValue, error) {
			switch d := at.Sub(start); {
			case d <= 0:
				return nil, nil
			case d > 35*time.Second:
				return nil, errors.New("no")
			}
			return one(1), nil
		}
		owner, follower := &replica{store: s, mine: always}, &replica{store: s, mine: never}
		together(t, 75*time.Second, errorsWatch(), owner, follower)
		wantStates(t, owner, "warming*3 unknown*4")
		wantStates(t, follower, "warming*3 unknown*3")
		if got := follower.hears.signals[4]; !strings.Contains(got.Sentence, "unknown, as another replica found at 00:00:50 UTC") {
			t.Errorf("signal %+v", got)
		}
	})
}

// What nobody judges is unknown, and what was never heard of is no signal.
func TestAnOwnerThatFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &shared{lag: 5 * time.Second}
		s.at = step(start, 1, 1)
		owner, follower := &replica{store: s, mine: until(35 * time.Second)}, &replica{store: s, mine: never}
		lonely := &replica{store: &shared{world: world{at: step(start, 1, 1)}}, mine: never}
		together(t, 2*time.Hour, errorsWatch(), owner, follower, lonely)
		// Judged last at 30 s: heard at 40 s and 50 s and told once, older than three intervals at 60 s, forgotten an hour after it.
		wantStates(t, follower, "normal*3 unknown*357")
		wantStates(t, owner, "normal*3 unknown*357")
		wantStates(t, lonely, "")
		got := follower.hears.signals[3]
		if !got.At.Equal(start.Add(time.Minute)) || got.Score != 0 || got.HasBand ||
			!strings.HasSuffix(got.Sentence, "unknown, no replica has judged it since 00:00:30 UTC") {
			t.Errorf("signal %+v", got)
		}
		if n := len(follower.hears.signals) + len(owner.writes); n > 400 {
			t.Errorf("%d signals and samples", n)
		}
	})
}

func TestAPartialAnswerIsUnknownNeverNormal(t *testing.T) {
	partial := fmt.Errorf("cluster: %w", &core.Error{
		Code: core.CodeUnavailable, Message: "the store has no more than a partial answer", Err: errors.New("not all storage nodes answered"),
	})
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &shared{lag: time.Second}
		s.at = func(at time.Time) ([]core.SeriesValue, error) {
			if d := at.Sub(start); d > 25*time.Second && d < 55*time.Second {
				return nil, partial
			}
			return one(0.2), nil
		}
		time.AfterFunc(25*time.Second, func() { s.mu.Lock(); s.fail = partial; s.mu.Unlock() })
		time.AfterFunc(55*time.Second, func() { s.mu.Lock(); s.fail = nil; s.mu.Unlock() })
		owner, follower := &replica{store: s, mine: always}, &replica{store: s, mine: never}
		together(t, 85*time.Second, errorsWatch(), owner, follower)
		wantStates(t, owner, "normal*2 unknown*3 normal*3")
		wantStates(t, follower, "normal*1 unknown*4 normal*2") // at 60 s it hears that the owner did not know at 50 s
		for _, r := range []*replica{owner, follower} {
			i := slices.IndexFunc(r.hears.signals, func(s core.Signal) bool { return s.State == core.DetectorUnknown })
			if got := r.hears.signals[i]; got.HasBand || got.Score != 0 || !strings.Contains(got.Sentence, "partial answer") {
				t.Errorf("signal %+v", got)
			}
			figure(t, r.reg, "evenkeel_detect_query_errors_total", "checkout-errors 3")
		}
	})
}

// A watch that becomes ours says nothing good before the training window was read again, and one that was ours
// before is learned anew.
func TestAWatchChangesHands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &shared{lag: 5 * time.Second}
		s.at = step(start.Add(-30*time.Minute), 0.2, 12) // a trouble that only the training window shows to be one
		first := &replica{store: s, mine: func(now time.Duration) bool { return now < 35*time.Second || now > 105*time.Second }}
		second := &replica{store: s, mine: func(now time.Duration) bool { return now >= 35*time.Second && now < 105*time.Second }}
		time.AfterFunc(31*time.Second, func() { s.mu.Lock(); s.past = errors.New("not yet"); s.mu.Unlock() })
		time.AfterFunc(55*time.Second, func() { s.mu.Lock(); s.past = nil; s.mu.Unlock() })
		together(t, 155*time.Second, errorsWatch(), first, second)
		// The second hears the first until 30 s, cannot read the past at 40 s and 50 s, and follows again from 110 s on.
		wantStates(t, second, "anomalous*2 warming*2 anomalous*9")
		// The first hears of the warming at 50 s and 60 s, one tick late.
		wantStates(t, first, "anomalous*3 warming*2 anomalous*9")
		s.mu.Lock()
		defer s.mu.Unlock()
		// Both are asked for the past once for each time the watch becomes theirs; the second had to try three times.
		if got := len(s.ranges) / 2; got != 5 {
			t.Errorf("%d replays", got)
		}
		if got := s.ranges[len(s.ranges)-1]; !got.Equal(start.Add(100 * time.Second)) {
			t.Errorf("the last replay ends at %v", got)
		}
	})
}

// Two owners for some ticks, as while replicas do not yet agree, write the same values of the same series.
func TestTwoOwnersDoNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &shared{lag: 5 * time.Second}
		s.at = func(at time.Time) ([]core.SeriesValue, error) {
			seconds := at.Sub(start).Seconds()
			value := 10 + math.Sin(seconds/7) + math.Sin(seconds/3)
			if seconds > 80 && seconds < 130 {
				value += 30
			}
			return one(value), nil
		}
		first, second := &replica{store: s, mine: until(155 * time.Second)}, &replica{store: s, mine: from(45 * time.Second)}
		together(t, 305*time.Second, errorsWatch(), first, second)
		type place struct {
			name string
			at   int64
		}
		written := map[place]float64{}
		for _, x := range first.writes {
			written[place{x.Name, x.AtMS}] = x.Value
		}
		both := 0
		for _, x := range second.writes {
			value, ok := written[place{x.Name, x.AtMS}]
			if ok {
				both++
			}
			if ok && value != x.Value {
				t.Errorf("%s at %v is %v and %v", x.Name, time.UnixMilli(x.AtMS).Sub(start), value, x.Value)
			}
		}
		if both < 30 {
			t.Errorf("only %d values were written by both", both)
		}
		wantStates(t, first, "normal*8 anomalous*6 normal*15")
		wantStates(t, second, "normal*7 anomalous*6 normal*16")
	})
}

// Whoever leaves a watch to another replica hears its own last word from the store, and does not tell it again: neither of a series that is
// there, nor of one that is absent.
func TestAWordIsToldOnceWhenAWatchChangesHands(t *testing.T) {
	for _, model := range []detect.Model{detect.ModelRobustZ, detect.ModelAbsence} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			s := &shared{lag: 5 * time.Second}
			s.at = func(at time.Time) ([]core.SeriesValue, error) {
				if model == detect.ModelAbsence && at.Sub(start) > 10*time.Second {
					return nil, nil
				}
				return one(0.2), nil
			}
			first := &replica{store: s, mine: func(now time.Duration) bool { return now < 105*time.Second || now > 155*time.Second }}
			second := &replica{store: s, mine: func(now time.Duration) bool { return now >= 105*time.Second && now <= 155*time.Second }}
			watch := errorsWatch()
			if model == detect.ModelAbsence {
				watch = rowWatch(model)
			}
			together(t, 205*time.Second, watch, first, second)
			for name, r := range map[string]*replica{"first": first, "second": second} {
				told := map[time.Time]bool{}
				for _, x := range r.hears.signals {
					if x.State == core.DetectorUnknown {
						continue // told at each tick, of that tick
					}
					if told[x.At] {
						t.Errorf("%s: the %s replica told the word of %s twice", model, name, x.At.Sub(start))
					}
					told[x.At] = true
				}
				if len(told) < 12 {
					t.Errorf("%s: the %s replica told only %d words", model, name, len(told))
				}
			}
		})
	}
}

// How far apart the values of a series are is heard by the others too, and that nobody knows it.
func TestAFollowerHearsTheCadence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &shared{}
		s.at = func(at time.Time) ([]core.SeriesValue, error) {
			k := at.Unix() / 300
			slow, still := wobble(time.Unix(k*10, 0), 1), 0.0
			if d := at.Sub(start); d > 150*time.Second {
				slow, still = 90, 1
			}
			return []core.SeriesValue{value("fra", slow), value("ams", still), value("waw", wobble(at, 2))}, nil
		}
		owner, follower := &replica{store: s, mine: always}, &replica{store: s, mine: never}
		together(t, 245*time.Second, rowWatch(detect.ModelAuto), owner, follower)
		for name, r := range map[string]*replica{"owner": owner, "follower": follower} {
			for site, want := range map[string]string{"fra": "anomalous 5m20s false", "ams": "anomalous 0s true", "waw": "normal 0s false"} {
				x := last(t, &questions{world: world{signals: r.hears.signals}}, site)
				if got := fmt.Sprint(x.State, x.Cadence, " ", x.Still); got != want {
					t.Errorf("%s: %s is %s, want %s: %s", name, site, got, want, x.Sentence)
				}
			}
		}
	})
}
