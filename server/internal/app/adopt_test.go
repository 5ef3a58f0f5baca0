package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

// An adoption that an executor would not obey is refused with the epoch or the name that it would.
func TestAnAdoptionThatExecutorsWouldNotObey(t *testing.T) {
	h := newHand(t)
	obeyed := glassRequest(core.BreakGlass{ID: "act_1", Subject: core.Subject{Site: "fra", Service: "checkout"}, Weight: 50, At: time.Now()},
		core.PlanDrain, remediations.Fencing{ClusterID: "c_old", Epoch: 3, Seq: 40})
	if r, err := h.target.Do(t.Context(), obeyed); err != nil || r.State != remediations.StateDone {
		t.Fatalf("%+v, %v", r, err)
	}
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c, err := config.Load(h.config)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{config: c, ledger: l, askers: map[string]remediations.Preflighter{"director": h.target}}
	f := func(cluster string, epoch int64, want string) {
		t.Helper()
		err := s.adoptable(t.Context(), cluster, epoch)
		var problem *core.Error
		switch {
		case want == "" && err != nil:
			t.Errorf("%q, %d: %v", cluster, epoch, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q, %d: %v, want %q", cluster, epoch, err, want)
		case want != "" && (!asError(err, &problem) || problem.Hint == ""):
			t.Errorf("%q, %d: no remedy: %v", cluster, epoch, err)
		}
	}
	f("c_old", 1, "has obeyed epoch 3 of cluster c_old")
	f("c_old", 3, "would not obey epoch 3")
	f("c_old", 4, "")
	f("c_foo", 4, "no executor obeys cluster c_foo")
	f("", 0, "") // its own name: the executor is told so by a person
	s.config.Targets[0].Name = "gone"
	s.askers = map[string]remediations.Preflighter{"gone": deaf(t)}
	f("c_foo", 1, "") // nobody can be asked
}

// A broken store withdraws the vote of the replica whose own it is; one that all share withdraws nobody's.
func TestWhoseStoreIsBroken(t *testing.T) {
	l, err := ledger.Open(t.Context(), ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	f := func(want string, c config.Storage) {
		t.Helper()
		s := &Server{config: config.Config{Storage: c}, ledger: l}
		broken := "its store is broken: full"
		s.broken.Store(&broken)
		if got := s.unfit(); got != want {
			t.Errorf("%+v: unfit: %q", c, got)
		}
	}
	f("its store is broken: full", config.Storage{})
	f("", config.Storage{URL: "http://127.0.0.1:8428"})
	f("", config.Storage{Insert: "http://127.0.0.1:8480", Select: "http://127.0.0.1:8481"})
}

func asError(err error, out **core.Error) (ok bool) {
	*out, ok = err.(*core.Error) //nolint:errorlint // it is not wrapped
	return ok
}

// deaf is an executor that is not there.
func deaf(t *testing.T) remediations.Preflighter {
	t.Helper()
	h := newHand(t)
	h.stop()
	return h.target
}

// A ledger is not begun beside one that another replica speaks for.
func TestASecondLedgerIsNotBegun(t *testing.T) {
	t.Parallel()
	answers := func(status int, body any) string {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v1/status" {
				t.Errorf("asked for %s", r.URL)
			}
			w.WriteHeader(status)
			_ = json.NewEncoder(w).Encode(body)
		}))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	f := func(refused bool, urls ...string) {
		t.Helper()
		c := config.Config{}
		for i, url := range urls {
			c.Replicas = append(c.Replicas, config.Replica{Name: "r" + string(rune('1'+i)), URL: url})
		}
		err := mayBegin(t.Context(), c, "r1")
		if (err != nil) != refused {
			t.Errorf("%v: %v", urls, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "r3") || !strings.Contains(err.Error(), "replica replace r1")) {
			t.Errorf("no remedy in: %v", err)
		}
	}
	well := answers(http.StatusOK, map[string]string{"cluster_id": "c_1"})
	f(true, "http://127.0.0.1:9", "http://127.0.0.1:9", well+"/")
	f(false, well, "http://127.0.0.1:9", "")
	f(false, "", answers(http.StatusServiceUnavailable, map[string]string{"cluster_id": "c_1"}), answers(http.StatusOK, []string{"something else"}))
}
