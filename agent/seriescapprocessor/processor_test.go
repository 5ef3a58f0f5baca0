package seriescapprocessor

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a processor with a cap of 10 that forgets after ten minutes.
type world struct {
	t    *testing.T
	send func(md pmetric.Metrics)
	sink *consumertest.MetricsSink
	v    *vitals.Vitals
}

func play(t *testing.T, story func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, sink: &consumertest.MetricsSink{}, v: vitals.New()}
		factory := NewFactory(w.v)
		cfg := factory.CreateDefaultConfig().(*Config)
		cfg.MaxSeries = 10
		p, err := factory.CreateMetrics(t.Context(), processortest.NewNopSettings(factory.Type()), cfg, w.sink)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		w.send = func(md pmetric.Metrics) {
			if err := p.ConsumeMetrics(t.Context(), md); err != nil {
				t.Fatal(err)
			}
		}
		story(w)
		if err := p.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := w.v.Series(); ok {
			t.Error("somebody still counts after the end")
		}
	})
}

// passed is how many points came through since the last call.
func (w *world) passed() int {
	n := w.sink.DataPointCount()
	w.sink.Reset()
	return n
}

// is asserts on the series that are alive and the points that were dropped.
func (w *world) is(alive int, over, unfit int64) {
	w.t.Helper()
	a, most, ok := w.v.Series()
	o, _ := w.v.DroppedSeries(vitals.OverCap)
	u, _ := w.v.DroppedSeries(vitals.NoNumber)
	if !ok || a != alive || most != 10 || o != over || u != unfit {
		w.t.Errorf("%d series of %d, %d points over the cap and %d no number; want %d, %d, %d", a, most, o, u, alive, over, unfit)
	}
}

// gauges is a batch with a point for each value; their series are numbered from first on.
func gauges(first int, values ...float64) pmetric.Metrics {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("g")
	for i, v := range values {
		p := m.SetEmptyGauge
		if i > 0 {
			p = m.Gauge
		}
		x := p().DataPoints().AppendEmpty()
		x.SetDoubleValue(v)
		x.Attributes().PutStr("n", strconv.Itoa(first+i))
	}
	return md
}

func ended(md pmetric.Metrics) pmetric.Metrics {
	for _, p := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().All() {
		p.SetFlags(pmetric.DefaultDataPointFlags.WithNoRecordedValue(true))
	}
	return md
}

func TestTheCapHoldsAndWhoIsInStaysIn(t *testing.T) {
	play(t, func(w *world) {
		w.is(0, 0, 0)
		w.send(gauges(0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1))
		if n := w.passed(); n != 10 {
			t.Errorf("%d points passed, want 10", n)
		}
		w.is(10, 2, 0)
		w.send(gauges(0, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2))
		w.send(gauges(100, 1))
		if n := w.passed(); n != 10 {
			t.Errorf("%d points passed, want the 10 known ones", n)
		}
		w.is(10, 3, 0)
	})
}

func TestWhatIsNotWrittenAnyMoreGivesItsPlaceFree(t *testing.T) {
	play(t, func(w *world) {
		w.send(gauges(0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1))
		for range 15 { // two of them go on
			time.Sleep(time.Minute)
			w.send(gauges(0, 1, 1))
		}
		w.is(2, 0, 0)
		w.passed()
		w.send(gauges(100, 1, 1, 1))
		if n := w.passed(); n != 3 {
			t.Errorf("%d new series passed, want 3", n)
		}
		time.Sleep(time.Hour)
		w.is(0, 0, 0) // though nothing came meanwhile
	})
}

func TestAStalenessMarkerEndsASeriesAndPasses(t *testing.T) {
	play(t, func(w *world) {
		w.send(gauges(0, 1, 1, 1))
		w.passed()
		w.send(ended(gauges(1, math.NaN(), math.NaN(), math.NaN()))) // the last was never there
		if n := w.passed(); n != 2 {
			t.Errorf("%d markers passed, want 2", n)
		}
		w.is(1, 0, 0)
	})
}

