package redis

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	driver "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	adminPassword = "admin-word"
	canary        = "canary-2f9a71"
)

// server is a real redis-server on a loopback port.
type server struct {
	port    int
	process *os.Process
	admin   *driver.Client
}

func (s *server) address() string { return fmt.Sprintf("127.0.0.1:%d", s.port) }

// startServer starts a server that knows an admin and the agent, which may do what the documentation asks for.
func startServer(t testing.TB, extra ...string) *server {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not installed: run deploy/setup.sh test")
	}
	dir := t.TempDir()
	s := &server{port: replicatest.FreePort(t)}
	config := append([]string{
		"bind 127.0.0.1", fmt.Sprintf("port %d", s.port), "dir " + dir, "logfile log", `save ""`,
		"requirepass " + adminPassword, "masterauth " + adminPassword,
		"repl-ping-replica-period 1", "repl-diskless-sync-delay 0", "repl-backlog-size 32kb",
		"user evenkeel on >" + canary + " +info +mget +mset ~evenkeel:*",
	}, extra...)
	path := filepath.Join(dir, "redis.conf")
	if err := os.WriteFile(path, []byte(strings.Join(config, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = cmd.Process
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	s.admin = driver.NewClient(&driver.Options{Addr: s.address(), Password: adminPassword, Protocol: 2, DisableIdentity: true})
	t.Cleanup(func() { s.admin.Close() })
	replicatest.Until(t, "the server answers", func() bool { return s.admin.Ping(context.Background()).Err() == nil })
	return s
}

// signal stops, continues or kills the server.
func (s *server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := s.process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func (s *server) do(t testing.TB, args ...any) {
	t.Helper()
	if err := s.admin.Do(t.Context(), args...).Err(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

// as is the server for the agent's account.
func (s *server) as(t testing.TB, password string) Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Server{Address: s.address(), User: "evenkeel", PasswordFile: file}
}
