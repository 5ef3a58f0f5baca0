package remediations

import (
	"fmt"
	"time"
)

// State is the executor's answer to a request.
type State uint8

// The answers of an executor. StateUnknown never counts as success.
const (
	StateUnknown  State = iota
	StateDone           // the desired state is reached
	StateAccepted       // it is being worked on; ask again with the same ID
	StateRefused        // the executor's own rule forbids it; its word stands
	StateStale          // a newer command, or a newer incarnation of the cluster, has been obeyed
	StateExpired        // not_after had passed by the executor's clock
)

// String is the wire value.
func (s State) String() string {
	switch s {
	case StateDone:
		return "done"
	case StateAccepted:
		return "accepted"
	case StateRefused:
		return "refused"
	case StateStale:
		return "stale"
	case StateExpired:
		return "expired"
	case StateUnknown:
	}
	return "unknown"
}

// MarshalText writes the wire value.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts only the wire values.
func (s *State) UnmarshalText(b []byte) error {
	for c := StateUnknown; c <= StateExpired; c++ {
		if c.String() == string(b) {
			*s = c
			return nil
		}
	}
	return fmt.Errorf("state %q is not one of done, accepted, refused, stale, expired, unknown", b)
}

// Receipt is an executor's answer.
type Receipt struct {
	State      State
	DryRun     bool          // it was a rehearsal: done means that it would have been done
	Weight     *float64      // percent of normal now, 0 to 100; nil when not said
	RefusedBy  string        // with StateRefused: the rule
	Current    *Fencing      // with StateStale: the token the executor obeys; nil when not said
	Detail     string        // what the executor says, shortened, one line
	Status     int           // HTTP status, 0 for targets without one
	Latency    time.Duration // from the call to the answer
	RetryAfter time.Duration // with StateAccepted: do not ask again sooner; 0 when not said
}

// Transient is an attempt that did nothing and may succeed later.
type Transient struct {
	Err        error
	Status     int           // HTTP status, 0 when there was no answer
	RetryAfter time.Duration // not sooner; 0 when not said
}

func (e *Transient) Error() string { return "try again: " + e.Err.Error() }
func (e *Transient) Unwrap() error { return e.Err }

// Permanent is an attempt that did nothing and never will: wrong address, wrong secret, malformed request.
type Permanent struct {
	Err    error
	Status int // HTTP status, 0 when there was no answer
}

func (e *Permanent) Error() string { return "will not work: " + e.Err.Error() }
func (e *Permanent) Unwrap() error { return e.Err }

// Unknown is an attempt whose outcome nobody knows: the request was, or may have been, sent and no usable answer
// came back. Look at the world before sending it again.
type Unknown struct {
	Err        error
	Status     int           // HTTP status of an answer that says nothing (502 and 504 of a gateway), else 0
	RetryAfter time.Duration // not sooner; 0 when not said
}

func (e *Unknown) Error() string { return "outcome unknown: " + e.Err.Error() }
func (e *Unknown) Unwrap() error { return e.Err }
