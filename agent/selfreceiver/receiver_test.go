package selfreceiver

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/metadatatest"
	"github.com/evenkeel/evenkeel/agent/internal/ownmeter"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fill plays the exporter helper: a queue of 1000 bytes with 400 in it, fed by offered bytes.
func fill(t *testing.T, meter *ownmeter.Meter) (offer func(bytes int64)) {
	t.Helper()
	m := meter.Provider().Meter("exporterhelper")
	who := metric.WithAttributes(attribute.String("exporter", "otlp_http/a"))
	gauge := func(name string, value int64) {
		if _, err := m.Int64ObservableGauge(name, metric.WithInt64Callback(
			func(_ context.Context, o metric.Int64Observer) error { o.Observe(value, who); return nil })); err != nil {
			t.Fatal(err)
		}
	}
	gauge("otelcol_exporter_queue_size", 400)
	gauge("otelcol_exporter_queue_capacity", 1000)
	gauge("otelcol_something_else", 1)
	failed, err := m.Int64Counter("otelcol_exporter_enqueue_failed_metric_points")
	if err != nil {
		t.Fatal(err)
	}
	failed.Add(t.Context(), 7, who)
	bytes, err := m.Int64Histogram("otelcol_exporter_enqueue_size_bytes")
	if err != nil {
		t.Fatal(err)
	}
	return func(n int64) { bytes.Record(context.Background(), n, who) }
}

func TestBuffersAndLossesAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		meter, v, sink := ownmeter.New(), vitals.New(), &consumertest.MetricsSink{}
		offer := fill(t, meter)
		v.Skip(vitals.Series{TargetSite: "ams", Service: "checkout", Target: "checkout-http", Path: "user"}, 3)
		v.Lose("http://a", 2, 1)
		v.Arm(true)
		v.Page(vitals.Page{About: "no-server", Action: "trigger", Result: "failed"}, 4)
		v.WatchSeries("seriescap", func() (alive, most int) { return 90, 100 })
		v.DropSeries(vitals.OverCap, 5)
		v.DropSeries(vitals.NoNumber, 0)
		factory := NewFactory(meter, v)
		cfg := factory.CreateDefaultConfig().(*Config)
		cfg.Buffers = []BufferConfig{{Exporter: "otlp_http/a", Server: "http://a"}}
		r, err := factory.CreateMetrics(t.Context(), receivertest.NewNopSettings(factory.Type()), cfg, sink)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		offer(200)
		time.Sleep(10 * time.Second)
		if err := r.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		all := sink.AllMetrics()
		if len(all) != 2 {
			t.Fatalf("%d reports in 13 s", len(all))
		}
		check(t, all[1])
		if b, ok := v.Buffer("http://a"); !ok || b.Used != 400 || b.Limit != 1000 || b.Full != 7 {
			t.Errorf("noted: %+v", b)
		}
	})
}

// check compares one report with what was filled in and with metadata.yaml.
func check(t *testing.T, md pmetric.Metrics) {
	t.Helper()
	declaredMetrics := metadatatest.Metrics(t)
	values := map[string]float64{}
	for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		points := m.Gauge().DataPoints
		if m.Type() == pmetric.MetricTypeSum {
			points = m.Sum().DataPoints
		}
		declared, ok := declaredMetrics[m.Name()]
		if !ok || declared.Unit != m.Unit() {
			t.Errorf("%s in %q is not declared so", m.Name(), m.Unit())
		}
		for _, p := range points().All() {
			if p.Attributes().Len() != len(declared.Attributes) {
				t.Errorf("%s: attributes %v, declared %v", m.Name(), p.Attributes().AsRaw(), declared.Attributes)
			}
			key := m.Name()
			if lane, ok := p.Attributes().Get("lane"); ok {
				key += "/" + lane.AsString()
			}
			if reason, ok := p.Attributes().Get("reason"); ok {
				key += "/" + reason.AsString()
			}
			if result, ok := p.Attributes().Get("result"); ok {
				key += "/" + result.AsString()
			}
			values[key] = p.DoubleValue() + float64(p.IntValue())
		}
	}
	want := map[string]float64{
		metricUsed: 400, metricLimit: 1000, metricLeft: 30, // 600 bytes free at 20 bytes a second
		metricDropped + "/bulk/full": 7, metricDropped + "/bulk/refused": 0,
		metricDropped + "/fast/stale": 2, metricDropped + "/fast/refused": 1, metricSkipped: 3,
		metricArmed: 1, metricPages + "/failed": 4,
		metricSeries: 90, metricMost: 100, metricOver + "/cap": 5, metricOver + "/not_a_number": 0,
	}
	for key, value := range want {
		if got, ok := values[key]; !ok || got != value {
			t.Errorf("%s is %v (there: %v), want %v", key, got, ok, value)
		}
	}
	if len(values) != len(want) {
		t.Errorf("reported: %v", values)
	}
}

func TestAnUnknownRateIsNotZero(t *testing.T) {
	var r rate
	now := time.Unix(1_790_000_000, 0)
	r.add(now, 100)
	if _, ok := r.left(10); ok {
		t.Error("a rate is known after one look")
	}
	r.add(now.Add(time.Second), 100)
	if _, ok := r.left(10); ok {
		t.Error("nothing comes in, so nothing is known of when it is full")
	}
	r.add(now.Add(2*time.Second), 50) // the pipeline was rebuilt
	if _, ok := r.left(10); ok {
		t.Error("a counter that went back is no rate")
	}
}

func TestConfig(t *testing.T) {
	cfg := NewFactory(ownmeter.New(), vitals.New()).CreateDefaultConfig().(*Config)
	if err := componenttest.CheckConfigStruct(cfg); err != nil {
		t.Error(err)
	}
	cfg.Buffers = []BufferConfig{{Exporter: "x"}}
	if cfg.Validate() == nil {
		t.Error("a buffer without a server was taken")
	}
	cfg.Buffers, cfg.Interval = nil, 0
	if cfg.Validate() == nil {
		t.Error("an interval of nothing was taken")
	}
}
