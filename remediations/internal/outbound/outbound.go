// Package outbound builds the guarded way out that all HTTP targets share: no proxy from the environment, no
// redirects, fresh connections, and no address that a command must never reach.
package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unicode"

	"code.dny.dev/ssrf"

	"github.com/evenkeel/evenkeel/remediations"
)

// ErrBlocked is a destination that the guard forbids.
var ErrBlocked = errors.New("address is blocked")

// Guard returns a net.Dialer control function. Public addresses are always allowed, private, shared, loopback and
// unique local ones only with allowPrivate, link-local addresses and the metadata services of the clouds never.
// It sees the address after name resolution, so a name cannot be rebound between check and use.
func Guard(allowPrivate bool) func(network, address string, c syscall.RawConn) error {
	options := []ssrf.Option{ssrf.WithAnyPort()}
	if allowPrivate {
		options = append(options,
			ssrf.WithAllowedV4Prefixes(
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
				netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
				netip.MustParsePrefix("127.0.0.0/8")),
			ssrf.WithAllowedV6Prefixes(netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("::1/128")))
	}
	guardian := ssrf.New(options...)
	return func(network, address string, c syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %q has no address", ErrBlocked, address)
		}
		if ip := ap.Addr().Unmap(); metadata(ip) || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() {
			return fmt.Errorf("%w: %s is link-local or a metadata service", ErrBlocked, ip)
		}
		if err := guardian.Safe(network, address, c); err != nil {
			hint := ""
			if ip := ap.Addr().Unmap(); !allowPrivate && (ip.IsPrivate() || ip.IsLoopback()) {
				hint = " (private addresses need allow_private)"
			}
			return fmt.Errorf("%w: %w%s", ErrBlocked, err, hint)
		}
		return nil
	}
}

// metadata reports the well-known metadata services that do not live in a link-local range, so that allowing
// private addresses would let them through.
func metadata(ip netip.Addr) bool {
	switch ip.WithZone("").String() {
	case "fd00:ec2::254", // AWS
		"fd20:ce::254",    // Google
		"fd00:42::42",     // Scaleway
		"100.100.100.200", // Alibaba
		"192.0.0.192",     // Oracle
		"168.63.129.16":   // Azure
		return true
	}
	return false
}

// Options of a Client.
type Options struct {
	AllowPrivate bool
	TLS          *tls.Config   // nil: the system's roots
	Timeout      time.Duration // of one exchange, from name resolution to the last byte of the answer
	MaxAnswer    int64         // bytes of the answer that are read
}

// Client makes single exchanges. It keeps no connection between them: commands are rare, and a kept connection
// may lead to a machine that is no longer there.
type Client struct {
	http      *http.Client
	timeout   time.Duration
	maxAnswer int64
}

// New returns a Client.
func New(o Options) *Client {
	dialer := &net.Dialer{Timeout: o.Timeout, Control: Guard(o.AllowPrivate)}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        o.TLS,
		TLSHandshakeTimeout:    o.Timeout,
		DisableKeepAlives:      true,
		DisableCompression:     true, // a small answer that unpacks to a large one is refused this way
		MaxResponseHeaderBytes: 64 << 10,
		// Proxy stays nil: a proxy from the environment would dial where the guard cannot look.
	}
	return &Client{
		http: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		timeout:   o.Timeout,
		maxAnswer: o.MaxAnswer,
	}
}

// Answer is what came back.
type Answer struct {
	Status     int
	Body       []byte // at most MaxAnswer bytes
	Cut        bool   // the answer was longer than MaxAnswer
	RetryAfter time.Duration
	Latency    time.Duration
}

// Post sends one request. Its errors are *remediations.Transient (surely not sent), *remediations.Permanent and
// *remediations.Unknown (sent at least in part); none of them repeats the URL, which may carry a token.
func (c *Client) Post(ctx context.Context, to string, h http.Header, body []byte) (Answer, error) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, strings.NewReader(string(body)))
	if err != nil {
		return Answer{}, &remediations.Permanent{Err: errors.New("the address is not a URL")}
	}
	req.Header = h.Clone()
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, classify(err, sent.Load())
	}
	defer func() { _ = resp.Body.Close() }()
	a := Answer{Status: resp.StatusCode, RetryAfter: RetryAfter(resp.Header.Get("Retry-After"), time.Now())}
	a.Body, err = io.ReadAll(io.LimitReader(resp.Body, c.maxAnswer+1))
	a.Latency = time.Since(start)
	if int64(len(a.Body)) > c.maxAnswer {
		a.Body, a.Cut = a.Body[:c.maxAnswer], true
	}
	if err != nil {
		return a, &remediations.Unknown{Err: fmt.Errorf("answer %d broke off: %w", a.Status, unURL(err)), Status: a.Status}
	}
	return a, nil
}

func classify(err error, sent bool) error {
	err = unURL(err)
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, ErrBlocked), errors.As(err, &certificate):
		return &remediations.Permanent{Err: err}
	case sent:
		return &remediations.Unknown{Err: fmt.Errorf("no answer after the request was sent: %w", err)}
	}
	return &remediations.Transient{Err: fmt.Errorf("not sent: %w", err)}
}

// unURL takes the URL out of an error of net/http.
func unURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// RetryAfter reads the header of that name: seconds or an HTTP date. Nonsense and the past are 0; more than an
// hour is an hour.
func RetryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	var d time.Duration
	if s, err := strconv.ParseUint(v, 10, 32); err == nil {
		d = time.Duration(s) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), time.Hour)
}

// Excerpt is at most n characters of foreign text in one line without control characters.
func Excerpt(text string, n int) string {
	var b strings.Builder
	count := 0
	for _, c := range strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "?") {
		if unicode.IsControl(c) {
			continue
		}
		if count == n {
			b.WriteString("...")
			break
		}
		b.WriteRune(c)
		count++
	}
	return b.String()
}
