package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// bodyLimit is how much of an answer is read before it counts as complete.
const bodyLimit = 64 << 10

// HTTP asks for the URL with GET over HTTP/1.1 on a fresh connection. A status from 200 to 399 whose body
// arrives whole is up; redirects are an answer and are not followed. Proxies of the environment are not used:
// a probe takes the path its address names.
func HTTP(ctx context.Context, via Via, u *url.URL) (res Result) {
	start := time.Now()
	defer func() { res.Phases.Total = time.Since(start) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		res.Reason, res.Detail = ReasonOurs, "no request could be made of the address"
		return res
	}
	req.Close = true
	req.Header.Set("User-Agent", via.UserAgent)
	req.Header.Set("Cache-Control", "no-cache")

	raw, err := dial(ctx, via, hostPort(u), &res)
	if err != nil {
		return failed(ctx, res, err, phaseDial, 0)
	}
	defer func() { _ = raw.Close() }()

	var conn net.Conn = raw
	if u.Scheme == "https" {
		began := time.Now()
		secure := tls.Client(raw, tlsConfig(via, u))
		err := secure.HandshakeContext(ctx)
		res.Phases.TLS = time.Since(began)
		if err != nil {
			return failed(ctx, res, err, phaseTLS, raw.read.Load())
		}
		conn = secure
	}
	return ask(ctx, conn, raw, req, res)
}

// ask writes the request and reads the answer.
func ask(ctx context.Context, conn net.Conn, raw *wire, req *http.Request, res Result) Result {
	before := raw.read.Load()
	began := time.Now()
	if err := req.Write(conn); err != nil {
		return failed(ctx, res, err, phaseAnswer, raw.read.Load()-before)
	}
	reader := bufio.NewReader(conn)
	if _, err := reader.Peek(1); err != nil {
		return failed(ctx, res, err, phaseAnswer, int64(reader.Buffered()))
	}
	first := time.Now()
	res.Phases.FirstByte = first.Sub(began)
	answer, err := finalAnswer(reader, req)
	if err != nil {
		return failed(ctx, res, err, phaseBody, 1)
	}
	defer func() { _ = answer.Body.Close() }()
	res.Status = answer.StatusCode
	if answer.StatusCode < 200 || answer.StatusCode >= 400 {
		res.State, res.Reason = Down, ReasonStatus
		res.Detail = fmt.Sprintf("answered %s", answer.Status)
		return res
	}
	err = drain(answer.Body, bodyLimit)
	res.Phases.Body = time.Since(first)
	if err != nil {
		return failed(ctx, res, err, phaseBody, 1)
	}
	res.State = Up
	return res
}

// finalAnswer skips the interim answers (100, 103); a switch of protocols is final.
func finalAnswer(r *bufio.Reader, req *http.Request) (*http.Response, error) {
	for range 6 {
		answer, err := http.ReadResponse(r, req)
		if err != nil {
			return nil, err
		}
		if answer.StatusCode >= 200 || answer.StatusCode == http.StatusSwitchingProtocols {
			return answer, nil
		}
		_ = answer.Body.Close() // interim answers have none
	}
	return nil, errors.New("more than five interim answers")
}

func tlsConfig(via Via, u *url.URL) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if via.TLS != nil {
		config = via.TLS.Clone()
	}
	config.ServerName = u.Hostname()
	config.NextProtos = []string{"http/1.1"}
	return config
}
