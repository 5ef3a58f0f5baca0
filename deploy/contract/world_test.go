package contract

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/receiver"
)

const (
	beat = 500 * time.Millisecond // between two rounds of facts
	rate = 30.0                   // requests a second of all users together
)

func sites() []string { return []string{"fra", "ams", "lon"} }

// world is three sites, an edge and an executor that live in the test. It tells a server what agents and an edge would
// tell, as OTLP/HTTP JSON and heartbeats.
type world struct {
	t      *testing.T
	srv    *server
	tokens map[string]string // by writer
	began  time.Time
	silent bool // no agents: only the edge speaks

	mu      sync.Mutex
	down    map[string]bool
	weight  map[string]float64 // percent of normal
	surge   map[string]float64 // factor on the site's requests
	count   map[string]map[string]float64
	last    time.Time
	seq     int
	refused []string // answers of the door that were not 200
}

// newWorld makes the tokens of all writers; the server must run.
func newWorld(t *testing.T, s *server) *world {
	t.Helper()
	w := &world{
		t: t, srv: s, tokens: map[string]string{"director": s.token("edge", "director")}, began: time.Now(),
		down: map[string]bool{}, weight: map[string]float64{}, surge: map[string]float64{}, count: map[string]map[string]float64{},
	}
	for _, site := range sites() {
		w.tokens[site] = s.token("site", site)
		w.weight[site], w.surge[site] = 100, 1
		w.count[site] = map[string]float64{"2xx": 0, "error": 0}
	}
	return w
}

// run tells the world until the test ends. What the server does not take while it is down is not repeated: the next
// round says the same.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	w.t.Cleanup(func() {
		cancel()
		<-done
	})
	go func() {
		defer close(done)
		tick := time.NewTicker(beat)
		defer tick.Stop()
		for {
			w.round(time.Now())
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
}

func (w *world) setDown(site string, down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down[site] = down
}

func (w *world) setSurge(site string, factor float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.surge[site] = factor
}

// round sends one beat of everybody.
func (w *world) round(at time.Time) {
	type message struct {
		path, writer string
		body         []byte
	}
	var out []message
	w.mu.Lock()
	w.advance(at)
	w.seq++
	out = append(out, message{"/v1/metrics", "director", w.edgeReport(at)})
	for _, site := range sites() {
		if w.silent {
			break
		}
		out = append(out, message{"/v1/metrics", site, w.probes(site, at)}, message{"/api/v1/agent/heartbeat", site, w.heartbeat(site, at)})
	}
	w.mu.Unlock()
	var all sync.WaitGroup
	for _, m := range out {
		all.Go(func() {
			status, answer, err := w.srv.post(m.path, w.tokens[m.writer], m.body)
			if err == nil && (status != http.StatusOK || strings.Contains(answer, "rejectedDataPoints")) {
				w.mu.Lock()
				w.refused = append(w.refused, fmt.Sprintf("%s of %s: %d %s", m.path, m.writer, status, answer))
				w.mu.Unlock()
			}
		})
	}
	all.Wait()
}

// advance counts the users' requests since the last round, split by weight.
func (w *world) advance(at time.Time) {
	if w.last.IsZero() {
		w.last = at
	}
	seconds := at.Sub(w.last).Seconds()
	w.last = at
	total := 0.0
	for _, p := range w.weight {
		total += p
	}
	for _, site := range sites() {
		if total == 0 {
			continue
		}
		class := "2xx"
		if w.down[site] {
			class = "error"
		}
		w.count[site][class] += rate * seconds * w.weight[site] / total * w.surge[site]
	}
}

type attr map[string]string

func (a attr) list() []any {
	var out []any
	for _, name := range slices.Sorted(maps.Keys(a)) {
		out = append(out, map[string]any{"key": name, "value": map[string]any{"stringValue": a[name]}})
	}
	return out
}

func nano(at time.Time) string { return fmt.Sprint(at.UnixNano()) }

func gaugePoint(at time.Time, v float64, a attr) map[string]any {
	return map[string]any{"timeUnixNano": nano(at), "asDouble": v, "attributes": a.list()}
}

func gauge(name, unit string, points ...any) map[string]any {
	return map[string]any{"name": name, "unit": unit, "gauge": map[string]any{"dataPoints": points}}
}

func sum(name, unit string, points ...any) map[string]any {
	return map[string]any{"name": name, "unit": unit, "sum": map[string]any{
		"isMonotonic": true, "aggregationTemporality": 2, "dataPoints": points,
	}}
}

func sumPoint(start, at time.Time, v float64, a attr) map[string]any {
	p := gaugePoint(at, v, a)
	p["startTimeUnixNano"] = nano(start)
	return p
}

// export is one OTLP/HTTP JSON request.
func export(agent string, metrics ...any) []byte {
	b, err := json.Marshal(map[string]any{"resourceMetrics": []any{map[string]any{
		"resource":     map[string]any{"attributes": attr{"service.instance.id": agent}.list()},
		"scopeMetrics": []any{map[string]any{"scope": map[string]any{"name": "contract"}, "metrics": metrics}},
	}}})
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	return b
}

func (w *world) edgeReport(at time.Time) []byte {
	var requests, weights, durations []any
	for _, site := range sites() {
		for _, class := range slices.Sorted(maps.Keys(w.count[site])) {
			requests = append(requests, sumPoint(w.began, at, w.count[site][class], attr{"target_site": site, "service": "checkout", "code_class": class}))
		}
		weights = append(weights, gaugePoint(at, w.weight[site], attr{"target_site": site, "service": "checkout"}))
		good := int(w.count[site]["2xx"])
		durations = append(durations, map[string]any{
			"timeUnixNano": nano(at), "startTimeUnixNano": nano(w.began), "attributes": attr{"target_site": site, "service": "checkout"}.list(),
			"count": fmt.Sprint(good), "sum": 0.02 * float64(good), "explicitBounds": []float64{0.01, 0.1, 1},
			"bucketCounts": []string{"0", fmt.Sprint(good), "0", "0"},
		})
	}
	return export("director-1", sum("evenkeel.edge.requests", "{request}", requests...), gauge("evenkeel.edge.weight", "%", weights...),
		map[string]any{"name": "evenkeel.edge.duration", "unit": "s", "histogram": map[string]any{"aggregationTemporality": 2, "dataPoints": durations}})
}

func (w *world) probes(from string, at time.Time) []byte {
	var states, durations []any
	for _, site := range sites() {
		a := attr{"target_site": site, "service": "checkout", "target": "checkout-http", "path": "user"}
		durations = append(durations, gaugePoint(at, 0.003, maps.Clone(a)))
		state := 1.0
		if w.down[site] {
			state, a["reason"] = 2, "refused"
		}
		states = append(states, gaugePoint(at, state, a))
	}
	return export(from+"-agent", gauge("evenkeel.probe.state", "", states...), gauge("evenkeel.probe.duration", "s", durations...))
}

func (w *world) heartbeat(site string, at time.Time) []byte {
	b, err := json.Marshal(map[string]any{
		"agent_id": site + "-agent", "role": "site", "seq": w.seq, "boot_id": "b-" + site, "version": "test",
		"t1_unix_ns": at.UnixNano(), "clock_known": true, "offset_ns": 0, "error_ns": int64(20 * time.Millisecond),
	})
	if err != nil {
		panic(err) // a map of strings and numbers
	}
	return b
}

// checkDoor fails the test when the door refused something.
func (w *world) checkDoor() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.refused) > 0 {
		w.t.Errorf("the door refused %d requests, the first: %s", len(w.refused), w.refused[0])
	}
}

