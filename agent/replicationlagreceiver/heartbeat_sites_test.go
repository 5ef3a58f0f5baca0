package replicationlagreceiver

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

// agent is the receiver of one site, and what it sends.
type agent struct {
	t    *testing.T
	cfg  *Config
	dir  string
	sink *consumertest.MetricsSink
	logs *observer.ObservedLogs
	run  *watch
	stop func()
}

// newAgent reads a configuration as the Collector does and starts it. skew is how wrong the wall clock of the agent is.
func newAgent(t *testing.T, site string, skew time.Duration, servers ...map[string]any) *agent {
	t.Helper()
	all := make([]any, len(servers))
	for i, s := range servers {
		all[i] = s
	}
	a := &agent{t: t, dir: t.TempDir()}
	cfg, err := config(t, map[string]any{"site": site, "directory": a.dir, "servers": all})
	if err != nil {
		t.Fatal(err)
	}
	a.cfg = cfg
	a.start(skew)
	t.Cleanup(func() { a.stop() })
	return a
}

func (a *agent) start(skew time.Duration) {
	a.t.Helper()
	a.sink = &consumertest.MetricsSink{}
	core, logs := observer.New(zap.DebugLevel)
	a.logs = logs
	set := receivertest.NewNopSettings(NewFactory().Type())
	set.Logger = zap.New(core)
	r, err := NewFactory().CreateMetrics(a.t.Context(), set, a.cfg, a.sink)
	if err != nil {
		a.t.Fatal(err)
	}
	a.run = r.(*watch)
	a.run.wall = func() time.Time { return time.Now().Add(skew) }
	if err := r.Start(a.t.Context(), componenttest.NewNopHost()); err != nil {
		a.t.Fatal(err)
	}
	var once sync.Once
	a.stop = func() {
		once.Do(func() {
			if err := r.Shutdown(context.Background()); err != nil {
				a.t.Error(err)
			}
		})
	}
}

// kept is the epoch that the agent's writer keeps on disk.
func (a *agent) kept() int64 {
	a.t.Helper()
	raw, err := os.ReadFile(filepath.Join(a.dir, epochFile))
	if err != nil {
		a.t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

// losesAll: what the agent keeps and what is stored at its server, which lose takes away, are gone at once. The writer that begins then
// is not taken for the one before, and goes on above it.
func (a *agent) losesAll(link string, lose func()) {
	a.t.Helper()
	a.stop()
	before := a.kept()
	if err := os.Remove(filepath.Join(a.dir, epochFile)); err != nil {
		a.t.Fatal(err)
	}
	lose()
	a.start(0)
	a.until("it writes again", link, "source", func(v told) bool { n, _ := v.of("writer.beats"); return n > 3 })
	if after := a.kept(); after <= before {
		a.t.Errorf("the epoch was %d and is %d after all was lost", before, after)
	}
}

// told is what the agent said last of one end of a link: values by metric name, and the reason of the state.
type told struct {
	at     time.Time
	value  map[string]float64
	reason string
}

func (v told) state() replica.State { return replica.State(v.value[metricState]) }

func (v told) of(name string) (float64, bool) {
	n, ok := v.value[prefix+name]
	return n, ok
}

// last is the newest report of a link's end; empty before the first.
func (a *agent) last(link, end string) told {
	all := a.sink.AllMetrics()
	for _, md := range slices.Backward(all) {
		out := told{value: map[string]float64{}}
		for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			var points pmetric.NumberDataPointSlice
			if m.Type() == pmetric.MetricTypeSum {
				points = m.Sum().DataPoints()
			} else {
				points = m.Gauge().DataPoints()
			}
			for _, p := range points.All() {
				l, _ := p.Attributes().Get("link")
				e, _ := p.Attributes().Get("end")
				if l.Str() != link || e.Str() != end {
					continue
				}
				out.at = p.Timestamp().AsTime()
				if m.Name() == metricState {
					out.value[m.Name()] = float64(p.IntValue())
					r, _ := p.Attributes().Get("reason")
					out.reason = r.Str()
					continue
				}
				out.value[m.Name()] = p.DoubleValue()
			}
		}
		if len(out.value) > 0 {
			return out
		}
	}
	return told{}
}

// until waits for a report of a link's end.
func (a *agent) until(what, link, end string, is func(told) bool) told {
	a.t.Helper()
	var v told
	for limit := time.Now().Add(replicatest.Patience); ; time.Sleep(50 * time.Millisecond) {
		if v = a.last(link, end); v.value != nil && is(v) {
			return v
		}
		if time.Now().After(limit) {
			a.t.Fatalf("not within %s: %s; %s of %s is %s %q %v\n%s", replicatest.Patience, what, end, link, v.state(), v.reason, v.value, a.said())
		}
	}
}

// said is the log, which must not hold a password.
func (a *agent) said() string {
	var out strings.Builder
	for _, entry := range a.logs.All() {
		out.WriteString(entry.Message)
		fields := entry.ContextMap()
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			out.WriteString(" " + name + "=")
			if s, ok := fields[name].(string); ok {
				out.WriteString(s)
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

// secret is a file with the password of the accounts.
func secret(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "word")
	if err := os.WriteFile(file, []byte(sitetest.Word+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// quiet fails when something that people may see holds the password of the agent's accounts.
func (a *agent) quiet() {
	a.t.Helper()
	if said := a.said(); strings.Contains(said, sitetest.Word) {
		a.t.Errorf("a password is shown:\n%s", said)
	}
}

// setUp is what the agent says has to be set up, with the password put in.
func setUp(t *testing.T, plan SetUp) string {
	t.Helper()
	plan.Account, plan.Database, plan.Stream = "evenkeel_beat", "evenkeel", "ORDERS"
	text, err := plan.Text()
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text, "'...'", "'"+sitetest.Word+"'")
}

// two is a server with both directions of a store between a and b, as an agent of the site looks at it.
func two(site string, server map[string]any, beat map[string]any) map[string]any {
	other := map[string]string{"a": "b", "b": "a"}[site]
	out := maps.Clone(server)
	out["interval"], out["timeout"] = "1s", "900ms"
	source := map[string]any{"store": "orders", "from": site, "to": other, "end": "source"}
	target := map[string]any{"store": "orders", "from": other, "to": site, "end": "target"}
	if out["engine"] == "postgresql" {
		source["channel"], source["peer"] = "to_"+other, "to_"+other
		target["channel"] = "to_" + site
	}
	out["links"] = []any{source, target}
	if beat != nil {
		out["heartbeat"] = beat
	}
	return out
}
