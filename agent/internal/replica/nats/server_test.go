package nats

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	driver "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// nats-server keeps these for the life of the process.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*ocspReadCache).Stop"),
		// These wait for half a minute for an answer, also when the server is gone.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).setupMirrorConsumer.func3"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).setupSourceConsumer.func3"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).tryDeleteSourcingConsumer.func1"),
	)
}

const (
	adminPassword = "admin-word"
	canary        = "canary-2f9a71"
)

// node is a real nats-server in this process, on a loopback port.
type node struct {
	t       *testing.T
	name    string
	domain  string // of its JetStream
	dir     string
	port    int
	leaf    int    // where other servers connect to as leaf nodes
	remotes string // what this one connects to as a leaf node
	routes  string // the cluster it is in; empty: none
	allowed string // what the agent may publish
	srv     *server.Server
	js      jetstream.JetStream
	nc      *driver.Conn
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

const everything = `"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "evenkeel.>"`

// startNode starts a server whose JetStream domain is its name. hub is the relay to the leaf port of another one; 0: none.
func startNode(t *testing.T, name string, hub int) *node {
	t.Helper()
	n := &node{t: t, name: name, domain: name, dir: t.TempDir(), port: freePort(t), leaf: freePort(t), allowed: everything}
	if hub != 0 {
		n.remotes = fmt.Sprintf(`reconnect: "300ms", remotes: [{url: "nats-leaf://admin:%s@127.0.0.1:%d", account: JS}]`, adminPassword, hub)
	}
	n.start()
	t.Cleanup(n.stop)
	return n
}

func (n *node) config() *server.Options {
	n.t.Helper()
	text := fmt.Sprintf(`
listen: "127.0.0.1:%d"
server_name: %s
jetstream: {store_dir: %q, domain: %s, max_mem: 64M, max_file: 256M}
leafnodes: {listen: "127.0.0.1:%d", no_advertise: true, %s}
%s
accounts: {JS: {jetstream: enabled, users: [
  {user: admin, password: %s},
  {user: evenkeel, password: %s, permissions: {publish: [%s], subscribe: ["_INBOX_evenkeel.>"]}},
]}}
`, n.port, n.name, n.dir, n.domain, n.leaf, n.remotes, n.routes, adminPassword, canary, n.allowed)
	file := filepath.Join(n.dir, "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		n.t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	return o
}

func (n *node) start() {
	n.t.Helper()
	srv, err := server.NewServer(n.config())
	if err != nil {
		n.t.Fatal(err)
	}
	n.srv = srv
	go srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		n.t.Fatal("the nats server did not get ready")
	}
	if n.nc, err = driver.Connect(srv.ClientURL(), driver.UserInfo("admin", adminPassword)); err != nil {
		n.t.Fatal(err)
	}
	if n.js, err = jetstream.New(n.nc, jetstream.WithDefaultTimeout(2*time.Second)); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) stop() {
	if n.srv == nil {
		return
	}
	n.nc.Close()
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
	n.srv = nil
}

// allow changes what the agent may publish.
func (n *node) allow(subjects string) {
	n.t.Helper()
	n.allowed = subjects
	n.config()
	if err := n.srv.Reload(); err != nil {
		n.t.Fatal(err)
	}
}

// as is the server for the agent's user.
func (n *node) as(password string) Server {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	return Server{Address: fmt.Sprintf("127.0.0.1:%d", n.port), User: "evenkeel", PasswordFile: file}
}

func (n *node) make(config jetstream.StreamConfig) {
	n.t.Helper()
	if _, err := n.js.CreateStream(n.t.Context(), config); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) drop(stream string) {
	n.t.Helper()
	if err := n.js.DeleteStream(n.t.Context(), stream); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) publish(subject string, bytes int) {
	n.t.Helper()
	if _, err := n.js.Publish(n.t.Context(), subject, make([]byte, bytes)); err != nil {
		n.t.Fatal(err)
	}
}

// from is what a stream copies from the node.
func (n *node) from(stream string) *jetstream.StreamSource {
	return &jetstream.StreamSource{Name: stream, External: &jetstream.ExternalStream{APIPrefix: "$JS." + n.name + ".API"}}
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

func newRelay(t testing.TB, to int) *relay {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{listener: listener, to: fmt.Sprintf("127.0.0.1:%d", to), conns: map[net.Conn]bool{}}
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
