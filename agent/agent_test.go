package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// build compiles the real binary, the same for all tests of a run.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.Getenv(buildDir), "evenkeel-agent")
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(out), Err: err}
	}
	return path, nil
})

// buildDir names the directory of the binary for the length of a test run.
const buildDir = "EVENKEEL_AGENT_TEST_BUILD"

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "evenkeel-agent")
	if err != nil || os.Setenv(buildDir, dir) != nil {
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// process is one running agent.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	log lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// startAgent runs the binary with the given settings added to those every test needs.
func startAgent(t *testing.T, data, servers string, args ...string) *process {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(data, "token")
	if err := os.WriteFile(token, []byte(testToken+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t}
	p.cmd = exec.Command(path, append([]string{
		"run", "--site", "fra", "--servers", servers, "--token-file", token, "--data", data, "--health", "", "--otlp", "",
	}, args...)...)
	p.cmd.Stderr = &p.log
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	return p
}

// stop ends the agent as an operator would and asserts on a clean end.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- p.cmd.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			p.t.Errorf("the agent ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		p.t.Fatal("the agent does not stop")
	}
	if took := time.Since(began); took > 5*time.Second {
		p.t.Errorf("stopping took %v", took)
	}
	if strings.Contains(p.log.String(), testToken) {
		p.t.Error("the token is in the log")
	}
}

// eventually polls until the condition holds; what says what was waited for.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", within, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", replicatest.FreePort(t))
}

// shop is a target that answers after a while.
func shop(t *testing.T, latency time.Duration, status *atomic.Int32) (url string, hits *atomic.Int64) {
	t.Helper()
	hits = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		select {
		case <-time.After(latency):
		case <-r.Context().Done():
		}
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(server.Close)
	return server.URL, hits
}

