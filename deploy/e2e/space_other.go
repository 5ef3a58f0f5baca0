//go:build !linux

package e2e

import (
	"errors"
	"net"
	"runtime"
)

// space cannot be had here: only Linux has network namespaces.
type space struct{}

var errNoSpaces = errors.New("network namespaces exist on Linux only: run these tests there")

func openSpace(string) (*space, error) { return nil, errNoSpaces }

func (*space) close() {}

func (*space) enter() error { return errNoSpaces }

func (*space) do(func() error) error { return errNoSpaces }

func (*space) listen(string) (net.Listener, error) { return nil, errNoSpaces }

func onThread(f func()) {
	go func() {
		runtime.LockOSThread()
		f()
	}()
}
