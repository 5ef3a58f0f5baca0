package proxy

import (
	"net"
	"syscall"
)

// setBacklog changes how many connections the kernel completes ahead of Accept. Linux takes a second listen on
// a listening socket as a new limit.
func setBacklog(ln *net.TCPListener, n int) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	var lerr error
	if err := raw.Control(func(fd uintptr) { lerr = syscall.Listen(int(fd), n) }); err != nil {
		return err
	}
	return lerr
}
