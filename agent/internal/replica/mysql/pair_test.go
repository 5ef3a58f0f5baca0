package mysql

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// relay is a link that can be held, so that both ends stay connected and hear nothing, or cut.
type relay struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	free  *sync.Cond
	held  bool
	cut   bool
	conns map[net.Conn]bool
	wait  sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, to: to, conns: map[net.Conn]bool{}}
	r.free = sync.NewCond(&r.mu)
	r.wait.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			r.wait.Go(func() { r.join(in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.set(false, true)
		r.wait.Wait()
	})
	return r
}

func (r *relay) port() int { return r.listener.Addr().(*net.TCPAddr).Port }

func (r *relay) join(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer out.Close()
	r.mu.Lock()
	if r.cut {
		r.mu.Unlock()
		return
	}
	r.conns[in], r.conns[out] = true, true
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { r.copy(in, out) })
	both.Go(func() { r.copy(out, in) })
	both.Wait()
	r.mu.Lock()
	delete(r.conns, in)
	delete(r.conns, out)
	r.mu.Unlock()
}

func (r *relay) copy(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		for r.held && !r.cut {
			r.free.Wait()
		}
		r.mu.Unlock()
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

func (r *relay) set(held, cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.cut = held, cut
	if cut {
		for c := range r.conns {
			c.Close()
		}
	}
	r.free.Broadcast()
}

// pair is a primary, a relay and a replica behind it.
type pair struct {
	primary, replica *database
	link             *relay
	secret           string // password file of the agent's accounts
}

// newPair has the accounts of the agent: evenkeel with the rights of doc.go, beats with those of the writer, bare with none.
func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{primary: start(t, 1), replica: start(t, 2), secret: filepath.Join(t.TempDir(), "word")}
	if err := os.WriteFile(p.secret, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.link = newRelay(t, p.primary.address())
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
SET GLOBAL read_only=1`, p.link.port()))
	eventually(t, "the replica has the accounts", func() bool {
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

// watch is an engine with one link and what Settle remembers of it.
type watch struct {
	t      *testing.T
	engine *Engine
	every  time.Duration
	err    time.Duration
	memory replica.Memory
	saw    replica.Sighting
	now    replica.Status
	began  time.Time // of the latest look
}

func newWatch(t *testing.T, o Options, end replica.End) *watch {
	t.Helper()
	o.Links = []LinkSpec{{Store: "orders", From: "fra", To: "ams", End: end}}
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return &watch{t: t, engine: engine, every: 200 * time.Millisecond, err: 20 * time.Millisecond}
}

func (w *watch) look() replica.Status {
	w.t.Helper()
	r := w.engine.Look(context.Background())
	if len(r.Sightings) != 1 {
		w.t.Fatalf("%d sightings of one link", len(r.Sightings))
	}
	w.saw, w.began = r.Sightings[0], r.Began
	w.now, w.memory = replica.Settle(w.saw, w.memory, replica.Look{
		Began: r.Began, Ended: r.Ended, Interval: w.every, ClockErr: w.err, ClockKnown: true, Heartbeat: r.Beats[0],
	})
	return w.now
}

// until looks at the interval of the watch till a state and reason come.
func (w *watch) until(what string, is func(replica.Status) bool) replica.Status {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(w.every) {
		if is(w.look()) {
			return w.now
		}
	}
	w.t.Fatalf("%s: still %s", what, tell(w.now))
	return w.now
}

// state waits for a state with a reason.
func (w *watch) state(what string, state replica.State, reason replica.Reason) replica.Status {
	w.t.Helper()
	return w.until(what, func(s replica.Status) bool { return s.State == state && s.Reason == reason })
}

func tell(s replica.Status) string {
	bound := func(o replica.Opt[time.Duration]) string {
		if !o.OK {
			return "-"
		}
		return o.V.Round(time.Millisecond).String()
	}
	return fmt.Sprintf("%s(%s) [%s, %s] age %s, %d transactions, %q", s.State, s.Reason, bound(s.Lower), bound(s.Upper),
		bound(s.LinkAge), s.Transactions.Or(-1), s.Detail)
}

// beating writes heartbeats of fra into a server till the test or the returned function ends it. skew is how wrong the
// writer's clock is; note hears of each before it is written and after.
func beating(t *testing.T, h *Heartbeat, epoch int64, every, skew time.Duration, note func(done bool)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for seq := int64(1); ; seq++ {
			note(false)
			err := h.Write(ctx, Beat{Origin: "fra", Epoch: epoch, Seq: seq, At: time.Now().Add(skew), Interval: every})
			if err != nil && ctx.Err() == nil {
				t.Errorf("beat: %v", err)
			}
			note(err == nil)
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
