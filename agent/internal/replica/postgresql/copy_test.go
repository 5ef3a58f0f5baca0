package postgresql

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// conninfo is how a standby called ams connects by way of a wire.
func conninfo(wire *replicatest.Wire) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=repl password=repl-word dbname=postgres application_name=ams sslmode=disable", wire.Port())
}

// copyOf fills the data folder of s with a copy of a primary.
func (s *server) copyOf(t *testing.T, primary *server) {
	t.Helper()
	conn := primary.conn(t, "postgres")
	defer conn.Close(context.Background())
	start, stop := `SELECT pg_backup_start('copy', true)`, `SELECT labelfile FROM pg_backup_stop()`
	if primary.major < 15 {
		start, stop = `SELECT pg_start_backup('copy', true, false)`, `SELECT labelfile FROM pg_stop_backup(false)`
	}
	if _, err := conn.Exec(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "cp", "-a", primary.dir, s.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account(t)}
	if out, err := cmd.CombinedOutput(); err != nil {
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "No such file or directory") { // one that went away meanwhile is no part of the copy
				t.Fatalf("copy: %v\n%s", err, out)
			}
		}
	}
	var label string
	if err := conn.QueryRow(t.Context(), stop).Scan(&label); err != nil {
		t.Fatal(err)
	}
	s.write(t, filepath.Join(s.dir, "backup_label"), label)
	for _, not := range []string{"postmaster.pid", "pg_replslot/*"} {
		files, err := filepath.Glob(filepath.Join(s.dir, not))
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range files {
			if err := os.RemoveAll(one); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// backup takes a base backup by way of a wire as pg_basebackup does, slowly, and throws it away; until the context ends. The
// packages with other versions lack that program.
func backup(ctx context.Context, wire *replicatest.Wire, major int) error {
	conn, err := pgconn.Connect(ctx, conninfo(wire)+" replication=true")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	command := `BASE_BACKUP LABEL 'copy' FAST MAX_RATE 1024`
	if major >= 15 {
		command = `BASE_BACKUP (LABEL 'copy', CHECKPOINT 'fast', MAX_RATE 1024)`
	}
	conn.Frontend().Send(&pgproto3.Query{String: command})
	if err := conn.Frontend().Flush(); err != nil {
		return err
	}
	for {
		message, err := conn.ReceiveMessage(ctx)
		if err != nil && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if _, done := message.(*pgproto3.ReadyForQuery); done {
			return nil
		}
	}
}

// basebackup is the program, where it is installed.
func (s *server) basebackup(ctx context.Context, as *syscall.Credential, wire *replicatest.Wire, rate string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, "pg_basebackup"), "-D", s.dir, "-X", "stream", "-c", "fast", "--no-sync",
		"-d", conninfo(wire), "--max-rate", rate)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	cmd.Dir = os.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w: %s", err, out)
	}
	return nil
}

// follow starts a copy as a standby.
func (s *server) follow(t *testing.T, wire *replicatest.Wire) {
	t.Helper()
	settings := fmt.Sprintf("primary_conninfo = '%s'\nprimary_slot_name = 'ams_slot'\n", conninfo(wire))
	if s.major < 12 {
		s.write(t, filepath.Join(s.dir, "recovery.conf"), "standby_mode = on\nrecovery_target_timeline = latest\n"+settings)
	} else {
		s.write(t, filepath.Join(s.dir, "standby.signal"), "")
		s.configure(t, settings)
	}
	s.start(t)
}

// promote makes a standby a primary.
func (s *server) promote(t *testing.T) {
	t.Helper()
	if s.major < 12 {
		s.run(t, "pg_ctl", "promote", "-D", s.dir)
		return
	}
	s.do(t, "postgres", `SELECT pg_promote(true)`)
}
