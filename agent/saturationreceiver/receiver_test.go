package saturationreceiver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/metadatatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run looks at a host for a time, of which each second is given, and returns the values of the last report by name and
// attributes, after a look at whether metadata.yaml declares them so.
func run(t *testing.T, seconds int, second func(root string, n int)) (reports int, last map[string]float64) {
	t.Helper()
	declaredMetrics := metadatatest.Metrics(t)
	synctest.Test(t, func(t *testing.T) {
		sink, root := &consumertest.MetricsSink{}, t.TempDir()
		factory := NewFactory()
		cfg := factory.CreateDefaultConfig().(*Config)
		cfg.Root = root
		r, err := factory.CreateMetrics(t.Context(), receivertest.NewNopSettings(factory.Type()), cfg, sink)
		if err != nil {
			t.Fatal(err)
		}
		second(root, 0)
		if err := r.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second / 2)
		for n := 1; n <= seconds; n++ {
			second(root, n)
			time.Sleep(time.Second)
		}
		if err := r.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		reports = len(sink.AllMetrics())
		if reports == 0 {
			return
		}
		last = map[string]float64{}
		for _, m := range sink.AllMetrics()[reports-1].ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			declared, ok := declaredMetrics[m.Name()]
			if !ok || declared.Unit != m.Unit() {
				t.Errorf("%s in %q is not declared so", m.Name(), m.Unit())
			}
			for _, p := range m.Gauge().DataPoints().All() {
				key := m.Name()
				for _, name := range declared.Attributes {
					v, _ := p.Attributes().Get(name)
					key += "/" + v.Str()
				}
				if p.Attributes().Len() != len(declared.Attributes) {
					t.Errorf("%s: attributes %v, declared %v", m.Name(), p.Attributes().AsRaw(), declared.Attributes)
				}
				last[key] = p.DoubleValue()
			}
		}
	})
	return reports, last
}

func TestAHostIsReported(t *testing.T) {
	reports, last := run(t, 65, func(root string, n int) {
		write(t, root, "proc/stat", fmt.Sprintf("cpu  %d 0 0 %d 0 0 0 0 0 0\n", 30*n, 70*n))
		write(t, root, "proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 600 kB\n")
		write(t, root, "proc/pressure/io", "some avg10=50.00 avg60=0 avg300=0 total=0\nfull avg10=45.00 avg60=0 avg300=0 total=0\n")
	})
	want := map[string]float64{
		metricIndex: 0.45, metricResource + "/cpu": 0.3, metricResource + "/memory": 0.4, metricResource + "/io_pressure": 0.45,
		metricPressure + "/io/some": 0.5, metricPressure + "/io/full": 0.45,
	}
	if reports != 6 || len(last) != len(want) {
		t.Errorf("%d reports, the last is %v", reports, last)
	}
	for key, value := range want {
		if got, ok := last[key]; !ok || got < value-1e-9 || got > value+1e-9 {
			t.Errorf("%s is %v (there: %v), want %v", key, got, ok, value)
		}
	}
}

func TestWhatIsNotKnownIsNotReported(t *testing.T) {
	if reports, last := run(t, 65, func(string, int) {}); reports != 0 {
		t.Errorf("of a host of which nothing is known: %v", last)
	}
	_, last := run(t, 65, func(root string, _ int) {
		write(t, root, "proc/meminfo", "MemTotal: 1000 kB\nMemAvailable: 600 kB\n")
	})
	if len(last) != 1 || last[metricResource+"/memory"] != 0.4 {
		t.Errorf("of a host of which only the memory is known: %v", last)
	}
}

func TestConfig(t *testing.T) {
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	if err := componenttest.CheckConfigStruct(cfg); err != nil {
		t.Error(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if (&Config{Interval: time.Millisecond, Root: "/"}).Validate() == nil || (&Config{Interval: time.Second}).Validate() == nil {
		t.Error("a wrong configuration was taken")
	}
}