func TestASiteAgentKeepsTheContract(t *testing.T) {
	t.Parallel()
	d := openDoor(t, "")
	status := &atomic.Int32{}
	status.Store(200)
	url, _ := shop(t, 0, status)
	data, otlp := t.TempDir(), freeAddress(t)
	d.publish(7, probeOf("checkout-http", "http", url),
		probeOf("checkout-tcp", "tcp", "tcp://shop.invalid:5432"), // reached by --connect-to only
		probeOf("dead-http", "http", "http://"+freeAddress(t)),
		probeOf("later-quic", "quic", "quic://shop.invalid:1")) // of a server that knows more than this agent
	agent := startAgent(t, data, d.URL, "--role", "site", "--otlp", otlp, "--health", freeAddress(t),
		"--connect-to", "shop.invalid:5432="+strings.TrimPrefix(url, "http://"))

	last := func(target string) sample {
		if all := d.seen("evenkeel.probe.state", target); len(all) > 0 {
			return all[len(all)-1]
		}
		return sample{}
	}
	eventually(t, time.Minute, "the three targets judged", func() bool {
		return last("checkout-http").value == 1 && last("checkout-tcp").value == 1 && last("dead-http").value == 2
	})
	fact := last("dead-http")
	if fact.attributes["reason"] != "refused" || fact.attributes["target_site"] != "ams" ||
		fact.attributes["service"] != "checkout" || fact.attributes["path"] != "user" {
		t.Errorf("attributes of a fact: %v", fact.attributes)
	}
	if !fact.fast || fact.encoding != "" {
		t.Errorf("a fact came by fast=%v, encoding %q", fact.fast, fact.encoding)
	}
	eventually(t, time.Minute, "the probe that is not understood is unknown", func() bool {
		all := d.seen("evenkeel.probe.state", "later-quic")
		return len(all) > 1 && all[0].value == 0 && all[0].attributes["reason"] == "probe_error"
	})
	eventually(t, time.Minute, "where the time went, by bulk", func() bool {
		return len(d.seen("evenkeel.probe.phase", "checkout-http")) > 0
	})
	for _, s := range d.seen("evenkeel.probe.phase", "") {
		if s.fast || s.attributes["phase"] == "" {
			t.Errorf("phase %q came by fast=%v", s.attributes["phase"], s.fast)
		}
	}
	for _, s := range d.seen("evenkeel.probe.state", "") {
		if !s.fast {
			t.Error("a fact came by bulk")
		}
	}

	// A change reaches the door at once: a probe interval, not a batch, is the longest wait.
	status.Store(503)
	eventually(t, time.Minute, "status 503 seen", func() bool { return last("checkout-http").value == 2 })
	if down := last("checkout-http"); down.attributes["reason"] != "status" {
		t.Errorf("down with reason %q", down.attributes["reason"])
	}
	late, facts := 0, d.seen("evenkeel.probe.state", "")
	for _, s := range facts {
		if s.received.Sub(s.at) > time.Second {
			late++
		}
	}
	if 2*late > len(facts) { // a busy machine holds up some
		t.Errorf("%d of %d facts came more than a second after they were seen", late, len(facts))
	}
	status.Store(200)
	eventually(t, time.Minute, "up again", func() bool { return last("checkout-http").value == 1 })

	// What applications send goes the bulk way, with the host's name.
	pushOTLP(t, "http://"+otlp+"/v1/metrics", "shop.orders")
	eventually(t, time.Minute, "an application's metric at the door", func() bool {
		all := d.seen("shop.orders", "")
		return len(all) > 0 && !all[0].fast && all[0].encoding == "gzip" && all[0].resource["host.name"] != ""
	})

	eventually(t, time.Minute, "a heartbeat with a known clock", func() bool {
		beats := d.heartbeats()
		return len(beats) > 2 && beats[len(beats)-1]["clock_known"] == true
	})
	beats := d.heartbeats()
	beat := beats[len(beats)-1]
	// Both clocks are the same, so the offset must be within the error, and the error small.
	if off, limit := beat["offset_ns"].(float64), beat["error_ns"].(float64); max(off, -off) > limit || limit > 5e8 {
		t.Errorf("clock offset %v ns +-%v ns of two equal clocks", off, limit)
	}
	if beat["role"] != "site" || beat["seq"].(float64) != float64(len(beats)) || beat["last_success_unix_ms"] == nil ||
		!strings.HasPrefix(beat["agent_id"].(string), "ag_") {
		t.Errorf("heartbeat: %v", beat)
	}
	// A newer state replaces the targets; a lower revision does not.
	d.publish(8, probeOf("cart-http", "http", url))
	eventually(t, time.Minute, "the new target", func() bool { return last("cart-http").value == 1 })
	eventually(t, time.Minute, "buffer and skip figures by bulk", func() bool {
		return len(d.seen("evenkeel.agent.buffer.used", "")) > 0 && len(d.seen("evenkeel.probe.skipped", "")) > 0 &&
			len(d.seen("evenkeel.agent.dropped", "")) > 0
	})
	if d.refused > 0 {
		t.Errorf("%d requests came without the token", d.refused)
	}
	agent.stop()
}

func TestAnAgentWorksFromDiskWithoutAServer(t *testing.T) {
	t.Parallel()
	d := openDoor(t, "")
	status := &atomic.Int32{}
	status.Store(200)
	url, hits := shop(t, 0, status)
	data := t.TempDir()
	d.publish(3, probeOf("checkout-http", "http", url))
	first := startAgent(t, data, d.URL, "--role", "site")
	eventually(t, time.Minute, "a probe", func() bool { return len(d.seen("evenkeel.probe.state", "")) > 0 })
	first.stop()
	address := strings.TrimPrefix(d.URL, "http://")
	d.close()

	hits.Store(0)
	second := startAgent(t, data, "http://"+address, "--role", "site")
	eventually(t, time.Minute, "probes with no server", func() bool { return hits.Load() > 12 })

	// The server comes back: it hears what is true now, no backlog of facts.
	back := openDoor(t, address)
	eventually(t, time.Minute, "facts again", func() bool { return len(back.seen("evenkeel.probe.state", "")) > 2 })
	for _, s := range back.seen("evenkeel.probe.state", "") {
		if age := s.received.Sub(s.at); age > 8*time.Second { // three, and what a busy machine takes to send it
			t.Errorf("a fact of %v ago was sent as live", age)
		}
	}
	second.stop()
}

