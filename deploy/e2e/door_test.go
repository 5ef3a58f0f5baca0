package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

const protobuf = "application/x-protobuf"

// visitor is somebody with bad manners at a bench's door.
type visitor struct {
	*bench
	client *http.Client
}

// send posts to a path with a token.
func (v *visitor) send(path, token string, body []byte, header ...string) Answer {
	v.t.Helper()
	return must[Answer](v.t)(Post(v.t.Context(), v.client, v.URL+path, token, body, header...))
}

// counted runs f and reports by how much a counter of /metrics grew.
func (v *visitor) counted(series string, f func()) float64 {
	v.t.Helper()
	before, _ := v.Metric(v.t.Context(), series) // a status that was never answered has no series yet
	f()
	after, err := v.Metric(v.t.Context(), series)
	if err != nil {
		v.t.Error(err)
	}
	return after - before
}

// refused expects a problem with a status, and that it is counted.
func (v *visitor) refused(what, path, route string, status int, token string, body []byte, header ...string) {
	v.t.Helper()
	series := fmt.Sprintf("evenkeel_ingest_requests_total{route=%q,status=\"%d\"}", route, status)
	n := v.counted(series, func() {
		a := v.send(path, token, body, header...)
		var p struct {
			Status            int
			Title, Code, Hint string
		}
		if err := json.Unmarshal([]byte(a.Body), &p); a.Status != status || err != nil || p.Status != status || p.Code == "" || p.Hint == "" {
			v.t.Errorf("%s: answered %d %.300s, want a problem %d with a code and a hint", what, a.Status, a.Body, status)
		}
	})
	if n != 1 {
		v.t.Errorf("%s: %s grew by %g", what, series, n)
	}
}

// partly expects that all of an export is taken but some points, and that these are counted by their reason.
func (v *visitor) partly(what, reason, word string, points int64, token string, body []byte, content string) {
	v.t.Helper()
	series := fmt.Sprintf("evenkeel_ingest_refused_samples_total{reason=%q}", reason)
	n := v.counted(series, func() {
		a := v.send("/v1/metrics", token, body, "Content-Type", content)
		resp := pmetricotlp.NewExportResponse()
		err := resp.UnmarshalJSON([]byte(a.Body))
		if content == protobuf {
			err = resp.UnmarshalProto([]byte(a.Body))
		}
		said := resp.PartialSuccess()
		if a.Status != 200 || err != nil || said.RejectedDataPoints() != points || !strings.Contains(said.ErrorMessage(), word) {
			v.t.Errorf("%s: answered %d, %d rejected: %q (%v), want %d with %q", what, a.Status, said.RejectedDataPoints(), said.ErrorMessage(), err, points, word)
		}
	})
	if n != float64(points) {
		v.t.Errorf("%s: %s grew by %g, want %d", what, series, n, points)
	}
}

// export is one gauge, changed by its maker, as protobuf.
func (v *visitor) export(name string, change func(pmetric.Metric)) []byte {
	v.t.Helper()
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	change(m)
	return must[[]byte](v.t)(pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto())
}

func gauge(value float64, at time.Time, attrs ...string) func(pmetric.Metric) {
	return func(m pmetric.Metric) {
		p := m.SetEmptyGauge().DataPoints().AppendEmpty()
		point(p, value, at, attrs...)
	}
}

func point(p pmetric.NumberDataPoint, value float64, at time.Time, attrs ...string) {
	p.SetDoubleValue(value)
	p.SetTimestamp(pcommon.NewTimestampFromTime(at))
	for i := 0; i+1 < len(attrs); i += 2 {
		p.Attributes().PutStr(attrs[i], attrs[i+1])
	}
}

