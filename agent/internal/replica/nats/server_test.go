package nats

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	driver "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
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

const everything = `"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "evenkeel.>"`

// startNode starts a server whose JetStream domain is its name. hub is the relay to the leaf port of another one; 0: none.
func startNode(t *testing.T, name string, hub int) *node {
	t.Helper()
	n := &node{t: t, name: name, domain: name, dir: t.TempDir(), port: replicatest.FreePort(t), leaf: replicatest.FreePort(t), allowed: everything}
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
	if !srv.ReadyForConnections(replicatest.Patience) {
		n.t.Fatal("the nats server did not get ready")
	}
	if n.nc, err = driver.Connect(srv.ClientURL(), driver.UserInfo("admin", adminPassword)); err != nil {
		n.t.Fatal(err)
	}
	if n.js, err = jetstream.New(n.nc, jetstream.WithDefaultTimeout(5*time.Second)); err != nil {
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
