package fastexporter

import (
	"cmp"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers each request with the next status, the last one for ever, and keeps what came with 200.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	requests int
	conns    map[string]bool
	points   []got
	reply    pmetricotlp.ExportResponse
}

type got struct {
	name, target, reason string
	value                int64
	at, received         time.Time
}

func serve(t *testing.T, statuses ...int) *server {
	t.Helper()
	s := &server{statuses: statuses, conns: map[string]bool{}, reply: pmetricotlp.NewExportResponse()}
	s.Server = httptest.NewServer(http.HandlerFunc(s.handle))
	t.Cleanup(s.Close)
	return s
}

func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	raw, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.conns[r.RemoteAddr] = true
	status := s.statuses[min(s.requests-1, len(s.statuses)-1)]
	req := pmetricotlp.NewExportRequest()
	if req.UnmarshalProto(raw) != nil || r.Header.Get("Content-Encoding") != "" || r.URL.Path != "/v1/metrics" {
		status = http.StatusTeapot
	}
	if status == http.StatusOK {
		for _, rm := range req.Metrics().ResourceMetrics().All() {
			for _, m := range rm.ScopeMetrics().At(0).Metrics().All() {
				for _, p := range points(m) {
					n := pmetric.NewNumberDataPoint()
					if m.Type() == pmetric.MetricTypeGauge {
						m.Gauge().DataPoints().At(p.index).CopyTo(n)
					} else {
						m.Sum().DataPoints().At(p.index).CopyTo(n)
					}
					target, _ := n.Attributes().Get("target")
					reason, _ := n.Attributes().Get("reason")
					s.points = append(s.points, got{
						m.Name(), target.AsString(), reason.AsString(), n.IntValue(), n.Timestamp().AsTime(), time.Now(),
					})
				}
			}
		}
	}
	body, _ := s.reply.MarshalProto()
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// answer changes the status for ever.
func (s *server) answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses = []int{status}
}

func (s *server) seen() []got {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]got(nil), s.points...)
}

func (s *server) counts() (conns, requests int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns), s.requests
}

// fact is one point of the gauge probe.state, or of the counter probe.failures.
func fact(name, target, reason string, value int64, at time.Time) pmetric.Metrics {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	var p pmetric.NumberDataPoint
	if name == "failures" {
		p = m.SetEmptySum().DataPoints().AppendEmpty()
	} else {
		p = m.SetEmptyGauge().DataPoints().AppendEmpty()
	}
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	p.SetIntValue(value)
	p.Attributes().PutStr("target", target)
	p.Attributes().PutStr("reason", reason)
	return md
}

