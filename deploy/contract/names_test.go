package contract

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

// tap passes an agent's requests on to the server and notes what the metrics in them are called and mean.
type tap struct {
	mu   sync.Mutex
	seen map[string]row // by OTLP name
}

func newTap(t *testing.T, to string) (*tap, string) {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	x := &tap{seen: map[string]row{}}
	proxy := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorLog: log.New(io.Discard, "", 0), // an agent that is killed hangs up
	}
	return x, serveHere(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/metrics" {
			raw, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(raw))
			if err := x.note(r.Header, raw); err != nil {
				t.Errorf("the agent sends what is no OTLP: %v", err)
			}
		}
		proxy.ServeHTTP(w, r)
	}))
}

func (x *tap) note(h http.Header, raw []byte) error {
	if h.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return err
		}
		if raw, err = io.ReadAll(z); err != nil {
			return err
		}
	}
	req := pmetricotlp.NewExportRequest()
	if err := req.UnmarshalProto(raw); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, rm := range req.Metrics().ResourceMetrics().All() {
		for _, sm := range rm.ScopeMetrics().All() {
			for _, m := range sm.Metrics().All() {
				kind := "gauge"
				switch {
				case m.Type() == pmetric.MetricTypeHistogram:
					kind = "histogram"
				case m.Type() == pmetric.MetricTypeSum && m.Sum().IsMonotonic():
					kind = "counter"
				}
				r := row{otlp: m.Name(), kind: kind, unit: m.Unit(), meaning: m.Description()}
				if old := x.seen[r.otlp]; r.meaning == "" {
					r.meaning = old.meaning
				}
				x.seen[r.otlp] = r
			}
		}
	}
	return nil
}

// arrived lists the names in the store with their labels and writers.
func arrived(t *testing.T, s *server) map[string]row {
	t.Helper()
	var answer struct {
		Data []map[string]string `json:"data"`
	}
	s.get("/prometheus/api/v1/series?"+url.Values{"match[]": {`{__name__=~"evenkeel_.*|system_.*"}`}}.Encode(), &answer)
	labels := map[string]map[string]bool{}
	out := map[string]row{}
	for _, x := range answer.Data {
		name := x["__name__"]
		if labels[name] == nil {
			labels[name] = map[string]bool{}
		}
		site := x["site"]
		for l := range x {
			if l != "__name__" && l != "site" {
				labels[name][l] = true
			}
		}
		r := row{name: name, by: "agent"}
		switch {
		case x["detector"] != "":
			r.by = "server, its watches"
		case site == "_server":
			r.by = "server"
		case strings.HasPrefix(name, "system_"), strings.HasPrefix(name, "evenkeel_host_"), strings.HasPrefix(name, "evenkeel_site_"):
			r.by = "agent, host metrics"
		case site == "director":
			r.by = "edge"
		case strings.HasPrefix(name, "evenkeel_link_"), strings.HasPrefix(name, "evenkeel_replication_"):
			r.by = "agent, with replication"
		case strings.HasPrefix(name, "evenkeel_probe_"):
			r.by = "agent, site role"
		}
		out[name] = r
	}
	for name, r := range out {
		r.labels = slices.Sorted(maps.Keys(labels[name]))
		out[name] = r
	}
	return out
}

// known are type, unit, OTLP name and meaning of the names, from those who say them: the agent in what it sends, the
// server on /metrics, the edge in this test.
func known(t *testing.T, s *server, x *tap) func(name string) row {
	t.Helper()
	squeeze := func(name string) string { return strings.NewReplacer(".", "_").Replace(name) }
	x.mu.Lock()
	said := maps.Clone(x.seen)
	x.mu.Unlock()
	edge := func(name, kind, unit, meaning string) {
		said[name] = row{otlp: name, kind: kind, unit: unit, meaning: meaning}
	}
	edge("evenkeel.edge.requests", "counter", "{request}", "Requests sent to a site, by the class of the answer's code; error is none at all.")
	edge("evenkeel.edge.weight", "gauge", "%", "Weight of a site, percent of normal.")
	edge("evenkeel.edge.duration", "histogram", "s", "How long requests took at a site, as the edge saw it.")
	own := map[string]row{}
	for line := range strings.Lines(s.text("/metrics")) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 4)
		if len(f) < 4 || f[0] != "#" {
			continue
		}
		r := own[f[2]]
		if f[1] == "HELP" {
			r.meaning = f[3]
		} else {
			r.kind = f[3]
		}
		own[f[2]] = r
	}
	base := func(name string) string {
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if cut, ok := strings.CutSuffix(name, suffix); ok {
				return cut
			}
		}
		return name
	}
	return func(name string) row {
		if r, ok := own[name]; ok {
			r.unit = unitOf(name)
			return r
		}
		if r, ok := own[base(name)]; ok && r.kind == "histogram" {
			r.unit = unitOf(base(name))
			return r
		}
		best := row{}
		for otlp, r := range said {
			if p := squeeze(otlp); (name == p || strings.HasPrefix(name, p+"_")) && len(otlp) > len(best.otlp) {
				best = r
			}
		}
		return best
	}
}

