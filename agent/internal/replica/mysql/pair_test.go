package mysql

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// every is the time between looks, and between heartbeats.
const every = 200 * time.Millisecond

// pair is a primary, a relay and a replica behind it.
type pair struct {
	primary, replica *database
	link             *replicatest.Wire
	secret           string // password file of the agent's accounts
}

// newPair has the accounts of the agent: evenkeel with the rights of doc.go, beats with those of the writer, bare with none.
func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{primary: start(t, 1), replica: start(t, 2), secret: filepath.Join(t.TempDir(), "word")}
	if err := os.WriteFile(p.secret, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.link = replicatest.NewWire(t, p.primary.address())
	p.primary.do(t, `CREATE USER repl@'%' IDENTIFIED BY 'repl-word'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';
CREATE DATABASE evenkeel; CREATE TABLE evenkeel.load_test (id BIGINT PRIMARY KEY, pad VARCHAR(200)) ENGINE=InnoDB; USE evenkeel; `+
		HeartbeatDDL)
	for _, name := range []string{"evenkeel", "beats", "bare"} {
		p.primary.do(t, `CREATE USER `+name+`@'%' IDENTIFIED BY '`+canary+`'`)
	}
	p.primary.do(t, `GRANT SLAVE MONITOR, PROCESS ON *.* TO evenkeel@'%'; GRANT SELECT ON evenkeel.* TO evenkeel@'%';
GRANT SELECT, INSERT, UPDATE ON evenkeel.* TO beats@'%'`)
	p.replica.do(t, fmt.Sprintf(`CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='repl',
MASTER_PASSWORD='repl-word', MASTER_USE_GTID=slave_pos, MASTER_HEARTBEAT_PERIOD=0.5, MASTER_CONNECT_RETRY=1; START SLAVE;
SET GLOBAL read_only=1`, p.link.Port()))
	replicatest.Until(t, "the replica has the accounts", func() bool {
		return p.replica.text(t, "SELECT @@gtid_slave_pos") == p.primary.text(t, "SELECT @@gtid_binlog_pos")
	})
	return p
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
		var name, size string
		if err := rows.Scan(&name, &size); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

func (p *pair) server(d *database, user string) Server {
	return Server{Address: d.address(), User: user, PasswordFile: p.secret, Timeout: 5 * time.Second}
}

func newWatch(t *testing.T, o Options, end replica.End) *replicatest.Watcher {
	t.Helper()
	o.Links = []LinkSpec{{Store: "orders", From: "fra", To: "ams", End: end}}
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	w := replicatest.NewWatcher(t, string(end), func(ctx context.Context) replicatest.Glance {
		r := engine.Look(ctx)
		return replicatest.Glance{Began: r.Began, Ended: r.Ended, Sightings: r.Sightings, Beat: r.Beats[0]}
	}, canary)
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
