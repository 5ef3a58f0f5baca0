package nats

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, sitetest.Leaks()...) }

const canary = sitetest.Word

// node is a real nats-server in this process, on a loopback port.
type node struct {
	*sitetest.NATS
	t  *testing.T
	js jetstream.JetStream
}

const everything = `"$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*", "evenkeel.>"`

// agent is the agent's user, who may publish so much.
func agent(allowed string) string {
	return fmt.Sprintf(`{user: evenkeel, password: %s, permissions: {publish: [%s], subscribe: ["_INBOX_evenkeel.>"]}}`, canary, allowed)
}

// startNode starts a server whose JetStream domain is its name. hub is the relay to the leaf port of another one; 0: none.
func startNode(t *testing.T, name string, hub int) *node {
	t.Helper()
	n := &node{NATS: sitetest.NewNATS(t, name, hub, agent(everything)), t: t}
	n.start()
	return n
}

func (n *node) start() {
	n.t.Helper()
	n.Start(n.t)
	n.js = n.JetStream()
}

func (n *node) stop() { n.Stop() }

// allow changes what the agent may publish.
func (n *node) allow(subjects string) {
	n.t.Helper()
	n.Allow(n.t, agent(subjects))
}

// as is the server for the agent's user.
func (n *node) as(password string) Server {
	n.t.Helper()
	file := filepath.Join(n.t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	return Server{Address: n.Address(), User: "evenkeel", PasswordFile: file}
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
	return &jetstream.StreamSource{Name: stream, External: &jetstream.ExternalStream{APIPrefix: "$JS." + n.Name + ".API"}}
}
