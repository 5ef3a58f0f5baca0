package ledger

import (
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What reads after the others have removed this replica gets an error that says so, and no panic of etcd; and what waits
// for a majority waits no longer.
func TestReadsEndWithTheLedger(t *testing.T) {
	c := newCrew(t, 1)
	if err := c.up["r1"].Close(); err != nil {
		t.Fatal(err)
	}
	l := c.open("r1")
	l.server.Server.Stop()
	_, err := l.client.Get(t.Context(), keyIdentity, clientv3.WithSerializable())
	wantCode(t, unavailable("the ledger does not answer", err), core.CodeConflict)
	_, err = l.TopologyRevision(t.Context(), "other")
	wantCode(t, err, core.CodeConflict)
}

func TestPeerListenThatIsNoAddress(t *testing.T) {
	c := newCrew(t, 0)
	c.dirs["r1"], c.peers["r1"] = filepath.Join(t.TempDir(), "ledger"), freePeer(t)
	_, err := Open(t.Context(), c.options("r1", func(r *Replicas) { r.Bootstrap, r.Listen = true, "nowhere" }))
	wantCode(t, err, core.CodeInvalid)
}
