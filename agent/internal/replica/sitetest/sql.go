package sitetest

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	driver "github.com/go-sql-driver/mysql"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// Flavor is what an SQL server is made of: MariaDB under /usr, or a mysqld of MySQL.
type Flavor struct {
	Name   string
	mysqld string // empty: MariaDB
}

// MariaDB is the flavor that is always there.
func MariaDB() Flavor { return Flavor{Name: "mariadb"} }

// Flavors are MariaDB and MySQLs.
func Flavors(t *testing.T) []Flavor {
	t.Helper()
	return append([]Flavor{MariaDB()}, MySQLs(t)...)
}

// MySQLs are those that MYSQLD names, or all that deploy/setup.sh mysql has installed, which may be none.
func MySQLs(t *testing.T) []Flavor {
	t.Helper()
	servers := filepath.SplitList(os.Getenv("MYSQLD"))
	if len(servers) == 0 {
		var err error
		if servers, err = filepath.Glob("/var/cache/evenkeel/mysql/*/bin/mysqld"); err != nil {
			t.Fatal(err)
		}
	}
	var all []Flavor
	for _, one := range servers {
		all = append(all, Flavor{"mysql-" + filepath.Base(filepath.Dir(filepath.Dir(one))), one})
	}
	return all
}

// EachFlavor runs a test with each of some flavors, at the same time.
func EachFlavor(t *testing.T, flavors []Flavor, test func(t *testing.T, f Flavor)) {
	t.Helper()
	if len(flavors) == 0 {
		t.Skip("no MySQL is here: run deploy/setup.sh mysql")
	}
	for _, f := range flavors {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

// MariaDB tells the flavors apart.
func (f Flavor) MariaDB() bool { return f.mysqld == "" }

// SQL is a server with an administrator, whom only its socket lets in, and accounts that all have Word as their password: repl,
// by which others replicate, evenkeel, which has the agent's rights to see the replication, and bare, which has none.
type SQL struct {
	*daemon
	*sql.DB
	Flavor
}

// StartSQL starts a server with a number of its own, which is the domain of a MariaDB's GTIDs too.
func StartSQL(t *testing.T, f Flavor, id int, extra ...string) *SQL {
	t.Helper()
	s := &SQL{daemon: newDaemon(t, "mysql"), Flavor: f}
	data, socket := filepath.Join(s.dir, "data"), filepath.Join(s.dir, "s")
	where := []string{"--no-defaults", "--datadir=" + data, "--tmpdir=" + s.dir, "--innodb-buffer-pool-size=16M", "--skip-name-resolve"}
	args := append(slices.Clip(where), "--socket="+socket, fmt.Sprintf("--port=%d", s.port), "--bind-address=127.0.0.1",
		fmt.Sprintf("--server-id=%d", id), "--log-bin=bin", "--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0")
	if f.MariaDB() {
		// A server that starts deletes the temporary tables of others that share its folder for them.
		s.run(t, maria(t, "mariadb-install-db"), append(where, "--auth-root-authentication-method=normal", "--skip-test-db",
			"--innodb-log-file-size=8M")...)
		s.launch(t, maria(t, "mariadbd"), append(append(args, fmt.Sprintf("--gtid-domain-id=%d", id), "--log-slave-updates",
			"--innodb-log-file-size=8M", "--slave-net-timeout=30", "--skip-slave-start"), extra...)...)
	} else {
		where = append(where, "--innodb-doublewrite=OFF", "--innodb-flush-method=nosync", "--innodb-redo-log-capacity=32M")
		s.run(t, f.mysqld, append(where, "--initialize-insecure")...)
		s.launch(t, f.mysqld, append(append(append(args, where[5:]...), "--gtid-mode=ON", "--enforce-gtid-consistency=ON",
			"--replica-net-timeout=30", "--skip-replica-start", "--relay-log=relay", "--mysqlx=OFF", "--secure-file-priv="), extra...)...)
	}
	c := driver.NewConfig()
	c.User, c.Net, c.Addr, c.MultiStatements, c.InterpolateParams, c.Logger = "root", "unix", socket, true, true, &driver.NopLogger{}
	connector, err := driver.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	s.DB = sql.OpenDB(connector)
	t.Cleanup(func() { _ = s.Close() })
	s.answers(t, func() bool { return s.Ping() == nil })
	rights := "GRANT SLAVE MONITOR, PROCESS ON *.* TO evenkeel@'%'"
	if !f.MariaDB() {
		rights = "GRANT SELECT ON performance_schema.* TO evenkeel@'%'; GRANT PROCESS, XA_RECOVER_ADMIN ON *.* TO evenkeel@'%'"
	}
	s.Local(t, strings.ReplaceAll(`CREATE USER repl@'%' IDENTIFIED BY 'WORD'; GRANT REPLICATION SLAVE ON *.* TO repl@'%';
CREATE USER evenkeel@'%' IDENTIFIED BY 'WORD'; CREATE USER bare@'%' IDENTIFIED BY 'WORD'; `, "WORD", Word)+rights)
	return s
}

// maria is the path of a program of MariaDB.
func maria(t *testing.T, name string) string {
	t.Helper()
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	t.Fatalf("%s of MariaDB is not installed under /usr: run deploy/setup.sh test", name)
	return ""
}

// Say is a statement in the words of the flavor, for one in those of MariaDB.
func (f Flavor) Say(statement string) string {
	if f.MariaDB() {
		return statement
	}
	return strings.NewReplacer("REPLICATION SLAVE", "REPLICATION SLAVE", "CHANGE MASTER", "CHANGE REPLICATION SOURCE",
		"SHOW MASTER", "SHOW BINARY LOG", "MASTER_", "SOURCE_", "SLAVE", "REPLICA").Replace(statement)
}

// Do runs statements as the administrator, in the words of MariaDB.
func (s *SQL) Do(t *testing.T, statement string, args ...any) {
	t.Helper()
	if _, err := s.Exec(s.Say(statement), args...); err != nil {
		t.Fatalf("%s: %v", s.Say(statement), err)
	}
}

// Local runs statements that are not replicated.
func (s *SQL) Local(t *testing.T, statement string) {
	t.Helper()
	s.Do(t, "SET SESSION sql_log_bin=0; "+statement+"; SET SESSION sql_log_bin=1")
}

// Number is what a query answers.
func (s *SQL) Number(t *testing.T, query string) (n int64) {
	t.Helper()
	if err := s.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// Text is what a query answers.
func (s *SQL) Text(t *testing.T, query string) (text string) {
	t.Helper()
	if err := s.QueryRow(query).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

// As is a connection of an account with Word as its password.
func (s *SQL) As(t *testing.T, user string) *sql.DB {
	t.Helper()
	c := driver.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.InterpolateParams, c.Logger = user, Word, "tcp", s.Address(), true, &driver.NopLogger{}
	connector, err := driver.NewConnector(c)
	if err != nil {
		t.Fatal(err)
	}
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Follow replicates from another server by way of a wire, by a connection or channel of that name.
func (s *SQL) Follow(t *testing.T, w *replicatest.Wire, name string) {
	t.Helper()
	change, by, of := "CHANGE MASTER '"+name+"'", "MASTER_USE_GTID=slave_pos", ""
	start := "START SLAVE '" + name + "'"
	if !s.MariaDB() {
		change, by, of = "CHANGE MASTER", "SOURCE_AUTO_POSITION=1, GET_SOURCE_PUBLIC_KEY=1", " FOR CHANNEL '"+name+"'"
		start = "START REPLICA" + of
	}
	s.Do(t, fmt.Sprintf(`%s TO MASTER_HOST='127.0.0.1', MASTER_PORT=%d, MASTER_USER='repl', MASTER_PASSWORD='%s', %s,
MASTER_HEARTBEAT_PERIOD=0.5, MASTER_CONNECT_RETRY=1%s; %s`, change, w.Port(), Word, by, of, start))
}

// Wrote is what the server has written to its binary log, as GTIDs.
func (s *SQL) Wrote(t *testing.T) string {
	t.Helper()
	if s.MariaDB() {
		return s.Text(t, "SELECT @@global.gtid_binlog_pos")
	}
	return s.Text(t, "SELECT @@global.gtid_executed")
}

// Has is what the server has of its source, as GTIDs.
func (s *SQL) Has(t *testing.T) string {
	t.Helper()
	if s.MariaDB() {
		return s.Text(t, "SELECT @@global.gtid_slave_pos")
	}
	return s.Text(t, "SELECT @@global.gtid_executed")
}
