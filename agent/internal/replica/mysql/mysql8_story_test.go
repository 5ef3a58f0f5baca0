package mysql

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

// TestWorkersStory: several applier threads, one of which hangs inside a transaction while the others go on.
func TestWorkersStory(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.MySQLs(t), func(t *testing.T, f sitetest.Flavor) {
		// Without the order of commits the others do not wait for the one that hangs.
		for _, order := range []string{"ON", "OFF"} {
			t.Run("order "+order, func(t *testing.T) { workersStory(t, f, order) })
		}
	})
}

func workersStory(t *testing.T, f sitetest.Flavor, order string) {
	p := newPair(t, f, "--replica-parallel-workers=4", "--replica-preserve-commit-order="+order)
	w := newWatch(t, Options{Server: p.server(p.replica, "evenkeel")}, replica.Target)
	w.Complete()
	if n, _ := w.Measure("applier.workers"); n != 4 {
		t.Errorf("%v workers", n)
	}
	release := p.lock(t, 1)
	began := time.Now()
	for id := 1; id <= 8; id++ {
		p.primary.Do(t, "INSERT INTO evenkeel.load_test VALUES (?, 'x')", id)
	}
	w.Until("the oldest one counts", func(s replica.Status) bool {
		return s.State == replica.CatchingUp && s.Lower.Or(0) > 2*time.Second && s.Upper.OK
	})
	held := time.Since(began)
	if s := w.Last; s.Lower.V > held || s.Upper.V < 2*time.Second || s.Upper.V > held+time.Second || s.Transactions.V < 1 {
		t.Errorf("a worker hangs since %s: %s", held, w.Show())
	}
	if n := p.replica.Number(t, "SELECT COUNT(*) FROM evenkeel.load_test"); order == "OFF" && n == 0 {
		t.Errorf("the others wait: the test does not show a hole")
	}
	// While it hangs the others are told to stop.
	go func() { _, _ = p.replica.ExecContext(t.Context(), "STOP REPLICA SQL_THREAD") }() // it waits for the one that hangs
	time.Sleep(3 * every)
	if s := w.Look(); s.State == replica.CaughtUp || s.State == replica.IdleLinkOK || s.Lower.Or(0) < 2*time.Second {
		t.Errorf("told to stop: %s", w.Show())
	}
	release()
	w.Becomes(replica.ApplierStopped, replica.ReasonPaused)
	p.replica.Do(t, "SET GLOBAL replica_parallel_workers=1; START REPLICA SQL_THREAD")
	w.Complete()
	w.Stays(2*time.Second, 4*time.Second)

	// GTIDs may be left out from now on: then sets say nothing.
	p.replica.Do(t, "SET GLOBAL gtid_mode=ON_PERMISSIVE")
	w.Becomes(replica.Unknown, replica.ReasonMisconfigured)
	p.replica.Do(t, "SET GLOBAL gtid_mode=ON")
	w.Complete()
}

// lock keeps a row at the replica that has not come yet, so that who applies it hangs, until it is released.
func (p *pair) lock(t *testing.T, id int) (release func()) {
	t.Helper()
	conn, err := p.replica.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	do := func(statement string, args ...any) {
		if _, err := conn.ExecContext(t.Context(), statement, args...); err != nil {
			t.Errorf("%s: %v", statement, err)
		}
	}
	do("SET SESSION sql_log_bin=0; START TRANSACTION; INSERT INTO evenkeel.load_test VALUES (?, 'lock')", id)
	return func() {
		do("ROLLBACK; SET SESSION sql_log_bin=1")
		_ = conn.Close()
	}
}

// TestChannelsStory: one server copies two.
func TestChannelsStory(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.Flavors(t), channelsStory)
}

