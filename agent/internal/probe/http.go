package probe

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// bodyLimit is how much of an answer is read before it counts as complete; what is looked for must stand there.
	bodyLimit = 64 << 10
	// maxRedirects is how often a redirect is followed.
	maxRedirects = 5
)

// HTTP asks for the URL with GET over HTTP/1.1 on a fresh connection. A status that is expected (200 to 399 where
// nothing is said) whose body arrives whole, or to 64 KiB, and holds what is looked for is up. A redirect is an answer
// and is not followed, unless the options say otherwise. Proxies of the environment are not used: a probe takes the
// path its address names.
func HTTP(ctx context.Context, via Via, q Question) (res Result) {
	start := time.Now()
	defer func() { res.Phases.Total = time.Since(start) }()
	at := q.URL
	for range maxRedirects + 1 {
		var next *url.URL
		if res, next = visit(ctx, via, q, at, res); next == nil {
			return res
		}
		at = next
	}
	res.State, res.Reason = Down, ReasonStatus
	res.Detail = fmt.Sprintf("redirects more than %d times", maxRedirects)
	return res
}

// visit asks at one address. It returns the next one when a redirect is to be followed.
func visit(ctx context.Context, via Via, q Question, at *url.URL, res Result) (Result, *url.URL) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		res.Reason, res.Detail = ReasonOurs, "no request could be made of the address"
		return res, nil
	}
	req.Close = true
	req.Header.Set("User-Agent", via.UserAgent)
	req.Header.Set("Cache-Control", "no-cache")

	raw, err := dial(ctx, via, "tcp", hostPort(at), &res)
	if err != nil {
		return failed(ctx, res, err, phaseDial, 0), nil
	}
	defer func() { _ = raw.Close() }()

	var conn net.Conn = raw
	if at.Scheme == "https" {
		if conn, err = secure(ctx, via, raw, q, at.Hostname(), &res, []string{"http/1.1"}); err != nil {
			return failed(ctx, res, err, phaseTLS, raw.read.Load()), nil
		}
	}
	return converse(ctx, conn, raw, req, q, res)
}

// converse writes the request and reads the answer.
func converse(ctx context.Context, conn net.Conn, raw *wire, req *http.Request, q Question, res Result) (Result, *url.URL) {
	before := raw.read.Load()
	began := time.Now()
	if err := req.Write(conn); err != nil {
		return failed(ctx, res, err, phaseAnswer, raw.read.Load()-before), nil
	}
	reader := bufio.NewReader(conn)
	if _, err := reader.Peek(1); err != nil {
		return failed(ctx, res, err, phaseAnswer, int64(reader.Buffered())), nil
	}
	first := time.Now()
	res.Phases.FirstByte += first.Sub(began)
	answer, err := finalAnswer(reader, req)
	if err != nil {
		return failed(ctx, res, err, phaseBody, 1), nil
	}
	defer func() { _ = answer.Body.Close() }()
	res.Status = answer.StatusCode
	if next, why := q.redirect(req.URL, answer); next != nil {
		return res, next
	} else if why != "" {
		return unexpected(res, ReasonStatus, why), nil
	}
	if !q.accepts(answer.StatusCode) {
		return unexpected(res, ReasonStatus, fmt.Sprintf("answered %.100s", answer.Status)), nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, bodyLimit))
	res.Phases.Body += time.Since(first)
	if err != nil {
		return failed(ctx, res, err, phaseBody, 1), nil
	}
	if why := q.missing(body); why != "" {
		return unexpected(res, ReasonBody, why), nil
	}
	res.State = Up
	return res, nil
}

// unexpected is an answer that came and is not the right one.
func unexpected(res Result, reason Reason, why string) Result {
	res.State, res.Reason, res.Detail = Down, reason, why
	return res
}

// redirect says where to go on, or why not; neither when the answer stands for itself.
func (q *Question) redirect(from *url.URL, answer *http.Response) (next *url.URL, why string) {
	if answer.StatusCode < 300 || answer.StatusCode > 399 || answer.Header.Get("Location") == "" {
		return nil, ""
	}
	switch q.Options.Redirects {
	case redirectsFollow:
		to, err := from.Parse(answer.Header.Get("Location"))
		switch {
		case err != nil || (to.Scheme != "http" && to.Scheme != "https"):
			return nil, "redirects to what is no address"
		case to.Hostname() != from.Hostname():
			return nil, fmt.Sprintf("redirects to another host, %.100q, which says nothing of this one", to.Hostname())
		case to.Scheme == "http" && from.Scheme == "https":
			return nil, "redirects from https to http"
		}
		to.Fragment = ""
		return to, ""
	case redirectsRefuse:
		return nil, fmt.Sprintf("answered %d, a redirect", answer.StatusCode)
	}
	return nil, ""
}

// missing says what the body lacks; empty when nothing. It does not show the body.
func (q *Question) missing(body []byte) string {
	switch {
	case q.Options.Body != "" && !bytes.Contains(body, []byte(q.Options.Body)):
		return fmt.Sprintf("%.100q does not stand in the answer", q.Options.Body)
	case q.body != nil && !q.body.Match(body):
		return fmt.Sprintf("the answer does not match %.100q", q.body)
	}
	return ""
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
