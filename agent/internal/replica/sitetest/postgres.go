package sitetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
)

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
	}, settings...) {
		args = append(args, "-c", s)
	}
	p.launch(t, pgProgram(t, "postgres"), args...)
	p.answers(t, func() bool {
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
