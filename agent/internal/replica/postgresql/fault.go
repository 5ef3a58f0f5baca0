package postgresql

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// explain turns an error of the driver into a reason and a sentence. Nothing of the error's own text goes into it: it may
// quote the connection string.
func explain(err error) (replica.Reason, string) {
	if server, ok := errors.AsType[*pgconn.PgError](err); ok {
		return explainCode(server.Code)
	}
	var timeout net.Error
	switch {
	case errors.Is(err, errPasswordFile):
		return replica.ReasonMisconfigured, "the password file cannot be read"
	case errors.Is(err, errVersion):
		return replica.ReasonMisconfigured, "the server is older than version 10"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.As(err, &timeout) && timeout.Timeout():
		return replica.ReasonTimeout, "the server did not answer in time"
	case errors.Is(err, errConnect), pgconn.SafeToRetry(err), errors.As(err, new(*net.OpError)):
		return replica.ReasonConnect, "the server cannot be reached"
	case errors.Is(err, errAnswer):
		return replica.ReasonIncomplete, "the server's answer cannot be read"
	}
	return replica.ReasonConnect, "the connection broke"
}

// explainCode reads an SQLSTATE (appendix A of the manual).
func explainCode(code string) (replica.Reason, string) {
	said := "the server answered with SQLSTATE " + code
	switch {
	case strings.HasPrefix(code, "28"):
		return replica.ReasonAuth, said + ": name or password are wrong, or pg_hba.conf does not let it in"
	case code == "42501":
		return replica.ReasonPrivilege, said + ": the account lacks a privilege"
	case code == "57014":
		return replica.ReasonTimeout, said + ": the statement took too long"
	case code == "57P03":
		return replica.ReasonConnect, said + ": it is starting, stopping or not consistent yet"
	case strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"):
		return replica.ReasonConnect, said
	case code == "3D000":
		return replica.ReasonMisconfigured, said + ": there is no such database"
	case code == "42P01", code == "42703":
		return replica.ReasonMisconfigured, said + ": there is no such table, or it lacks a column"
	}
	return replica.ReasonQuery, said
}

// fault is an error of ours. A constant, so that nobody can change it.
type fault string

func (f fault) Error() string { return string(f) }

const (
	errConnect      fault = "connect"
	errAnswer       fault = "the answer is not complete"
	errPasswordFile fault = "read the password file"
	errVersion      fault = "the server is too old"
)
