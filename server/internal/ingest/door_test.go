package ingest

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a door with everything behind it recorded.
type house struct {
	door *Door
	reg  *prometheus.Registry

	mu      sync.Mutex
	now     time.Time
	samples []core.Sample
	facts   []core.Fact
	fail    error
	state   AgentState
	changed chan struct{}
}

func (h *house) Append(_ context.Context, samples []core.Sample) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return h.fail
	}
	for _, s := range samples {
		s.Name, s.Labels = strings.Clone(s.Name), slices.Clone(s.Labels)
		for i := range s.Labels {
			s.Labels[i] = core.Label{Name: strings.Clone(s.Labels[i].Name), Value: strings.Clone(s.Labels[i].Value)}
		}
		h.samples = append(h.samples, s)
	}
	return nil
}

func (h *house) Facts(facts []core.Fact) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.facts = append(h.facts, facts...)
}

func (h *house) Authenticate(_ context.Context, token string) (core.Credential, error) {
	switch token {
	case "fra-token":
		return core.Credential{ID: "1", Kind: "site", Name: "fra"}, nil
	case "edge-token":
		return core.Credential{ID: "2", Kind: "edge", Name: "director"}, nil
	case "admin-token":
		return core.Credential{ID: "3", Kind: "admin", Name: "root"}, nil
	case "ledger-down":
		return core.Credential{}, errors.New("no quorum")
	}
	return core.Credential{}, &core.Error{Code: core.CodeUnauthorized, Message: "unknown token"}
}

func (h *house) AgentState(ctx context.Context, site string, after Revision) (AgentState, error) {
	for {
		h.mu.Lock()
		state, changed := h.state, h.changed
		h.mu.Unlock()
		if site != "fra" {
			return AgentState{}, &core.Error{Code: core.CodeNotFound, Message: "no such site"}
		}
		if state.Revision != after {
			return state, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return AgentState{}, ctx.Err()
		}
	}
}

func newHouse(edit func(*Options)) *house {
	h := &house{reg: prometheus.NewRegistry(), now: time.UnixMilli(1_795_000_000_000), changed: make(chan struct{})}
	o := Options{
		Store: h, Facts: h, Auth: h, States: h, Registry: h.reg,
		Now: func() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.now },
	}
	if edit != nil {
		edit(&o)
	}
	h.door = New(o)
	return h
}

// at moves the clock.
func (h *house) at(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// count is the value of a counter with a label.
func (h *house) count(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := h.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum, found := 0.0, false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == label {
					sum, found = sum+m.GetCounter().GetValue(), true
				}
			}
		}
	}
	if !found {
		t.Fatalf("no counter %s with %q", name, label)
	}
	return sum
}

// send posts as fra unless headers say otherwise.
func (h *house) send(method, target string, body []byte, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer fra-token")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.door.Handler().ServeHTTP(w, r)
	return w
}

func (h *house) otlp(md pmetric.Metrics, headers ...string) *httptest.ResponseRecorder {
	body, _ := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	return h.send("POST", "/v1/metrics", body, append([]string{"Content-Type", "application/x-protobuf"}, headers...)...)
}

// rejected is the partial success of an answer.
func rejected(t *testing.T, w *httptest.ResponseRecorder) (int64, string) {
	t.Helper()
	if w.Code != 200 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	resp := pmetricotlp.NewExportResponse()
	if err := resp.UnmarshalProto(w.Body.Bytes()); err != nil {
		t.Fatal(err)
	}
	return resp.PartialSuccess().RejectedDataPoints(), resp.PartialSuccess().ErrorMessage()
}

func wantProblem(t *testing.T, w *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	var p struct {
		Status             int
		Code, Detail, Hint string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != status || p.Status != status || p.Code != code ||
		p.Detail == "" || p.Hint == "" || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("got %d %v %s, want problem %d %s", w.Code, w.Header(), w.Body, status, code)
	}
}

// lines are the stored samples as text, sorted.
func (h *house) lines() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, s := range h.samples {
		var b strings.Builder
		b.WriteString(s.Name + "{")
		for i, l := range s.Labels {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(l.Name + "=" + l.Value)
		}
		v, _ := json.Marshal(s.Value)
		b.WriteString("} " + string(v))
		out = append(out, b.String())
	}
	slices.Sort(out)
	return out
}

func wantLines(t *testing.T, h *house, want ...string) {
	t.Helper()
	got := h.lines()
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("stored\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// gauge makes an export of one gauge.
func gauge(name, unit string, v float64, at time.Time, attrs ...string) pmetric.Metrics {
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	m.SetUnit(unit)
	fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), v, at, attrs...)
	return md
}

func fill(p pmetric.NumberDataPoint, v float64, at time.Time, attrs ...string) {
	p.SetDoubleValue(v)
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	for i := 0; i < len(attrs); i += 2 {
		p.Attributes().PutStr(attrs[i], attrs[i+1])
	}
}

func metricOf(md pmetric.Metrics) pmetric.Metric {
	return md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
}