func start(t *testing.T, s *server, v *vitals.Vitals, change func(*Config)) exporter.Metrics {
	t.Helper()
	factory := NewFactory(v)
	cfg := factory.CreateDefaultConfig().(*Config)
	cfg.Endpoint = s.URL
	if change != nil {
		change(cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	e, err := factory.CreateMetrics(t.Context(), exportertest.NewNopSettings(factory.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func consume(t *testing.T, e exporter.Metrics, md pmetric.Metrics) {
	t.Helper()
	if err := e.ConsumeMetrics(t.Context(), md); err != nil {
		t.Fatal(err)
	}
}

func TestFactsLeaveAtOnceOverOneConnection(t *testing.T) {
	s, v := serve(t, 200), vitals.New()
	e := start(t, s, v, nil)
	for i := range 20 {
		consume(t, e, fact("state", "a", "", int64(i), time.Now()))
		eventually(t, "the fact at the server", func() bool { n := s.seen(); return len(n) > 0 && n[len(n)-1].value == int64(i) })
	}
	quickest := slices.MinFunc(s.seen(), func(a, b got) int { return cmp.Compare(a.received.Sub(a.at), b.received.Sub(b.at)) })
	if took := quickest.received.Sub(quickest.at); took > 500*time.Millisecond { // a busy machine holds up some, and not all
		t.Errorf("each fact took %v or more", took)
	}
	if conns, requests := s.counts(); conns != 1 || requests != 20 {
		t.Errorf("%d connections for %d requests", conns, requests)
	}
	if v.Delivered(s.URL).IsZero() {
		t.Error("deliveries are not noted")
	}
}

func TestTheNewestWinsWhileTheServerIsAway(t *testing.T) {
	s, v := serve(t, 503), vitals.New()
	e := start(t, s, v, nil)
	now := time.Now()
	for i := range 50 {
		consume(t, e, fact("state", "a", "refused", 2, now.Add(time.Duration(i)*time.Millisecond)))
		consume(t, e, fact("failures", "a", "refused", int64(i+1), now.Add(time.Duration(i)*time.Millisecond)))
	}
	consume(t, e, fact("state", "a", "", 1, now.Add(time.Second)))
	consume(t, e, fact("state", "a", "refused", 2, now)) // late and old
	_, before := s.counts()
	eventually(t, "a request that has all", func() bool { _, n := s.counts(); return n > before+1 }) // one may have been under way
	s.answer(200)
	eventually(t, "facts at the server", func() bool { return len(s.seen()) > 0 })
	seen := s.seen()
	if len(seen) != 2 {
		t.Fatalf("the server hears %d points, want the newest of two series: %+v", len(seen), seen)
	}
	for _, p := range seen {
		if p.name == "state" && p.value != 1 || p.name == "failures" && p.value != 50 {
			t.Errorf("%s arrived as %d %q", p.name, p.value, p.reason)
		}
	}
}

func TestOldFactsAreNotReplayed(t *testing.T) {
	s, v := serve(t, 503, 503, 503, 503, 200), vitals.New()
	e := start(t, s, v, func(c *Config) { c.MaxAge = 200 * time.Millisecond })
	consume(t, e, fact("state", "a", "", 1, time.Now()))
	consume(t, e, fact("failures", "a", "dns", 7, time.Now()))
	eventually(t, "the counter at the server", func() bool { return len(s.seen()) > 0 })
	if seen := s.seen(); len(seen) != 1 || seen[0].name != "failures" {
		t.Errorf("arrived: %+v", seen)
	}
	if lanes := v.Lanes(); len(lanes) != 1 || lanes[0].Stale != 1 {
		t.Errorf("losses are counted as %+v", lanes)
	}
}

func TestWhatTheServerRefusesIsNotSentAgain(t *testing.T) {
	s, v := serve(t, 400, 200), vitals.New()
	s.reply.PartialSuccess().SetRejectedDataPoints(1)
	e := start(t, s, v, nil)
	consume(t, e, fact("state", "a", "", 1, time.Now()))
	eventually(t, "the refusal counted", func() bool { return len(v.Lanes()) == 1 && v.Lanes()[0].Refused == 1 })
	consume(t, e, fact("state", "b", "", 1, time.Now()))
	eventually(t, "the rejected point counted", func() bool { return v.Lanes()[0].Refused == 2 })
	_, requests := s.counts()
	if seen := s.seen(); len(seen) != 1 || seen[0].target != "b" || requests != 2 {
		t.Errorf("%d requests, arrived: %+v", requests, seen)
	}
}

func TestATokenCanBePutRight(t *testing.T) {
	s := serve(t, 401, 401, 200)
	e := start(t, s, vitals.New(), nil)
	consume(t, e, fact("state", "a", "", 1, time.Now()))
	eventually(t, "the fact after two 401", func() bool { return len(s.seen()) == 1 })
}

func TestOverflowDropsTheOldestSeries(t *testing.T) {
	n := newNewest(2)
	now := time.Now()
	n.put(fact("state", "a", "", 1, now))
	n.put(fact("state", "b", "", 1, now))
	if lost := n.put(fact("state", "c", "", 1, now)); lost != 1 {
		t.Errorf("%d series gave way", lost)
	}
	batch, _ := n.take(now, time.Hour)
	md := merge(batch, "ag_1")
	if id, _ := md.ResourceMetrics().At(0).Resource().Attributes().Get(agentAttribute); id.AsString() != "ag_1" {
		t.Errorf("the facts are of agent %q", id.AsString())
	}
	if md.DataPointCount() != 2 || md.ResourceMetrics().Len() != 1 {
		t.Errorf("%d points in %d resources", md.DataPointCount(), md.ResourceMetrics().Len())
	}
	for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
		if target, _ := m.Gauge().DataPoints().At(0).Attributes().Get("target"); target.AsString() == "a" {
			t.Error("the oldest series is still there")
		}
	}
	// What comes back from a failed request does not displace what came since.
	n.put(fact("state", "b", "", 9, now.Add(time.Second)))
	n.back(batch)
	batch, _ = n.take(now, time.Hour)
	if len(batch) != 2 {
		t.Errorf("%d series wait", len(batch))
	}
	for _, e := range batch {
		p := e.md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0).Gauge().DataPoints().At(0)
		if target, _ := p.Attributes().Get("target"); target.AsString() == "b" && p.IntValue() != 9 {
			t.Error("an old point displaced a newer one")
		}
	}
}

func TestConfig(t *testing.T) {
	if err := componenttest.CheckConfigStruct(createDefaultConfig()); err != nil {
		t.Error(err)
	}
	f := func(change func(*Config)) {
		t.Helper()
		cfg := createDefaultConfig().(*Config)
		cfg.Endpoint = "https://a.example:8450"
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(cfg)
		if cfg.Validate() == nil {
			t.Errorf("taken: %+v", cfg)
		}
	}
	f(func(c *Config) { c.Endpoint = "" })
	f(func(c *Config) { c.Endpoint = "https://u:p@a.example" })
	f(func(c *Config) { c.Timeout = 0 })
	f(func(c *Config) { c.Coalesce = time.Second })
	f(func(c *Config) { c.MaxAge = 0 })
	f(func(c *Config) { c.MaxSeries = 0 })
}
