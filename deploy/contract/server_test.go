package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// safeBuffer is what a program has printed so far.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// program is a running stranger.
type program struct {
	cmd  *exec.Cmd
	out  *safeBuffer
	done chan struct{}
	err  error // of Wait, once done is closed
}

// launch starts a program that prints into out and is killed at the end of the test.
func launch(t *testing.T, out *safeBuffer, name string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(name, args...), out: out, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *program) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exitCode is how a program that is over has ended.
func (p *program) exitCode() int { return p.cmd.ProcessState.ExitCode() }

// patience is how long a busy machine may take for what must come. How soon it comes is what deploy/bench measures.
const patience = 3 * time.Minute

// until polls: strangers cannot be synchronised with.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// ports walks through those of this package from anywhere on: no two of its tests have the same.
var ports = func() *atomic.Uint32 {
	var p atomic.Uint32
	p.Store(rand.Uint32())
	return &p
}()

// listen takes a free port below those of deploy/e2e, which runs at the same time, and above those that a browser refuses.
func listen(t *testing.T) net.Listener {
	t.Helper()
	for range 200 {
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(7000+int(ports.Add(1)%3000)))
		if err == nil {
			return ln
		}
	}
	t.Fatal("no port is free")
	return nil
}

func freeAddr(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	defer ln.Close()
	return ln.Addr().String()
}

// serveHere runs a double in the test's own process and returns its URL.
func serveHere(t *testing.T, h http.Handler) string {
	t.Helper()
	ln := listen(t)
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	return "http://" + ln.Addr().String()
}

// server is an evenkeel-server as a stranger sees it.
type server struct {
	t      *testing.T
	data   string
	addr   string
	url    string
	log    *safeBuffer // of all its lives
	now    *program
	client *http.Client
}

// newServer is a server with a data directory and an address, not started.
func newServer(t *testing.T) *server {
	t.Helper()
	addr := freeAddr(t)
	s := &server{
		t: t, data: filepath.Join(t.TempDir(), "data"), addr: addr, url: "http://" + addr, log: &safeBuffer{},
		client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 16}},
	}
	t.Cleanup(func() {
		s.client.CloseIdleConnections()
		if t.Failed() {
			t.Logf("the server's log:\n%s", tail(s.log.String(), 3000))
		}
	})
	return s
}

func tail(text string, n int) string {
	if len(text) > n {
		return "..." + text[len(text)-n:]
	}
	return text
}

// args are the command line of a life with a configuration.
func (s *server) args(config string) []string {
	s.t.Helper()
	path := filepath.Join(filepath.Dir(s.data), "evenkeel.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return []string{"serve", "--config", path, "--data", s.data, "--listen", s.addr, "--admin-listen", ""}
}

// start begins a life with a configuration and waits until the server is ready.
func (s *server) start(config string) {
	s.t.Helper()
	s.now = launch(s.t, s.log, binary("evenkeel-server"), s.args(config)...)
	until(s.t, "the server is ready", func() bool {
		if s.now.over() {
			s.t.Fatalf("the server has ended: %v", s.now.err)
		}
		status, _, err := s.fetch("/readyz")
		return err == nil && status == http.StatusOK
	})
}

// stop asks the server to end, as a service manager does.
func (s *server) stop() {
	s.t.Helper()
	if err := s.now.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-s.now.done:
	case <-time.After(patience):
		s.t.Fatal("the server does not end after SIGTERM")
	}
	if s.now.exitCode() != 0 {
		s.t.Errorf("the server ends with code %d after SIGTERM", s.now.exitCode())
	}
}

func (s *server) fetch(path string) (int, string, error) {
	resp, err := s.client.Get(s.url + path)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// text is what a path answers; anything but 200 is the end of the test.
func (s *server) text(path string) string {
	s.t.Helper()
	status, body, err := s.fetch(path)
	if err != nil || status != http.StatusOK {
		s.t.Fatalf("GET %s: status %d, error %v: %s", path, status, err, body)
	}
	return body
}

// get reads the JSON of a path.
func (s *server) get(path string, into any) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.text(path)), into); err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
}

// post sends a body with a token and returns status and answer.
func (s *server) post(path, token string, body []byte) (int, string, error) {
	req, err := http.NewRequest(http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// cli runs an operator's command against the server.
func (s *server) cli(args ...string) (string, int) {
	s.t.Helper()
	cmd := exec.Command(binary("evenkeel-server"), append(args, "--server", s.url, "--data", s.data)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// order is a command that must be taken.
func (s *server) order(args ...string) string {
	s.t.Helper()
	out, code := s.cli(args...)
	if code != 0 {
		s.t.Fatalf("evenkeel-server %s: exit code %d: %s", strings.Join(args, " "), code, out)
	}
	return out
}

// token makes a token by the command line and returns its text.
func (s *server) token(kind, name string) string {
	s.t.Helper()
	return strings.TrimSpace(s.order("token", "create", "--kind", kind, "--name", name))
}

// series is one series of an instant query.
type series struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

func (x series) value() float64 {
	text, _ := x.Value[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0
	}
	return v
}

// query asks the store by the Prometheus API.
func (s *server) query(expr string) []series {
	s.t.Helper()
	var answer struct {
		Data struct {
			Result []series `json:"result"`
		} `json:"data"`
	}
	s.get("/prometheus/api/v1/query?"+url.Values{"query": {expr}}.Encode(), &answer)
	return answer.Data.Result
}

// counter is the sum of a metric on /metrics over the series that carry all of the given labels, as in `watch="x"`.
func (s *server) counter(name string, labels ...string) float64 {
	s.t.Helper()
	sum := 0.0
next:
	for line := range strings.Lines(s.text("/metrics")) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue next
			}
		}
		fields := strings.Fields(line)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			s.t.Fatalf("/metrics: %q: %v", line, err)
		}
		sum += v
	}
	return sum
}