func TestWhatIsNoNumberIsDroppedAlone(t *testing.T) {
	play(t, func(w *world) {
		w.send(gauges(0, 1, math.NaN(), math.Inf(1), 2))
		if n := w.passed(); n != 2 {
			t.Errorf("%d points passed, want 2", n)
		}
		w.is(2, 0, 2)
		w.send(gauges(0, math.NaN()))
		if len(w.sink.AllMetrics()) != 0 {
			t.Error("an empty batch was handed on")
		}
	})
}

func TestAHistogramCountsAsTheSeriesItBecomes(t *testing.T) {
	histogram := func(name string, sum float64) pmetric.Metrics {
		md := pmetric.NewMetrics()
		m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
		m.SetName(name)
		p := m.SetEmptyHistogram().DataPoints().AppendEmpty()
		p.ExplicitBounds().FromRaw([]float64{1, 2, 3})
		p.BucketCounts().FromRaw([]uint64{1, 1, 1, 1})
		p.SetSum(sum)
		return md
	}
	play(t, func(w *world) {
		w.send(histogram("a", 1))
		w.is(6, 0, 0)
		w.send(histogram("b", 1))
		w.is(6, 1, 0)
		w.send(histogram("a", math.NaN()))
		w.is(6, 1, 1)
		w.send(gauges(0, 1, 1, 1, 1, 1))
		w.is(10, 2, 1)
	})
}

func TestTheOrderOfAttributesDoesNotMakeASeries(t *testing.T) {
	md := func(pairs ...string) pmetric.Metrics {
		md := gauges(0, 1)
		a := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0).Attributes()
		a.Clear()
		for i := 0; i < len(pairs); i += 2 {
			a.PutStr(pairs[i], pairs[i+1])
		}
		return md
	}
	play(t, func(w *world) {
		w.send(md("a", "1", "b", "2"))
		w.send(md("b", "2", "a", "1"))
		w.is(1, 0, 0)
		w.send(md("a", "2", "b", "1"))
		w.is(2, 0, 0)
		other := md("a", "1", "b", "2")
		other.ResourceMetrics().At(0).Resource().Attributes().PutStr("service.instance.id", "x")
		w.send(other)
		w.is(3, 0, 0)
	})
}

// TestMemoryOfASeries keeps the promise of entry: at most 40 bytes a series.
func TestMemoryOfASeries(t *testing.T) {
	for _, n := range []int{20_000, 100_000, 115_000, 300_000} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		g := newLedger(n, time.Hour)
		now := time.Now()
		g.sweep(now)
		for i := range uint64(n) {
			g.admit(mix(i+1), 1, now)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		each := float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
		t.Logf("%d series: %.1f bytes each", n, each)
		if each > 40 {
			t.Errorf("%d series take %.1f bytes each, promised are 40", n, each)
		}
		runtime.KeepAlive(g)
	}
}

func TestConfig(t *testing.T) {
	cfg := NewFactory(vitals.New()).CreateDefaultConfig().(*Config)
	if err := componenttest.CheckConfigStruct(cfg); err != nil {
		t.Error(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := *cfg
		change(&c)
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	f("max_series: 0 must be from 1 to 10000000", func(c *Config) { c.MaxSeries = 0 })
	f("expire 1s must be 1m0s or more", func(c *Config) { c.Expire = time.Second })
}

func BenchmarkConsume(b *testing.B) {
	l := newLimiter(processortest.NewNopSettings(NewFactory(vitals.New()).Type()).Logger, TypeName,
		&Config{MaxSeries: DefaultSeries, Expire: defaultExpire}, vitals.New(), consumertest.NewNop())
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	points := m.SetEmptyGauge().DataPoints()
	for i := range 1000 {
		p := points.AppendEmpty()
		p.Attributes().PutStr("method", "GET")
		p.Attributes().PutStr("path", fmt.Sprint("/", i))
	}
	b.ReportAllocs()
	for b.Loop() {
		l.filter(md, time.Now())
	}
}
