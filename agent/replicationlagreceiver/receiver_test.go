package replicationlagreceiver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/metadatatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, sitetest.Leaks()...) }

// server is a real Redis on a port of its own.
type server struct {
	t    *testing.T
	port string
	cmd  *exec.Cmd
}

func redisServer(t *testing.T, args ...string) *server {
	t.Helper()
	path, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("redis-server is missing: %v; install it with deploy/setup.sh test", err)
	}
	port := strconv.Itoa(replicatest.FreePort(t))
	s := &server{t: t, port: port}
	s.cmd = exec.Command(path, append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--repl-diskless-sync-delay", "0"}, args...)...)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kill)
	return s
}

func (s *server) kill() {
	if s.cmd.ProcessState == nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
	}
}

// write sets so many keys.
func (s *server) write(n int) {
	s.t.Helper()
	conn, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", s.address())
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	for i := range n {
		if _, err := fmt.Fprintf(conn, "SET k%d %s\r\n", i, strings.Repeat("x", 100)); err != nil {
			s.t.Fatal(err)
		}
		if line, err := answers.ReadString('\n'); err != nil || line != "+OK\r\n" {
			s.t.Fatalf("%q, %v", line, err)
		}
	}
}

func (s *server) address() string { return "127.0.0.1:" + s.port }

// config reads a configuration as the Collector does.
func config(t *testing.T, from map[string]any) (*Config, error) {
	t.Helper()
	c := createDefaultConfig().(*Config)
	if err := confmap.NewFromStringMap(from).Unmarshal(c); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// points are the newest values of a sink by metric name, of one end.
func points(sink *consumertest.MetricsSink, end string) (map[string]float64, string) {
	out, reason := map[string]float64{}, ""
	for _, md := range sink.AllMetrics() {
		for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			if m.Type() != pmetric.MetricTypeGauge {
				continue
			}
			for _, p := range m.Gauge().DataPoints().All() {
				if v, _ := p.Attributes().Get("end"); v.Str() != end {
					continue
				}
				if m.Name() == metricState {
					out[m.Name()] = float64(p.IntValue())
					r, _ := p.Attributes().Get("reason")
					reason = r.Str()
					continue
				}
				out[m.Name()] = p.DoubleValue()
			}
		}
	}
	return out, reason
}