func TestOTLPNamesAndLabels(t *testing.T) {
	f := func(md pmetric.Metrics, want ...string) {
		t.Helper()
		h := newHouse(nil)
		if n, why := rejected(t, h.otlp(md)); n != 0 {
			t.Errorf("rejected %d: %s", n, why)
		}
		wantLines(t, h, want...)
	}
	now := newHouse(nil).now
	f(gauge("evenkeel.probe.state", "", 1, now, "target_site", "ams", "reason", "timeout"), "evenkeel_probe_state{site=fra,target_site=ams} 1")
	f(gauge("evenkeel.link.state", "", 4, now, "link", "cart:fra>ams", "end", "target", "reason", "stale"), "evenkeel_link_state{end=target,link=cart:fra>ams,site=fra} 4")
	f(gauge("evenkeel.probe.duration", "s", 0.25, now), "evenkeel_probe_duration_seconds{site=fra} 0.25")
	f(gauge("system.cpu.utilization", "1", 0.5, now, "cpu", "cpu0"), "system_cpu_utilization_ratio{cpu=cpu0,site=fra} 0.5")
	f(gauge("x", "", 1, now, "a.b", "1", "a_b", "2", "empty", "", "zone", "z"), "x{a_b=1;2,site=fra,zone=z} 1")

	sum := gauge("http.requests", "{request}", 7, now)
	points := pmetric.NewNumberDataPointSlice()
	metricOf(sum).Gauge().DataPoints().CopyTo(points)
	s := metricOf(sum).SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	points.CopyTo(s.DataPoints())
	f(sum, "http_requests_total{site=fra} 7")
	s.SetIsMonotonic(false)
	f(sum, "http_requests{site=fra} 7")

	res := gauge("x", "", 1, now, "k", "v")
	attrs := res.ResourceMetrics().At(0).Resource().Attributes()
	attrs.PutStr("host.name", "h1")
	attrs.PutStr("service.instance.id", "i1")
	attrs.PutStr("os.description", "left out")
	f(res, "x{host_name=h1,k=v,service_instance_id=i1,site=fra} 1")

	hist := pmetric.NewMetrics()
	m := hist.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("evenkeel.edge.duration")
	m.SetUnit("s")
	m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	p := m.Histogram().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(now))
	p.SetCount(6)
	p.SetSum(1.5)
	p.ExplicitBounds().FromRaw([]float64{0.1, 1})
	p.BucketCounts().FromRaw([]uint64{1, 2, 3})
	p.Attributes().PutStr("service", "checkout")
	h := newHouse(nil)
	if n, why := rejected(t, h.otlp(hist, "Authorization", "Bearer edge-token")); n != 0 {
		t.Errorf("rejected %d: %s", n, why)
	}
	wantLines(t, h,
		"evenkeel_edge_duration_seconds_bucket{le=0.1,service=checkout,site=director} 1",
		"evenkeel_edge_duration_seconds_bucket{le=1,service=checkout,site=director} 3",
		"evenkeel_edge_duration_seconds_bucket{le=+Inf,service=checkout,site=director} 6",
		"evenkeel_edge_duration_seconds_count{service=checkout,site=director} 6",
		"evenkeel_edge_duration_seconds_sum{service=checkout,site=director} 1.5")

	summary := pmetric.NewMetrics()
	m = summary.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName("gc")
	q := m.SetEmptySummary().DataPoints().AppendEmpty()
	q.SetTimestamp(pcommon.NewTimestampFromTime(now))
	q.SetCount(2)
	q.SetSum(3)
	v := q.QuantileValues().AppendEmpty()
	v.SetQuantile(0.5)
	v.SetValue(1)
	q.QuantileValues().AppendEmpty().SetValue(math.NaN())
	f(summary, "gc{quantile=0.5,site=fra} 1", "gc_count{site=fra} 2", "gc_sum{site=fra} 3")
}

