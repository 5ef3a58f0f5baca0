package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/receiver"
	"github.com/evenkeel/evenkeel/remediations/webhook"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// hand is a real executor and a configuration that commands it.
type hand struct {
	config, data string
	weights      map[string]int
	last         receiver.Command
	refuse       bool
	target       *webhook.Target
	stop         func()
}

func newHand(t *testing.T) *hand {
	t.Helper()
	dir := t.TempDir()
	h := &hand{config: filepath.Join(dir, "evenkeel.yaml"), data: filepath.Join(dir, "data"), weights: map[string]int{}}
	text := remediations.GenerateSecret()
	secret, err := remediations.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	x, err := receiver.New(receiver.Options{
		Secrets: []remediations.Secret{secret}, AdoptFirst: true, StateFile: filepath.Join(dir, "fencing.json"),
		Apply: func(_ context.Context, c receiver.Command) (receiver.State, error) {
			h.last = c
			if h.refuse {
				return receiver.State{}, &receiver.Refuse{By: "last-site", Detail: "no other site serves"}
			}
			h.weights[c.Site] = c.Step.Weight
			return receiver.State{State: remediations.StateDone, Weight: float64(c.Step.Weight)}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(x)
	h.stop = srv.Close
	t.Cleanup(func() { srv.Close(); _ = x.Close() })
	file := fmt.Sprintf(`lab: true
sites: [{name: fra, capacity: {checkout: 100}}, {name: ams, capacity: {checkout: 100}}]
services:
  - name: checkout
    entries: {fra: "http://127.0.0.1:9/", ams: "http://127.0.0.1:9/"}
targets:
  - {name: director, type: webhook, url: %q, secret: %q, allow_private: true}
`, srv.URL, text)
	if err := os.WriteFile(h.config, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if h.target, err = webhook.New(webhook.Options{URL: srv.URL, Secrets: []remediations.Secret{secret}, AllowPrivate: true}); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hand) glass(t *testing.T, kind core.PlanKind, change func(*BreakGlassOptions)) (core.BreakGlass, string, error) {
	t.Helper()
	o := BreakGlassOptions{
		ConfigPath: h.config, DataDir: h.data, Kind: kind, Subject: core.Subject{Site: "fra", Service: "checkout"}, By: "ann", Reason: "no quorum",
	}
	if change != nil {
		change(&o)
	}
	return BreakTheGlass(t.Context(), o)
}

func TestBreakTheGlass(t *testing.T) {
	h := newHand(t)
	// The executor has obeyed the ledger before.
	before := glassRequest(core.BreakGlass{ID: "act_1", Subject: core.Subject{Site: "fra", Service: "checkout"}, Weight: 50, At: time.Now()},
		core.PlanDrain, remediations.Fencing{ClusterID: "c_1", Epoch: 3, Seq: 40})
	if r, err := h.target.Do(t.Context(), before); err != nil || r.State != remediations.StateDone {
		t.Fatalf("%+v, %v", r, err)
	}
	b, path, err := h.glass(t, core.PlanDrain, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Result != "done" || h.weights["fra"] != 0 || b.ClusterID != "c_1" || b.Epoch != 3 || b.Seq != 41 {
		t.Errorf("%+v, weights %v", b, h.weights)
	}
	var kept core.BreakGlass
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &kept); err != nil || kept.Result != "done" || kept.ID != b.ID || !strings.Contains(h.last.Reason.Summary, "ann") {
		t.Errorf("kept %+v, %v; the executor was told %q", kept, err, h.last.Reason.Summary)
	}
	// The late command of a leader that nobody heard of since is stale.
	late := before
	late.ID, late.Data.ActionID, late.Data.Seq, late.Data.Fencing.Seq, late.Data.Step.Weight = "act_2_1", "act_2", 41, 41, 30
	if r, err := h.target.Do(t.Context(), late); err != nil || r.State != remediations.StateStale {
		t.Errorf("%+v, %v", r, err)
	}
	if b, _, err := h.glass(t, core.PlanRestore, nil); err != nil || b.Result != "done" || b.Seq != 42 || b.State != core.RoutingActive || h.weights["fra"] != 100 {
		t.Errorf("%+v, %v, weights %v", b, err, h.weights)
	}
	// The executor's own rule stands, and the record says so.
	h.refuse = true
	if b, _, err := h.glass(t, core.PlanDrain, nil); err != nil || b.Result != "refused" || !strings.Contains(b.Detail, "last-site") {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestBreakGlassThatCannotBe(t *testing.T) {
	h := newHand(t)
	f := func(code, words string, change func(*BreakGlassOptions)) {
		t.Helper()
		_, _, err := h.glass(t, core.PlanDrain, change)
		if err == nil || core.Code(err) != code || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want %s and %q", err, code, words)
		}
		if len(h.weights) != 0 {
			t.Errorf("%s: the executor moved: %v", words, h.weights)
		}
	}
	f(core.CodeInvalid, "reason", func(o *BreakGlassOptions) { o.Reason = " " })
	f(core.CodeInvalid, "no target", func(o *BreakGlassOptions) { o.Target = "haproxy" })
	f(core.CodeInvalid, "not configured", func(o *BreakGlassOptions) { o.Subject.Site = "par" })
	f(core.CodeInvalid, "knows 0 clusters", nil)
	f(core.CodeUnavailable, "record", func(o *BreakGlassOptions) { o.ClusterID, o.DataDir = "c_1", filepath.Join(h.config, "x") })
	f(core.CodeInvalid, "cannot be read", func(o *BreakGlassOptions) { o.ConfigPath = "nowhere" })
}

// askOne is what a server says of one executor.
func askOne(t *testing.T, name string, target remediations.Preflighter, next remediations.Fencing) core.Preflight {
	t.Helper()
	c := config.Config{Targets: []config.Target{{Name: name}}}
	s := &Server{config: c, askers: map[string]remediations.Preflighter{name: target}}
	return s.standings(t.Context(), next.ClusterID)[0].judged(next)
}

func TestPreflight(t *testing.T) {
	h := newHand(t)
	f := func(next remediations.Fencing, want string) {
		t.Helper()
		if got := askOne(t, "director", h.target, next); got.Result != want || got.Sentence == "" || (want == "ok") != (got.Remedy == "") {
			t.Errorf("%+v, want %s", got, want)
		}
	}
	f(remediations.Fencing{ClusterID: "c_1", Epoch: 1, Seq: 1}, "ok")
	if _, _, err := h.glass(t, core.PlanDrain, func(o *BreakGlassOptions) { o.ClusterID = "c_1" }); err != nil {
		t.Fatal(err)
	}
	f(remediations.Fencing{ClusterID: "c_1", Epoch: 1, Seq: 9}, "ok")
	f(remediations.Fencing{ClusterID: "c_1", Epoch: 1, Seq: 0}, "seq_behind")
	f(remediations.Fencing{ClusterID: "c_2", Epoch: 1, Seq: 9}, "unknown_cluster")
	dead, err := webhook.New(webhook.Options{URL: "http://127.0.0.1:9/", Secrets: []remediations.Secret{mustSecret(t)}, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	h.target = dead
	f(remediations.Fencing{ClusterID: "c_1", Epoch: 1, Seq: 9}, "cannot_tell")
}

func mustSecret(t *testing.T) remediations.Secret {
	t.Helper()
	s, err := remediations.ParseSecret(remediations.GenerateSecret())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// An executor that has obeyed nobody obeys whoever is named first, and nobody else ever: the servers know the name.
func TestBreakTheGlassOfAnExecutorThatObeyedNobody(t *testing.T) {
	h := newHand(t)
	status := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"cluster_id":"c_ours"}`))
	}))
	defer status.Close()
	file, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.config, append(file, "server: {url: \""+status.URL+"\"}\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = h.glass(t, core.PlanDrain, func(o *BreakGlassOptions) { o.ClusterID = "c_outs" })
	if core.Code(err) != core.CodeInvalid || err == nil || !strings.Contains(err.Error(), "--cluster-id c_ours") {
		t.Errorf("a slip of the pen: %v", err)
	}
	if _, _, err = h.glass(t, core.PlanDrain, func(o *BreakGlassOptions) { o.ClusterID = "our own" }); err == nil || !strings.Contains(err.Error(), `"our own" is no cluster id`) {
		t.Errorf("a name that none can have: %v", err)
	}
	if b, _, err := h.glass(t, core.PlanDrain, nil); err != nil || b.ClusterID != "c_ours" || b.Result != "done" {
		t.Errorf("%+v, %v", b, err)
	}
}