func channelsStory(t *testing.T, f sitetest.Flavor) {
	p := newPair(t, f)
	other := sitetest.StartSQL(t, f, 3)
	wire := replicatest.NewWire(t, other.Address())
	p.replica.Follow(t, wire, "lon")
	other.Do(t, "CREATE DATABASE london; CREATE TABLE london.t (id INT PRIMARY KEY)")
	see := func(spec LinkSpec) *replicatest.Watcher {
		return newWatchOf(t, Options{Server: p.server(p.replica, "evenkeel")}, spec)
	}
	fra := see(LinkSpec{Store: "orders", From: "fra", To: "ams", End: replica.Target})
	lon := see(LinkSpec{Store: "orders", From: "lon", To: "ams", Channel: "second", Peer: "LON", End: replica.Target})
	none := see(LinkSpec{Store: "orders", From: "waw", To: "ams", Channel: "waw", End: replica.Target})
	fra.Complete()
	lon.Complete()
	none.Becomes(replica.Unknown, replica.ReasonMisconfigured)

	wire.Hold(true)
	lon.Becomes(replica.LinkDown, replica.ReasonStale)
	lon.Grows(3 * every)
	fra.Complete()
	wire.Hold(false)
	lon.Complete()

	stop := "STOP SLAVE 'lon' SQL_THREAD"
	if !f.MariaDB() {
		stop = "STOP REPLICA SQL_THREAD FOR CHANNEL 'lon'"
	}
	p.replica.Do(t, stop)
	other.Do(t, "INSERT INTO london.t VALUES (1)")
	lon.Becomes(replica.ApplierStopped, replica.ReasonPaused)
	p.primary.Do(t, "INSERT INTO evenkeel.load_test VALUES (1, 'x')")
	fra.Complete()
}

// TestRightsStory takes each right that doc.go tells from the account, and looks whether it is named.
func TestRightsStory(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.Flavors(t), rightsStory)
}

func rightsStory(t *testing.T, f sitetest.Flavor) {
	p := newPair(t, f)
	target := func() (*replicatest.Watcher, replica.Status) {
		w := newWatch(t, Options{Server: p.server(p.replica, "evenkeel"), HeartbeatDatabase: "evenkeel"}, replica.Target)
		return w, w.Until("known", func(s replica.Status) bool { return s.Reason != replica.ReasonNotMeasured })
	}
	sees, right := "SLAVE MONITOR ON *.*", "SLAVE MONITOR"
	if !f.MariaDB() {
		sees, right = "SELECT ON performance_schema.*", "SELECT on replication_"
	}
	p.replica.Local(t, "REVOKE "+sees+" FROM evenkeel@'%'")
	if w, s := target(); s.State != replica.Unknown || s.Reason != replica.ReasonPrivilege || !strings.Contains(s.Detail, right) {
		t.Errorf("without %s: %s", sees, w.Show())
	}
	p.replica.Local(t, "GRANT "+sees+" TO evenkeel@'%'")

	p.replica.Local(t, "REVOKE SELECT ON evenkeel.* FROM evenkeel@'%'")
	if w, s := target(); s.State == replica.Unknown || !strings.Contains(s.Detail, "SELECT on evenkeel_heartbeat") {
		t.Errorf("without the right to read heartbeats: %s", w.Show())
	}
	p.replica.Local(t, "GRANT SELECT ON evenkeel.* TO evenkeel@'%'")

	if !f.MariaDB() {
		p.replica.Local(t, "REVOKE XA_RECOVER_ADMIN ON *.* FROM evenkeel@'%'")
		if w, s := target(); s.State == replica.Unknown {
			t.Errorf("without XA_RECOVER_ADMIN: %s", w.Show())
		} else if n, ok := w.Measure("transactions.in_doubt"); ok {
			t.Errorf("without XA_RECOVER_ADMIN: %v in doubt", n)
		}
	}

	p.primary.Local(t, "REVOKE PROCESS ON *.* FROM evenkeel@'%'")
	src := newWatch(t, Options{Server: p.server(p.primary, "evenkeel")}, replica.Source)
	if s := src.Look(); s.Reason != replica.ReasonPrivilege || !strings.Contains(s.Detail, "PROCESS") {
		t.Errorf("without PROCESS: %s", src.Show())
	}

	// The writer's.
	writer, err := NewHeartbeat(p.server(p.primary, "beats"), "evenkeel")
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for seq, one := range []string{"INSERT", "UPDATE", "SELECT"} {
		p.primary.Local(t, "REVOKE "+one+" ON evenkeel.* FROM beats@'%'")
		err := writer.Write(t.Context(), Beat{Origin: "fra", Epoch: 1, Seq: int64(seq + 1), At: time.Now(), Interval: every})
		if err == nil || !strings.Contains(err.Error(), one) || !strings.Contains(err.Error(), "evenkeel_heartbeat") {
			t.Errorf("without %s: %v", one, err)
		}
		p.primary.Local(t, "GRANT "+one+" ON evenkeel.* TO beats@'%'")
	}
}

