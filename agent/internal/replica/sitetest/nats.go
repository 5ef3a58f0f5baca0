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

// Leaks are what a nats-server leaves in the process for a while.
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

// NATS is a nats-server in this process, whose JetStream domain is its name.
type NATS struct {
	Name string
	Leaf int // port for leaf nodes
	port int
	js   jetstream.JetStream
}

// StartNATS starts a server with a user admin and those that are given as lines of its configuration. hub is the port for leaf nodes
// of another one that it connects to; 0: none.
func StartNATS(t *testing.T, name string, hub int, users string) *NATS {
	t.Helper()
	n := &NATS{Name: name, Leaf: replicatest.FreePort(t), port: replicatest.FreePort(t)}
	dir, remotes := t.TempDir(), ""
	if hub != 0 {
		remotes = fmt.Sprintf(`reconnect: "300ms", remotes: [{url: "nats-leaf://admin:%s@127.0.0.1:%d", account: JS}]`, AdminWord, hub)
	}
	text := fmt.Sprintf(`
listen: "127.0.0.1:%d"
server_name: %s
jetstream: {store_dir: %q, domain: %s, max_mem: 64M, max_file: 256M}
leafnodes: {listen: "127.0.0.1:%d", no_advertise: true, %s}
accounts: {JS: {jetstream: enabled, users: [
  {user: admin, password: %s}
  %s
]}}
`, n.port, name, dir, name, n.Leaf, remotes, AdminWord, users)
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(replicatest.Patience) {
		t.Fatal("the nats server did not get ready")
	}
	nc, err := driver.Connect(s.ClientURL(), driver.UserInfo("admin", AdminWord))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if n.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(replicatest.Patience)); err != nil {
		t.Fatal(err)
	}
	return n
}

// Address is where the server listens.
func (n *NATS) Address() string { return fmt.Sprintf("127.0.0.1:%d", n.port) }

// Stream makes a stream of subjects.
func (n *NATS) Stream(t *testing.T, name string, subjects ...string) {
	t.Helper()
	if _, err := n.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: subjects, Storage: jetstream.MemoryStorage}); err != nil {
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
