package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"
	"golang.org/x/time/rate"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// operatorKey is where the giver of a request is kept.
const operatorKey = "evenkeel.operator"

// giver is who sent a request, and the token that proved it.
type giver struct {
	core.Credential
	token core.Secret
}

// authorize lets reads pass; everything else, and the reads that tell or do more than others, need an admin token. A
// site may declare changes of its own.
func (s *server) authorize(c *gin.Context) {
	read := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
	if read && !guarded(c.FullPath()) {
		return
	}
	scheme, token, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") || token == "" {
		s.refuse(c, &core.Error{
			Code: core.CodeUnauthorized, Message: "this needs an admin token",
			Hint: "send it as Authorization: Bearer ...; the first one is in admin.token in the data directory",
		})
		return
	}
	cred, err := s.Tokens.Authenticate(c, strings.TrimSpace(token))
	switch {
	case core.Code(err) == core.CodeUnauthorized && err != nil:
		s.refuse(c, &core.Error{
			Code: core.CodeUnauthorized, Message: "the token is not valid",
			Hint: "it may be revoked, expired or of another server; the first one is in admin.token in the data directory",
		})
	case err != nil:
		s.failed(c, err)
	case cred.Kind != "admin" && (cred.Kind != kindSite || c.FullPath() != routeChanges):
		respond(c, http.StatusForbidden, &core.Error{
			Code: core.CodeForbidden, Message: "a token of kind " + cred.Kind + " may not do this", Hint: "use an admin token",
		})
	default:
		c.Set(operatorKey, giver{cred, core.Secret(strings.TrimSpace(token))})
	}
}

// guarded says whether a read needs an admin token: the list of tokens, the ledger with their hashes, and what makes
// this server call out.
func guarded(route string) bool {
	switch route {
	case base + "/tokens", base + "/backup", base + "/preflight":
		return true
	}
	return false
}

// by is who sent the request; nobody for a read that needs no token.
func by(ctx context.Context) giver {
	g, _ := ctx.Value(operatorKey).(giver)
	return g
}

// operator is the name of who sent the request.
func operator(ctx context.Context) string { return by(ctx).Name }

// refuse answers a missing or wrong token, and after a few of them from one address asks for patience. A
// valid token is never refused for what others on its address do.
func (s *server) refuse(c *gin.Context, err error) {
	s.metrics.refused.Inc()
	ip := c.RemoteIP()
	if !s.failures.allow(ip) {
		c.Header("Retry-After", "5")
		respond(c, http.StatusTooManyRequests, &core.Error{
			Code: codeTooMany, Message: "too many requests without a valid token", Hint: "wait a few seconds",
		})
		return
	}
	s.Log.LogAttrs(c, slog.LevelWarn, "order refused: no valid token",
		slog.String("remote", ip), slog.String("route", c.FullPath()))
	c.Header("WWW-Authenticate", `Bearer realm="evenkeel"`)
	respond(c, http.StatusUnauthorized, err)
}

// failures counts refusals per address.
type failures struct {
	mu sync.Mutex
	by map[string]*rate.Limiter
}

const (
	failureBurst  = 20
	failureEvery  = 1 // a second
	failureMemory = 4096
)

func newFailures() *failures { return &failures{by: map[string]*rate.Limiter{}} }

func (f *failures) allow(ip string) bool {
	if net.ParseIP(ip) == nil {
		ip = "" // all that cannot be told apart share one
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.by[ip]
	if l == nil {
		if len(f.by) >= failureMemory {
			clear(f.by)
		}
		l = rate.NewLimiter(failureEvery, failureBurst)
		f.by[ip] = l
	}
	return l.Allow()
}
