package replicatest

import (
	"os"
	"os/user"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Patience is how long anything may take that must happen: a busy machine is slow, and nothing is asserted of its speed.
const Patience = 2 * time.Minute

// Until polls a condition until it holds, and ends the test when it does not within Patience.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", Patience, what)
		}
	}
}

// Answers waits until a server that was started answers. One that ended instead, or never does, ends the test with what it wrote
// into its log.
func Answers(t testing.TB, ended <-chan struct{}, log string, holds func() bool) {
	t.Helper()
	over := false
	for end := time.Now().Add(Patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if over = over || time.Now().After(end); over {
			said, _ := os.ReadFile(log)
			t.Fatalf("the server does not answer; its log ends with\n%s", said[max(0, len(said)-4096):])
		}
		select {
		case <-ended:
			over = true // it is asked once more
		default:
		}
	}
}

// Account is whom a daemon that refuses root runs as: the first of the names that exists, else nobody. Nil: as we are.
func Account(t testing.TB, names ...string) *syscall.Credential {
	t.Helper()
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range append(names, "nobody") {
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
	t.Fatal("the server refuses root, and there is no other account to run it as: run deploy/setup.sh test")
	return nil
}

// Folder is a new one that the account owns and can reach, which those of the testing package are not. Its path is short
// enough for a socket. It is deleted with the test.
func Folder(t testing.TB, who *syscall.Credential) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "evenkeel-") //nolint:usetesting // the test's own folder is closed to other accounts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if who != nil {
		if err := os.Chown(dir, int(who.Uid), int(who.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
