package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"slices"
	"strings"
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
	FirstByte time.Duration // from the request written to the first byte of the answer
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
	Phases Phases
}

// Via is how probes leave this host. The zero value dials plainly and trusts the roots of the system.
type Via struct {
	Overrides Overrides
	TLS       *tls.Config // nil: defaults; ServerName is always set from the URL
	UserAgent string
}

// Func is one kind of probe. It returns before or at the deadline of ctx, give or take the scheduler.
type Func func(ctx context.Context, via Via, u *url.URL) Result

// Catalogue is every kind of probe this agent can make, by the name used in the topology.
func Catalogue() map[string]Func {
	return map[string]Func{
		"http": HTTP,
		"tcp":  TCP,
	}
}

// Kinds lists the names in the catalogue, sorted.
func Kinds() []string {
	var kinds []string
	for kind := range Catalogue() {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

// ParseURL reads the address of a probe of the given kind: an http or https URL, or tcp://host:port. The
// error says what would be right.
func ParseURL(kind, raw string) (*url.URL, error) {
	if _, ok := Catalogue()[kind]; !ok {
		return nil, fmt.Errorf("probe kind %q is not one of %s", kind, strings.Join(Kinds(), ", "))
	}
	if kind == "tcp" && !strings.Contains(raw, "://") {
		raw = "tcp://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("probe address is no URL: %w", err)
	}
	switch {
	case u.Hostname() == "":
		return nil, fmt.Errorf("probe address %q names no host", u.Redacted())
	case kind == "http" && u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("probe address %q must start with http:// or https://", u.Redacted())
	case kind == "tcp" && u.Scheme != "tcp":
		return nil, fmt.Errorf("probe address %q must be tcp://host:port", u.Redacted())
	case kind == "tcp" && u.Port() == "":
		return nil, fmt.Errorf("probe address %q names no port", u.Redacted())
	}
	return u, nil
}

// hostPort is the address a URL stands for, with the port its scheme implies.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return joinHostPort(u.Hostname(), port)
}
