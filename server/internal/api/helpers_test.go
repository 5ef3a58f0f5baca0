package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is the part of the server that this room does not have: what is true now, and the loop.
type world struct {
	mu       sync.Mutex
	topo     core.Topology
	seen     *core.Observation
	commands []core.Command
	reply    core.Reply
	broken   error
	quorum   error // why there is none
	pace     error // what it warns of
}

func (w *world) Topology() core.Topology { return w.topo }

func (w *world) Observation() (core.Observation, bool) {
	if w.seen == nil {
		return core.Observation{}, false
	}
	return *w.seen, true
}

func (w *world) Command(_ context.Context, c core.Command) (core.Reply, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commands = append(w.commands, c)
	return w.reply, w.broken
}

func (w *world) Stance() Stance {
	return Stance{Reason: "the mode is observe", Statistics: &core.Calibration{ChancePerYear: 1, Nominal: 0.5, Needed: 10}, Special: []core.SpecialTime{{Name: "sale", Sites: []string{"fra"}, Sentence: "special time at fra"}}}
}

func (w *world) Warming() []core.Warming {
	return []core.Warming{{Watch: "http-latency", Series: 2, Points: 40, Needed: 75, ReadyIn: 175, Sentence: "warming, 40 of 75 points, about 3 min"}}
}

// rig is a running server over a real ledger.
type rig struct {
	t      *testing.T
	ledger *ledger.Ledger
	world  *world
	// control stands for what app makes of the ledger and the executors.
	control *control
	url     string
	admin   string
	client  *http.Client
	logs    *bytes.Buffer
}

func start(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := l.CreateToken(t.Context(), "admin", "jo", nil)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, ledger: l, world: &world{topo: topology()}, control: &control{}, admin: secret.Reveal(), logs: &bytes.Buffer{}}
	o := Options{
		Records: l, Live: r.world, Commander: r.world, Tokens: l, Self: r.world,
		Control: r.control, Changes: l, Watches: r.world,
		Parts: []PartCheck{
			{Name: "ledger", Ready: l.Ready},
			{Name: "store", Ready: func(context.Context) error { return r.world.broken }},
			{Name: "quorum", Ready: func(context.Context) error { return r.world.quorum }, ForOrders: true},
			{Name: "pace", Ready: func(context.Context) error { return r.world.pace }, Warns: true},
		},
		Web: fstest.MapFS{
			"index.html":        {Data: []byte("<!doctype html><title>Evenkeel</title>")},
			"assets/a-1234.js":  {Data: []byte("1")},
			"assets/deep/x.css": {Data: []byte("a{}")},
		},
		Version: "test", Started: time.Now(), Registry: prometheus.NewRegistry(),
		Log: slog.New(slog.NewTextHandler(&locked{w: r.logs}, nil)),
	}
	for _, f := range change {
		f(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base, stop := context.WithCancel(context.Background())
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: time.Second, BaseContext: func(net.Listener) context.Context { return base },
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	r.url = "http://" + ln.Addr().String()
	r.client = &http.Client{Transport: newContract(t)}
	t.Cleanup(func() {
		stop()
		r.client.CloseIdleConnections()
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// locked makes a buffer safe for the goroutines of a server.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// contract holds every answer of the API against the document.
type contract struct {
	t      *testing.T
	next   *http.Transport
	router routers.Router
}

func load(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return doc
}

func newContract(t *testing.T) *contract {
	t.Helper()
	router, err := legacy.NewRouter(load(t))
	if err != nil {
		t.Fatal(err)
	}
	return &contract{t: t, next: http.DefaultTransport.(*http.Transport).Clone(), router: router}
}

func (c *contract) CloseIdleConnections() { c.next.CloseIdleConnections() }

func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := c.next.RoundTrip(r)
	if err != nil || res.Header.Get("Content-Type") == "text/event-stream" {
		return res, err
	}
	plain := r.Clone(r.Context())
	plain.URL.Scheme, plain.URL.Host, plain.Host = "", "", ""
	route, params, err := c.router.FindRoute(plain)
	if err != nil {
		return res, nil // no operation of the document
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(body))
	switch res.Header.Get("Content-Type") {
	case "application/yaml", "application/octet-stream":
		return res, nil
	}
	in := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: plain, PathParams: params, Route: route},
		Status:                 res.StatusCode, Header: res.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(r.Context(), in.SetBodyBytes(body)); err != nil {
		c.t.Errorf("%s %s answers %s, which the document does not know: %v", r.Method, r.URL.Path, body, err)
	}
	return res, nil
}

type call struct {
	method, path, body, token string
	header                    map[string]string
	host                      string
}

// do sends a request and returns status, body and headers.
func (r *rig) do(c call) (int, string, http.Header) {
	r.t.Helper()
	method := c.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+c.path, strings.NewReader(c.body))
	if err != nil {
		r.t.Fatal(err)
	}
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	for k, v := range c.header {
		req.Header.Set(k, v)
	}
	req.Host = c.host
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(body), res.Header
}

// get decodes a 200.
func get[T any](r *rig, path string) (out T) {
	r.t.Helper()
	code, body, _ := r.do(call{path: path})
	if code != http.StatusOK {
		r.t.Errorf("GET %s answers %d %s", path, code, body)
		return out
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		r.t.Errorf("GET %s: %v", path, err)
	}
	return out
}

// refused checks that a call answers a problem with the status and the code.
func (r *rig) refused(c call, status int, code string) Problem {
	r.t.Helper()
	got, body, header := r.do(c)
	var p Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || header.Get("Content-Type") != "application/problem+json" {
		r.t.Errorf("%s %s answers %d %q, want a problem", c.method, c.path, got, body)
	}
	if got != status || string(p.Code) != code || p.Status != status || p.Title == "" {
		r.t.Errorf("%s %s answers %d %s, want %d %s", c.method, c.path, got, body, status, code)
	}
	return p
}

func (r *rig) commit(changes ...core.Change) int64 {
	r.t.Helper()
	rev, err := r.ledger.Commit(r.t.Context(), changes)
	if err != nil {
		r.t.Fatal(err)
	}
	return rev
}

func topology() core.Topology {
	return core.Topology{
		Revision: 3, Lab: true, Witnesses: []string{"lon"},
		Sites: []core.Site{
			{Name: "fra", TimeZone: "Europe/Berlin", Region: "eu", Capacity: map[string]float64{"checkout": 1200}},
			{Name: "ams", Region: "eu", Pattern: "same-city"},
		},
		Services: []core.Service{{Name: "checkout", Entries: map[string]string{"fra": "https://fra.example.net/", "ams": "https://ams.example.net/"}}},
	}
}
