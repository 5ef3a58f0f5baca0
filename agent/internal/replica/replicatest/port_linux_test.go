package replicatest

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
)

// A port that a test was given is taken for all but a server that names it, before that one starts and while it is down.
func TestFreePortIsKept(t *testing.T) {
	port := FreePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	for range 2 {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close()
			t.Error("somebody listens")
		}
		other, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		err = syscall.Bind(other, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
		_ = syscall.Close(other)
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("the port is nobody's: %v", err)
		}
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Fatalf("a server that names the port: %v", err)
		}
		_ = l.Close()
	}
}
