package postgresql

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	adminPassword = "admin-word"
	canary        = "canary-3f9a61"
)

// installations are folders of programs of PostgreSQL: those in PG_BIN, or all that are installed by Debian's packages and by
// deploy/setup.sh, which has versions that Debian has not.
func installations(t *testing.T) []string {
	t.Helper()
	if list := filepath.SplitList(os.Getenv("PG_BIN")); len(list) > 0 {
		return list
	}
	var found []string
	for _, at := range []string{"/usr/lib/postgresql", "/var/cache/evenkeel/postgresql"} {
		some, err := filepath.Glob(at + "/*/bin/initdb")
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range some {
			found = append(found, filepath.Dir(one))
		}
	}
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not installed under /usr/lib/postgresql: run deploy/setup.sh test")
	}
	return found
}

// each runs a test with each installation.
func each(t *testing.T, f func(t *testing.T, bin string)) {
	t.Helper()
	for _, bin := range installations(t) {
		t.Run(filepath.Base(filepath.Dir(bin)), func(t *testing.T) { f(t, bin) })
	}
}

func account(t *testing.T) *syscall.Credential {
	t.Helper()
	return replicatest.Account(t, "postgres")
}

// server is one PostgreSQL on a loopback port.
type server struct {
	bin   string // folder of its programs
	major int
	dir   string
	port  int
	cmd   *exec.Cmd
	done  chan struct{}
}

// prepare makes a server that has no data yet.
func prepare(t *testing.T, bin string) *server {
	t.Helper()
	s := &server{bin: bin, dir: filepath.Join(replicatest.Folder(t, account(t)), "data"), port: replicatest.FreePort(t)}
	t.Cleanup(s.kill)
	version := s.run(t, "postgres", "--version")
	if s.major = serverVersion(strings.TrimPrefix(version, "postgres (PostgreSQL) ")); s.major == 0 {
		t.Fatalf("no version of PostgreSQL: %s", version)
	}
	return s
}

// run runs a program of the server to its end.
func (s *server) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.bin, name), args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account(t)}
	cmd.Dir = os.TempDir()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
	return string(out)
}

// newServer makes a data folder with accounts: admin (superuser), repl, evenkeel (pg_monitor) and bare (nothing).
func newServer(t *testing.T, bin string) *server {
	t.Helper()
	s := prepare(t, bin)
	word := filepath.Join(filepath.Dir(s.dir), "word")
	s.write(t, word, adminPassword+"\n")
	s.run(t, "initdb", "-D", s.dir, "-U", "admin", "-A", "scram-sha-256", "--pwfile", word, "--no-sync", "-E", "UTF8", "--locale", "C")
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
	s.do(t, "postgres", `GRANT SELECT, INSERT, UPDATE ON evenkeel_heartbeat, evenkeel_echo, evenkeel_canary TO evenkeel`)
	return s
}

func (s *server) write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if c := account(t); c != nil {
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
	said := filepath.Join(filepath.Dir(s.dir), "log")
	log, err := os.OpenFile(said, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.dir, "-p", strconv.Itoa(s.port))
	s.cmd.SysProcAttr = replicatest.Child(account(t), syscall.SIGQUIT)
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = log, log, os.TempDir()
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		defer close(done)
		_ = cmd.Wait() // however it ended, it ended
	}(s.cmd, s.done)
	replicatest.Answers(t, s.done, said, func() bool {
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