// Each bad input: status, reason, counter, and nothing wrong in the store.
func TestBadPointsAreRefusedWithAReason(t *testing.T) {
	now := newHouse(nil).now
	f := func(name string, bad func(pmetric.Metric), counter, text string) {
		t.Helper()
		h := newHouse(nil)
		md := gauge("good", "", 1, now)
		bad(md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty())
		n, why := rejected(t, h.otlp(md))
		if n != 1 || !strings.Contains(why, text) {
			t.Errorf("%s: rejected %d %q, want 1 with %q", name, n, why, text)
		}
		if got := h.count(t, "evenkeel_ingest_refused_samples_total", counter); got != 1 {
			t.Errorf("%s: counted %v", name, got)
		}
		wantLines(t, h, "good{site=fra} 1")
	}
	number := func(v float64, at time.Time, attrs ...string) func(pmetric.Metric) {
		return func(m pmetric.Metric) {
			m.SetName("bad")
			fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), v, at, attrs...)
		}
	}
	f("nan", number(math.NaN(), now), "nan", "NaN")
	f("inf", number(math.Inf(1), now), "inf", "infinite")
	f("minus inf", number(math.Inf(-1), now), "inf", "infinite")
	f("clock 1 h ahead", number(1, now.Add(time.Hour)), "future", "set the sender's clock")
	f("at the end of time", number(1, time.Unix(0, math.MaxInt64)), "future", "5 min ahead")
	f("old", number(1, now.Add(-101*24*time.Hour)), "too_old", "retention")
	f("no time", func(m pmetric.Metric) { m.SetName("bad"); m.SetEmptyGauge().DataPoints().AppendEmpty().SetIntValue(1) }, "too_old", "retention")
	f("long value", number(1, now, "k", strings.Repeat("x", 3000)), "labels", "too long")
	f("not UTF-8", number(1, now, "k", "\xff"), "labels", "UTF-8")
	f("many labels", func(m pmetric.Metric) {
		m.SetName("bad")
		p := m.SetEmptyGauge().DataPoints().AppendEmpty()
		fill(p, 1, now)
		for i := range 60 {
			p.Attributes().PutInt("k"+strings.Repeat("x", i), int64(i))
		}
	}, "labels", "too many")
	f("no name", func(m pmetric.Metric) { fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), 1, now) }, "name", "no usable name")
	f("underscores", func(m pmetric.Metric) { m.SetName("..."); fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), 1, now) }, "name", "no usable name")
	f("delta", func(m pmetric.Metric) {
		m.SetName("bad")
		s := m.SetEmptySum()
		s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		fill(s.DataPoints().AppendEmpty(), 1, now)
	}, "temporality", "cumulative")
	f("unspecified temporality", func(m pmetric.Metric) {
		m.SetName("bad")
		fill(m.SetEmptySum().DataPoints().AppendEmpty(), 1, now)
	}, "temporality", "cumulative")
	f("delta histogram", func(m pmetric.Metric) {
		m.SetName("bad")
		hist := m.SetEmptyHistogram()
		hist.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		hist.DataPoints().AppendEmpty()
	}, "temporality", "cumulative")
	f("exponential", func(m pmetric.Metric) {
		m.SetName("bad")
		m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty()
	}, "exponential_histogram", "explicit buckets")
	histogram := func(bounds []float64, counts []uint64, sum float64) func(pmetric.Metric) {
		return func(m pmetric.Metric) {
			m.SetName("bad")
			m.SetEmptyHistogram().SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
			p := m.Histogram().DataPoints().AppendEmpty()
			p.SetTimestamp(pcommon.NewTimestampFromTime(now))
			p.SetSum(sum)
			p.ExplicitBounds().FromRaw(bounds)
			p.BucketCounts().FromRaw(counts)
		}
	}
	f("buckets", histogram([]float64{1}, []uint64{1}, 1), "malformed", "do not fit")
	f("bounds", histogram([]float64{2, 1}, []uint64{1, 1, 1}, 1), "malformed", "do not fit")
	f("sum", histogram([]float64{1}, []uint64{1, 1}, math.NaN()), "nan", "NaN")
	f("edge metric of a site", func(m pmetric.Metric) {
		m.SetName("evenkeel.edge.weight")
		fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), 1, now, "target_site", "ams")
	}, "not_allowed", "edge tokens")
}

func TestEdgeWritesOnlyEdgeMetrics(t *testing.T) {
	h := newHouse(nil)
	md := gauge("evenkeel.edge.weight", "", 50, h.now, "target_site", "ams", "service", "checkout")
	m := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
	m.SetName("evenkeel.probe.state")
	fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), 2, h.now, "target_site", "ams", "service", "checkout", "target", "checkout-http", "path", "user")
	n, why := rejected(t, h.otlp(md, "Authorization", "Bearer edge-token"))
	if n != 1 || !strings.Contains(why, "evenkeel.edge.*") {
		t.Errorf("rejected %d %q", n, why)
	}
	wantLines(t, h, "evenkeel_edge_weight{service=checkout,site=director,target_site=ams} 50")
	if len(h.facts) != 1 || h.facts[0].Kind != core.FactEdgeWeight || h.facts[0].Value != 50 || h.facts[0].Site != "director" {
		t.Errorf("facts %+v", h.facts)
	}
}

func TestSiteIsStamped(t *testing.T) {
	h := newHouse(nil)
	md := gauge("x", "", 1, h.now, "site", "ams")
	fill(metricOf(md).Gauge().DataPoints().AppendEmpty(), 2, h.now, "site", "fra", "k", "v")
	rejected(t, h.otlp(md))
	wantLines(t, h, "x{site=fra} 1", "x{k=v,site=fra} 2")
	if got := h.count(t, "evenkeel_ingest_replaced_labels_total", "site"); got != 1 {
		t.Errorf("counted %v, want the one that was another's", got)
	}
	md = gauge("y", "", 1, h.now)
	md.ResourceMetrics().At(0).Resource().Attributes().PutStr("site", "ams")
	rejected(t, h.otlp(md))
	if got := h.count(t, "evenkeel_ingest_replaced_labels_total", "site"); got != 2 {
		t.Errorf("counted %v, want the resource's too", got)
	}
	w := h.write(series{labels: []string{"__name__", "z", "site", "ams"}, values: []float64{1}, at: []time.Time{h.now}})
	if w.Code != 204 || h.count(t, "evenkeel_ingest_replaced_labels_total", "site") != 3 {
		t.Errorf("remote write: %d %s", w.Code, w.Body)
	}
	if !slices.Contains(h.lines(), "z{site=fra} 1") {
		t.Errorf("stored %v", h.lines())
	}
}

