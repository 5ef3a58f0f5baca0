// Package transport makes the connections of the agent's own clients: few, plain, authenticated.
package transport

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension/extensionauth"
)

// Line is a client over its own pool of one keep-alive HTTP/1.1 connection.
type Line struct {
	http.Client
	pool *http.Transport
}

// HangUp closes the connection if it is idle, so that the next request opens a fresh one.
func (l *Line) HangUp() { l.pool.CloseIdleConnections() }

// New returns a line whose requests take timeout at most. auth names the extension that adds credentials; nil
// adds none. Redirects are not followed: a token goes where the settings say and nowhere else.
func New(host component.Host, auth *component.ID, timeout time.Duration) (*Line, error) {
	dialer := &net.Dialer{Timeout: min(timeout, 3*time.Second), KeepAlive: 15 * time.Second}
	pool := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   min(timeout, 3*time.Second),
		ResponseHeaderTimeout: timeout,
		MaxIdleConns:          1,
		MaxIdleConnsPerHost:   1,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,
		ReadBufferSize:        2 << 10,
		WriteBufferSize:       8 << 10,
	}
	var tripper http.RoundTripper = pool
	if auth != nil {
		extension, ok := host.GetExtensions()[*auth]
		if !ok {
			return nil, fmt.Errorf("auth: extension %s is not in service::extensions", auth)
		}
		client, ok := extension.(extensionauth.HTTPClient)
		if !ok {
			return nil, fmt.Errorf("auth: extension %s cannot authenticate requests", auth)
		}
		var err error
		if tripper, err = client.RoundTripper(pool); err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
	}
	client := http.Client{
		Transport:     tripper,
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Line{Client: client, pool: pool}, nil
}

// CheckURL reports what is wrong with the address of a server; nil when it is an http or https URL without
// query, fragment or credentials.
func CheckURL(raw string) error {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return errors.New("is empty")
	case err != nil:
		return errors.New("is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("must start with https:// or http://")
	case u.Hostname() == "":
		return errors.New("names no host")
	case u.User != nil:
		return errors.New("must not carry credentials, the token file does")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("must not carry a query or a fragment")
	}
	return nil
}
