package redis

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"

	driver "github.com/redis/go-redis/v9"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Failure is why a question was not answered. Its text is made here and holds nothing that the server or the driver said.
type Failure struct {
	Reason replica.Reason
	Detail string
}

func (f *Failure) Error() string { return "redis: " + f.Detail }

// errPasswordFile says that there is no password to send.
var errPasswordFile = errors.New("the password file cannot be read")

// classify turns an error of the driver into a Failure that is fit to be shown.
func classify(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if answer, ok := errors.AsType[driver.Error](err); ok {
		return refused(answer.Error())
	}
	switch {
	case errors.Is(err, errPasswordFile):
		return &Failure{replica.ReasonAuth, "the password file cannot be read"}
	case timedOut(err):
		return &Failure{replica.ReasonTimeout, "no answer in time"}
	}
	return &Failure{replica.ReasonConnect, "the server cannot be reached"}
}

// refused classifies an answer that is an error, by its code: the first word.
func refused(answer string) *Failure {
	code, _, _ := strings.Cut(answer, " ")
	switch code {
	case "WRONGPASS", "NOAUTH":
		return &Failure{replica.ReasonAuth, "name or password are refused"}
	case "NOPERM":
		return &Failure{replica.ReasonPrivilege, "the account lacks a privilege"}
	case "READONLY":
		return &Failure{replica.ReasonRole, "the server takes no writes"}
	case "LOADING", "BUSY", "MASTERDOWN", "DENIED", "OOM", "NOREPLICAS", "MISCONF":
		return &Failure{replica.ReasonQuery, "the server answered " + code}
	}
	if strings.HasPrefix(answer, "ERR invalid password") || strings.HasPrefix(answer, "ERR AUTH") {
		return &Failure{replica.ReasonAuth, "name or password are refused"} // before 6.0, and a server without a password
	}
	return &Failure{replica.ReasonQuery, "the server answered with an error"}
}

func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.Is(err, driver.ErrPoolTimeout) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
