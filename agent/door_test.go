package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

const testToken = "ekst_door_test_token"

// sample is one data point as the door saw it.
type sample struct {
	name       string
	value      float64
	attributes map[string]string
	resource   map[string]string
	at         time.Time
	received   time.Time
	fast       bool
	encoding   string
}

// door speaks the server's side of the contract: authenticated OTLP, heartbeats, the state long-poll.
type door struct {
	*httptest.Server
	mu      sync.Mutex
	samples []sample
	fast    int // requests of the fast lane
	beats   []map[string]any
	refused int // requests without the right token
	state   map[string]any
	newer   chan struct{}
}

// openDoor listens on address, or anywhere when it is empty.
func openDoor(t *testing.T, address string) *door {
	t.Helper()
	d := &door{newer: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/metrics", d.metrics)
	mux.HandleFunc("POST /api/v1/agent/heartbeat", d.heartbeat)
	mux.HandleFunc("GET /api/v1/agent/state", d.poll)
	d.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+testToken {
			d.mu.Lock()
			d.refused++
			d.mu.Unlock()
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	if address != "" {
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = d.Listener.Close()
		d.Listener = listener
	}
	d.Start()
	t.Cleanup(d.close)
	return d
}

func (d *door) close() {
	d.CloseClientConnections()
	d.Close()
}

func (d *door) metrics(w http.ResponseWriter, r *http.Request) {
	reader := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reader = unzipped
	}
	raw, err := io.ReadAll(reader)
	req := pmetricotlp.NewExportRequest()
	if err != nil || r.Header.Get("Content-Type") != "application/x-protobuf" || req.UnmarshalProto(raw) != nil {
		http.Error(w, "no OTLP protobuf", http.StatusBadRequest)
		return
	}
	d.file(req.Metrics(), r)
	body, _ := pmetricotlp.NewExportResponse().MarshalProto()
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(body)
}

func (d *door) file(md pmetric.Metrics, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Header.Get("Evenkeel-Lane") == "fast" {
		d.fast++
	}
	for _, rm := range md.ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				points := pmetric.NewNumberDataPointSlice()
				switch m.Type() {
				case pmetric.MetricTypeGauge:
					points = m.Gauge().DataPoints()
				case pmetric.MetricTypeSum:
					points = m.Sum().DataPoints()
				default:
				}
				for _, p := range points.All() {
					value := p.DoubleValue()
					if p.ValueType() == pmetric.NumberDataPointValueTypeInt {
						value = float64(p.IntValue())
					}
					d.samples = append(d.samples, sample{
						name: m.Name(), value: value, attributes: texts(p.Attributes()),
						resource: texts(rm.Resource().Attributes()), at: p.Timestamp().AsTime(), received: time.Now(),
						fast: r.Header.Get("Evenkeel-Lane") == "fast", encoding: r.Header.Get("Content-Encoding"),
					})
				}
			}
		}
	}
}

func texts(m pcommon.Map) map[string]string {
	out := map[string]string{}
	for key, value := range m.All() {
		out[key] = value.AsString()
	}
	return out
}

func (d *door) heartbeat(w http.ResponseWriter, r *http.Request) {
	t2 := time.Now().UnixNano()
	var beat map[string]any
	if err := json.NewDecoder(r.Body).Decode(&beat); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	d.mu.Lock()
	d.beats = append(d.beats, beat)
	d.mu.Unlock()
	_, _ = fmt.Fprintf(w, `{"t2_unix_ns":%d,"t3_unix_ns":%d,"revision":1}`, t2, time.Now().UnixNano())
}

func (d *door) poll(w http.ResponseWriter, r *http.Request) {
	after, _ := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	wait, err := time.ParseDuration(r.URL.Query().Get("wait"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	timeout := time.After(wait)
	for {
		d.mu.Lock()
		state, newer := d.state, d.newer
		d.mu.Unlock()
		if state != nil && int64(state["revision"].(int)) > after {
			_ = json.NewEncoder(w).Encode(state)
			return
		}
		select {
		case <-newer:
		case <-timeout:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-r.Context().Done():
			return
		}
	}
}

// publish puts a state up for the long-poll.
func (d *door) publish(revision int, probes ...map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = map[string]any{
		"cluster_id": "c_test", "epoch": 1, "revision": revision, "site": "fra", "kind": "site",
		"sites": []string{"fra", "ams"}, "probes": probes, "desired": []any{}, "servers": []any{},
	}
	close(d.newer)
	d.newer = make(chan struct{})
}

func probeOf(name, kind, url string) map[string]any {
	return map[string]any{
		"name": name, "target_site": "ams", "service": "checkout", "path": "user", "kind": kind, "url": url,
		"interval_ms": 1000, "deadline_ms": 800, "phase_ms": 100,
	}
}

// seen lists the samples of a metric about a target; an empty target takes all.
func (d *door) seen(name, target string) []sample {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []sample
	for _, s := range d.samples {
		if s.name == name && (target == "" || s.attributes["target"] == target) {
			out = append(out, s)
		}
	}
	return out
}

// fastTaken is how many requests of the fast lane have come.
func (d *door) fastTaken() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fast
}

func (d *door) heartbeats() []map[string]any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]map[string]any(nil), d.beats...)
}
