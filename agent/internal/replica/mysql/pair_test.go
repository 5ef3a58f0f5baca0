package mysql

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

// every is the time between looks, and between heartbeats.
const every = 200 * time.Millisecond

// pair is a primary, a relay and a replica behind it.
type pair struct {
	primary, replica *sitetest.SQL
	link             *replicatest.Wire
	secret           string // password file of the agent's accounts
}

// newPair has the tables of the heartbeat and one for load, the accounts of sitetest, of which evenkeel may also read them, and
// beats with the rights of a writer. extra are options of both servers.
func newPair(t *testing.T, f sitetest.Flavor, extra ...string) *pair {
	t.Helper()
	p := &pair{
		primary: sitetest.StartSQL(t, f, 1, extra...), replica: sitetest.StartSQL(t, f, 2, extra...),
		secret: filepath.Join(t.TempDir(), "word"),
	}
	if err := os.WriteFile(p.secret, []byte(sitetest.Word+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.link = replicatest.NewWire(t, p.primary.Address())
	p.replica.Follow(t, p.link, "")
	p.replica.Do(t, "SET GLOBAL read_only=1")
	p.tables(t)
	p.copied(t)
	return p
}

// tables are made at the primary.
func (p *pair) tables(t *testing.T) {
	t.Helper()
	p.primary.Do(t, `CREATE DATABASE evenkeel; CREATE TABLE evenkeel.load_test (id BIGINT PRIMARY KEY, pad VARCHAR(200)) ENGINE=InnoDB;
USE evenkeel; `+HeartbeatDDL+` CREATE USER beats@'%' IDENTIFIED BY '`+sitetest.Word+`'; GRANT SELECT ON evenkeel.* TO evenkeel@'%';
GRANT SELECT, INSERT, UPDATE ON evenkeel.* TO beats@'%'`)
}

// copied waits until the replica has what the primary has written.
func (p *pair) copied(t *testing.T) {
	t.Helper()
	replicatest.Until(t, "the replica has all", func() bool { return p.replica.Has(t) == p.primary.Wrote(t) })
}

// logs are the names of the primary's binary logs.
func (p *pair) logs(t *testing.T) (names []string) {
	t.Helper()
	rows, err := p.primary.Query("SHOW BINARY LOGS")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		into := []any{&name, new(any), new(any)} // MariaDB does not say whether it is encrypted
		if p.primary.MariaDB() {
			into = into[:2]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// purge deletes the binary log that the replica needs.
func (p *pair) purge(t *testing.T, insert func()) {
	t.Helper()
	p.replica.Do(t, "STOP SLAVE")
	insert()
	p.primary.Do(t, "FLUSH BINARY LOGS")
	insert()
	replicatest.Until(t, "the old logs are deleted", func() bool { // one that is still being sent is kept
		names := p.logs(t)
		p.primary.Do(t, "PURGE BINARY LOGS TO '"+names[len(names)-1]+"'")
		return len(p.logs(t)) == 1
	})
	p.replica.Do(t, "START SLAVE")
}

func (p *pair) server(d *sitetest.SQL, user string) Server {
	return Server{Address: d.Address(), User: user, PasswordFile: p.secret, Timeout: 5 * time.Second}
}

func newWatch(t *testing.T, o Options, end replica.End) *replicatest.Watcher {
	t.Helper()
	return newWatchOf(t, o, LinkSpec{Store: "orders", From: "fra", To: "ams", End: end})
}

func newWatchOf(t *testing.T, o Options, link LinkSpec) *replicatest.Watcher {
	t.Helper()
	o.Links = []LinkSpec{link}
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	w := replicatest.NewWatcher(t, string(link.End)+link.Channel, func(ctx context.Context) replicatest.Glance {
		r := engine.Look(ctx)
		return replicatest.Glance{Began: r.Began, Ended: r.Ended, Sightings: r.Sightings, Beat: r.Beats[0]}
	}, sitetest.Word)
	w.Interval, w.ClockErr = every, 20*time.Millisecond
	return w
}

// beating writes heartbeats of fra into a server till the test or the returned function ends it. skew is how wrong the
// writer's clock is; commit writes each.
func beating(t *testing.T, h *Heartbeat, epoch int64, every, skew time.Duration, commit func(write func() error) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for seq := int64(1); ; seq++ {
			err := commit(func() error {
				return h.Write(ctx, Beat{Origin: "fra", Epoch: epoch, Seq: seq, At: time.Now().Add(skew), Interval: every})
			})
			if err != nil && ctx.Err() == nil {
				t.Errorf("beat: %v", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); done.Wait() }) }
	t.Cleanup(stop)
	return stop
}
