package sitetest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"testing"
	"time"
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
