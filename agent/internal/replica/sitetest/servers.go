package sitetest

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	driver "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
)

// Passwords: of the administrators, and of the accounts of the agent, which must never be seen.
const (
	AdminWord = "root-word"
	Word      = "canary-7c1e55"
)

// Patience is how long a condition is waited for.
const Patience = time.Minute

// Eventually polls a condition.
func Eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// daemon is a real server that refuses root, in a folder that it owns.
type daemon struct {
	dir  string
	port int
	as   *syscall.Credential
	cmd  *exec.Cmd
	done chan struct{}
}

func newDaemon(t *testing.T, accounts ...string) *daemon {
	t.Helper()
	d := &daemon{port: FreePort(t)}
	dir, err := os.MkdirTemp("", "evenkeel-hb-") //nolint:usetesting // the test's own folder is closed to other accounts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	d.dir = dir
	if os.Getuid() != 0 {
		return d
	}
	for _, name := range append(accounts, "nobody") {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && os.Chown(dir, int(uid), int(gid)) == nil {
			d.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
			return d
		}
	}
	t.Fatalf("there is none of the accounts %v to run the server as: run deploy/setup.sh test", accounts)
	return nil
}

// FreePort is a port of the loopback address on which nobody listens.
func FreePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

func (d *daemon) run(t *testing.T, program string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: d.as}, os.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

func (d *daemon) launch(t *testing.T, program string, args ...string) {
	t.Helper()
	d.cmd = exec.Command(program, args...)
	d.cmd.SysProcAttr, d.cmd.Dir = &syscall.SysProcAttr{Credential: d.as, Pdeathsig: syscall.SIGQUIT}, os.TempDir()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, done := d.cmd, make(chan struct{})
	d.done = done
	go func() { defer close(done); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGQUIT); _ = cmd.Process.Kill(); <-done })
}

// Address is where the server listens.
func (d *daemon) Address() string { return fmt.Sprintf("127.0.0.1:%d", d.port) }

// Maria is a MariaDB with an account of the administrator and one of the agent, which may see the replication.
type Maria struct {
	*daemon
	*sql.DB
}

// StartMaria starts a server with a number of its own, which is the domain of its GTIDs too.
func StartMaria(t *testing.T, id int, extra ...string) *Maria {
	t.Helper()
	m := &Maria{daemon: newDaemon(t, "mysql")}
	binary := func(name string) string {
		for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
				return filepath.Join(dir, name)
			}
		}
		t.Fatalf("%s of MariaDB is not installed under /usr: run deploy/setup.sh test", name)
		return ""
	}
	data, socket := filepath.Join(m.dir, "data"), filepath.Join(m.dir, "s")
	m.run(t, binary("mariadb-install-db"), "--no-defaults", "--datadir="+data, "--tmpdir="+m.dir, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M")
	m.launch(t, binary("mariadbd"), append([]string{
		"--no-defaults", "--datadir=" + data, "--tmpdir=" + m.dir, "--socket=" + socket,
		fmt.Sprintf("--port=%d", m.port), "--bind-address=127.0.0.1", fmt.Sprintf("--server-id=%d", id), fmt.Sprintf("--gtid-domain-id=%d", id),
		"--log-bin=bin", "--log-slave-updates", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--sync-binlog=0",
		"--innodb-flush-log-at-trx-commit=0", "--slave-net-timeout=30", "--skip-name-resolve", "--skip-slave-start",
	}, extra...)...)
	c := driver.NewConfig()
	c.User, c.Net, c.Addr, c.MultiStatements, c.InterpolateParams, c.Logger = "root", "unix", socket, true, true, &driver.NopLogger{}
	connector, err := driver.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	m.DB = sql.OpenDB(connector)
	t.Cleanup(func() { _ = m.Close() })
	Eventually(t, "the server answers", func() bool { return m.Ping() == nil })
	m.Do(t, `SET SESSION sql_log_bin=0; CREATE USER repl@'%' IDENTIFIED BY 'repl-word'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';
CREATE USER evenkeel@'%' IDENTIFIED BY '`+Word+`'; GRANT SLAVE MONITOR, PROCESS ON *.* TO evenkeel@'%';
CREATE USER bare@'%' IDENTIFIED BY '`+Word+`'; SET SESSION sql_log_bin=1`)
	return m
}

