package postgresql

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	adminPassword = "admin-word"
	canary        = "canary-3f9a61"
)

// binary is the path of a program of the newest installed server.
func binary(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s of PostgreSQL is not installed under /usr/lib/postgresql: run deploy/setup.sh test", name)
	}
	return found[len(found)-1]
}

// credential is whom a server runs as: it refuses root. Nil: as we are.
func credential(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("PostgreSQL refuses root, and there is no other account to run it as: run deploy/setup.sh test")
	return nil
}

// home is a folder that the server's account owns and can reach.
func home(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "evenkeel-pg-") //nolint:usetesting // the test's own folder is closed to other accounts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if c := credential(t); c != nil {
		if err := os.Chown(dir, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs a program of the server to its end.
func run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary(t, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t)}
	cmd.Dir = os.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// server is one PostgreSQL on a loopback port.
type server struct {
	dir  string
	port int
	cmd  *exec.Cmd
	done chan struct{}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// newServer makes a data folder with accounts: admin (superuser), repl, evenkeel (pg_monitor) and bare (nothing).
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{dir: filepath.Join(home(t), "data"), port: freePort(t)}
	t.Cleanup(s.kill)
	word := filepath.Join(filepath.Dir(s.dir), "word")
	s.write(t, word, adminPassword+"\n")
	run(t, "initdb", "-D", s.dir, "-U", "admin", "-A", "scram-sha-256", "--pwfile", word, "--no-sync", "-E", "UTF8", "--locale", "C")
	s.configure(t, `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = off
wal_level = logical
hot_standby = on
max_connections = 40
max_prepared_transactions = 5
shared_buffers = 16MB
wal_receiver_timeout = 6s
wal_sender_timeout = 6s
wal_receiver_status_interval = 1s
wal_retrieve_retry_interval = 200ms
min_wal_size = 32MB
max_wal_size = 64MB
track_commit_timestamp = on
`)
	s.start(t)
	s.do(t, "postgres", `CREATE ROLE repl LOGIN REPLICATION PASSWORD 'repl-word'`)
	s.do(t, "postgres", `CREATE ROLE evenkeel LOGIN PASSWORD '`+canary+`'`)
	s.do(t, "postgres", `GRANT pg_monitor TO evenkeel`)
	s.do(t, "postgres", `CREATE ROLE bare LOGIN PASSWORD '`+canary+`'`)
	s.do(t, "postgres", `CREATE TABLE load (id bigint PRIMARY KEY, pad text)`)
	s.do(t, "postgres", `GRANT SELECT ON load TO evenkeel`)
	s.do(t, "postgres", HeartbeatDDL)
	s.do(t, "postgres", `GRANT SELECT, INSERT, UPDATE ON evenkeel_heartbeat, evenkeel_echo TO evenkeel`)
	return s
}

// copyFrom fills the data folder with a copy of a primary, which it reaches by way of the wire.
func (s *server) copyFrom(ctx context.Context, program string, as *syscall.Credential, wire *relay, rate string) error {
	args := []string{"-D", s.dir, "-X", "stream", "-c", "fast", "--no-sync", "-d", wire.conninfo()}
	if rate != "" {
		args = append(args, "--max-rate", rate)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	cmd.Dir = os.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return nil
}

// follow starts a copy as a standby.
func (s *server) follow(t *testing.T, wire *relay) {
	t.Helper()
	s.write(t, filepath.Join(s.dir, "standby.signal"), "")
	s.configure(t, fmt.Sprintf("primary_conninfo = '%s'\nprimary_slot_name = 'ams_slot'\n", wire.conninfo()))
	s.start(t)
}

func (s *server) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := credential(t); c != nil {
		if err := os.Chown(file, int(c.Uid), int(c.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// configure adds settings; the last one of a name counts.
func (s *server) configure(t *testing.T, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
}

func (s *server) start(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(filepath.Dir(s.dir), "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(binary(t, "postgres"), "-D", s.dir, "-p", strconv.Itoa(s.port))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(t), Pdeathsig: syscall.SIGQUIT}
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = log, log, os.TempDir()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = cmd.Wait() // however it ended, it ended
	}(s.cmd, s.done)
	until(t, "server starts", func() bool {
		conn, err := pgx.Connect(t.Context(), s.dsn("admin", adminPassword, "postgres"))
		if err != nil {
			return false
		}
		return conn.Close(t.Context()) == nil
	})
}

// kill ends the server at once, without a checkpoint.
func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGQUIT) // it may be gone already
	<-s.done
}

func (s *server) dsn(user, password, database string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/%s?sslmode=disable", user, password, s.port, database)
}

// conn is a connection of the administrator, closed with the test.
func (s *server) conn(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.dsn("admin", adminPassword, database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// do runs one statement as the administrator.
func (s *server) do(t *testing.T, database, sql string, args ...any) {
	t.Helper()
	conn := s.conn(t, database)
	defer conn.Close(t.Context())
	var err error
	if len(args) == 0 {
		_, err = conn.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol)
	} else {
		_, err = conn.Exec(t.Context(), sql, args...)
	}
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// has says whether a row can be read.
func (s *server) has(t *testing.T, database string, id int64) bool {
	t.Helper()
	conn := s.conn(t, database)
	defer conn.Close(t.Context())
	var n int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM load WHERE id = $1`, id).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n == 1
}

// until polls a condition until it holds.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(25 * time.Second)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 25 s", what)
		}
		time.Sleep(30 * time.Millisecond)
	}
}

// relay is a wire that can be cut (both ends notice) and held (nobody notices).
type relay struct {
	listener *net.TCPListener
	to       string

	mu    sync.Mutex
	cut   bool
	held  chan struct{} // not nil: closed when the wire lets through again
	conns map[*net.TCPConn]struct{}
	wg    sync.WaitGroup
}

func newRelay(t *testing.T, port int) *relay {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: l, to: fmt.Sprintf("127.0.0.1:%d", port), conns: map[*net.TCPConn]struct{}{}}
	r.wg.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.release()
		r.sever()
		r.wg.Wait()
	})
	return r
}

func (r *relay) conninfo() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=repl password=repl-word dbname=postgres application_name=ams sslmode=disable",
		r.listener.Addr().(*net.TCPAddr).Port)
}

func (r *relay) serve(in *net.TCPConn) {
	defer in.Close()
	r.mu.Lock()
	refused := r.cut
	r.mu.Unlock()
	if refused {
		return
	}
	raw, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	out := raw.(*net.TCPConn)
	defer out.Close()
	r.mu.Lock()
	r.conns[in], r.conns[out] = struct{}{}, struct{}{}
	if r.cut {
		in.Close()
		out.Close()
	}
	r.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { r.pump(in, out) })
	both.Go(func() { r.pump(out, in) })
	both.Wait()
	r.mu.Lock()
	delete(r.conns, in)
	delete(r.conns, out)
	r.mu.Unlock()
}

func (r *relay) pump(from, to *net.TCPConn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		r.mu.Lock()
		held := r.held
		r.mu.Unlock()
		if held != nil {
			<-held
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			from.Close()
			to.Close()
			return
		}
	}
}

func (r *relay) sever() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = true
	for c := range r.conns {
		c.Close()
	}
}

func (r *relay) heal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = false
}

func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = make(chan struct{})
}

func (r *relay) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != nil {
		close(r.held)
		r.held = nil
	}
}

// noSecret fails when a text that people may see holds a password.
func noSecret(t *testing.T, text string) {
	t.Helper()
	for _, word := range []string{canary, adminPassword, "repl-word"} {
		if strings.Contains(text, word) {
			t.Fatalf("a password is shown: %s", text)
		}
	}
}