// TestGroupStory: two members of a group.
func TestGroupStory(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.MySQLs(t), groupStory)
}

func groupStory(t *testing.T, f sitetest.Flavor) {
	g := newGroup(t, f)
	w := newWatchOf(t, Options{Server: g.server(g.replica, "evenkeel"), HeartbeatDatabase: "evenkeel"}, g.link)
	w.Becomes(replica.CatchingUp, replica.ReasonNotMeasured) // a group has no heartbeats of the protocol: nothing proves that all came
	writer, err := NewHeartbeat(g.server(g.primary, "beats"), "evenkeel")
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	defer beating(t, writer, 1, every, 0, func(write func() error) error { return write() })()
	w.Complete()
	for i := range 10 {
		g.primary.Do(t, "INSERT INTO evenkeel.load_test VALUES (?, 'x')", i+1)
		time.Sleep(every)
		if s := w.Look(); (s.State != replica.CaughtUp && s.State != replica.CatchingUp) || !s.Upper.OK || s.Upper.V > 4*time.Second {
			t.Errorf("steady writes: %s", w.Show())
		}
	}
	// The applier of a group ends transactions that are in its way; a lock of a table it waits for.
	conn, err := g.replica.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "LOCK TABLES evenkeel.load_test READ"); err != nil {
		t.Fatal(err)
	}
	g.primary.Do(t, "INSERT INTO evenkeel.load_test VALUES (100, 'x')")
	w.Until("the applier hangs", func(s replica.Status) bool {
		return s.State == replica.CatchingUp && s.Lower.Or(0) > time.Second && s.Transactions.Or(0) > 0
	})
	if _, err := conn.ExecContext(t.Context(), "UNLOCK TABLES"); err != nil {
		t.Fatal(err)
	}
	w.Complete()
	g.replica.Do(t, "STOP GROUP_REPLICATION")
	w.Until("out of the group", func(s replica.Status) bool { return s.State == replica.LinkDown || s.State == replica.Unknown })
	g.replica.Do(t, "START GROUP_REPLICATION")
	w.Complete()
}

// group is a pair whose servers are members of a group; link is what the second one is of.
type group struct {
	*pair
	link LinkSpec
}

func newGroup(t *testing.T, f sitetest.Flavor) *group {
	t.Helper()
	ports := []int{replicatest.FreePort(t), replicatest.FreePort(t)}
	member := func(i int) *sitetest.SQL {
		s := sitetest.StartSQL(t, f, i+1, "--plugin-load-add=group_replication.so", "--report-host=127.0.0.1",
			"--loose-group-replication-group-name=aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa", "--loose-group-replication-start-on-boot=OFF",
			fmt.Sprintf("--loose-group-replication-local-address=127.0.0.1:%d", ports[i]),
			fmt.Sprintf("--loose-group-replication-group-seeds=127.0.0.1:%d,127.0.0.1:%d", ports[0], ports[1]),
			"--loose-group-replication-recovery-get-public-key=ON")
		s.Do(t, "CHANGE MASTER TO MASTER_USER='repl', MASTER_PASSWORD='"+sitetest.Word+"' FOR CHANNEL 'group_replication_recovery'")
		return s
	}
	p := &pair{primary: member(0), replica: member(1), secret: filepath.Join(t.TempDir(), "word")}
	if err := os.WriteFile(p.secret, []byte(sitetest.Word), 0o600); err != nil {
		t.Fatal(err)
	}
	p.primary.Do(t, `SET GLOBAL group_replication_bootstrap_group=ON; START GROUP_REPLICATION; SET GLOBAL group_replication_bootstrap_group=OFF`)
	p.tables(t)
	p.replica.Do(t, "START GROUP_REPLICATION")
	replicatest.Until(t, "both are members", func() bool {
		return p.replica.Number(t, "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE = 'ONLINE'") == 2
	})
	p.copied(t)
	return &group{p, LinkSpec{Store: "orders", From: "fra", To: "ams", Channel: groupApplier, End: replica.Target}}
}
