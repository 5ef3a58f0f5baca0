package ingest

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Kinds of credentials.
const (
	kindSite = "site"
	kindEdge = "edge"
)

// handler is one route behind the guard.
type handler func(w http.ResponseWriter, r *http.Request, caller core.Credential) error

// guarded checks method, token, rate and concurrency, in this order, before it reads a byte of the body.
func (d *Door) guarded(method, route string, next handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		err := d.admit(sw, r, method, route, next)
		var e *refusal
		switch {
		case err == nil:
		case errors.As(err, &e):
			writeProblem(sw, e)
		default:
			writeProblem(sw, &refusal{http.StatusServiceUnavailable, core.CodeUnavailable, "the request could not be handled", "try again"})
		}
		d.metrics.requests.WithLabelValues(route, strconv.Itoa(sw.status)).Inc()
	}
}

func (d *Door) admit(w http.ResponseWriter, r *http.Request, method, route string, next handler) error {
	if r.Method != method {
		w.Header().Set("Allow", method)
		return &refusal{http.StatusMethodNotAllowed, core.CodeInvalid, "this route takes " + method + " only", "use " + method}
	}
	caller, err := d.authenticate(r)
	if err != nil {
		return err
	}
	g := d.gates.of(caller.ID)
	if !g.rate.Allow() {
		return &refusal{http.StatusTooManyRequests, core.CodeUnavailable, "too many requests a second with this token", "send larger batches, less often"}
	}
	places := g.requests
	if route == "state" {
		places = g.polls
	}
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
	default:
		return &refusal{http.StatusTooManyRequests, core.CodeUnavailable, "too many requests at once with this token", "wait for answers before sending more"}
	}
	return next(w, r, caller)
}

func (d *Door) authenticate(r *http.Request) (core.Credential, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return core.Credential{}, unauthorized("no bearer token was sent")
	}
	caller, err := d.o.Auth.Authenticate(r.Context(), token)
	if err != nil {
		if core.Code(err) == core.CodeUnauthorized {
			return core.Credential{}, unauthorized("the token is not known, or expired, or revoked")
		}
		return core.Credential{}, &refusal{
			http.StatusServiceUnavailable, core.CodeUnavailable, "the token cannot be checked just now", "try again",
		}
	}
	if (caller.Kind != kindSite && caller.Kind != kindEdge) || caller.Name == "" {
		return core.Credential{}, &refusal{
			http.StatusForbidden, core.CodeForbidden, "a token of this kind writes no telemetry",
			"use a site or an edge token: evenkeel-server token create --kind site --name <site>",
		}
	}
	return caller, nil
}

func unauthorized(detail string) *refusal {
	return &refusal{
		http.StatusUnauthorized, core.CodeUnauthorized, detail,
		"send Authorization: Bearer <token>; make one with evenkeel-server token create",
	}
}

// gate bounds one credential.
type gate struct {
	rate     *rate.Limiter
	requests chan struct{}
	polls    chan struct{}
	series   *seriesLimit
}

// gates holds one gate per credential that was ever accepted, so it is as long as the list of tokens.
type gates struct {
	limits Limits
	mu     sync.Mutex
	byID   map[string]*gate
}

func newGates(l Limits) *gates { return &gates{limits: l, byID: map[string]*gate{}} }

func (g *gates) of(id string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	x, ok := g.byID[id]
	if !ok {
		x = &gate{
			rate:     rate.NewLimiter(rate.Limit(g.limits.RequestsPerSecond), max(1, int(g.limits.RequestsPerSecond))),
			requests: make(chan struct{}, g.limits.Concurrent),
			polls:    make(chan struct{}, g.limits.Polls),
			series:   newSeriesLimit(g.limits.Series),
		}
		g.byID[id] = x
	}
	return x
}

// enterHeavy takes one of the places for large bodies.
func (d *Door) enterHeavy(ctx context.Context) (func(), error) {
	select {
	case d.heavy <- struct{}{}:
		return func() { <-d.heavy }, nil
	case <-ctx.Done():
		return nil, &refusal{http.StatusServiceUnavailable, core.CodeUnavailable, "gave up waiting for a place", "try again"}
	}
}

// statusWriter remembers the status for the count of requests.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap gives http.ResponseController the writer beneath.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