func TestTokens(t *testing.T) {
	routes := map[string]string{"/v1/metrics": "POST", "/api/v1/write": "POST", "/api/v1/agent/heartbeat": "POST", "/api/v1/agent/state": "GET"}
	for route, method := range routes {
		f := func(authorization string, status int, code string) {
			t.Helper()
			h := newHouse(nil)
			wantProblem(t, h.send(method, route, []byte("x"), "Authorization", authorization), status, code)
			if len(h.samples)+len(h.facts) > 0 {
				t.Errorf("%s let something in", route)
			}
		}
		f("", 401, core.CodeUnauthorized)
		f("Bearer", 401, core.CodeUnauthorized)
		f("Bearer wrong", 401, core.CodeUnauthorized)
		f("Basic fra-token", 401, core.CodeUnauthorized)
		f("Bearer admin-token", 403, core.CodeForbidden)
		f("Bearer ledger-down", 503, core.CodeUnavailable)
		wantProblem(t, newHouse(nil).send("DELETE", route, nil), 405, core.CodeInvalid)
	}
	wantProblem(t, newHouse(nil).send("GET", "/", nil), 404, core.CodeNotFound)
}

func TestBadBodies(t *testing.T) {
	small := func(o *Options) { o.Limits.Body, o.Limits.Decoded, o.Limits.DecodedJSON = 1<<10, 4<<10, 2<<10 }
	f := func(path string, body []byte, status int, code string, headers ...string) {
		t.Helper()
		h := newHouse(small)
		wantProblem(t, h.send("POST", path, body, headers...), status, code)
		if len(h.samples)+len(h.facts) > 0 {
			t.Errorf("something was let in")
		}
	}
	proto, js := "application/x-protobuf", "application/json"
	zeros := bytes.Repeat([]byte{0}, 2<<20)
	f("/v1/metrics", []byte("\xff\xff"), 400, core.CodeInvalid, "Content-Type", proto)
	f("/v1/metrics", []byte("{"), 400, core.CodeInvalid, "Content-Type", js)
	f("/v1/metrics", []byte(`[]`), 400, core.CodeInvalid, "Content-Type", js)
	f("/v1/metrics", nil, 415, core.CodeInvalid, "Content-Type", "text/plain")
	f("/v1/metrics", nil, 415, core.CodeInvalid)
	f("/v1/metrics", nil, 415, core.CodeInvalid, "Content-Type", proto, "Content-Encoding", "br")
	f("/v1/metrics", []byte("no gzip"), 400, core.CodeInvalid, "Content-Type", proto, "Content-Encoding", "gzip")
	f("/v1/metrics", zipped(zeros[:3000])[:20], 400, core.CodeInvalid, "Content-Type", proto, "Content-Encoding", "gzip")
	f("/v1/metrics", bytes.Repeat([]byte(" "), 1<<11), 413, core.CodeTooLarge, "Content-Type", proto)
	f("/v1/metrics", zipped(bytes.Repeat([]byte(" "), 600<<10)), 413, core.CodeTooLarge, "Content-Type", proto, "Content-Encoding", "gzip")
	f("/v1/metrics", zipped(zeros[:5000]), 413, core.CodeTooLarge, "Content-Type", proto, "Content-Encoding", "gzip")
	f("/api/v1/write", []byte("no snappy"), 400, core.CodeInvalid)
	f("/api/v1/write", snappy.Encode(nil, []byte("\x0a\xff")), 400, core.CodeInvalid)
	f("/api/v1/write", snappy.Encode(nil, bytes.Repeat([]byte("xyz"), 4<<10)), 413, core.CodeTooLarge)
	f("/api/v1/write", []byte{0x80, 0x80, 0x80, 0x20, 0}, 400, core.CodeInvalid) // says 64 MiB, is 1 byte
	f("/api/v1/write", bytes.Repeat([]byte{1}, 1<<11), 413, core.CodeTooLarge)
	f("/api/v1/write", nil, 415, core.CodeInvalid, "Content-Type", proto+";proto=io.prometheus.write.v2.Request")
	f("/api/v1/write", nil, 415, core.CodeInvalid, "X-Prometheus-Remote-Write-Version", "2.0.0")
	f("/api/v1/write", nil, 415, core.CodeInvalid, "Content-Encoding", "zstd")
	f("/api/v1/agent/heartbeat", []byte("{"), 400, core.CodeInvalid)
	f("/api/v1/agent/heartbeat", []byte(`{"agent_id":"","role":"site","t1_unix_ns":1}`), 400, core.CodeInvalid)
	f("/api/v1/agent/heartbeat", []byte(`{"agent_id":"a","role":"king","t1_unix_ns":1}`), 400, core.CodeInvalid)
	f("/api/v1/agent/heartbeat", []byte(`{"agent_id":"a","role":"site"}`), 400, core.CodeInvalid)
	f("/api/v1/agent/heartbeat", []byte(`{"agent_id":"a","role":"site","t1_unix_ns":1,"error_ns":-1}`), 400, core.CodeInvalid)
	f("/api/v1/agent/heartbeat", zeros[:17<<10], 413, core.CodeTooLarge)
}

func zipped(b []byte) []byte {
	var out bytes.Buffer
	zw := gzip.NewWriter(&out)
	_, _ = zw.Write(b)
	_ = zw.Close()
	return out.Bytes()
}

