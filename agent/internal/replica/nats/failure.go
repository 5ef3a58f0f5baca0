package nats

import (
	"context"
	"errors"
	"net"
	"os"

	driver "github.com/nats-io/nats.go"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Failure is why a question was not answered. Its text is made here and holds nothing that the server or the driver said.
type Failure struct {
	Reason replica.Reason
	Detail string
}

func (f *Failure) Error() string { return "nats: " + f.Detail }

// errSecret says that there is no password or credential to send.
var errSecret = errors.New("the password or credentials file cannot be read")

// Error codes of JetStream, from errors.json in the source of the server.
const (
	codeUnavailable = 10008 // no leader
	codeNotEnabled1 = 10039 // for the account
	codeNoStream    = 10059
	codeWrongLast   = 10071 // another message came first
	codeNotEnabled2 = 10076
	codeOffline1    = 10118
	codeWrongLast2  = 10164
	codeOffline2    = 10194
	codeNotExpected = 10060 // the subject belongs to another stream
)

// classify turns an error into a Failure that is fit to be shown.
func classify(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if answer, ok := errors.AsType[*apiError](err); ok {
		return refused(answer.ErrCode)
	}
	switch {
	case errors.Is(err, errSecret):
		return &Failure{replica.ReasonAuth, "the password or credentials file cannot be read"}
	case errors.Is(err, errAnswer):
		return &Failure{replica.ReasonIncomplete, "the server's answer is not complete"}
	case errors.Is(err, driver.ErrPermissionViolation):
		return &Failure{replica.ReasonPrivilege, "the account lacks a permission"}
	case errors.Is(err, driver.ErrAuthorization), errors.Is(err, driver.ErrAuthExpired), errors.Is(err, driver.ErrAuthRevoked),
		errors.Is(err, driver.ErrAccountAuthExpired):
		return &Failure{replica.ReasonAuth, "name, password or credentials are refused"}
	case errors.Is(err, driver.ErrNoResponders):
		return &Failure{replica.ReasonQuery, "nobody answers for JetStream: it is off, or not reachable from there"}
	case timedOut(err):
		return &Failure{replica.ReasonTimeout, "no answer in time"}
	}
	return &Failure{replica.ReasonConnect, "the server cannot be reached"}
}

// refused classifies an error that JetStream answered with.
func refused(code int) *Failure {
	switch code {
	case codeNoStream:
		return &Failure{replica.ReasonMisconfigured, "there is no such stream"}
	case codeUnavailable, codeOffline1, codeOffline2:
		return &Failure{replica.ReasonQuery, "JetStream is not available: a leader is missing"}
	case codeNotEnabled1, codeNotEnabled2:
		return &Failure{replica.ReasonMisconfigured, "the account has no JetStream"}
	}
	return &Failure{replica.ReasonQuery, "JetStream answered with an error"}
}

func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, driver.ErrTimeout) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
