package contract

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// replicated starts two real Redis servers, one of which copies the other, and writes the file with which an agent looks
// at both ends of the link.
func replicated(t *testing.T, logs *safeBuffer) (file string) {
	t.Helper()
	redis, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatalf("redis-server is missing: install it with deploy/setup.sh test (%v)", err)
	}
	port := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}
	source, target := port(), port()
	begin := func(args ...string) {
		launch(t, logs, redis, append([]string{"--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", "", "--repl-diskless-sync-delay", "0"}, args...)...)
	}
	begin("--port", source)
	begin("--port", target, "--replicaof", "127.0.0.1 "+source)
	file = filepath.Join(t.TempDir(), "replication.yaml")
	text := fmt.Sprintf(`- engine: redis
  address: 127.0.0.1:%[2]s
  interval: 1s
  timeout: 900ms
  other_end: {address: "127.0.0.1:%[1]s"}
  links: [{store: cart, from: ams, to: fra, end: target}]
- engine: redis
  address: 127.0.0.1:%[1]s
  interval: 1s
  timeout: 900ms
  links: [{store: cart, from: ams, to: fra, end: source}]
`, source, target)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
