package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// phase is how far a probe had got when it failed.
type phase uint8

const (
	phaseDial phase = iota + 1
	phaseTLS
	phaseAnswer
	phaseBody
)

// classify turns an error into a state and a reason. read is how many bytes of the answer had arrived.
func classify(err error, at phase, read int64) (State, Reason) {
	if ours(err) || noRoute(err) {
		return Unknown, ReasonOurs
	}
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok {
		// The resolver keeps only the text of its socket errors. Refused or unreachable means that our own
		// resolver is gone, which says nothing about the name.
		for _, errno := range append(ownErrors(), syscall.ECONNREFUSED, syscall.ENETUNREACH, syscall.EHOSTUNREACH) {
			if strings.HasSuffix(dnsErr.Err, errno.Error()) {
				return Unknown, ReasonOurs
			}
		}
		if noSocket() { // the resolver then reads none of its files, and says that the name does not exist
			return Unknown, ReasonOurs
		}
		return Down, ReasonDNS
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.Is(err, syscall.ETIMEDOUT):
		return Down, ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return Down, ReasonRefused
	case read == 0 && gone(err):
		// Accepted and thrown out before a byte: a dead process behind a live port, the same as refused.
		return Down, ReasonRefused
	}
	switch at {
	case phaseDial:
		return Down, ReasonConnect
	case phaseTLS:
		return Down, ReasonTLS
	case phaseAnswer, phaseBody:
		return Down, ReasonBody
	}
	return Unknown, ReasonOurs
}

// gone reports whether the peer closed the connection: reset, or an end where bytes were due.
func gone(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ECONNABORTED) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// ours reports whether the failure lies on this host: no descriptor, no memory, no local address or port, not
// allowed to open sockets. Cancelled means that we were told to stop.
func ours(err error) bool {
	if errors.Is(err, context.Canceled) {
		return true
	}
	return slices.ContainsFunc(ownErrors(), func(errno syscall.Errno) bool { return errors.Is(err, errno) })
}

func ownErrors() []syscall.Errno {
	return []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
		syscall.EADDRINUSE, syscall.EACCES, syscall.EPERM, syscall.EAFNOSUPPORT, syscall.EINVAL,
	}
}

// noRoute reports whether this host itself has no way to the address that could not be reached. A router on the way
// may say the same of the target's network, which is news about the target; so the routes of this host are asked, by
// connecting a socket for datagrams, which sends none.
func noRoute(err error) bool {
	if !unreachable(err) {
		return false
	}
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Addr == nil {
		return false
	}
	conn, err := net.Dial("udp", op.Addr.String())
	if err != nil {
		return unreachable(err)
	}
	_ = conn.Close() // nothing was said over it
	return false
}

// noSocket reports whether this host cannot open a socket just now.
func noSocket() bool {
	conn, err := net.Dial("udp", "127.0.0.1:9")
	if err != nil {
		return ours(err)
	}
	_ = conn.Close() // nothing was said over it
	return false
}

func unreachable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH)
}
