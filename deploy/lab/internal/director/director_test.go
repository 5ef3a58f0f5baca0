package director

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
	"github.com/evenkeel/evenkeel/remediations"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type bench struct {
	t      *testing.T
	dir    string
	secret remediations.Secret
	d      *Director
	srv    *httptest.Server
}

// site is an upstream that says its name.
func site(t *testing.T, name string, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, name)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func newBench(t *testing.T, upstreams map[string]string) *bench {
	t.Helper()
	secret, err := remediations.ParseSecret(remediations.GenerateSecret())
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, dir: t.TempDir(), secret: secret}
	b.open(upstreams)
	t.Cleanup(b.close)
	return b
}

func (b *bench) open(upstreams map[string]string) {
	b.t.Helper()
	d, err := New(Options{
		Services: []string{"checkout"}, Sites: []string{"fra", "ams", "lon"}, Upstreams: upstreams, Secret: b.secret,
		StateFile: filepath.Join(b.dir, "fencing.json"), Weights: filepath.Join(b.dir, "weights.json"),
		Executed: filepath.Join(b.dir, "executed.jsonl"), Knob: filepath.Join(b.dir, "director.json"),
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.d, b.srv = d, httptest.NewServer(d)
}

func (b *bench) close() {
	b.srv.Close()
	b.srv.Client().CloseIdleConnections()
	b.d.Close()
}

// command is a signed command; seq orders it.
func (b *bench) command(site string, weight int, seq int64) remediations.Request {
	kind, desired := remediations.TypeDrain, remediations.DesiredDrained
	if weight > 0 {
		kind, desired = remediations.TypeRestore, remediations.DesiredRestoring
	}
	return remediations.Request{
		ID: fmt.Sprintf("act_%d_1", seq), Type: kind, At: time.Now(),
		Data: remediations.Data{
			ActionID: fmt.Sprintf("act_%d", seq), EpisodeID: "ep_1", Site: site, Service: "checkout", DesiredState: desired,
			Scope: []string{"reads"}, Seq: seq, Fencing: remediations.Fencing{ClusterID: "c_1", Epoch: 1, Seq: seq},
			Mode: "automatic", NotBefore: time.Now(), NotAfter: time.Now().Add(time.Minute), Step: remediations.Step{N: 1, Of: 1, Weight: weight},
			Precondition: remediations.Precondition{MinActiveSites: 1},
		},
	}
}

func (b *bench) send(r remediations.Request) (status int, body string) {
	b.t.Helper()
	raw, err := r.Body()
	if err != nil {
		b.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.srv.URL+"/hooks/evenkeel", strings.NewReader(string(raw)))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := remediations.Sign(req.Header, r.ID, time.Now(), raw, b.secret); err != nil {
		b.t.Fatal(err)
	}
	resp, err := b.srv.Client().Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer)
}

func (b *bench) user() (status int, site string) {
	b.t.Helper()
	resp, err := b.srv.Client().Post(b.srv.URL+"/checkout", "", nil)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get(SiteHeader)
}

func (b *bench) executed() []Executed {
	b.t.Helper()
	raw, err := os.ReadFile(filepath.Join(b.dir, "executed.jsonl"))
	if err != nil {
		b.t.Fatal(err)
	}
	var out []Executed
	for line := range strings.Lines(string(raw)) {
		var e Executed
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestSharesFollowTheWeights(t *testing.T) {
	f := func(weights map[string]int, requests int, want map[string]int) {
		t.Helper()
		table, err := NewTable("", []string{"checkout"}, []string{"fra", "ams", "lon"})
		if err != nil {
			t.Fatal(err)
		}
		for s, w := range weights {
			if _, err := table.Set("checkout", s, w); err != nil {
				t.Fatal(err)
			}
		}
		got := map[string]int{}
		for range requests {
			s, _ := table.Pick("checkout")
			got[s]++
		}
		for _, s := range []string{"", "fra", "ams", "lon"} {
			if got[s] != want[s] {
				t.Errorf("%v: %q got %d of %d, want %d", weights, s, got[s], requests, want[s])
			}
		}
	}
	f(nil, 300, map[string]int{"fra": 100, "ams": 100, "lon": 100})
	f(map[string]int{"fra": 0}, 300, map[string]int{"ams": 150, "lon": 150})
	f(map[string]int{"fra": 1}, 201, map[string]int{"fra": 1, "ams": 100, "lon": 100})
	f(map[string]int{"fra": 50}, 250, map[string]int{"fra": 50, "ams": 100, "lon": 100})
	f(map[string]int{"fra": 0, "ams": 0, "lon": 0}, 3, map[string]int{"": 3})
}

func TestUsersGoWhereTheWeightsSay(t *testing.T) {
	b := newBench(t, map[string]string{"fra": site(t, "fra", 200), "ams": site(t, "ams", 200), "lon": site(t, "lon", 500)})
	got := map[string]int{}
	for range 30 {
		status, s := b.user()
		got[fmt.Sprint(s, status)]++
	}
	if got["fra200"] != 10 || got["ams200"] != 10 || got["lon500"] != 10 {
		t.Errorf("got %v", got)
	}
	if n := b.d.Status().Requests["checkout"]["lon"]["5xx"]; n != 10 {
		t.Errorf("%d answers counted as 5xx", n)
	}
}

func TestADeadSiteIsABadGatewayAndAnError(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ln.Addr().String()
	_ = ln.Close()
	b := newBench(t, map[string]string{"fra": dead, "ams": site(t, "ams", 200), "lon": site(t, "lon", 200)})
	bad := 0
	for range 9 {
		if status, s := b.user(); status == http.StatusBadGateway && s == "fra" {
			bad++
		}
	}
	if n := b.d.Status().Requests["checkout"]["fra"]["error"]; bad != 3 || n != 3 {
		t.Errorf("%d bad gateways, %d errors counted", bad, n)
	}
}

func TestDrainIsEffectiveOnceAndFenced(t *testing.T) {
	up := map[string]string{"fra": site(t, "fra", 200), "ams": site(t, "ams", 200), "lon": site(t, "lon", 200)}
	b := newBench(t, up)
	drain := b.command("fra", 0, 10)
	for range 3 {
		if status, body := b.send(drain); status != 200 || !strings.Contains(body, `"done"`) {
			t.Fatal(status, body)
		}
	}
	if e := b.executed(); len(e) != 1 || !e[0].Effective || e[0].Site != "fra" || e[0].Weight != 0 || e[0].AtNS == 0 {
		t.Errorf("executed %+v", e)
	}
	for range 10 {
		if _, s := b.user(); s == "fra" {
			t.Fatal("a user went to the drained site")
		}
	}
	if status, body := b.send(b.command("fra", 100, 9)); status != http.StatusConflict {
		t.Errorf("an older command: %d %s", status, body)
	}
	b.close()
	b.open(up) // after a restart weights and tokens are still there
	if w := b.d.Status().Weights["checkout"]["fra"]; w != 0 {
		t.Errorf("weight %d after the restart", w)
	}
	if status, body := b.send(b.command("fra", 100, 8)); status != http.StatusConflict {
		t.Errorf("an older command after the restart: %d %s", status, body)
	}
	if status, body := b.send(b.command("fra", 50, 11)); status != 200 {
		t.Errorf("a newer command: %d %s", status, body)
	}
	if w := b.d.Status().Weights["checkout"]["fra"]; w != 50 {
		t.Errorf("weight %d after the restore step", w)
	}
}

func TestTheLastSiteIsNeverDrained(t *testing.T) {
	b := newBench(t, map[string]string{"fra": "127.0.0.1:1", "ams": "127.0.0.1:1", "lon": "127.0.0.1:1"})
	for i, s := range []string{"fra", "ams"} {
		if status, body := b.send(b.command(s, 0, int64(i+1))); status != 200 {
			t.Fatal(status, body)
		}
	}
	status, body := b.send(b.command("lon", 0, 3))
	if status != http.StatusPreconditionFailed || !strings.Contains(body, "min-active-sites") {
		t.Errorf("%d %s", status, body)
	}
}

func TestALyingExecutorSaysDoneAndDoesNothing(t *testing.T) {
	b := newBench(t, map[string]string{"fra": "127.0.0.1:1", "ams": "127.0.0.1:1", "lon": "127.0.0.1:1"})
	if err := knob.Write(filepath.Join(b.dir, "director.json"), knob.Director{Lying: []string{"fra"}}); err != nil {
		t.Fatal(err)
	}
	if status, body := b.send(b.command("fra", 0, 1)); status != 200 || !strings.Contains(body, `"done"`) {
		t.Fatal(status, body)
	}
	if w := b.d.Status().Weights["checkout"]["fra"]; w != Normal {
		t.Errorf("weight %d", w)
	}
	if e := b.executed(); len(e) != 1 || e[0].Effective || !e[0].Lying {
		t.Errorf("executed %+v", e)
	}
}

func TestAForgedCommandIsNotObeyed(t *testing.T) {
	b := newBench(t, map[string]string{"fra": "127.0.0.1:1", "ams": "127.0.0.1:1", "lon": "127.0.0.1:1"})
	other, err := remediations.ParseSecret(remediations.GenerateSecret())
	if err != nil {
		t.Fatal(err)
	}
	b.secret = other
	if status, body := b.send(b.command("fra", 0, 1)); status != http.StatusUnauthorized {
		t.Errorf("%d %s", status, body)
	}
}

// Two directors with one token are told apart by where they listen, across restarts too.
func TestTheDirectorSaysWhichOneItIs(t *testing.T) {
	c := newCounters([]string{"checkout"}, []string{"fra"})
	table, err := NewTable("", []string{"checkout"}, []string{"fra"})
	if err != nil {
		t.Fatal(err)
	}
	attrs := c.metrics(table, "127.0.0.1:9")(time.Now()).ResourceMetrics().At(0).Resource().Attributes()
	if id, ok := attrs.Get("service.instance.id"); !ok || id.Str() != "127.0.0.1:9" {
		t.Errorf("the resource is %v", attrs.AsRaw())
	}
}
