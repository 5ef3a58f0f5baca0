package api

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// policy is what the page may do: load from this server, nothing inline, nothing framed.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// secured sets the headers that keep a browser honest, and refuses foreign names over loopback.
func (s *server) secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if strings.HasPrefix(r.URL.Path, base+"/") {
			h.Set("Cache-Control", "no-store")
		}
		if !agentRoute(r.URL.Path) && !declares(r) && !s.knownHost(r) {
			writeProblem(w, http.StatusMisdirectedRequest, &core.Error{
				Code: core.CodeForbidden, Message: "this server is not called by that name",
				Hint: "use 127.0.0.1 or localhost, or make the name of the reverse proxy that of server.url in the configuration",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// HostsOf are the Options.Hosts of a server that people reach at an address, as server.url gives it; none for "".
func HostsOf(address string) []string {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" {
		return nil
	}
	return []string{strings.ToLower(u.Hostname())}
}

// hasty gives the body of a request a time to arrive in: who sends a byte now and then must not hold a connection
// for ever. Agents are left alone; their lines may be slow, and they have tokens.
func (s *server) hasty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody && !agentRoute(r.URL.Path) {
			control := http.NewResponseController(w)
			// A writer without deadlines is one of a test; it does not block.
			_ = control.SetReadDeadline(time.Now().Add(s.Upload))
			r.Body = &timed{ReadCloser: r.Body, control: control}
		}
		next.ServeHTTP(w, r)
	})
}

// timed is a body with a deadline. At its end the deadline goes: a long answer is not what it is for, and the
// server takes a read that fails for a client that went away.
type timed struct {
	io.ReadCloser
	control *http.ResponseController
}

func (t *timed) Read(b []byte) (int, error) {
	n, err := t.ReadCloser.Read(b)
	if errors.Is(err, io.EOF) {
		_ = t.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// agentRoute says whether a path is used by agents, whose every request carries a token.
func agentRoute(path string) bool {
	return path == "/v1/metrics" || path == base+"/write" || strings.HasPrefix(path, base+"/agent/")
}

func (s *server) knownHost(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !loopback(local.String()) {
		return true
	}
	return loopback(r.Host) || slices.Contains(s.Hosts, hostOnly(r.Host))
}

func hostOnly(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func loopback(hostport string) bool {
	host := hostOnly(hostport)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// recovered turns a panic into an answer and a log line.
func (s *server) recovered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				s.panicked(w, r, p)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

func (s *server) panicked(w http.ResponseWriter, r *http.Request, p any) {
	if p == http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
		panic(p)
	}
	s.Log.LogAttrs(r.Context(), slog.LevelError, "request panicked",
		slog.String("path", r.URL.Path), slog.String("panic", fmt.Sprint(p)), slog.String("stack", string(debug.Stack())))
	writeProblem(w, http.StatusInternalServerError, &core.Error{
		Code: core.CodeInternal, Message: "the server made a mistake", Hint: "see its log",
	})
}
