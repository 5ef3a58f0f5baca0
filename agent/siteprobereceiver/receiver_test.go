package siteprobereceiver

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/agent/internal/metadatatest"
	"github.com/evenkeel/evenkeel/agent/internal/probe"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const oneProbe = `{"cluster_id":"c","epoch":1,"revision":1,"site":"fra","probes":[{"name":"checkout-http",
	"target_site":"ams","service":"checkout","kind":"http","url":"http://ams.invalid/","interval_ms":1000,
	"deadline_ms":800,"phase_ms":250}]}`

// script is a target that answers as the test says and notes when it was asked.
type script struct {
	mu    sync.Mutex
	asked []time.Time
	next  func(ctx context.Context, n int) probe.Result
}

func (s *script) ask(ctx context.Context, _ probe.Via, _ probe.Question) probe.Result {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	n := len(s.asked)
	s.mu.Unlock()
	return s.next(ctx, n)
}

func (s *script) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

var (
	up   = probe.Result{State: probe.Up}
	down = probe.Result{State: probe.Down, Reason: probe.ReasonRefused}
)

// watchFor runs a vantage over one probe for a while, under synthetic time.
func watchFor(t *testing.T, d time.Duration, next func(context.Context, int) probe.Result) (*script, *consumertest.MetricsSink, *vitals.Vitals) {
	t.Helper()
	s, sink, v, board := &script{next: next}, &consumertest.MetricsSink{}, vitals.New(), &topology.Board{}
	state, err := topology.Parse([]byte(oneProbe))
	if err != nil {
		t.Fatal(err)
	}
	vantage := newVantage(zap.NewNop(), board, v, sink, probe.Via{})
	vantage.kinds = map[string]probe.Func{"http": s.ask}
	if err := vantage.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	if err := board.Offer("", "fra", state, nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	synctest.Wait()
	if err := vantage.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s, sink, v
}

func TestProbesKeepTheirPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sink, _ := watchFor(t, 10*time.Second, func(context.Context, int) probe.Result { return up })
		if len(s.asked) != 10 || sink.DataPointCount() != 20 { // state and duration
			t.Errorf("%d probes in 10 s, %d points", len(s.asked), sink.DataPointCount())
		}
		for _, at := range s.asked {
			if at.UnixMilli()%1000 != 250 {
				t.Errorf("probed at %v, the phase is 250 ms", at)
			}
		}
	})
}

func TestAFailureHurriesUntilTwoSuccesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := watchFor(t, 10*time.Second, func(_ context.Context, n int) probe.Result {
			if n == 3 || n == 4 || n == 6 {
				return down
			}
			return up
		})
		for i := 1; i < len(s.asked); i++ {
			gap := s.asked[i].Sub(s.asked[i-1])
			switch n := i + 1; {
			case gap < hurry:
				t.Errorf("probe %d came %v after the one before", n, gap)
			case n >= 4 && n <= 8 && gap > hurry+hurryJitter:
				t.Errorf("probe %d after a failure took %v", n, gap)
			case (n < 4 || n > 8) && s.asked[i].UnixMilli()%1000 != 250:
				t.Errorf("calm probe %d at %v is out of phase", n, s.asked[i])
			}
		}
	})
}

func TestAnOverrunningProbeIsSkippedAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A probe that ignores its deadline, as when the process is starved.
		s, _, v := watchFor(t, 12*time.Second, func(_ context.Context, n int) probe.Result {
			if n == 2 {
				time.Sleep(2500 * time.Millisecond)
			}
			return up
		})
		_, counts := v.Skipped()
		if len(counts) != 1 || counts[0] != 2 || len(s.asked) != 10 {
			t.Errorf("skipped %v, asked %d times", counts, len(s.asked))
		}
	})
}

func TestTheDeadlineIsTheProbes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, sink, _ := watchFor(t, 5*time.Second, func(ctx context.Context, _ int) probe.Result {
			began := time.Now()
			<-ctx.Done()
			if took := time.Since(began); took > 800*time.Millisecond {
				t.Errorf("a probe was given %v", took)
			}
			return probe.Result{State: probe.Down, Reason: probe.ReasonTimeout}
		})
		// Time-outs overrun the hurried beat: the next one starts when the last has ended.
		if n := len(s.asked); n < 6 || n > 7 {
			t.Errorf("%d probes in 5 s", n)
		}
		last := sink.AllMetrics()[len(sink.AllMetrics())-1]
		if v := last.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0); v.IntValue() != 2 {
			t.Errorf("state %d", v.IntValue())
		}
	})
}

func TestEveryBeatIsAtMostTwoASecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rhythm{
			interval: time.Duration(rapid.Int64Range(500, 5000).Draw(t, "interval")) * time.Millisecond,
		}
		r.phase = time.Duration(rapid.Int64Range(0, int64(r.interval)-1).Draw(t, "phase"))
		now := time.Unix(1_790_000_000, rapid.Int64Range(0, 999_999_999).Draw(t, "start"))
		due := r.first(now)
		for range 50 {
			start := due.Add(time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "late")))
			end := start.Add(time.Duration(rapid.Int64Range(0, int64(2*time.Second)).Draw(t, "took")))
			result := outcome(rapid.IntRange(0, 2).Draw(t, "outcome"))
			next, skipped := r.next(start, end, result, rapid.Float64Range(0, 0.999).Draw(t, "jitter"))
			if next.Before(end) || next.Sub(start) < hurry || skipped < 0 {
				t.Fatalf("started %v, ended %v, next %v, skipped %d", start, end, next, skipped)
			}
			if !r.hurried && time.Duration(next.UnixNano())%r.interval != r.phase {
				t.Fatalf("calm probe at %v is out of phase", next)
			}
			due = next
		}
	})
}

