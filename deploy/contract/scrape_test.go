package contract

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// demo is what a product's own exporter says, with all that can be wrong in it.
const demo = `# HELP demo_requests_total Requests.
# TYPE demo_requests_total counter
demo_requests_total{code="200",site="elsewhere"} 17
# TYPE demo_queue gauge
demo_queue{queue="a"} 3
demo_queue{queue="b"} NaN
# TYPE demo_ratio gauge
demo_ratio +Inf
# TYPE demo_latency_seconds histogram
demo_latency_seconds_bucket{le="0.1"} 4
demo_latency_seconds_bucket{le="1"} 5
demo_latency_seconds_bucket{le="+Inf"} 6
demo_latency_seconds_sum 3.5
demo_latency_seconds_count 6
# TYPE demo_size_bytes summary
demo_size_bytes{quantile="0.5"} NaN
demo_size_bytes_sum 10
demo_size_bytes_count 2
# TYPE target_info gauge
target_info{version="1.4"} 1
`

const scrapeSecret = "s3cr3t-of-the-exporter"

// exporter serves demo to who has the secret, until it is closed: then it hangs up on everybody.
func exporter(t *testing.T) (address string, closed *atomic.Bool) {
	t.Helper()
	closed = &atomic.Bool{}
	url := serveHere(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case closed.Load():
			panic(http.ErrAbortHandler)
		case r.Header.Get("Authorization") != "Bearer "+scrapeSecret:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = w.Write([]byte(demo))
		}
	}))
	return strings.TrimPrefix(url, "http://"), closed
}

// TestScrapedSeriesArrive: a real agent scrapes an exporter of ours and a real node exporter, and a real server has the
// series under the names that Prometheus would give them.
func TestScrapedSeriesArrive(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	node, err := exec.LookPath("prometheus-node-exporter")
	if err != nil {
		t.Fatalf("prometheus-node-exporter is missing: install it with deploy/setup.sh test (%v)", err)
	}
	s := newServer(t)
	s.start(config(newExecutor(t)))
	logs, nodeAddr := &safeBuffer{}, freeAddr(t)
	launch(t, &safeBuffer{}, node, "--web.listen-address", nodeAddr, "--collector.disable-defaults", "--collector.cpu", "--collector.meminfo")
	addr, closed := exporter(t)

	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("secret", scrapeSecret+"\n")
	file := write("scrape.yaml", fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
  - job_name: demo
    authorization: {credentials_file: secret}
    static_configs: [{targets: [%q]}]
    metric_relabel_configs:
      - {source_labels: [code], regex: "(.)..", target_label: code_class, replacement: "${1}xx"}
`, addr))
	args := []string{
		"--site", "fra", "--servers", s.url, "--token-file", write("token", s.token("site", "fra")), "--data", filepath.Join(dir, "agent"),
		"--health", "", "--otlp", "", "--role", "site", "--scrape", file, "--scrape-target", "http://" + nodeAddr,
	}
	printed, err := exec.Command(binary("evenkeel-agent"), append([]string{"validate", "--print"}, args...)...).CombinedOutput()
	if err != nil || strings.Contains(string(printed), scrapeSecret) {
		t.Fatalf("validate: %v\n%s", err, printed)
	}
	launch(t, logs, binary("evenkeel-agent"), append([]string{"run"}, args...)...)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent's log:\n%s", tail(logs.String(), 4000))
		}
	})
	there := func(expr string) bool { return len(s.query(expr)) > 0 }
	until(t, "the demo's series are there", func() bool {
		return there(`demo_requests_total{code="200",code_class="2xx",site="fra",service_name="demo",service_instance_id="` + addr + `"} == 17`)
	})
	until(t, "the node exporter's series are there", func() bool {
		return there(`node_cpu_seconds_total{mode="idle",service_name="`+nodeAddr+`",site="fra"}`) && there("node_memory_MemAvailable_bytes")
	})
	for _, expr := range []string{
		`demo_queue{queue="a"} == 3`, `demo_latency_seconds_bucket{le="0.1"} == 4`, `demo_latency_seconds_bucket{le="+Inf"} == 6`,
		`demo_latency_seconds_sum == 3.5`, `demo_size_bytes_count == 2`, `up{service_name="demo"} == 1`,
	} {
		if !there(expr) {
			t.Errorf("%s has no answer", expr)
		}
	}
	for _, expr := range []string{
		`demo_queue{queue="b"}`, "demo_ratio", "demo_size_bytes", "target_info", `{site="elsewhere"}`, `{exported_site!=""}`,
		`{__name__=~"demo_.*",otel_scope_name!=""}`,
	} {
		if got := s.query(expr); len(got) > 0 {
			t.Errorf("%s should have no answer: %v", expr, got)
		}
	}
	until(t, "the agent counts its series and what it left out", func() bool {
		return there(`evenkeel_agent_series > 20`) && there(`evenkeel_agent_series_dropped_total{reason="not_a_number"} > 0`) &&
			there(`evenkeel_agent_series_dropped_total{reason="cap"} == 0`)
	})

	closed.Store(true)
	until(t, "the demo is seen to be away", func() bool { return there(`up{service_name="demo"} == 0`) })
	scrapes := s.query(`count_over_time(up{service_name="demo"}[1h])`)[0].value()
	until(t, "some scrapes more have failed", func() bool {
		return s.query(`count_over_time(up{service_name="demo"}[1h])`)[0].value() > scrapes+5
	})
	if n := strings.Count(logs.String(), "Failed to scrape"); n != 1 {
		t.Errorf("%d lines say that the demo is away, want 1", n)
	}
	if strings.Contains(logs.String(), "artial success") || s.counter("evenkeel_ingest_refused_samples_total") > 0 {
		t.Error("the server refused samples of the scraper")
	}
	if strings.Contains(logs.String(), scrapeSecret) {
		t.Error("the exporter's secret is in the log")
	}
}

// TestWrongScrapeConfigsNamePlaceAndRemedy: what Prometheus itself would refuse is said before anything starts.
func TestWrongScrapeConfigsNamePlaceAndRemedy(t *testing.T) {
	t.Parallel()
	if *update {
		return
	}
	dir := t.TempDir()
	file, token := filepath.Join(dir, "scrape.yaml"), filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("t"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := func(text, want string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(binary("evenkeel-agent"), "validate", "--site", "fra", "--servers", "http://127.0.0.1:1", "--token-file", token,
			"--data", dir, "--scrape", file).CombinedOutput()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(string(out), want)) {
			t.Errorf("%q: %v, %s want %q", text, err, out, want)
		}
	}
	f("# ours\n---\n- job_name: a\n  static_configs: [{targets: [\"127.0.0.1:1\"]}]\n", "")
	f("- job_name: a\n  dns_sd_configs: [{names: [_a._tcp.example.net]}]\n- job_name: b\n  kubernetes_sd_configs: [{role: pod}]\n"+
		"- job_name: c\n  consul_sd_configs: [{server: 127.0.0.1:8500}]\n", "")
	f("- job_name: a\n  scrape_intervall: 5s\n", file+":2: scrape_intervall is no field of a scrape config")
	f("scrape_configs:\n- job_name: a\n  ec2_sd_configs: [{region: x}]\n", file+":3: this agent does not have ec2_sd_configs: add")
	f("- job_name: a\n- job_name: a\n", `found multiple scrape configs with job name "a"`)
	f("- job_name: a\n  scrape_interval: 5\n", "not a valid duration string")
}