func unitOf(name string) string {
	name = strings.TrimSuffix(name, "_total")
	switch {
	case strings.HasSuffix(name, "_seconds"):
		return "s"
	case strings.HasSuffix(name, "_bytes"):
		return "By"
	}
	return "1"
}

// TestNames: what arrives in a real store is what the table says, no more and no less.
func TestNames(t *testing.T) {
	t.Parallel()
	want := committed(t)
	s, x, source := everybody(t)
	if *update {
		rewrite(t, s, x, want)
		return
	}
	var different []string
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		different = differences(want, arrived(t, s), known(t, s, x)) // a label may come later than its name
		if len(different) == 0 || time.Now().After(end) {
			break
		}
	}
	for _, d := range different {
		t.Error(d)
	}
	readyMadeHaveSeries(t, s, want)
	linksAreShown(t, s, source)
}

// secured is the entry of a server with a certificate, as the configuration names it.
func secured(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return `{url: "tls://` + s.Listener.Addr().String() + `", ca: "${file:` + ca + `}"}`
}

// everybody starts a server that watches, an agent with host metrics behind a tap, an edge, and a drain by hand: all
// that writes series has something to write.
func everybody(t *testing.T) (*server, *tap, *program) {
	t.Helper()
	up := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	entries := map[string]string{"fra": serveHere(t, up), "lon": serveHere(t, up), "ams": "http://" + freeAddr(t)}
	x := newExecutor(t)
	text := config(x, watches) + "stores:\n  - {name: cart, engine: redis, links: [{from: ams, to: fra, rpo: 5s}]}\n"
	for site, entry := range entries {
		text = strings.ReplaceAll(text, "http://checkout."+site+".example.net", entry)
	}
	text = strings.Replace(text, "policies:\n", "    probes:\n      - {name: secure, path: private, at: {lon: "+secured(t, up)+"}}\npolicies:\n", 1)
	s := newServer(t)
	s.start(strings.ReplaceAll(text, watches, ""))
	w := newWorld(t, s)
	w.silent = true
	x.of(w)
	w.past("fra", "ams")
	s.stop()
	s.start(text)
	w.run()
	tap, through := newTap(t, s.url)
	token := filepath.Join(t.TempDir(), "fra.token")
	if err := os.WriteFile(token, []byte(w.tokens["fra"]), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &safeBuffer{}
	links, source := replicated(t, out)
	mirrored(t, links)
	launch(t, out, binary("evenkeel-agent"), "run", "--site", "fra", "--servers", through, "--token-file", token,
		"--role", "site", "--host-metrics", "true", "--data", t.TempDir(), "--health", "", "--otlp", "", "--replication", links)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent's log:\n%s", tail(out.String(), 4000))
		}
	})
	until(t, "the agent's word has arrived", func() bool { return len(s.query("evenkeel_probe_state")) == 4 })
	s.order("drain", "ams", "checkout", "--reason", "the contract asks for an attempt")
	return s, tap, source
}

// rewrite waits until no new name has come for longer than the slowest writer's interval, and writes the table.
func rewrite(t *testing.T, s *server, x *tap, old map[string]row) {
	t.Helper()
	var got map[string]row
	still, size := time.Now(), 0
	until(t, "no new name comes", func() bool {
		got = arrived(t, s)
		if len(got) != size {
			size, still = len(got), time.Now()
		}
		return time.Since(still) > 35*time.Second
	})
	about := known(t, s, x)
	var rows []row
	for name, r := range got {
		k := about(name)
		r.kind, r.unit, r.otlp, r.meaning = k.kind, k.unit, k.otlp, k.meaning
		o := old[name]
		r.when = o.when
		r.kind, r.unit, r.meaning = cmp.Or(r.kind, o.kind, "gauge"), cmp.Or(r.unit, o.unit, "1"), cmp.Or(o.meaning, strings.ReplaceAll(r.meaning, "|", "/"))
		if r.meaning == "" {
			t.Errorf("%s: write its meaning into %s", name, namesFile)
		}
		rows = append(rows, r)
	}
	for name, o := range old {
		if _, ok := got[name]; !ok && o.when != "" {
			rows = append(rows, o)
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.name, b.name) })
	if err := os.WriteFile(namesFile, []byte(render(rows)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTheLabWatchesWhatExists: every metric that the lab's generated watches ask for is in the table.
func TestTheLabWatchesWhatExists(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	want := committed(t)
	name := regexp.MustCompile(`\b(?:evenkeel|system)_[a-zA-Z0-9_]+`)
	for _, profile := range []string{"three", "two"} {
		out, err := exec.Command(binary("evenkeel-lab"), "config", "--profile", profile, "--data", t.TempDir()).Output()
		if err != nil {
			t.Fatal(err)
		}
		found := name.FindAllString(string(out), -1)
		if len(found) < 2 {
			t.Errorf("profile %s: %d metric names found, the lab watches more", profile, len(found))
		}
		for _, n := range found {
			if _, ok := want[n]; !ok {
				t.Errorf("profile %s: a watch asks for %s, which nobody writes", profile, n)
			}
		}
	}
}
