package probe

import (
	"fmt"
	"net"
	"sort"
	"strconv"
	"strings"
)

// Overrides maps host:port to the host:port that is dialled in its place, like curl --connect-to. Names in
// TLS and in the Host header stay those of the URL.
type Overrides map[string]string

// ParseOverrides reads "host:port=addr:port,...". The empty string is no override. Errors name the part that
// is wrong and what would be right.
func ParseOverrides(s string) (Overrides, error) {
	out := Overrides{}
	if strings.TrimSpace(s) == "" {
		return out, nil
	}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		from, to, ok := strings.Cut(part, "=")
		if !ok {
			return nil, fmt.Errorf("%q must be host:port=addr:port", part)
		}
		key, err := address(from)
		if err != nil {
			return nil, fmt.Errorf("%q: left of the equals sign: %w", part, err)
		}
		value, err := address(to)
		if err != nil {
			return nil, fmt.Errorf("%q: right of the equals sign: %w", part, err)
		}
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("%s is given twice", key)
		}
		out[key] = value
	}
	return out, nil
}

// String is the inverse of ParseOverrides, sorted.
func (o Overrides) String() string {
	parts := make([]string, 0, len(o))
	for from, to := range o {
		parts = append(parts, from+"="+to)
	}
	sort.Strings(parts)
	return strings.Join(parts, ",")
}

// dial returns what to dial for the address.
func (o Overrides) dial(hostport string) string {
	if to, ok := o[strings.ToLower(hostport)]; ok {
		return to
	}
	return hostport
}

func address(s string) (string, error) {
	host, port, err := net.SplitHostPort(strings.ToLower(strings.TrimSpace(s)))
	if err != nil {
		return "", fmt.Errorf("%q is no host:port", s)
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n=,[]/") {
		return "", fmt.Errorf("%q names no host", s)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", fmt.Errorf("%q: a port is a number from 1 to 65535", s)
	}
	return joinHostPort(host, port), nil
}

func joinHostPort(host, port string) string { return net.JoinHostPort(strings.ToLower(host), port) }