func TestDoubtComesBeforeAccusation(t *testing.T) {
	const ms = time.Millisecond
	f := func(res probe.Result, still, late time.Duration, want probe.State) {
		t.Helper()
		if got := doubt(res, still, late, 800*ms); got.State != want || (want == probe.Unknown) != (got.Reason == probe.ReasonOurs) {
			t.Errorf("%v after standing still %v, late %v: %v %q", res.State, still, late, got.State, got.Reason)
		}
	}
	f(down, 0, 0, probe.Down)
	f(down, 150*ms, 300*ms, probe.Down)
	f(down, 250*ms, 0, probe.Unknown)
	f(up, 250*ms, 0, probe.Unknown)
	f(down, 0, 900*ms, probe.Unknown)
	f(up, 0, 900*ms, probe.Up)
	g := func(worst, mono, wall, want time.Duration) {
		t.Helper()
		if got := standstill(worst, mono, wall); got != want {
			t.Errorf("beat %v, mono %v, wall %v: stood still %v, want %v", worst, mono, wall, got, want)
		}
	}
	g(20*ms, 100*ms, 100*ms, 0)
	g(525*ms, 600*ms, 600*ms, 500*ms)
	g(20*ms, 100*ms, 10*time.Second, 9900*ms) // the host slept
	g(20*ms, 100*ms, -time.Second, 0)         // the clock was set back
}

func TestTheTopologyIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{next: func(context.Context, int) probe.Result { return up }}
		board, sink := &topology.Board{}, &consumertest.MetricsSink{}
		vantage := newVantage(zap.NewNop(), board, vitals.New(), sink, probe.Via{})
		vantage.kinds = map[string]probe.Func{"http": s.ask}
		if err := vantage.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		publish := func(raw string) {
			state, err := topology.Parse([]byte(raw))
			if err != nil {
				t.Fatal(err)
			}
			if err := board.Offer("", "fra", state, nil); err != nil {
				t.Fatal(err)
			}
		}
		publish(oneProbe)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		asked := s.times()
		publish(`{"cluster_id":"c","epoch":1,"revision":2,"site":"fra","probes":[]}`)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if asked != 3 || s.times() != asked {
			t.Errorf("asked %d times, then %d times for a target that is gone", asked, s.times()-asked)
		}
		if err := vantage.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTheReceiverKeepsTheCollectorsContract(t *testing.T) {
	factory := NewFactory(&topology.Board{}, vitals.New())
	cfg := factory.CreateDefaultConfig()
	if err := componenttest.CheckConfigStruct(cfg); err != nil {
		t.Error(err)
	}
	if err := (&Config{ConnectTo: "a"}).Validate(); err == nil {
		t.Error("a bad connect_to was taken")
	}
	set := receivertest.NewNopSettings(factory.Type())
	refuse := consumertest.NewErr(errors.New("full"))
	for range 2 { // a component may be built and started again, and shut down without a start
		r, err := factory.CreateMetrics(t.Context(), set, cfg, refuse)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := factory.CreateMetrics(t.Context(), set, cfg, refuse)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestWhatIsReportedIsDeclared(t *testing.T) {
	declaredMetrics := metadatatest.Metrics(t)
	state, err := topology.Parse([]byte(oneProbe))
	if err != nil {
		t.Fatal(err)
	}
	counts := &tally{since: time.Now(), counts: map[probe.Reason]int64{probe.ReasonDNS: 2}}
	seen := down
	seen.Phases, seen.Expires = probe.Phases{Connect: time.Millisecond}, time.Now()
	md := report(state.Probes[0], seen, counts, time.Now())
	metrics := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	if metrics.Len() != len(declaredMetrics) {
		t.Errorf("%d metrics are reported, %d declared", metrics.Len(), len(declaredMetrics))
	}
	for _, m := range metrics.All() {
		points := m.Gauge().DataPoints
		if m.Type() == pmetric.MetricTypeSum {
			points = m.Sum().DataPoints
		}
		attributes := points().At(0).Attributes()
		declared := declaredMetrics[m.Name()]
		if m.Unit() != declared.Unit || attributes.Len() != len(declared.Attributes) {
			t.Errorf("%s: unit %q, attributes %v; declared %+v", m.Name(), m.Unit(), attributes.AsRaw(), declared)
		}
		for _, name := range declared.Attributes {
			if _, ok := attributes.Get(name); !ok {
				t.Errorf("%s has no attribute %s", m.Name(), name)
			}
		}
	}
	// An unknown result has no duration: absent is not zero.
	md = report(state.Probes[0], probe.Result{Reason: probe.ReasonOurs}, &tally{}, time.Now())
	if n := md.MetricCount(); n != 1 {
		t.Errorf("an unknown result is reported in %d metrics", n)
	}
}

// The watch beats for as long as the probe runs, and a process that goes on all the time did not stand still.
func TestTheWatchBeatsWhileAProbeRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWatch()
		time.Sleep(10*watchBeat + watchBeat/2)
		w.mu.Lock()
		last := w.last
		w.mu.Unlock()
		if stood := w.stop(); last != 10*watchBeat || stood != 0 {
			t.Errorf("the last beat was at %s, and it stood still for %s", last, stood)
		}
		time.Sleep(10 * watchBeat)
		if w.last != 10*watchBeat+watchBeat/2 {
			t.Errorf("it beats after its end, at %s", w.last)
		}
	})
}