// A link of real servers is followed through life and death of its source, and over a restart of the agent.
func TestALinkIsFollowed(t *testing.T) {
	source := redisServer(t)
	target := redisServer(t, "--replicaof", "127.0.0.1 "+source.port)
	dir := t.TempDir()
	link := map[string]any{"store": "cart", "from": "fra", "to": "ams", "end": "target"}
	other := map[string]any{"store": "cart", "from": "fra", "to": "ams", "end": "source"}
	cfg, err := config(t, map[string]any{"directory": dir, "servers": []any{
		map[string]any{
			"engine": "redis", "address": target.address(), "interval": "1s", "timeout": "900ms", "links": []any{link},
			"other_end": map[string]any{"address": source.address()},
		},
		map[string]any{"engine": "redis", "address": source.address(), "interval": "1s", "timeout": "900ms", "links": []any{other}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var sink *consumertest.MetricsSink
	start := func() func() {
		t.Helper()
		sink = &consumertest.MetricsSink{}
		r, err := NewFactory().CreateMetrics(t.Context(), receivertest.NewNopSettings(NewFactory().Type()), cfg, sink)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(t.Context(), componenttest.NewNopHost()); err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			if err := r.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(replicatest.Patience); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				got, reason := points(sink, "target")
				here, why := points(sink, "source")
				t.Fatalf("not within %s: %s; target %v %q, source %v %q", replicatest.Patience, what, got, reason, here, why)
			}
		}
	}
	is := func(end string, state replica.State) func() bool {
		return func() bool { got, _ := points(sink, end); return got[metricState] == float64(state) }
	}
	well := func(end string) bool { return is(end, replica.CaughtUp)() || is(end, replica.IdleLinkOK)() }
	stop := start()
	until("both ends are caught up", func() bool { return well("target") && well("source") })
	source.write(100)
	until("it is caught up with what was written", is("target", replica.CaughtUp))
	got, _ := points(sink, "target")
	if got["evenkeel.replication.lag.upper"] > 2 || got["evenkeel.replication.last_caught_up.timestamp"] < float64(time.Now().Add(-time.Minute).Unix()) {
		t.Errorf("caught up: %v", got)
	}

	source.kill()
	until("the link is down", is("target", replica.LinkDown))
	until("the lower bound grows", func() bool { got, _ := points(sink, "target"); return got["evenkeel.replication.lag.lower"] > 1 })
	until("the source is not known", is("source", replica.Unknown))
	if got, reason := points(sink, "source"); reason != string(replica.ReasonConnect) {
		t.Errorf("a source that is dead: %v, %q", got, reason)
	}
	before, _ := points(sink, "target")
	stop()
	if _, err := os.Stat(filepath.Join(dir, memoryFile)); err != nil {
		t.Fatal(err)
	}

	// The next run knows since when the copy is incomplete.
	stop = start()
	defer stop()
	until("the link is still down", is("target", replica.LinkDown))
	after, _ := points(sink, "target")
	if after["evenkeel.replication.last_caught_up.timestamp"] != before["evenkeel.replication.last_caught_up.timestamp"] ||
		after["evenkeel.replication.exposure"] < before["evenkeel.replication.exposure"] {
		t.Errorf("before the restart %v, after it %v", before, after)
	}
}

// What an earlier run has left is used or left out, and never stops the start.
func TestMemory(t *testing.T) {
	f := func(text string, ok bool, want time.Time) {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, memoryFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := recall(dir)
		if (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
		l := Link{Store: "s", From: "a", To: "b", End: "target"}
		if got := m.of([]Link{l})[l.key()].LastCaughtUp; !got.Equal(want) {
			t.Errorf("%q: complete at %s, want %s", text, got, want)
		}
	}
	f(`{"s:a>b||target":{"last_caught_up":"2026-01-02T03:04:05Z","state":1}}`, true, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	f(`{"s:a>b||target":{"last_caught_up":"2999-01-02T03:04:05Z","state":1}}`, true, time.Time{})
	f(`{"s:a>b|`, false, time.Time{})
	f(`[]`, false, time.Time{})
	f(`{}`, true, time.Time{})
}

func TestConfig(t *testing.T) {
	f := func(want string, change func(server, link map[string]any)) {
		t.Helper()
		link := map[string]any{"store": "orders", "from": "fra", "to": "ams", "end": "target"}
		server := map[string]any{"engine": "redis", "address": "127.0.0.1:6379"}
		change(server, link)
		if _, ok := server["links"]; !ok {
			server["links"] = []any{link}
		}
		_, err := config(t, map[string]any{"servers": []any{server}})
		switch {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("", func(_, _ map[string]any) {})
	f("", func(s, _ map[string]any) {
		s["engine"], s["dsn"] = "postgresql", "host=127.0.0.1 user=evenkeel dbname=postgres"
	})
	f("", func(s, _ map[string]any) { s["engine"], s["user"] = "mysql", "evenkeel" })
	f("", func(s, l map[string]any) { s["engine"], l["channel"] = "nats", "ORDERS" })
	f("", func(s, l map[string]any) { s["engine"], l["channel"], l["peer"] = "kafka", "billing", "orders" })
	f("channel must be the name", func(s, _ map[string]any) { s["engine"] = "nats" })
	f("use one of postgresql, mysql, redis, nats, kafka", func(s, _ map[string]any) { s["engine"] = "oracle" })
	f("a user is needed", func(s, _ map[string]any) { s["engine"] = "mysql" })
	f("from 1s to 10s", func(s, _ map[string]any) { s["interval"] = "1m" })
	f("from 1s to 10s", func(s, _ map[string]any) { s["interval"] = "10ms" })
	f("below the interval", func(s, _ map[string]any) { s["timeout"] = "5s" })
	f("clock_error", func(s, _ map[string]any) { s["clock_error"] = "-1s" })
	f("source or target", func(_, l map[string]any) { l["end"] = "middle" })
	f("two sites", func(_, l map[string]any) { l["to"] = "fra" })
	f("no links", func(s, _ map[string]any) { s["links"] = []any{} })
	f("declared twice", func(s, l map[string]any) { s["links"] = []any{l, l} })
	f("invalid keys: port", func(s, _ map[string]any) { s["port"] = "x" })
	f("tls:", func(s, _ map[string]any) { s["tls"] = map[string]any{"ca_file": "/none/there"} })
}

func TestWhatIsReportedIsDeclared(t *testing.T) {
	declaredMetrics := metadatatest.Metrics(t)
	one, some := replica.Some(time.Second), replica.Some(int64(1))
	st := replica.Status{
		Link: replica.Link{Store: "orders", From: "fra", To: "ams", Channel: "a"}, End: replica.Target, At: time.Now(), State: replica.CatchingUp,
		Reason: replica.ReasonNotMeasured, Lower: one, Upper: one, Exposure: one, LinkAge: one, Bytes: some, Transactions: some, Messages: some,
		LastCaughtUp: time.Now(), Extra: everyMeasure(),
	}
	metrics := report([]replica.Status{st}).ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	if metrics.Len() != len(declaredMetrics) {
		t.Errorf("%d metrics are reported, %d declared", metrics.Len(), len(declaredMetrics))
	}
	for _, m := range metrics.All() {
		var points pmetric.NumberDataPointSlice
		if m.Type() == pmetric.MetricTypeSum {
			points = m.Sum().DataPoints()
		} else {
			points = m.Gauge().DataPoints()
		}
		declared, got := declaredMetrics[m.Name()], points.At(0).Attributes()
		if m.Unit() != declared.Unit || m.Description() == "" || got.Len() != len(declared.Attributes) {
			t.Errorf("%s: unit %q, attributes %v; declared %+v", m.Name(), m.Unit(), got.AsRaw(), declared)
		}
		for _, name := range declared.Attributes {
			if v, ok := got.Get(name); !ok || v.Str() == "" {
				t.Errorf("%s has no attribute %s", m.Name(), name)
			}
		}
	}
	// What is not known is not there.
	if n := report([]replica.Status{{Link: st.Link, End: st.End, At: st.At, Reason: replica.ReasonTimeout}}).MetricCount(); n != 1 {
		t.Errorf("an unknown link has %d metrics", n)
	}
}
