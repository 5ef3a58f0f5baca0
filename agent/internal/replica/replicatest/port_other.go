//go:build !linux

package replicatest

import (
	"net"
	"testing"
)

// FreePort is a port of the loopback address on which nobody listens, for a moment: only Linux keeps it for the test.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}
