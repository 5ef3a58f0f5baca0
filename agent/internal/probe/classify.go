package probe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
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
	if ours(err) {
		return Unknown, ReasonOurs
	}
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok {
		// The resolver keeps only the text of its socket errors. Refused or unreachable means that our own
		// resolver is gone, which says nothing about the name.
		if strings.HasSuffix(dnsErr.Err, syscall.ECONNREFUSED.Error()) ||
			strings.HasSuffix(dnsErr.Err, syscall.ENETUNREACH.Error()) {
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
	for _, errno := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL,
		syscall.EADDRINUSE, syscall.EACCES, syscall.EPERM, syscall.EAFNOSUPPORT, syscall.EINVAL,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
