package app

import (
	"os"
	"path/filepath"
	"testing"

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