// executor is the director's end: the shipped receiver, which sets the weights of a world that is made later.
type executor struct {
	url     string
	keyFile string
	mu      sync.Mutex
	world   *world
	failing int // answers of 503 that are left
	applied []string
}

func newExecutor(t *testing.T) *executor {
	t.Helper()
	dir := t.TempDir()
	text := remediations.GenerateSecret()
	x := &executor{keyFile: filepath.Join(dir, "director.key")}
	if err := os.WriteFile(x.keyFile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	secret, err := remediations.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	r, err := receiver.New(receiver.Options{
		Secrets: []remediations.Secret{secret}, AdoptFirst: true, StateFile: filepath.Join(dir, "state.json"), Apply: x.apply,
	})
	if err != nil {
		t.Fatal(err)
	}
	x.url = serveHere(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked := strings.HasPrefix(req.Header.Get(remediations.HeaderID), "preflight_") // a question, which comes by itself
		if !asked && x.fails() {
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		r.ServeHTTP(w, req)
	}))
	return x
}

func (x *executor) fails() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failing > 0 {
		x.failing--
		return true
	}
	return false
}

// fail answers the next n commands with 503.
func (x *executor) fail(n int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failing = n
}

func (x *executor) of(w *world) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.world = w
}

func (x *executor) apply(_ context.Context, c receiver.Command) (receiver.State, error) {
	x.mu.Lock()
	w := x.world
	x.applied = append(x.applied, fmt.Sprintf("%s %d", c.Site, c.Step.Weight))
	x.mu.Unlock()
	if w != nil {
		w.mu.Lock()
		w.weight[c.Site] = float64(c.Step.Weight)
		w.mu.Unlock()
	}
	return receiver.State{State: remediations.StateDone, Weight: float64(c.Step.Weight)}, nil
}

// config is a configuration for the world, with the executor's address and what else is to be in it.
func config(x *executor, more ...string) string {
	var b strings.Builder
	b.WriteString("lab: true\nsites:\n")
	for _, site := range sites() {
		fmt.Fprintf(&b, "  - {name: %s, time_zone: UTC, region: eu, pattern: same-city, capacity: {checkout: 1000}}\n", site)
	}
	b.WriteString("services:\n  - name: checkout\n    entries:\n")
	for _, site := range sites() {
		fmt.Fprintf(&b, "      %s: \"http://checkout.%s.example.net/healthz\"\n", site, site)
	}
	fmt.Fprintf(&b, `policies:
  - {name: dead-service, when: {condition: failing, classes: [outside, inside]}, hold: 2s, plan: drain, mode: automatic}
  - {name: restore, when: {condition: healthy}, hold: 2s, plan: restore, mode: automatic}
guards: {max_drained_sites: 1, min_serving: 1, cooldown: 1s, budget: {per_hour: 100, per_day: 1000}, close_after: 1s}
targets:
  - {name: director, type: webhook, url: "%s/hooks/evenkeel", secret: "${file:%s}", allow_private: true}
plans:
  drain:
    - {target: director, weights: [0], verify: {share_below: 1%%, within: 30s}, on_fail: stop}
  restore:
    - {target: director, weights: [100], verify: {success_above: 90%%, within: 30s}, on_fail: stop}
`, x.url, x.keyFile)
	for _, m := range more {
		b.WriteString(m)
		b.WriteString("\n")
	}
	return b.String()
}

// stage is a server with a world that it watches, and the executor it commands.
func stage(t *testing.T, more ...string) (*server, *world, *executor, string) {
	t.Helper()
	x := newExecutor(t)
	text := config(x, more...)
	s := newServer(t)
	s.start(text)
	w := newWorld(t, s)
	x.of(w)
	w.run()
	until(t, "all sites are healthy", func() bool {
		for _, site := range sites() {
			if s.condition(site).Condition != "healthy" {
				return false
			}
		}
		return true
	})
	return s, w, x, text
}
