package redis

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	driver "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &server{port: listener.Addr().(*net.TCPAddr).Port}
	listener.Close()
	config := append([]string{
		"bind 127.0.0.1", fmt.Sprintf("port %d", s.port), "dir " + dir, "logfile log", `save ""`,
		"requirepass " + adminPassword, "masterauth " + adminPassword,
		"repl-ping-replica-period 1", "repl-diskless-sync-delay 0", "repl-backlog-size 32kb",
		"user evenkeel on >" + canary + " +info +get +set ~evenkeel:*",
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
	until(t, "the server answers", 10*time.Second, func() bool { return s.admin.Ping(context.Background()).Err() == nil })
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

// until polls a condition.
func until(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// relay is a TCP proxy whose link can be cut (closed and refused), silenced (bytes wait) and slowed.
type relay struct {
	listener net.Listener
	to       string
	silent   atomic.Bool
	rate     atomic.Int64 // bytes a second; 0: all
	group    sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newRelay(t testing.TB, to string) *relay {
	t.Helper()
	return newRelayAt(t, "127.0.0.1:0", to)
}

func newRelayAt(t testing.TB, at, to string) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, to: to, conns: map[net.Conn]bool{}}
	r.group.Go(r.accept)
	t.Cleanup(func() {
		listener.Close()
		r.setCut(true)
		r.group.Wait()
	})
	return r
}

func (r *relay) port() int { return r.listener.Addr().(*net.TCPAddr).Port }

func (r *relay) setCut(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	if cut {
		for c := range r.conns {
			c.Close()
		}
		clear(r.conns)
	}
}

func (r *relay) accept() {
	for {
		down, err := r.listener.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", r.to)
		if err != nil {
			down.Close()
			continue
		}
		r.mu.Lock()
		if r.cut {
			down.Close()
			up.Close()
		} else {
			r.conns[down], r.conns[up] = true, true
			r.group.Go(func() { r.copy(down, up) })
			r.group.Go(func() { r.copy(up, down) })
		}
		r.mu.Unlock()
	}
}

func (r *relay) copy(to, from net.Conn) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		for r.silent.Load() {
			r.mu.Lock()
			gone := !r.conns[from]
			r.mu.Unlock()
			if gone {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
		if rate := r.rate.Load(); rate > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
