package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"
)

// TLS asks for a handshake at a tls://host:port URL: is the certificate for the name, does its chain lead to a root,
// is it valid now, and is the expected protocol agreed on.
func TLS(ctx context.Context, via Via, q Question) (res Result) {
	start := time.Now()
	defer func() { res.Phases.Total = time.Since(start) }()
	raw, err := dial(ctx, via, "tcp", hostPort(q.URL), &res)
	if err != nil {
		return failed(ctx, res, err, phaseDial, 0)
	}
	defer func() { _ = raw.Close() }()
	var protocols []string
	if q.Options.ALPN != "" {
		protocols = []string{q.Options.ALPN}
	}
	if _, err := secure(ctx, via, raw, q, q.URL.Hostname(), &res, protocols); err != nil {
		return failed(ctx, res, err, phaseTLS, raw.read.Load())
	}
	res.State = Up
	return res
}

// secure does the handshake and notes in res how long it took and how long the certificate is valid. With one
// protocol it is an error when the server does not agree on it; HTTP/1.1 needs no agreement.
func secure(ctx context.Context, via Via, raw *wire, q Question, host string, res *Result, protocols []string) (net.Conn, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if via.TLS != nil {
		config = via.TLS.Clone()
	}
	if q.roots != nil {
		config.RootCAs = q.roots
	}
	config.ServerName, config.NextProtos = host, protocols
	if q.Options.TLSName != "" {
		config.ServerName = q.Options.TLSName
	}
	began := time.Now()
	conn := tls.Client(raw, config)
	err := conn.HandshakeContext(ctx)
	res.Phases.TLS += time.Since(began)
	if err != nil {
		if refused, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
			res.Expires = firstEnd(refused.UnverifiedCertificates)
		}
		return nil, err
	}
	state := conn.ConnectionState()
	res.Expires = lastWay(state.VerifiedChains)
	if len(protocols) == 1 && protocols[0] != "http/1.1" && state.NegotiatedProtocol != protocols[0] {
		return nil, fmt.Errorf("the server does not agree on the protocol %q", protocols[0])
	}
	return conn, nil
}

// lastWay is when the last of the chains ends. A chain ends with the first of its certificates.
func lastWay(chains [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, chain := range chains {
		if end := firstEnd(chain); end.After(last) {
			last = end
		}
	}
	return last
}

// firstEnd is when the first of the certificates ends; the zero time when there is none.
func firstEnd(certificates []*x509.Certificate) time.Time {
	var first time.Time
	for _, c := range certificates {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}
