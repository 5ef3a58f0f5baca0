package mysql

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	driverpkg "github.com/go-sql-driver/mysql"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "canary-3f9a61"

// program is the path of a program of MariaDB.
func program(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		if path := filepath.Join(dir, name); exec.Command("test", "-x", path).Run() == nil {
			return path
		}
	}
	t.Fatalf("%s of MariaDB is not installed under /usr: run deploy/setup.sh test", name)
	return ""
}

// database is one MariaDB on a loopback port.
type database struct {
	dir  string
	port int
	cmd  *exec.Cmd
	done chan struct{}
	*sql.DB
}

func (d *database) address() string { return fmt.Sprintf("127.0.0.1:%d", d.port) }

// start makes a data folder and runs a server on it, with a root account that only its socket can use.
func start(t *testing.T, id int) *database {
	t.Helper()
	who := replicatest.Account(t, "mysql")
	dir := replicatest.Folder(t, who)
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "s")
	// A server that starts deletes the temporary tables of others that share its folder for them.
	install := exec.CommandContext(t.Context(), program(t, "mariadb-install-db"), "--no-defaults", "--datadir="+data, "--tmpdir="+dir,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve",
		"--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M")
	install.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	install.Dir = os.TempDir()
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	d := &database{dir: dir, port: replicatest.FreePort(t), done: make(chan struct{})}
	d.cmd = exec.Command(program(t, "mariadbd"), "--no-defaults", "--datadir="+data, "--tmpdir="+dir, "--socket="+socket,
		fmt.Sprintf("--port=%d", d.port), "--bind-address=127.0.0.1", fmt.Sprintf("--server-id=%d", id), "--log-bin=bin",
		"--log-slave-updates", "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M", "--sync-binlog=0",
		"--innodb-flush-log-at-trx-commit=0", "--slave-net-timeout=30", "--skip-name-resolve", "--skip-slave-start")
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	d.cmd.Dir = os.TempDir()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = d.cmd.Wait(); close(d.done) }()
	config := driverpkg.NewConfig()
	config.User, config.Net, config.Addr = "root", "unix", socket
	config.MultiStatements, config.InterpolateParams, config.Logger = true, true, &driverpkg.NopLogger{}
	connector, err := driverpkg.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	d.DB = sql.OpenDB(connector)
	t.Cleanup(func() {
		d.Close()
		d.kill()
	})
	replicatest.Until(t, "the server answers", func() bool { return d.Ping() == nil })
	return d
}

func (d *database) kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}

func (d *database) do(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := d.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func (d *database) text(t *testing.T, query string) (out string) {
	t.Helper()
	if err := d.QueryRow(query).Scan(&out); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return out
}