// Two bytes on the wire must not become hundreds in memory, millions of times.
func TestBombs(t *testing.T) {
	h := newHouse(nil)
	bomb := bytes.Repeat([]byte{0x0a, 0x00}, 3<<20)
	f := func(body []byte, headers ...string) {
		t.Helper()
		wantProblem(t, h.send("POST", "/v1/metrics", body, headers...), 413, core.CodeTooLarge)
	}
	f(bomb, "Content-Type", "application/x-protobuf")
	f(zipped(bytes.Repeat(bomb, 8)), "Content-Type", "application/x-protobuf", "Content-Encoding", "gzip")
	nested := []byte{}
	for range 4 {
		nested = protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), append(nested, bomb[:1<<20]...))
	}
	f(zipped(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nested)), "Content-Type", "application/x-protobuf", "Content-Encoding", "gzip")
	f([]byte(`{"resourceMetrics":[`+strings.Repeat("{},", 2<<20)+`{}]}`), "Content-Type", "application/json")
}

func TestJSONAndGzip(t *testing.T) {
	h := newHouse(nil)
	body, err := pmetricotlp.NewExportRequestFromMetrics(gauge("x", "", 1, h.now)).MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	w := h.send("POST", "/v1/metrics", zipped(body), "Content-Type", "application/json; charset=utf-8", "Content-Encoding", "gzip")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	wantLines(t, h, "x{site=fra} 1")
	// A gzip body that is larger than what is read at first.
	md := pmetric.NewMetrics()
	ms := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics()
	for range 10_000 {
		m := ms.AppendEmpty()
		m.SetName("bulk")
		fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), 1, h.now, "k", "some value that is long enough")
	}
	body, _ = pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if len(body) <= lightBytes {
		t.Fatalf("only %d bytes", len(body))
	}
	n, why := rejected(t, h.send("POST", "/v1/metrics", zipped(body), "Content-Type", "application/x-protobuf", "Content-Encoding", "gzip"))
	if n != 0 || len(h.samples) != 10_001 {
		t.Errorf("rejected %d %s, stored %d", n, why, len(h.samples))
	}
}

func TestStoreDownStillHandsFactsOn(t *testing.T) {
	h := newHouse(nil)
	h.fail = &core.Error{Code: core.CodeUnavailable, Message: "disk full"}
	w := h.otlp(gauge("evenkeel.probe.state", "", 2, h.now, "target_site", "ams", "service", "checkout", "target", "checkout-http", "path", "user", "reason", "refused"))
	wantProblem(t, w, 503, core.CodeUnavailable)
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if len(h.facts) != 1 || h.facts[0].State != uint8(core.ProbeDown) || h.facts[0].Reason != "refused" {
		t.Errorf("facts %+v", h.facts)
	}
	if h.count(t, "evenkeel_ingest_samples_total", "unavailable") != 1 {
		t.Error("not counted")
	}
	h.fail = &core.Error{Code: core.CodeInvalid, Message: "no"}
	wantProblem(t, h.otlp(gauge("x", "", 1, h.now)), 400, core.CodeInvalid)
}

func TestLimitsOfOneCredential(t *testing.T) {
	h := newHouse(func(o *Options) { o.Limits.RequestsPerSecond = 2; o.Limits.Series = 10 })
	for range 2 {
		rejected(t, h.otlp(gauge("x", "", 1, h.now)))
	}
	w := h.otlp(gauge("x", "", 1, h.now))
	wantProblem(t, w, 429, core.CodeUnavailable)
	if w.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	rejected(t, h.otlp(gauge("evenkeel.edge.weight", "", 1, h.now), "Authorization", "Bearer edge-token")) // another's

	h = newHouse(func(o *Options) { o.Limits.Series = 100 })
	md := gauge("x", "", 1, h.now)
	for i := range 1000 {
		fill(metricOf(md).Gauge().DataPoints().AppendEmpty(), 1, h.now, "i", strings.Repeat("x", i))
	}
	n, why := rejected(t, h.otlp(md))
	if n < 700 || n > 901 || !strings.Contains(why, "too many different series") {
		t.Errorf("rejected %d of 1001: %s", n, why)
	}
	stored := len(h.samples)
	if again, _ := rejected(t, h.otlp(md)); again != n || len(h.samples) != 2*stored {
		t.Errorf("the second time %d of 1001 were rejected, want the same %d", again, n)
	}
	h.at(24 * time.Hour)
	if _, why := rejected(t, h.otlp(gauge("new", "", 1, h.now))); why != "" {
		t.Errorf("the next day: %s", why)
	}

	h = newHouse(func(o *Options) { o.Limits.Concurrent = 1 })
	h.door.gates.of("1").requests <- struct{}{}
	wantProblem(t, h.otlp(gauge("x", "", 1, h.now)), 429, core.CodeUnavailable)
}

// series is one time series of a remote write request.
type series struct {
	labels []string
	values []float64
	at     []time.Time
	native bool
}

