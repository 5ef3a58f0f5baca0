package ingest

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/golang/snappy"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// check is what holds for every answer to any bytes: no 5xx, and nothing in the store or with health that the
// contract forbids.
func check(t *testing.T, h *house, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= 500 {
		t.Fatalf("got %d %s", w.Code, w.Body)
	}
	for _, s := range h.samples {
		if _, ok := checkValue(s.Value); !ok || s.Name == "" || s.AtMS > h.now.Add(maxAhead).UnixMilli() {
			t.Fatalf("stored %+v", s)
		}
		site := 0
		for i, l := range s.Labels {
			if i > 0 && s.Labels[i-1].Name >= l.Name {
				t.Fatalf("labels out of order: %+v", s)
			}
			if l.Name == siteLabel {
				site++
				if l.Value != "fra" {
					t.Fatalf("stored for another site: %+v", s)
				}
			}
		}
		if site != 1 {
			t.Fatalf("stored with %d sites: %+v", site, s)
		}
	}
	for _, f := range h.facts {
		if f.Site != "fra" || f.Kind == core.FactUnknown || f.Kind == core.FactEdgeRequests || f.Kind == core.FactEdgeWeight {
			t.Fatalf("fact %+v", f)
		}
		if _, ok := checkValue(f.Value); !ok {
			t.Fatalf("fact %+v", f)
		}
	}
}

func FuzzOTLP(f *testing.F) {
	now := newHouse(nil).now
	md := gauge("evenkeel.probe.state", "", 1, now, "target_site", "ams", "reason", "x")
	md.ResourceMetrics().At(0).Resource().Attributes().PutStr("service.instance.id", "a")
	m := md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().AppendEmpty()
	m.SetName("h")
	m.SetEmptyHistogram().SetAggregationTemporality(2)
	p := m.Histogram().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(now))
	p.ExplicitBounds().FromRaw([]float64{1, 2})
	p.BucketCounts().FromRaw([]uint64{1, 2, 3})
	req := pmetricotlp.NewExportRequestFromMetrics(md)
	proto, _ := req.MarshalProto()
	js, _ := req.MarshalJSON()
	f.Add(proto, false)
	f.Add(js, true)
	f.Add([]byte(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"site","value":{"arrayValue":{}}}]},"scopeMetrics":[{"metrics":[{"name":"x","gauge":{"dataPoints":[{"asDouble":"NaN"}]}}]}]}]}`), true)
	f.Fuzz(func(t *testing.T, body []byte, isJSON bool) {
		h := newHouse(func(o *Options) { o.Limits.Series = 1000 })
		content := contentProtobuf
		if isJSON {
			content = contentJSON
		}
		check(t, h, h.send("POST", "/v1/metrics", body, "Content-Type", content))
	})
}

func FuzzRemoteWrite(f *testing.F) {
	now := newHouse(nil).now
	f.Add(encode(series{labels: []string{"__name__", "evenkeel_probe_state", "site", "ams", "a", "b", "a", "c"}, values: []float64{1}, at: []time.Time{now}}))
	f.Fuzz(func(t *testing.T, body []byte) {
		h := newHouse(func(o *Options) { o.Limits.Series = 1000 })
		check(t, h, h.send("POST", "/api/v1/write", snappy.Encode(nil, body)))
		check(t, h, h.send("POST", "/api/v1/write", body))
	})
}

func FuzzHeartbeat(f *testing.F) {
	f.Add([]byte(`{"agent_id":"a","role":"site","seq":1,"t1_unix_ns":1795000000000000000,"clock_known":true,"offset_ns":5,"error_ns":5}`))
	f.Add([]byte(`{"agent_id":"a","role":"site","seq":1,"t1_unix_ns":9223372036854775807,"clock_known":true,"offset_ns":-315360000000000000,"error_ns":315360000000000000}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		h := newHouse(func(o *Options) { o.Limits.Series = 1000 })
		check(t, h, h.send("POST", "/api/v1/agent/heartbeat", body))
		check(t, h, h.otlp(gauge("evenkeel.probe.state", "", 1, h.now)))
	})
}

func FuzzState(f *testing.F) {
	f.Add("cluster_id=c&epoch=1&after=2&wait=0s")
	f.Fuzz(func(t *testing.T, query string) {
		h := newHouse(func(o *Options) { o.Limits.Series = 1000 })
		h.state.Revision.Revision = 1
		r := httptest.NewRequest("GET", "/api/v1/agent/state", nil)
		r.URL.RawQuery = query
		r.Header.Set("Authorization", "Bearer fra-token")
		w := httptest.NewRecorder()
		h.door.Handler().ServeHTTP(w, r)
		check(t, h, w)
	})
}