func TestAStoppedAgentAccusesNobody(t *testing.T) {
	t.Parallel()
	d := openDoor(t, "")
	status := &atomic.Int32{}
	status.Store(200)
	url, _ := shop(t, 350*time.Millisecond, status) // slow enough to be caught in the middle of a probe
	d.publish(1, probeOf("checkout-http", "http", url))
	agent := startAgent(t, t.TempDir(), d.URL, "--role", "site")
	eventually(t, time.Minute, "up", func() bool { return len(d.seen("evenkeel.probe.state", "")) > 1 })
	for i := range 8 {
		// Stops of different lengths at different moments of the probe.
		if err := agent.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(300+i*150) * time.Millisecond)
		if err := agent.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(450+i*90) * time.Millisecond)
	}
	had := len(d.seen("evenkeel.probe.state", ""))
	eventually(t, time.Minute, "facts after the stops", func() bool {
		all := d.seen("evenkeel.probe.state", "")
		return len(all) > had+2 && all[len(all)-1].value == 1
	})
	unknown := 0
	for _, s := range d.seen("evenkeel.probe.state", "") {
		switch s.value {
		case 2:
			t.Errorf("a stopped agent accused its target: %v", s.attributes)
		case 0:
			unknown++
			if s.attributes["reason"] != "probe_error" {
				t.Errorf("unknown with reason %q", s.attributes["reason"])
			}
		}
	}
	t.Logf("%d of %d facts were unknown", unknown, len(d.seen("evenkeel.probe.state", "")))
	agent.stop()
}

func pushOTLP(t *testing.T, url, name string) {
	t.Helper()
	md := pmetric.NewMetrics()
	m := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()
	m.SetName(name)
	p := m.SetEmptyGauge().DataPoints().AppendEmpty()
	p.SetTimestamp(pcommon.NewTimestampFromTime(time.Now()))
	p.SetIntValue(42)
	body, err := pmetricotlp.NewExportRequestFromMetrics(md).MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("the agent's OTLP receiver answered %d", answer.StatusCode)
	}
}

// hole is a server that takes requests and never answers. hung is called with each request of the fast lane as it comes, and what it
// returns when the agent has given it up.
func hole(t *testing.T, hung func() (over func())) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fast := r.Header.Get("Evenkeel-Lane") == "fast"
		over := func() {}
		if fast {
			over = hung()
		}
		_, _ = io.Copy(io.Discard, r.Body) // only then the end of the connection is seen
		<-r.Context().Done()
		over()
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// Servers that accept and never answer must not hold back what the good one gets: several requests with facts reach it while
// one to each of the others hangs. Facts that waited for those would come in one, the newest of each probe.
func TestOneGoodServerOfThree(t *testing.T) {
	t.Parallel()
	d := openDoor(t, "")
	status := &atomic.Int32{}
	status.Store(200)
	url, _ := shop(t, 0, status)
	var probes []map[string]any
	for phase := 0; phase < 1000; phase += 200 {
		p := probeOf(fmt.Sprintf("checkout-%d", phase), "http", url)
		p["phase_ms"] = phase
		probes = append(probes, p)
	}
	d.publish(7, probes...)
	var passed [2]atomic.Int32 // requests to each of the others that three to the good one have passed
	silent := func(i int) string {
		return hole(t, func() func() {
			before := d.fastTaken()
			return func() {
				if d.fastTaken() >= before+3 {
					passed[i].Add(1)
				}
			}
		})
	}
	agent := startAgent(t, t.TempDir(), silent(0)+","+d.URL+","+silent(1), "--role", "site", "--host-metrics", "true")

	eventually(t, 2*time.Minute, "facts pass five requests to each of the others", func() bool {
		return passed[0].Load() >= 5 && passed[1].Load() >= 5
	})
	all := d.seen("evenkeel.probe.state", "checkout-200")
	if len(all) == 0 || !slices.IsSortedFunc(all, func(a, b sample) int { return a.at.Compare(b.at) }) {
		t.Errorf("facts came out of order: %v", all)
	}
	eventually(t, time.Minute, "heartbeats", func() bool { return len(d.heartbeats()) >= 8 })
	eventually(t, time.Minute, "bulk samples", func() bool {
		return len(d.seen("system.cpu.time", "")) > 0 || len(d.seen("evenkeel.agent.buffer.used", "")) > 0
	})
	agent.stop()
}
