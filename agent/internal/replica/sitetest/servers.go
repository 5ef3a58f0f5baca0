package sitetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// Passwords: of the administrators, and of the accounts of the agent, which must never be seen.
const (
	AdminWord = "root-word"
	Word      = "canary-7c1e55"
)

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
	as := replicatest.Account(t, accounts...)
	return &daemon{dir: replicatest.Folder(t, as), port: replicatest.FreePort(t), as: as}
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
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	d.cmd = exec.Command(program, args...)
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr, d.cmd.Dir = replicatest.Child(d.as, syscall.SIGQUIT), os.TempDir()
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, done := d.cmd, make(chan struct{})
	d.done = done
	go func() { defer close(done); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Signal(syscall.SIGQUIT); _ = cmd.Process.Kill(); <-done })
}

// log is what the server says.
func (d *daemon) log() string { return filepath.Join(d.dir, "said") }

// answers waits until the server that was launched does.
func (d *daemon) answers(t *testing.T, holds func() bool) {
	t.Helper()
	replicatest.Answers(t, d.done, d.log(), holds)
}

// Address is where the server listens.
func (d *daemon) Address() string { return fmt.Sprintf("127.0.0.1:%d", d.port) }

// Port is where the server listens.
func (d *daemon) Port() int { return d.port }

// Kill ends the server at once.
func (d *daemon) Kill() {
	_ = d.cmd.Process.Kill()
	<-d.done
}
