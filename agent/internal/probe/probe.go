package probe

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/url"
	"slices"
	"time"
)

// State is the answer of one probe; the number is the wire value of evenkeel.probe.state.
type State uint8

// The states of a probe.
const (
	Unknown State = iota
	Up
	Down
)

func (s State) String() string {
	switch s {
	case Up:
		return "up"
	case Down:
		return "down"
	case Unknown:
	}
	return "unknown"
}

// Reason says why a probe is not up; it is empty when it is.
type Reason string

// The reasons, as they go over the wire. ReasonOurs is our own fault: such a probe is unknown.
const (
	ReasonNone    Reason = ""
	ReasonDNS     Reason = "dns"
	ReasonConnect Reason = "connect"
	ReasonRefused Reason = "refused"
	ReasonTLS     Reason = "tls"
	ReasonStatus  Reason = "status"
	ReasonBody    Reason = "body"
	ReasonTimeout Reason = "timeout"
	ReasonOurs    Reason = "probe_error"
)

// Phases is where the time went. A phase that was not reached, or was not needed, is zero.
type Phases struct {
	DNS       time.Duration
	Connect   time.Duration
	TLS       time.Duration
	FirstByte time.Duration // from the request to the first byte of the answer
	Body      time.Duration
	Total     time.Duration
}

// Result is what one probe found.
type Result struct {
	State  State
	Reason Reason
	Detail string // one sentence for a person; empty when up
	Status int    // HTTP status, 0 when there was no answer
	Remote string // the address that was really dialled, empty before a connection
	// Expires is when the certificate chain that was presented stops to be valid; the zero time when none was seen.
	// For a chain that verifies it is the end of the last way to a root, else the earliest end of what was presented.
	Expires time.Time
	Phases  Phases
}

// Via is how probes leave this host. The zero value dials plainly and trusts the roots of the system.
type Via struct {
	Overrides Overrides
	TLS       *tls.Config   // nil: defaults; ServerName is always set from the question
	Resolver  *net.Resolver // nil: that of the system
	UserAgent string
}

// Func is one kind of probe. It returns before or at the deadline of ctx, give or take the scheduler.
type Func func(ctx context.Context, via Via, q Question) Result

// Catalogue is every kind of probe this agent can make, by the name used in the topology. http-expect is http with
// options: agents that know only plain http would leave the options out and accuse wrongly, so it has another name.
func Catalogue() map[string]Func {
	return map[string]Func{
		"http":        HTTP,
		"http-expect": HTTP,
		"tcp":         TCP,
		"tls":         TLS,
		"dns":         DNS,
		"grpc":        GRPC,
	}
}

// Kinds lists the names in the catalogue, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(Catalogue())) }

// hostPort is the address a URL stands for, with the port its scheme implies.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		switch u.Scheme {
		case "https", "tls", "grpcs":
			port = "443"
		case "dns":
			port = "53"
		default:
			port = "80"
		}
	}
	return joinHostPort(u.Hostname(), port)
}
