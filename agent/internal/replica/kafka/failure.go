package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Failure is why a question was not answered. Its text is made here and holds nothing that a broker or the driver said.
type Failure struct {
	Reason replica.Reason
	Detail string
}

func (f *Failure) Error() string { return "kafka: " + f.Detail }

// errSecret says that there is no password to send.
var errSecret = errors.New("the password file cannot be read")

// classify turns an error of the driver into a Failure that is fit to be shown.
func classify(err error) *Failure {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	if errors.Is(err, errSecret) {
		return &Failure{replica.ReasonAuth, "the password file cannot be read"}
	}
	if answer, ok := errors.AsType[*kerr.Error](err); ok {
		return refused(answer)
	}
	if timedOut(err) {
		return &Failure{replica.ReasonTimeout, "no answer in time"}
	}
	return &Failure{replica.ReasonConnect, "the cluster cannot be reached"}
}

// refused classifies an error code that a broker answered with.
func refused(answer *kerr.Error) *Failure {
	switch answer {
	case kerr.SaslAuthenticationFailed, kerr.IllegalSaslState, kerr.UnsupportedSaslMechanism:
		return &Failure{replica.ReasonAuth, "name or password are refused"}
	case kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed:
		return &Failure{replica.ReasonPrivilege, "the account lacks a permission"}
	case kerr.UnknownTopicOrPartition, kerr.InvalidTopicException:
		return &Failure{replica.ReasonMisconfigured, "there is no such topic"}
	case kerr.LeaderNotAvailable, kerr.NotLeaderForPartition, kerr.OffsetNotAvailable, kerr.ReplicaNotAvailable:
		return &Failure{replica.ReasonQuery, "a partition has no leader"}
	case kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress:
		return &Failure{replica.ReasonQuery, "the group has no coordinator"}
	case kerr.RequestTimedOut:
		return &Failure{replica.ReasonTimeout, "no answer in time"}
	}
	return &Failure{replica.ReasonQuery, "a broker answered with an error"}
}

// noTopic says which of the topics that a link names is not there.
func noTopic(name string) *Failure {
	return &Failure{replica.ReasonMisconfigured, fmt.Sprintf("there is no topic %q", name)}
}

func timedOut(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
