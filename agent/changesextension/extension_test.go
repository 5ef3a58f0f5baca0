package changesextension

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers each declaration with the next status, the last one for ever, and keeps what came with 201.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	requests int
	got      []Change
}

func serve(t *testing.T, statuses ...int) *server {
	t.Helper()
	s := &server{statuses: statuses}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		status := s.statuses[min(s.requests, len(s.statuses)-1)]
		s.requests++
		var c Change
		if json.NewDecoder(r.Body).Decode(&c) != nil || r.URL.Path != "/api/v1/changes" {
			status = http.StatusTeapot
		}
		if status == http.StatusCreated {
			s.got = append(s.got, c)
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) ids() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, c := range s.got {
		out = append(out, c.ID)
	}
	return out
}

// start runs a door in a directory, to the servers.
func start(t *testing.T, dir string, servers ...*server) (stop func()) {
	t.Helper()
	factory := NewFactory()
	cfg := factory.CreateDefaultConfig().(*Config)
	cfg.Directory = dir
	for _, s := range servers {
		cfg.Endpoints = append(cfg.Endpoints, s.URL)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var x extension.Extension
	x, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() {
		once.Do(func() {
			if err := x.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

// say sends a body to the door of a directory.
func say(t *testing.T, dir, body string) (status int, answer string) {
	t.Helper()
	network, where := Door(dir, "")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, where)
	}}}
	res, err := client.Post("http://localhost"+Path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after a minute still not: %s", what)
		}
	}
}

// directory is a short path, as the name of a socket must be.
func directory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ek") //nolint:usetesting // its path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestEveryServerHearsOfAChange(t *testing.T) {
	dir := directory(t)
	a, b := serve(t, http.StatusServiceUnavailable, http.StatusCreated), serve(t, http.StatusForbidden, http.StatusCreated)
	refuses := serve(t, http.StatusBadRequest)
	start(t, dir, a, b, refuses)
	if info, err := os.Stat(filepath.Join(dir, SocketName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	status, text := say(t, dir, `{"id":"run-7","what":"deploy checkout 1.4","service":"checkout","ttl_s":1800}`)
	if status != http.StatusAccepted || !strings.Contains(text, `"servers":3`) {
		t.Fatalf("answers %d %s", status, text)
	}
	eventually(t, "both servers have it", func() bool {
		return slices.Equal(a.ids(), []string{"run-7"}) && slices.Equal(b.ids(), []string{"run-7"})
	})
	a.mu.Lock()
	if c := a.got[0]; c.Service != "checkout" || c.End.Sub(c.Start) != 30*time.Minute {
		t.Errorf("told was %+v", c)
	}
	a.mu.Unlock()
	eventually(t, "nothing waits any more", func() bool {
		raw, err := os.ReadFile(filepath.Join(dir, fileName))
		return err == nil && string(raw) == "[]"
	})
	refuses.mu.Lock()
	defer refuses.mu.Unlock()
	if refuses.requests != 1 {
		t.Errorf("a server that will never take it was asked %d times", refuses.requests)
	}
}

func TestWhatWaitsOutlivesARestart(t *testing.T) {
	dir := directory(t)
	away := serve(t, http.StatusServiceUnavailable)
	stop := start(t, dir, away)
	for _, id := range []string{"1", "2", "1"} {
		if status, text := say(t, dir, `{"id":"`+id+`","what":"x","ttl_s":60}`); status != http.StatusAccepted {
			t.Fatalf("answers %d %s", status, text)
		}
	}
	if status, _ := say(t, dir, `{"id":"1","what":"another","ttl_s":60}`); status != http.StatusConflict {
		t.Errorf("another change under the same id: %d", status)
	}
	stop()
	away.mu.Lock()
	away.statuses = []int{http.StatusCreated}
	away.mu.Unlock()
	start(t, dir, away)
	eventually(t, "the server has both", func() bool { return slices.Equal(away.ids(), []string{"1", "2"}) })
}

func TestTheDoorRefuses(t *testing.T) {
	dir := directory(t)
	start(t, dir, serve(t, http.StatusCreated))
	for _, body := range []string{
		``, `[]`, `{}`, `{"what":"x"}`, `{"what":"x","ttl_s":0}`, `{"what":"x","ttl_s":90000}`, `{"what":"","ttl_s":60}`,
		`{"what":"a\u001bb","ttl_s":60}`, `{"what":"x","ttl_s":60,"site":"ams"}`, `{"what":"x","ttl_s":60,"id":"a b"}`,
		`{"what":"` + strings.Repeat("x", 201) + `","ttl_s":60}`, `{"what":"x","ttl_s":60,"start":"2000-01-01T00:00:00Z"}`,
	} {
		if status, text := say(t, dir, body); status != http.StatusBadRequest || !strings.Contains(text, "detail") {
			t.Errorf("%s: answers %d %s", body, status, text)
		}
	}
}

func TestAWebPageCannotUseTheDoor(t *testing.T) {
	c := &changes{cfg: &Config{Address: "127.0.0.1:13134"}}
	f := func(host, kind string, want int) {
		t.Helper()
		r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader("{}"))
		r.Host = host
		r.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		c.handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s, %s: %d, want %d", host, kind, w.Code, want)
		}
	}
	f("evil.example.net:13134", "application/json", http.StatusMisdirectedRequest)
	f("127.0.0.1:13134", "text/plain", http.StatusUnsupportedMediaType)
	f("localhost:13134", "application/json", http.StatusBadRequest)
}

