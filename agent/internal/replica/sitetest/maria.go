package sitetest

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

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
	replicatest.Until(t, "the server answers", func() bool { return m.Ping() == nil })
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
func (m *Maria) Follow(t *testing.T, w *replicatest.Wire) {
	t.Helper()
	m.Do(t, fmt.Sprintf(`CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='repl', MASTER_PASSWORD='repl-word',
MASTER_USE_GTID=slave_pos, MASTER_HEARTBEAT_PERIOD=0.5, MASTER_CONNECT_RETRY=1; START SLAVE`, w.Port()))
}
