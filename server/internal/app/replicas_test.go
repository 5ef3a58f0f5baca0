package app

import (
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
