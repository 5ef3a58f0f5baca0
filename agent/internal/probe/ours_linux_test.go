package probe

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// alone runs one test again in a process of its own, which may be spoilt, and reports whether this is that process.
func alone(t *testing.T, attributes *syscall.SysProcAttr) bool {
	t.Helper()
	const variable = "PROBE_TEST_ALONE"
	if os.Getenv(variable) == t.Name() {
		return true
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"="+t.Name())
	cmd.SysProcAttr = attributes
	out, err := cmd.CombinedOutput()
	if err != nil && attributes != nil && !strings.Contains(string(out), t.Name()) {
		t.Skipf("no namespace of our own here: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// every is one probe of each kind of an address that is reached without a resolver.
func every(host string) map[string]string {
	return map[string]string{
		"http": "http://" + host + ":1/", "tcp": "tcp://" + host + ":1", "tls": "tls://" + host + ":1",
		"grpc": "grpc://" + host + ":1", "dns": "dns://" + host + ":1/www.example.net",
	}
}

func TestNoFileDescriptorIsOurFault(t *testing.T) {
	if !alone(t, nil) {
		return
	}
	want(t, "before", try(t, "tcp", "tcp://127.0.0.1:1", Via{}), Down, ReasonRefused)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	for kind, raw := range every("127.0.0.1") {
		want(t, kind, try(t, kind, raw, Via{}), Unknown, ReasonOurs)
	}
	want(t, "resolving", within(t, 2*time.Second, "tcp", "tcp://www.example.net:1", Via{}), Unknown, ReasonOurs)
}

func TestNoRouteIsOurFault(t *testing.T) {
	if !alone(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}) {
		return
	}
	for kind, raw := range every("192.0.2.1") {
		want(t, kind, try(t, kind, raw, Via{}), Unknown, ReasonOurs)
	}
}

// Every local port towards one address in use: the next connection has none left.
func TestNoPortLeftIsOurFault(t *testing.T) {
	if !alone(t, &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}) {
		return
	}
	const ports = "/proc/sys/net/ipv4/ip_local_port_range"
	if err := os.WriteFile(ports, []byte("40000 40001"), 0o600); err != nil {
		t.Skipf("ports cannot be made few: %v", err)
	}
	if out, err := exec.CommandContext(t.Context(), "ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("loopback stays down: %v %s", err, out)
	}
	address := serve(t, func(conn *net.TCPConn) { readRequest(conn) })
	var open []*wire
	for range 4 {
		ctx := t.Context()
		w, err := dial(ctx, Via{}, "tcp", address, &Result{})
		if err != nil {
			break
		}
		open = append(open, w)
	}
	res := try(t, "tcp", "tcp://"+address, Via{})
	want(t, fmt.Sprintf("with %d connections open", len(open)), res, Unknown, ReasonOurs)
	for _, w := range open {
		_ = w.Close()
	}
}
