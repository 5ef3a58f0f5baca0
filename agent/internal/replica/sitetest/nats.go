package sitetest

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

// Leaks are what a nats-server leaves in the process: some for its life, some until they have waited half a minute for an answer, also
// when the server is gone.
func Leaks() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*ocspReadCache).Stop"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).setupMirrorConsumer.func3"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).setupSourceConsumer.func3"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).trySetupSourceConsumer.func3"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*stream).tryDeleteSourcingConsumer.func1"),
	}
}

// NATS is a nats-server in this process. What is exported and no method may be changed before it starts.
type NATS struct {
	Name   string
	Domain string // of its JetStream
	Port   int
	Leaf   int    // port for leaf nodes
	Users  string // lines of its configuration, besides a user admin
	Routes string // the cluster it is in, in its configuration; empty: none

	dir     string
	remotes string // what it connects to as a leaf node
	server  *server.Server
	nc      *driver.Conn
	js      jetstream.JetStream
}

// NewNATS makes a server that is not started, whose JetStream domain is its name. hub is the port for leaf nodes of another one that it
// connects to; 0: none.
func NewNATS(t *testing.T, name string, hub int, users string) *NATS {
	t.Helper()
	n := &NATS{Name: name, Domain: name, Leaf: replicatest.FreePort(t), Users: users, Port: replicatest.FreePort(t), dir: t.TempDir()}
	if hub != 0 {
		n.remotes = fmt.Sprintf(`reconnect: "300ms", remotes: [{url: "nats-leaf://admin:%s@127.0.0.1:%d", account: JS}]`, AdminWord, hub)
	}
	return n
}

// StartNATS is NewNATS, started.
func StartNATS(t *testing.T, name string, hub int, users string) *NATS {
	t.Helper()
	n := NewNATS(t, name, hub, users)
	n.Start(t)
	return n
}

// options has leaf nodes that do not compress, which would send many messages as one block: over a slow link all of them would come
// at once.
func (n *NATS) options(t *testing.T) *server.Options {
	t.Helper()
	text := fmt.Sprintf(`
listen: "127.0.0.1:%d"
server_name: %s
jetstream: {store_dir: %q, domain: %s, max_mem: 64M, max_file: 256M}
leafnodes: {listen: "127.0.0.1:%d", no_advertise: true, compression: off, %s}
%s
accounts: {JS: {jetstream: enabled, users: [
  {user: admin, password: %s}
  %s
]}}
`, n.Port, n.Name, n.dir, n.Domain, n.Leaf, n.remotes, n.Routes, AdminWord, n.Users)
	file := filepath.Join(n.dir, "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	return o
}

// Start starts it, with what it has stored. It is stopped with the test.
func (n *NATS) Start(t *testing.T) {
	t.Helper()
	s, err := server.NewServer(n.options(t))
	if err != nil {
		t.Fatal(err)
	}
	n.server = s
	go s.Start()
	t.Cleanup(n.Stop)
	if !s.ReadyForConnections(replicatest.Patience) {
		t.Fatal("the nats server did not get ready")
	}
	if n.nc, err = driver.Connect(s.ClientURL(), driver.UserInfo("admin", AdminWord)); err != nil {
		t.Fatal(err)
	}
	if n.js, err = jetstream.New(n.nc, jetstream.WithDefaultTimeout(10*time.Second)); err != nil {
		t.Fatal(err)
	}
}

// Stop ends it; it may have ended.
func (n *NATS) Stop() {
	if n.server == nil {
		return
	}
	if n.nc != nil {
		n.nc.Close()
	}
	n.server.Shutdown()
	n.server.WaitForShutdown()
	n.server, n.nc = nil, nil
}

// Allow changes the users of the server that runs.
func (n *NATS) Allow(t *testing.T, users string) {
	t.Helper()
	n.Users = users
	n.options(t) // it reads its file again
	if err := n.server.Reload(); err != nil {
		t.Fatal(err)
	}
}

// Server is what runs.
func (n *NATS) Server() *server.Server { return n.server }

// JetStream is that of the administrator, until the server is stopped.
func (n *NATS) JetStream() jetstream.JetStream { return n.js }

// Address is where the server listens.
func (n *NATS) Address() string { return fmt.Sprintf("127.0.0.1:%d", n.Port) }

// Stream makes a stream of subjects.
func (n *NATS) Stream(t *testing.T, name string, subjects ...string) {
	t.Helper()
	if _, err := n.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects, Storage: jetstream.MemoryStorage}); err != nil {
		t.Fatal(err)
	}
}

// Purge removes the messages of a subject from a stream.
func (n *NATS) Purge(t *testing.T, stream, subject string) {
	t.Helper()
	of, err := n.js.Stream(t.Context(), stream)
	if err == nil {
		err = of.Purge(t.Context(), jetstream.WithPurgeSubject(subject))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Mirror makes a copy of another server's stream, as soon as that server is in sight.
func (n *NATS) Mirror(t *testing.T, name, of string, from *NATS) {
	t.Helper()
	replicatest.Until(t, "the origin is in sight", func() bool {
		_, err := n.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Storage: jetstream.MemoryStorage, Mirror: &jetstream.StreamSource{
			Name: of, External: &jetstream.ExternalStream{APIPrefix: "$JS." + from.Name + ".API"},
		}})
		return err == nil
	})
}

// Denied reports whether a user with Word as its password may not publish to a subject.
func (n *NATS) Denied(t *testing.T, user, subject string) bool {
	t.Helper()
	denied := make(chan struct{}, 1)
	nc, err := driver.Connect("nats://"+n.Address(), driver.UserInfo(user, Word), driver.ErrorHandler(func(*driver.Conn, *driver.Subscription, error) {
		select {
		case denied <- struct{}{}:
		default:
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish(subject, nil); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-denied:
		return true
	case <-time.After(replicatest.Patience):
		return false
	}
}