func TestTheQueueIsBoundedAndForgets(t *testing.T) {
	q, err := openQueue(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for i := range mostWaiting {
		c := Change{ID: string(rune('a'+i%26)) + time.Duration(i).String(), What: "x", Start: now, End: now.Add(time.Minute)}
		q.list = append(q.list, waiting{Change: c, Servers: []string{"a"}})
	}
	if err := q.add(Change{ID: "more", What: "x"}, []string{"a"}, now); err != errFull { //nolint:errorlint // it is returned as it is
		t.Errorf("over the bound: %v", err)
	}
	if _, ok := q.next("a", now.Add(2*time.Hour)); ok {
		t.Error("what is long over is still told of")
	}
}

func TestPackages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "status")
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	var said []Change
	p := &packages{path: path, declare: func(c Change) error { said = append(said, c); return nil }}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now); err != nil {
			t.Fatal(err)
		}
	}
	look := func() {
		now = now.Add(lookEvery)
		p.look(now)
	}
	stanza := func(name, version, status string) string {
		return "Package: " + name + "\nStatus: install ok " + status + "\nArchitecture: amd64\nVersion: " + version + "\nDescription: x\n more: y\n\n"
	}
	write(stanza("checkout", "1.3", "installed") + stanza("libc6", "2.36", "installed") + stanza("gone", "1", "installed"))
	look()
	look()
	if len(said) != 0 {
		t.Errorf("at the first look: %+v", said)
	}
	write(stanza("checkout", "1.3", "half-configured") + stanza("libc6", "2.36", "installed"))
	look()
	write(stanza("checkout", "1.4", "installed") + stanza("libc6", "2.36", "installed") + stanza("new", "7", "installed"))
	look()
	if len(said) != 0 {
		t.Errorf("while the file is being written: %+v", said)
	}
	began := now.Add(-lookEvery)
	look()
	look()
	if len(said) != 1 || said[0].What != "packages: checkout 1.3 -> 1.4, removed gone, installed new 7" ||
		said[0].Source != "dpkg" || !said[0].Start.Equal(began) || said[0].End.Before(now) {
		t.Errorf("declared: %+v", said)
	}
	write(stanza("checkout", "1.4", "installed") + stanza("libc6", "2.36", "installed") + stanza("new", "7", "installed"))
	look()
	look()
	if len(said) != 1 {
		t.Error("a file that says the same was declared")
	}
}

func TestManyPackagesAreNamedInPart(t *testing.T) {
	before, after := map[string]string{}, map[string]string{}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		before[name+":amd64"], after[name+":amd64"] = "1", strings.Repeat("2", 100)
	}
	if what := differences(before, after); !strings.HasSuffix(what, ", and 2 more") || len(what) > mostText {
		t.Errorf("%q of %d bytes", what, len(what))
	}
}

func FuzzParsePackages(f *testing.F) {
	f.Add("Package: a\nStatus: install ok installed\nVersion: 1\n\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = parsePackages(strings.NewReader(text))
	})
}

func TestConfig(t *testing.T) {
	cfg := NewFactory().CreateDefaultConfig().(*Config)
	if err := componenttest.CheckConfigStruct(cfg); err != nil {
		t.Error(err)
	}
	f := func(want string, change func(*Config)) {
		t.Helper()
		c := Config{Endpoints: []string{"http://127.0.0.1:8450"}, Directory: "/x"}
		change(&c)
		err := c.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	f("", func(*Config) {})
	f("", func(c *Config) { c.Address = "[::1]:13134" })
	f("at least one server", func(c *Config) { c.Endpoints = nil })
	f("directory", func(c *Config) { c.Directory = "" })
	f("not of this machine", func(c *Config) { c.Address = "0.0.0.0:13134" })
	f("no address", func(c *Config) { c.Address = "127.0.0.1" })
}
