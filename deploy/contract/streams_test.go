package contract

import (
	"fmt"
	"os"
	"testing"
	"time"

	bus "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// mirrored starts a real nats-server in which the streams of two sites copy each other, and adds to an agent's file what the
// agents of both sites would look at: beats that arrive, and echoes of them that come back, which a Redis that only copies never writes.
func mirrored(t *testing.T, file string) {
	t.Helper()
	s, err := bus.NewServer(&bus.Options{Host: "127.0.0.1", Port: bus.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the nats server did not get ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, at := range []struct{ site, other string }{{"ams", "fra"}, {"fra", "ams"}} {
		for _, c := range []jetstream.StreamConfig{
			{Name: at.site, Subjects: []string{"evenkeel.hb." + at.site, "evenkeel.echo." + at.site + ".*"}, Storage: jetstream.MemoryStorage},
			{Name: at.site + "-copy", Mirror: &jetstream.StreamSource{Name: at.site}, Storage: jetstream.MemoryStorage},
		} {
			if _, err := js.CreateStream(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		text += fmt.Sprintf(`- engine: nats
  address: %[1]s
  interval: 1s
  timeout: 900ms
  heartbeat: {write: true, origin: %[2]s, stream: %[2]s}
  links:
    - {store: bus, from: %[2]s, to: %[3]s, channel: %[2]s, peer: %[2]s-copy, end: source}
    - {store: bus, from: %[3]s, to: %[2]s, channel: %[3]s, peer: %[3]s-copy, end: target}
`, s.Addr(), at.site, at.other)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}
