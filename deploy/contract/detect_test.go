package contract

import (
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// watches is one question about the users' traffic.
const watches = `watches:
  - name: edge-requests
    query: sum by (target_site, service) (rate(evenkeel_edge_requests_total[1m]))
    about: target_site
    every: 2s
    train: 1h
    model: robust-z
    direction: above
`

// hopeless is a question beside it that the store can never answer.
const hopeless = `  - name: hopeless
    query: evenkeel_edge_requests_total + on (service) evenkeel_edge_requests_total
    about: target_site
    every: 2s
    train: 1m
    model: robust-z
`

// past sends an hour of edge counters that end where the world goes on, ten requests a second and site with a little
// unrest, and leaves the counts in the world.
func (w *world) past(sites ...string) {
	w.t.Helper()
	const step = 5 * time.Second
	end := time.Now()
	start := end.Add(-time.Hour)
	var points []any
	w.mu.Lock()
	for i, site := range sites {
		total := 0.0
		for k, at := 0, start; !at.After(end); k, at = k+1, at.Add(step) {
			total += step.Seconds() * (rate/3 + 0.5*math.Sin(float64(7*k+3*i)) + 0.3*math.Cos(float64(k)/11))
			points = append(points, sumPoint(start, at, total, attr{"target_site": site, "service": "checkout", "code_class": "2xx"}))
		}
		w.count[site]["2xx"] = total
	}
	w.began, w.last = start, end
	body := export("director-1", sum("evenkeel.edge.requests", "{request}", points...))
	w.mu.Unlock()
	status, answer, err := w.srv.post("/v1/metrics", w.tokens["director"], body)
	if err != nil || status != http.StatusOK || strings.Contains(answer, "rejectedDataPoints") {
		w.t.Fatalf("the door does not take an hour of the past: %d %s %v", status, answer, err)
	}
}

// watched is a server of a configuration with an hour of the past of two sites, which was there before its watches were and is enough for
// them to judge. Text is its configuration.
func watched(t *testing.T, watches string, parts ...string) (s *server, w *world, text string) {
	t.Helper()
	x := newExecutor(t)
	s = newServer(t)
	s.start(config(x, parts...))
	w = newWorld(t, s)
	x.of(w)
	w.past("fra", "ams")
	until(t, "the past can be read", func() bool {
		got := s.query(`sum(count_over_time(evenkeel_edge_requests_total[70m]))`)
		return len(got) == 1 && got[0].value() >= 1442
	})
	s.stop()
	text = config(x, append(parts, watches)...)
	s.start(text)
	w.run()
	until(t, "the past of two sites is enough for a band", func() bool {
		return len(s.query(`evenkeel_detector_state{detector="edge-requests",target_site=~"fra|ams"} == 2`)) == 2
	})
	return s, w, text
}

// detects is the story of statistics over a real store: an hour of the past before the watch exists, a site that takes
// much more than usual, which is shown with its band at once, and the same figures in the store.
func detects(t *testing.T, storage string) *server {
	t.Helper()
	s, w, _ := watched(t, watches+hopeless, storage)
	if got := s.query(`evenkeel_anomaly_score{detector="edge-requests",target_site="fra"} > 0.999`); len(got) > 0 {
		t.Errorf("a usual level scores %v", got)
	}
	w.setSurge("fra", 12)
	var found evidence
	until(t, "something is odd at fra, with a band", func() bool {
		for _, e := range s.condition("fra").Odd {
			if e.Class == "symptom" && e.Band != nil {
				found = e
				return true
			}
		}
		return false
	})
	b := found.Band
	if found.Signal != "anomaly" || !strings.Contains(found.Source, "edge-requests") || b.Value <= b.Upper || b.Expected < 8 || b.Expected > 12 ||
		b.Lower >= b.Expected || b.Upper <= b.Expected || b.Score < 0.99 || b.Score > 1 {
		t.Errorf("the evidence is %+v with band %+v", found, *b)
	}
	if a := s.condition("ams"); len(a.Odd) > 0 {
		t.Errorf("ams, where nothing changed, has %+v", a.Odd)
	}
	for _, e := range s.condition("ams").Evidence {
		if e.Band != nil {
			t.Errorf("ams, where nothing changed, has %+v", e)
		}
	}
	if a := s.condition("fra"); a.Condition == "failing" || len(s.actions()) > 0 {
		t.Errorf("statistics alone made fra %s, actions %+v", a.Condition, s.actions())
	}
	const of = `{detector="edge-requests",target_site="fra",service="checkout"}`
	value := func(name string) float64 {
		t.Helper()
		var got []series
		until(t, name+" can be read", func() bool {
			got = s.query(name + of)
			return len(got) == 1
		})
		return got[0].value()
	}
	until(t, "the state in the store is anomalous", func() bool { return value("evenkeel_detector_state") == 3 })
	if score := value("evenkeel_anomaly_score"); score < 0.99 || score > 1 {
		t.Errorf("the score in the store is %g", score)
	}
	lower, expected, upper := value("evenkeel_lower"), value("evenkeel_expected"), value("evenkeel_upper")
	if !(lower < expected && expected < upper) || math.Abs(expected-b.Expected) > 1 {
		t.Errorf("the band in the store is %g %g %g, the evidence's %+v", lower, expected, upper, *b)
	}
	if got := s.counter("evenkeel_detect_query_errors_total", `watch="hopeless"`); got < 1 {
		t.Errorf("the errors of the hopeless watch are counted as %g", got)
	}
	if got := s.counter("evenkeel_detect_query_errors_total", `watch="edge-requests"`); got != 0 {
		t.Errorf("the good watch has %g errors", got)
	}
	until(t, "the good watch is asked again and again", func() bool {
		return s.counter("evenkeel_detect_evaluations_total", `watch="edge-requests"`) >= 4
	})
	// A failure that repeats itself is said when it begins, once by the replay and once by the query; and again after a time when
	// nothing failed, as when the edge's figures were late.
	log := s.log.String()
	if n, over := strings.Count(log, `"msg":"watch fails"`), strings.Count(log, `"msg":"watch works again"`); n > 3+over {
		t.Errorf("the same failure of the hopeless watch is logged %d times, and was over %d times", n, over)
	}
	w.checkDoor()
	return s
}

// TestDetectsOverTheStoreInside is the story over the embedded store.
func TestDetectsOverTheStoreInside(t *testing.T) {
	t.Parallel()
	detects(t, "")
}

// TestDetectsOverAStoreElsewhere is the story over a VictoriaMetrics node in a process of its own.
func TestDetectsOverAStoreElsewhere(t *testing.T) {
	t.Parallel()
	node := newNode(t)
	node.start()
	s := detects(t, fmt.Sprintf("storage: {url: %q}", node.url))
	resp, err := s.client.Get(node.url + `/api/v1/series?match[]=evenkeel_detector_state`)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the node answers %s", resp.Status)
	}
	node.now.kill()
	until(t, "the server says that its store is away, and goes on judging", func() bool {
		status, text, err := s.fetch("/readyz?verbose")
		return err == nil && status == http.StatusServiceUnavailable && strings.Contains(text, "store: ") && strings.Contains(text, "ledger: ok")
	})
	if a := s.condition("lon"); a.Condition != "healthy" {
		t.Errorf("without a store lon is %s: %s", a.Condition, a.Sentence)
	}
	node.start()
	until(t, "the server is ready again", func() bool {
		status, _, err := s.fetch("/readyz")
		return err == nil && status == http.StatusOK
	})
}

// node is a VictoriaMetrics single node.
type node struct {
	t         *testing.T
	bin, data string
	addr, url string
	out       *safeBuffer
	now       *program
}

// newNode is a node of the version that the server embeds, not started.
func newNode(t *testing.T) *node {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "victoria-metrics")
	if err := build(bin, "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics"); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	return &node{t: t, bin: bin, data: t.TempDir(), addr: addr, url: "http://" + addr, out: &safeBuffer{}}
}

func (n *node) start() {
	n.t.Helper()
	n.now = launch(n.t, n.out, n.bin, "-storageDataPath="+n.data, "-httpListenAddr="+n.addr, "-retentionPeriod=100d")
	until(n.t, "the node answers", func() bool {
		if n.now.over() {
			n.t.Fatalf("the node has ended:\n%s", n.out)
		}
		resp, err := http.Get(n.url + "/health")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}