func zipped(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	block := bytes.Repeat([]byte(" "), 1<<20)
	for range size >> 20 {
		if _, err := z.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestBadMannersAtTheDoor: what cannot be believed is refused with a reason and counted, nothing of it is stored, and
// nobody else notices.
func TestBadMannersAtTheDoor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	v := &visitor{bench: b, client: &http.Client{Timeout: 30 * time.Second}}
	defer v.client.CloseIdleConnections()
	fra, pid := b.fleet.Tokens["fra"], b.Process.PID()
	admin := strings.TrimSpace(string(must[[]byte](t)(os.ReadFile(filepath.Join(b.Data, "admin.token")))))
	now := time.Now()
	otlp := func(what string, status int, token string, body []byte, header ...string) {
		t.Helper()
		v.refused(what, "/v1/metrics", "otlp", status, token, body, header...)
	}

	otlp("broken JSON", 400, fra, []byte(`{"resourceMetrics":[`))
	otlp("JSON that is no export", 400, fra, []byte(`[1,2]`))
	otlp("garbage", 400, fra, bytes.Repeat([]byte{0xff}, 1000), "Content-Type", protobuf)
	otlp("text", 415, fra, []byte("up 1"), "Content-Type", "text/plain")
	otlp("a gzip that is none", 400, fra, []byte("{}"), "Content-Encoding", "gzip")
	otlp("9 MiB", 413, fra, make([]byte, 9<<20), "Content-Type", protobuf)
	otlp("a bomb of 80 MiB", 413, fra, zipped(t, 80<<20), "Content-Type", protobuf, "Content-Encoding", "gzip")
	otlp("a bomb of JSON", 413, fra, zipped(t, 20<<20), "Content-Encoding", "gzip")
	otlp("no token", 401, "", []byte("{}"))
	otlp("a wrong token", 401, fra+"x", []byte("{}"))
	otlp("an admin's token", 403, admin, []byte("{}"))
	v.refused("a broken remote write", "/api/v1/write", "remote_write", 400, fra, []byte("\xff\xff\xff"), "Content-Type", protobuf, "Content-Encoding", "snappy")
	v.refused("remote write 2", "/api/v1/write", "remote_write", 415, fra, nil, "X-Prometheus-Remote-Write-Version", "2.0.0")
	v.refused("a broken heartbeat", "/api/v1/agent/heartbeat", "heartbeat", 400, fra, []byte(`{"agent_id":`))
	v.refused("a heartbeat of nobody", "/api/v1/agent/heartbeat", "heartbeat", 400, fra, []byte(`{"role":"site","t1_unix_ns":1}`))
	v.refused("a heartbeat of 20 KiB", "/api/v1/agent/heartbeat", "heartbeat", 413, fra, make([]byte, 20<<10))

	v.partly("NaN", "nan", "NaN", 1, fra, v.export("e2e_bad_nan", gauge(math.NaN(), now)), protobuf)
	v.partly("Inf", "inf", "infinite", 1, fra, v.export("e2e_bad_inf", gauge(math.Inf(-1), now)), protobuf)
	v.partly("a clock 1 h ahead", "future", "clock", 1, fra, v.export("e2e_bad_future", gauge(1, now.Add(time.Hour))), protobuf)
	v.partly("a year ago", "too_old", "retention", 1, fra, v.export("e2e_bad_old", gauge(1, now.AddDate(-1, 0, 0))), protobuf)
	v.partly("a delta sum", "temporality", "cumulative", 1, fra, v.export("e2e_bad_delta", func(m pmetric.Metric) {
		s := m.SetEmptySum()
		s.SetIsMonotonic(true)
		s.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
		point(s.DataPoints().AppendEmpty(), 5, now)
	}), protobuf)
	v.partly("an edge metric of a site", "not_allowed", "edge", 1, fra,
		v.export("evenkeel.edge.weight", gauge(0, now, "target_site", "ams", "service", "e2e-bad")), protobuf)
	v.partly("a probe of the edge", "not_allowed", "edge", 1, b.fleet.Tokens[EdgeName],
		v.export("evenkeel.probe.state", gauge(2, now, "target_site", "ams", "service", "e2e-bad", "target", "t", "path", "user")), protobuf)
	v.partly("a clock ahead among good ones, as JSON", "future", "clock", 1, fra, must[[]byte](t)(Export("agent-fra", now,
		Metric{Name: "e2e_good_first", Points: []Point{{Value: 1, At: now}}}, Metric{Name: "e2e_bad_json", Points: []Point{{Value: 1, At: now.Add(time.Hour)}}},
	)), "application/json")

	if n := v.counted(`evenkeel_ingest_replaced_labels_total{label="site"}`, func() {
		if a := v.send("/v1/metrics", fra, v.export("e2e_whose", gauge(1, now, "site", "ams")), "Content-Type", protobuf); a.Status != 200 {
			t.Errorf("someone else's site: answered %d %s", a.Status, a.Body)
		}
	}); n != 1 {
		t.Errorf("someone else's site was counted %g times", n)
	}
	if n := v.counted(`evenkeel_ingest_clock_doubts_total{reason="ahead"}`, func() {
		beat := must[[]byte](t)(json.Marshal(map[string]any{
			"agent_id": "agent-ahead", "role": "host", "seq": 1, "t1_unix_ns": time.Now().Add(time.Hour).UnixNano(),
			"clock_known": true, "offset_ns": 0, "error_ns": 1000,
		}))
		if a := v.send("/api/v1/agent/heartbeat", fra, beat); a.Status != 200 {
			t.Errorf("a heartbeat 1 h ahead: answered %d %s", a.Status, a.Body)
		}
	}); n != 1 {
		t.Errorf("a heartbeat 1 h ahead was doubted %g times", n)
	}

	v.storedOnly(fra)
	if b.Process.PID() != pid || b.Ready(t.Context()) != nil {
		t.Error("the server did not stand it")
	}
	b.calm()
	if list := must[[]Action](t)(b.Actions(t.Context())); len(list) > 0 {
		t.Errorf("bad manners made it act: %s", brief(list))
	}
}

// storedOnly checks that a good sample came into the store, under the right name, and none of the bad ones.
func (v *visitor) storedOnly(token string) {
	v.t.Helper()
	if a := v.send("/v1/metrics", token, v.export("e2e_good_last", gauge(7, time.Now())), "Content-Type", protobuf); a.Status != 200 {
		v.t.Errorf("a good sample: answered %d %s", a.Status, a.Body)
	}
	v.until(time.Minute, "the good samples are stored", func() error {
		list, err := v.Query(v.t.Context(), `last_over_time({__name__=~"e2e_good_.*|e2e_whose"}[5m])`)
		if err == nil && len(list) != 3 {
			err = fmt.Errorf("stored: %v", list)
		}
		for _, s := range list {
			if s.Labels["site"] != "fra" {
				err = fmt.Errorf("stored under another's name: %v", s)
			}
		}
		return err
	})
	if list, err := v.Query(v.t.Context(), `count_over_time({__name__=~"e2e_good.*"}[3h] offset -2h)`); err != nil || len(list) != 2 {
		v.t.Errorf("the window in which the bad ones are looked for does not even have the good ones: %v, %v", list, err)
	}
	for _, expr := range []string{
		`count_over_time({__name__=~"e2e_bad.*"}[3h] offset -2h)`, // from an hour ago to two hours ahead
		`count_over_time({service="e2e-bad"}[3h] offset -2h)`,
		`count_over_time({__name__="e2e_bad_old"}[400d])`,
		`{__name__="e2e_whose",site!="fra"}`,
	} {
		if list, err := v.Query(v.t.Context(), expr); err != nil || len(list) > 0 {
			v.t.Errorf("%s: %v, %v", expr, list, err)
		}
	}
}