// Do runs statements as the administrator.
func (m *Maria) Do(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := m.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Local runs statements that are not replicated.
func (m *Maria) Local(t *testing.T, statement string) {
	t.Helper()
	m.Do(t, "SET SESSION sql_log_bin=0; "+statement+"; SET SESSION sql_log_bin=1")
}

// Number is what a query answers.
func (m *Maria) Number(t *testing.T, query string) (n int64) {
	t.Helper()
	if err := m.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// As is a connection of an account with Word as its password.
func (m *Maria) As(t *testing.T, user string) *sql.DB {
	t.Helper()
	c := driver.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.InterpolateParams, c.Logger = user, Word, "tcp", m.Address(), true, &driver.NopLogger{}
	connector, err := driver.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Follow replicates from another server by way of a wire.
func (m *Maria) Follow(t *testing.T, w *Wire) {
	t.Helper()
	m.Do(t, fmt.Sprintf(`CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='repl', MASTER_PASSWORD='repl-word',
MASTER_USE_GTID=slave_pos, MASTER_HEARTBEAT_PERIOD=0.5, MASTER_CONNECT_RETRY=1; START SLAVE`, w.Port()))
}

// Postgres is a PostgreSQL with accounts of the administrator (admin), the replication (repl) and the agent (evenkeel).
type Postgres struct {
	*daemon
	admin *pgx.Conn
}

func pgProgram(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		t.Fatalf("%s of PostgreSQL is not installed under /usr/lib/postgresql: run deploy/setup.sh test", name)
	}
	return found[len(found)-1]
}

// StartPostgres starts a server for logical replication.
func StartPostgres(t *testing.T) *Postgres {
	t.Helper()
	p := &Postgres{daemon: newDaemon(t, "postgres")}
	word, data := filepath.Join(p.dir, "word"), filepath.Join(p.dir, "data")
	p.file(t, word, AdminWord+"\n")
	p.run(t, pgProgram(t, "initdb"), "-D", data, "-U", "admin", "-A", "scram-sha-256", "--pwfile", word, "--no-sync", "-E", "UTF8", "--locale", "C")
	p.begin(t, "wal_level=logical", "max_prepared_transactions=5")
	p.Do(t, `CREATE ROLE repl LOGIN REPLICATION PASSWORD 'repl-word'`)
	p.Do(t, `CREATE ROLE evenkeel LOGIN PASSWORD '`+Word+`'`)
	p.Do(t, `GRANT pg_monitor TO evenkeel`)
	p.Do(t, `GRANT EXECUTE ON FUNCTION pg_replication_origin_progress(text, boolean) TO evenkeel`)
	p.Do(t, `CREATE ROLE bare LOGIN PASSWORD '`+Word+`'`)
	return p
}

func (p *Postgres) file(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if p.as != nil {
		if err := os.Chown(name, int(p.as.Uid), int(p.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// begin starts the server on its data folder.
func (p *Postgres) begin(t *testing.T, settings ...string) {
	t.Helper()
	args := []string{"-D", filepath.Join(p.dir, "data"), "-p", strconv.Itoa(p.port)}
	for _, s := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=40", "shared_buffers=16MB",
		"wal_receiver_timeout=6s", "wal_sender_timeout=6s", "wal_receiver_status_interval=1s", "wal_retrieve_retry_interval=200ms",
		"log_destination=stderr", "logging_collector=on",
	}, settings...) {
		args = append(args, "-c", s)
	}
	p.launch(t, pgProgram(t, "postgres"), args...)
	Eventually(t, "the server answers", func() bool {
		conn, err := pgx.Connect(t.Context(), p.DSN("admin", AdminWord))
		if err != nil {
			return false
		}
		p.admin = conn
		return true
	})
	t.Cleanup(func() { _ = p.admin.Close(context.Background()) })
}

// DSN is for the agent, without a password where it is empty.
func (p *Postgres) DSN(user, word string) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/postgres?sslmode=disable", user, word, p.port)
}

// Do runs statements as the administrator.
func (p *Postgres) Do(t *testing.T, statement string) {
	t.Helper()
	if _, err := p.admin.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// As runs a statement as an account with Word as its password.
func (p *Postgres) As(t *testing.T, user, statement string) error {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.DSN(user, Word))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	_, err = conn.Exec(t.Context(), statement, pgx.QueryExecModeSimpleProtocol)
	return err
}

// Number is what a query answers.
func (p *Postgres) Number(t *testing.T, query string) (n int64) {
	t.Helper()
	if err := p.admin.QueryRow(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// Wire is a way to a server that can be cut.
type Wire struct {
	listener net.Listener
	to       string
	group    sync.WaitGroup

	mu    sync.Mutex
	gone  bool
	conns map[net.Conn]bool
}

// NewWire makes a wire to an address that lives as long as the test.
func NewWire(t *testing.T, to string) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: l, to: to, conns: map[net.Conn]bool{}}
	w.group.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			w.group.Go(func() { w.join(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.Cut(true)
		w.group.Wait()
	})
	return w
}

// Port is where the wire begins.
func (w *Wire) Port() int { return w.listener.Addr().(*net.TCPAddr).Port }

func (w *Wire) join(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	w.mu.Lock()
	if w.gone {
		w.mu.Unlock()
		return
	}
	w.conns[in], w.conns[out] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // however it ends, both end
		_ = to.Close()
		_ = from.Close()
	}
	both.Go(func() { pump(in, out) })
	both.Go(func() { pump(out, in) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, in)
	delete(w.conns, out)
	w.mu.Unlock()
}

// Cut closes what goes by the wire and refuses what comes, or lets it through again.
func (w *Wire) Cut(gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone = gone; gone {
		for c := range w.conns {
			_ = c.Close()
		}
	}
}
