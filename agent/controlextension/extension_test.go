package controlextension

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/extension/extensiontest"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers heartbeats with a clock that runs ahead, and the long-poll with a fixed revision.
type server struct {
	*httptest.Server
	ahead    time.Duration
	revision atomic.Int64
	beats    chan heartbeat
}

func serve(t *testing.T, revision int64, ahead time.Duration) *server {
	t.Helper()
	s := &server{ahead: ahead, beats: make(chan heartbeat, 1000)}
	s.revision.Store(revision)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/agent/heartbeat", func(w http.ResponseWriter, r *http.Request) {
		now := time.Now().Add(s.ahead).UnixNano()
		var h heartbeat
		if json.NewDecoder(r.Body).Decode(&h) == nil {
			select {
			case s.beats <- h:
			default: // nobody looks at so many
			}
		}
		_, _ = fmt.Fprintf(w, `{"t2_unix_ns":%d,"t3_unix_ns":%d,"revision":1}`, now, now)
	})
	mux.HandleFunc("GET /api/v1/agent/state", func(w http.ResponseWriter, r *http.Request) {
		if after := r.URL.Query().Get("after"); after == fmt.Sprint(s.revision.Load()) {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = fmt.Fprintf(w, `{"cluster_id":"c","epoch":1,"revision":%d,"site":"fra","probes":[]}`, s.revision.Load())
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func start(t *testing.T, dir, role string, board *topology.Board, v *vitals.Vitals, endpoints ...string) component.Component {
	t.Helper()
	factory := NewFactory(board, v)
	cfg := factory.CreateDefaultConfig().(*Config)
	cfg.Endpoints, cfg.Site, cfg.Role, cfg.Directory, cfg.Heartbeat = endpoints, "fra", role, dir, 20*time.Millisecond
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	e, err := factory.Create(t.Context(), extensiontest.NewNopSettings(factory.Type()), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func revision(b *topology.Board) int64 {
	state, _, _ := b.Current()
	return state.At.Revision
}

func TestTheHeartbeatComparesClocks(t *testing.T) {
	s, v := serve(t, 1, 3*time.Second), vitals.New()
	v.Deliver(s.URL, time.UnixMilli(1234))
	v.SetBuffer(vitals.Buffer{Server: s.URL, Used: 30, Limit: 100})
	start(t, t.TempDir(), RoleSite, &topology.Board{}, v, s.URL)
	first := <-s.beats
	if first.ClockKnown || first.Seq != 1 || first.Role != RoleSite || first.T1 == 0 {
		t.Errorf("first heartbeat: %+v", first)
	}
	if *first.LastSuccessMS != 1234 || *first.BufferBytes != 70 {
		t.Errorf("vitals in the heartbeat: %d, %d", *first.LastSuccessMS, *first.BufferBytes)
	}
	second := <-s.beats
	wrong := time.Duration(second.OffsetNS) + 3*time.Second
	if !second.ClockKnown || wrong.Abs() > time.Duration(second.ErrorNS) || second.Seq != 2 || second.BootID != first.BootID {
		t.Errorf("second heartbeat: %+v", second)
	}
}

func TestTheNewestServerWinsAndIsRemembered(t *testing.T) {
	dir := t.TempDir()
	old, newer, board := serve(t, 4, 0), serve(t, 5, 0), &topology.Board{}
	e := start(t, dir, RoleSite, board, vitals.New(), old.URL, newer.URL)
	eventually(t, "revision 5", func() bool { return revision(board) == 5 })
	if err := e.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	// After a restart with the lagging server only, what is on disk stands.
	again := &topology.Board{}
	start(t, dir, RoleSite, again, vitals.New(), old.URL)
	if revision(again) != 5 {
		t.Fatalf("revision %d from disk", revision(again))
	}
	<-old.beats
	old.revision.Store(6)
	eventually(t, "revision 6", func() bool { return revision(again) == 6 })
}

func TestAHostAgentOnlyBeats(t *testing.T) {
	s, board := serve(t, 1, 0), &topology.Board{}
	start(t, t.TempDir(), RoleHost, board, vitals.New(), s.URL)
	<-s.beats
	if h := <-s.beats; h.Role != RoleHost || h.LastSuccessMS != nil || h.BufferBytes != nil {
		t.Errorf("heartbeat of a host: %+v", h)
	}
	if revision(board) != 0 {
		t.Error("a host agent took a topology")
	}
}

func TestABrokenMemoryDoesNotStopTheStart(t *testing.T) {
	dir, s, board := t.TempDir(), serve(t, 2, 0), &topology.Board{}
	if err := os.WriteFile(filepath.Join(dir, topology.FileName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, RoleSite, board, vitals.New(), s.URL)
	eventually(t, "a topology from the server", func() bool { return revision(board) == 2 })
}

func TestTheAgentsIDIsKept(t *testing.T) {
	dir := t.TempDir()
	first, err := agentID(dir)
	if err != nil || !strings.HasPrefix(first, "ag_") {
		t.Fatal(first, err)
	}
	if second, err := agentID(dir); err != nil || second != first {
		t.Errorf("%q after %q, %v", second, first, err)
	}
	if _, err := agentID(filepath.Join(dir, "missing")); err == nil {
		t.Error("an id was kept nowhere")
	}
}

func TestABadTokenCostsNoData(t *testing.T) {
	f := func(status, want int) {
		t.Helper()
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		defer s.Close()
		wrap, err := (&control{parting: newParting()}).GetHTTPRoundTripper(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		base := &http.Transport{DisableKeepAlives: true}
		tripper, err := wrap(t.Context(), base)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := tripper.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != want {
			t.Errorf("%d became %d, want %d (%v)", status, answer.StatusCode, want, err)
		}
	}
	f(401, 503)
	f(403, 503)
	f(400, 400)
	f(200, 200)
}

func TestConfig(t *testing.T) {
	if err := componenttest.CheckConfigStruct(createDefaultConfig()); err != nil {
		t.Error(err)
	}
	f := func(change func(*Config), want string) {
		t.Helper()
		cfg := createDefaultConfig().(*Config)
		cfg.Endpoints, cfg.Site, cfg.Directory = []string{"https://a.example"}, "fra", "/x"
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	f(func(c *Config) { c.Endpoints = nil }, "at least one server")
	f(func(c *Config) { c.Endpoints = []string{"a:1"} }, "must start with https://")
	f(func(c *Config) { c.Site = "" }, "site")
	f(func(c *Config) { c.Role = "boss" }, "site or host")
	f(func(c *Config) { c.Directory = "" }, "directory")
	f(func(c *Config) { c.Heartbeat = -1 }, "negative")
	f(func(c *Config) { c.Wait = 0 }, "wait")
	page := func(change func(*PageConfig)) func(*Config) {
		return func(c *Config) {
			c.Role, c.Page.KeyFile = RoleSite, keyFile(t)
			change(&c.Page)
		}
	}
	f(page(func(p *PageConfig) { p.KeyFile = "/no/such/file" }), "does not exist")
	f(page(func(p *PageConfig) { p.After = 9 * time.Second }), "from 10s to 24h")
	f(page(func(p *PageConfig) { p.After = 25 * time.Hour }), "from 10s to 24h")
	f(page(func(p *PageConfig) { p.URL = "events.pagerduty.com" }), "page: url must start with https://")
	f(func(c *Config) { c.Page.KeyFile = keyFile(t) }, "only agents of role site page")
}

// A site that the server does not know is a common mistake of a first start, and 404 alone says nothing of it.
func TestAnUnknownSiteIsSaid(t *testing.T) {
	if why := unexpected(http.StatusNotFound); !strings.Contains(why, "no site or witness of the token's name") {
		t.Errorf("says %q", why)
	}
}
