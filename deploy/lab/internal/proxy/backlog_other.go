//go:build !linux

package proxy

import (
	"errors"
	"net"
)

// setBacklog works on Linux only; elsewhere a cut connection is completed by the kernel and then held.
func setBacklog(*net.TCPListener, int) error { return errors.ErrUnsupported }