func encode(list ...series) []byte {
	var out []byte
	for _, s := range list {
		var ts []byte
		for i := 0; i < len(s.labels); i += 2 {
			var l []byte
			l = protowire.AppendString(protowire.AppendTag(l, 1, protowire.BytesType), s.labels[i])
			l = protowire.AppendString(protowire.AppendTag(l, 2, protowire.BytesType), s.labels[i+1])
			ts = protowire.AppendBytes(protowire.AppendTag(ts, 1, protowire.BytesType), l)
		}
		for i, v := range s.values {
			var x []byte
			x = protowire.AppendFixed64(protowire.AppendTag(x, 1, protowire.Fixed64Type), math.Float64bits(v))
			x = protowire.AppendVarint(protowire.AppendTag(x, 2, protowire.VarintType), uint64(s.at[i].UnixMilli()))
			ts = protowire.AppendBytes(protowire.AppendTag(ts, 2, protowire.BytesType), x)
		}
		if s.native {
			ts = protowire.AppendBytes(protowire.AppendTag(ts, 4, protowire.BytesType), nil)
		}
		out = protowire.AppendBytes(protowire.AppendTag(out, 1, protowire.BytesType), ts)
	}
	return out
}

func (h *house) write(list ...series) *httptest.ResponseRecorder {
	return h.send("POST", "/api/v1/write", snappy.Encode(nil, encode(list...)), "Content-Type", "application/x-protobuf", "Content-Encoding", "snappy")
}

func TestRemoteWrite(t *testing.T) {
	h := newHouse(nil)
	w := h.write(
		series{labels: []string{"__name__", "up", "job", "node"}, values: []float64{1, 0}, at: []time.Time{h.now, h.now}},
		series{labels: []string{"__name__", "gone"}, values: []float64{math.Float64frombits(staleMarker)}, at: []time.Time{h.now}},
	)
	if w.Code != 204 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	wantLines(t, h, "up{job=node,site=fra} 0", "up{job=node,site=fra} 1")
	if h.count(t, "evenkeel_ingest_dropped_samples_total", "stale_marker") != 1 {
		t.Error("stale markers are not counted")
	}

	h = newHouse(nil)
	w = h.write(
		series{labels: []string{"__name__", "good"}, values: []float64{1}, at: []time.Time{h.now}},
		series{labels: []string{"__name__", "bad"}, values: []float64{math.NaN(), math.Inf(1), 1, 1}, at: []time.Time{h.now, h.now, h.now.Add(time.Hour), h.now.Add(-200 * 24 * time.Hour)}},
		series{labels: []string{"job", "unnamed"}, values: []float64{1}, at: []time.Time{h.now}},
		series{labels: []string{"__name__", "bad", "", "x"}, values: []float64{1}, at: []time.Time{h.now}},
		series{labels: []string{"__name__", "evenkeel_edge_requests_total"}, values: []float64{1}, at: []time.Time{h.now}},
		series{labels: []string{"__name__", "bad"}, native: true},
	)
	wantProblem(t, w, 400, core.CodeInvalid)
	if !strings.Contains(w.Body.String(), "refused 8 data points") {
		t.Errorf("got %s", w.Body)
	}
	for _, reason := range []string{"nan", "inf", "future", "too_old", "name", "labels", "not_allowed", "native_histogram"} {
		if got := h.count(t, "evenkeel_ingest_refused_samples_total", reason); got != 1 {
			t.Errorf("%s counted %v", reason, got)
		}
	}
	wantLines(t, h, "good{site=fra} 1")
	if len(h.facts) != 0 {
		t.Errorf("facts %+v", h.facts)
	}
}

func beat(h *house, role, agent string, t1 time.Time, offset, err time.Duration, known bool) *httptest.ResponseRecorder {
	body, _ := json.Marshal(map[string]any{
		"agent_id": agent, "role": role, "seq": 7, "boot_id": "b", "version": "0.1", "t1_unix_ns": t1.UnixNano(),
		"clock_known": known, "offset_ns": offset.Nanoseconds(), "error_ns": err.Nanoseconds(), "buffer_bytes": 1,
	})
	return h.send("POST", "/api/v1/agent/heartbeat", body)
}

