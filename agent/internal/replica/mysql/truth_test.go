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

// TestTruth compares what is reported with what really happened: the applier stalls, then the link does, for shorter than it
// takes to call it down and for longer.
func TestTruth(t *testing.T) {
	t.Parallel()
	sitetest.EachFlavor(t, sitetest.Flavors(t), func(t *testing.T, f sitetest.Flavor) {
		t.Run("by positions", func(t *testing.T) { t.Parallel(); truth(t, f, false) })
		t.Run("by heartbeat", func(t *testing.T) { t.Parallel(); truth(t, f, true) })
	})
}

func truth(t *testing.T, f sitetest.Flavor, withBeats bool) {
	p := newPair(t, f)
	name := f.Name
	if f.MariaDB() {
		name = "mysql" // figures are compared with earlier ones of that name
	}
	if name += " by positions"; withBeats {
		name = strings.Replace(name, "positions", "heartbeat", 1)
	}
	o := Options{Server: p.server(p.replica, "evenkeel")}
	tr := replicatest.NewTruth(t, func(i int) error {
		_, err := p.primary.Exec("INSERT INTO evenkeel.load_test VALUES (?, REPEAT('x', 100))", i+1)
		return err
	})
	copies := []*replicatest.Copy{tr.Copy(p.newest("SELECT COALESCE(MAX(id), 0) FROM evenkeel.load_test"))}
	if withBeats {
		writer, err := NewHeartbeat(p.server(p.primary, "beats"), "evenkeel")
		if err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
		o.HeartbeatDatabase = "evenkeel"
		beats := &replicatest.Journal{} // a heartbeat is a transaction like others
		copies = append(copies, tr.CopyOf(beats, p.newest("SELECT COALESCE(MAX(seq), 0) FROM evenkeel.evenkeel_heartbeat")))
		defer beating(t, writer, 1, every, 0, beats.Commit)()
	}
	w := newWatch(t, o, replica.Target)
	w.ClockErr = time.Millisecond // one machine, one clock
	w.Complete()
	tr.Watch(name, w.At, copies...)
	if f.MariaDB() { // the exporter of Debian asks with words that MySQL no longer knows
		tr.Beside("prometheus-mysqld-exporter", "mysql_slave_status_seconds_behind_master",
			[]string{"--web.listen-address=LISTEN", "--config.my-cnf=" + p.myCnf(t)}, nil, copies...)
	}
	apply := func(word string) func() {
		return func() { p.replica.Do(t, word+" SLAVE SQL_THREAD") }
	}
	tr.Run(
		replicatest.Step{For: 3 * time.Second},
		replicatest.Step{For: 2 * time.Second, Do: apply("STOP")},
		replicatest.Step{For: 3 * time.Second, Do: apply("START")},
		replicatest.Step{For: time.Second, Do: func() { p.link.Hold(true) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { p.link.Hold(false) }},
		replicatest.Step{For: 3500 * time.Millisecond, Do: func() { p.link.Hold(true) }},
		replicatest.Step{For: 2 * time.Second, Do: func() { p.link.Hold(false) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { p.link.Cut(true) }},
		replicatest.Step{For: 3 * time.Second, Do: func() { p.link.Cut(false) }},
	)
}

// newest asks the replica for the greatest number.
func (p *pair) newest(query string) func() (int, error) {
	return func() (n int, err error) {
		err = p.replica.QueryRow(query).Scan(&n)
		return n, err
	}
}

// myCnf is how another program reaches the replica.
func (p *pair) myCnf(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "my.cnf")
	text := fmt.Sprintf("[client]\nuser=evenkeel\npassword=%s\nhost=127.0.0.1\nport=%d\n", sitetest.Word, p.replica.Port())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
