package ledger

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// A kill does not show that a commit is on the disk, only that it left the process: the kernel keeps what
// was written. So the syncs of etcd's log are counted.
func TestEveryCommitIsSynced(t *testing.T) {
	l := fresh(t)
	if l.server.Config().UnsafeNoFsync {
		t.Fatal("etcd does not sync")
	}
	syncs := func() uint64 {
		families, err := prometheus.DefaultGatherer.Gather() // where etcd registers its own
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "etcd_disk_wal_fsync_duration_seconds" {
				return f.GetMetric()[0].GetHistogram().GetSampleCount()
			}
		}
		t.Fatal("etcd does not count its syncs")
		return 0
	}
	for range 20 {
		before := syncs()
		commit(t, l, line("x"))
		if syncs() == before {
			t.Fatal("a commit returned without a sync")
		}
	}
}

func TestWatcherThatDoesNotReadIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Ledger{log: slog.New(slog.DiscardHandler)}
		value := []byte(`{"sentence":"x"}`)
		res := clientv3.WatchResponse{
			Header: &etcdserverpb.ResponseHeader{Revision: 7},
			Events: []*clientv3.Event{{Kv: &mvccpb.KeyValue{Key: []byte(lineKey(7, 0)), Value: value, ModRevision: 7}}},
		}
		patience := time.NewTimer(watchPatience)
		start := time.Now()
		if err := l.forward(t.Context(), res, make(chan core.Event), patience); err == nil {
			t.Error("a watcher that does not read is waited for")
		}
		if waited := time.Since(start); waited != watchPatience {
			t.Errorf("waited %s, want %s", waited, watchPatience)
		}
	})
}