func TestHeartbeatAndClocks(t *testing.T) {
	h := newHouse(func(o *Options) { o.Revision = func() int64 { return 9 } })
	skew := 90 * time.Second // the agent is ahead
	w := beat(h, "site", "a1", h.now.Add(skew), skew, 2*time.Millisecond, true)
	var answer struct {
		T2  int64 `json:"t2_unix_ns"`
		T3  int64 `json:"t3_unix_ns"`
		Rev int64 `json:"revision"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != 200 || answer.T2 != h.now.UnixNano() || answer.T3 < answer.T2 || answer.Rev != 9 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	if len(h.facts) != 1 {
		t.Fatalf("facts %+v", h.facts)
	}
	f := h.facts[0]
	if f.Kind != core.FactHeartbeat || f.Site != "fra" || f.Seq != 7 || !f.ClockKnown || !f.At().Equal(h.now) || f.Interval != time.Second {
		t.Errorf("fact %+v at %s", f, f.At())
	}

	// A fact of the same agent is put on the server's clock; the sample keeps its own time.
	h.at(time.Second)
	md := gauge("evenkeel.probe.state", "", 1, h.now.Add(skew), "target_site", "ams")
	md.ResourceMetrics().At(0).Resource().Attributes().PutStr("service.instance.id", "a1")
	rejected(t, h.otlp(md))
	f = h.facts[1]
	if !f.ClockKnown || !f.At().Equal(h.now) || f.ClockErr <= 2*time.Millisecond || f.ClockErr > 3*time.Millisecond || f.History(h.now) {
		t.Errorf("fact %+v", f)
	}

	// Its backlog is history, and counted as such.
	h.at(time.Minute)
	rejected(t, h.otlp(md))
	if !h.facts[2].History(h.now) || h.count(t, "evenkeel_ingest_facts_total", "history") != 1 {
		t.Errorf("fact %+v", h.facts[2])
	}

	// Without a name: the only agent's clock. With two agents: unknown.
	rejected(t, h.otlp(gauge("evenkeel.probe.state", "", 1, h.now.Add(skew))))
	if !h.facts[3].ClockKnown {
		t.Error("the only agent's clock was not taken")
	}
	beat(h, "host", "a2", h.now, 0, 0, true)
	if len(h.facts) != 4 {
		t.Error("a host has no vote, and so no heartbeat fact")
	}
	rejected(t, h.otlp(gauge("evenkeel.probe.state", "", 1, h.now)))
	if h.facts[4].ClockKnown {
		t.Error("one of two clocks was taken")
	}

	// A jump: nothing arrives before it was sent.
	beat(h, "site", "a1", h.now.Add(time.Hour), skew, time.Millisecond, true)
	if h.facts[5].ClockKnown || h.count(t, "evenkeel_ingest_clock_doubts_total", "ahead") != 1 {
		t.Errorf("an offset that cannot be true was believed: %+v", h.facts[5])
	}
	if c := h.door.clocks.get("1", "a1", h.now); c.known {
		t.Error("and kept")
	}
}

func TestFactsOfProbesEdgesAndLinks(t *testing.T) {
	h := newHouse(nil)
	about := []string{"target_site", "ams", "service", "checkout", "target", "checkout-http", "path", "user"}
	md := gauge("evenkeel.probe.state", "", 2, h.now, append(about, "reason", "timeout")...)
	fill(metricOf(md).Gauge().DataPoints().AppendEmpty(), 7, h.now, "target_site", "lon", "path", "private")
	ms := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
	m := ms.AppendEmpty()
	m.SetName("evenkeel.probe.duration")
	m.SetUnit("s")
	fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), 0.8, h.now, about...)
	m = ms.AppendEmpty()
	m.SetName("evenkeel.link.state")
	fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), 4, h.now, "link", "orders:fra>ams", "end", "target")
	rejected(t, h.otlp(md))
	if len(h.facts) != 3 {
		t.Fatalf("facts %+v", h.facts)
	}
	f := h.facts[0]
	if f.Kind != core.FactProbe || f.Site != "fra" || f.TargetSite != "ams" || f.Service != "checkout" || f.Target != "checkout-http" ||
		f.Path != "user" || f.State != uint8(core.ProbeDown) || f.Reason != "timeout" || f.Value != 0.8 || !f.ReceivedAt.Equal(h.now) || f.Interval != time.Second {
		t.Errorf("probe %+v", f)
	}
	if f := h.facts[1]; f.State != uint8(core.ProbeUnknown) || f.Path != "private" {
		t.Errorf("a state that is none: %+v", f)
	}
	if f := h.facts[2]; f.Kind != core.FactLink || f.Target != "orders:fra>ams" || f.State != uint8(core.LinkDown) {
		t.Errorf("link %+v", f)
	}
	for _, line := range h.lines() {
		if strings.Contains(line, "reason=") {
			t.Errorf("the reason was stored: %s", line)
		}
	}

	h = newHouse(nil)
	md = gauge("evenkeel.edge.requests", "{request}", 0, h.now)
	s := metricOf(md).SetEmptySum()
	s.SetIsMonotonic(true)
	s.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	fill(s.DataPoints().AppendEmpty(), 12, h.now, "target_site", "ams", "service", "checkout", "code_class", "5xx")
	rejected(t, h.otlp(md, "Authorization", "Bearer edge-token"))
	if len(h.facts) != 1 || h.facts[0].Kind != core.FactEdgeRequests || h.facts[0].Value != 12 || h.facts[0].Reason != "5xx" || h.facts[0].Site != "director" {
		t.Errorf("facts %+v", h.facts)
	}
	wantLines(t, h, "evenkeel_edge_requests_total{code_class=5xx,service=checkout,site=director,target_site=ams} 12")
}

// The figures of a look at a link belong to its state. The fast lane brings them for the fact alone: the bulk brings them to
// the store, where an outage does not lose them.
func TestFiguresOfLinks(t *testing.T) {
	about := []string{"link", "orders:fra>ams", "channel", "c1", "end", "target"}
	look := func(at time.Time) pmetric.Metrics {
		md := gauge("evenkeel.link.state", "", 2, at, append(about, "reason", "")...)
		ms := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics()
		for name, v := range map[string]float64{"lag.lower": 0.25, "lag.upper": 0.75, "exposure": 1.5, "link.age": 3} {
			m := ms.AppendEmpty()
			m.SetName("evenkeel.replication." + name)
			m.SetUnit("s")
			fill(m.SetEmptyGauge().DataPoints().AppendEmpty(), v, at, about...)
			fill(m.Gauge().DataPoints().AppendEmpty(), 99, at.Add(-5*time.Second), about...) // of another look
			fill(m.Gauge().DataPoints().AppendEmpty(), -1, at, "link", "orders:fra>ams", "channel", "c2", "end", "target")
		}
		fill(metricOf(md).Gauge().DataPoints().AppendEmpty(), 2, at, "link", "orders:fra>ams", "channel", "c2", "end", "target")
		return md
	}
	for _, lane := range []string{"fast", ""} {
		h := newHouse(nil)
		rejected(t, h.otlp(look(h.now), "Evenkeel-Lane", lane))
		if len(h.facts) != 2 {
			t.Fatalf("facts %+v", h.facts)
		}
		l := h.facts[0].Link
		if l == nil || l.Channel != "c1" || l.End != "target" || l.Lower == nil || *l.Lower != 0.25 || l.Upper == nil || *l.Upper != 0.75 ||
			l.Exposure == nil || *l.Exposure != 1.5 {
			t.Errorf("%q: %+v", lane, l)
		}
		if l := h.facts[1].Link; l.Channel != "c2" || l.Lower != nil || l.Upper != nil || l.Exposure != nil {
			t.Errorf("%q: a figure below zero is none: %+v", lane, l)
		}
		stored := 0
		for _, line := range h.lines() {
			if strings.Contains(line, "_replication_lag_") || strings.Contains(line, "_replication_exposure_") {
				stored++
			}
		}
		if want := map[string]int{"fast": 0, "": 9}[lane]; stored != want {
			t.Errorf("%q: %d figures stored, want %d: %v", lane, stored, want, h.lines())
		}
	}
}

func TestFactsAreFewAndSmall(t *testing.T) {
	h := newHouse(nil)
	md := gauge("evenkeel.probe.state", "", 1, h.now, "target", strings.Repeat("x", 3000))
	for range 2 * maxFacts {
		fill(metricOf(md).Gauge().DataPoints().AppendEmpty(), 1, h.now, "target_site", "ams")
	}
	rejected(t, h.otlp(md))
	if len(h.facts) != maxFacts || h.count(t, "evenkeel_ingest_dropped_samples_total", "fact") != maxFacts+1 {
		t.Errorf("%d facts", len(h.facts))
	}
}

func TestFactsThatAreNoNumbersAreNoFacts(t *testing.T) {
	h := newHouse(nil)
	n, _ := rejected(t, h.otlp(gauge("evenkeel.probe.state", "", math.NaN(), h.now, "target_site", "ams")))
	if n != 1 || len(h.facts) != 0 {
		t.Errorf("rejected %d, facts %+v", n, h.facts)
	}
}

func TestLongPoll(t *testing.T) {
	h := newHouse(nil)
	h.state = AgentState{
		Revision: Revision{ClusterID: "c", Epoch: 1, Revision: 5}, Site: "fra", Kind: "site", Sites: []string{"fra", "ams"},
		Probes:  []Probe{{Name: "checkout-http", TargetSite: "ams", Kind: "http", IntervalMS: 1000}},
		Desired: []Desired{{Service: "checkout", State: core.RoutingActive, Weight: 100}},
	}
	w := h.send("GET", "/api/v1/agent/state?cluster_id=&epoch=0&after=0&wait=25s", nil)
	for _, want := range []string{`"cluster_id":"c"`, `"epoch":1`, `"revision":5`, `"site":"fra"`, `"interval_ms":1000`, `"state":"active"`} {
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("got %d %s, want %s", w.Code, w.Body, want)
		}
	}
	for _, q := range []string{"epoch=x", "after=x", "wait=x", "wait=-1s", "cluster_id=" + strings.Repeat("x", 200)} {
		wantProblem(t, h.send("GET", "/api/v1/agent/state?"+q, nil), 400, core.CodeInvalid)
	}
	wantProblem(t, h.send("GET", "/api/v1/agent/state", nil, "Authorization", "Bearer edge-token"), 403, core.CodeForbidden)

	synctest.Test(t, func(t *testing.T) {
		h := newHouse(nil)
		h.state.Revision = Revision{ClusterID: "c", Epoch: 1, Revision: 5}
		start := time.Now()
		w := h.send("GET", "/api/v1/agent/state?cluster_id=c&epoch=1&after=5&wait=25s", nil)
		if w.Code != 204 || time.Since(start) != 25*time.Second {
			t.Errorf("got %d after %s", w.Code, time.Since(start))
		}
		done := make(chan *httptest.ResponseRecorder)
		go func() { done <- h.send("GET", "/api/v1/agent/state?cluster_id=c&epoch=1&after=5", nil) }()
		time.Sleep(time.Second)
		synctest.Wait()
		h.mu.Lock()
		h.state.Revision.Revision = 6
		close(h.changed)
		h.changed = make(chan struct{})
		h.mu.Unlock()
		if w := <-done; w.Code != 200 || !strings.Contains(w.Body.String(), `"revision":6`) {
			t.Errorf("got %d %s", w.Code, w.Body)
		}
	})
}

func TestOverARealServer(t *testing.T) {
	h := newHouse(nil)
	srv := httptest.NewServer(h.door.Handler())
	defer srv.Close()
	body, _ := pmetricotlp.NewExportRequestFromMetrics(gauge("x", "", 1, h.now)).MarshalProto()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/v1/metrics", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Authorization", "Bearer fra-token")
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("got %s", resp.Status)
	}
	wantLines(t, h, "x{site=fra} 1")
}
