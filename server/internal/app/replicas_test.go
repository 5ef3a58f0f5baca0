package app

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Of five replicas that became three the other two may still speak, and would make a majority with one of the three.
func TestOnlyConfiguredReplicasVote(t *testing.T) {
	configured := []config.Replica{{Name: "r1"}, {Name: "r2"}, {Name: "r3"}}
	n, views := electorate(configured, []core.ReplicaView{{Replica: "r1"}, {Replica: "r4"}, {Replica: "r5"}})
	if n != 3 || len(views) != 1 || views[0].Replica != "r1" {
		t.Errorf("%d replicas vote with %+v", n, views)
	}
}

// What is named as a bundle may be a disk.
func TestABundleIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(path, make([]byte, maxBundle+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if text, err := readBundle(path); err != nil || len(text) != maxBundle {
		t.Errorf("%d bytes are read, %v", len(text), err)
	}
}

// A directory that is older than what the others heard from its replica is not gone on with.
func TestAnOlderDirectory(t *testing.T) {
	spoke := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	f := func(refused bool, answer string, spoke time.Time) {
		t.Helper()
		other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/v1/replicas" {
				_, _ = w.Write([]byte(answer))
			}
		}))
		defer other.Close()
		c := config.Config{Replicas: []config.Replica{{Name: "r1", URL: "http://127.0.0.1:1"}, {Name: "r2", URL: other.URL}, {Name: "r3"}}}
		err := mayGoOn(t.Context(), c, "r1", spoke)
		if refused != (err != nil) || (refused && (core.Code(err) != core.CodeConflict || !strings.Contains(err.Error(), "replica replace r1"))) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	heard := func(replica string, at time.Time) string {
		return `{"members":[{"name":"` + replica + `","state":"voter","view":{"replica":"` + replica + `","at":"` + at.Format(time.RFC3339Nano) + `"}}]}`
	}
	f(false, heard("r1", spoke.Add(30*time.Second)), spoke)
	f(true, heard("r1", spoke.Add(90*time.Second)), spoke)
	f(false, heard("r2", spoke.Add(3*time.Minute)), spoke)
	f(false, heard("r1", spoke.Add(3*time.Minute)), time.Time{})
	f(false, `{"members":[{"name":"r1"}]}`, spoke)
	f(false, `nonsense`, spoke)
}
