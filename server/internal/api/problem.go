package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Codes that only the way in knows.
const (
	codeMethod  = "method_not_allowed"
	codeTooMany = "too_many_requests"
)

// status is the HTTP status of an error's code.
func status(code string) int {
	switch code {
	case core.CodeInvalid:
		return http.StatusBadRequest
	case core.CodeUnauthorized:
		return http.StatusUnauthorized
	case core.CodeForbidden:
		return http.StatusForbidden
	case core.CodeNotFound:
		return http.StatusNotFound
	case core.CodeConflict:
		return http.StatusConflict
	case core.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case core.CodeUnavailable:
		return http.StatusServiceUnavailable
	case codeMethod:
		return http.StatusMethodNotAllowed
	case codeTooMany:
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}

// writeProblem answers with problem details. Only what a *core.Error says for operators leaves the
// process; the cause of any other error stays in the log.
func writeProblem(w http.ResponseWriter, code int, err error) {
	p := Problem{
		Type: "about:blank", Title: http.StatusText(code), Status: code, Code: ProblemCode(core.Code(err)),
	}
	if !p.Code.Valid() {
		p.Code = ProblemCodeInternal
	}
	if e, ok := errors.AsType[*core.Error](err); ok {
		p.Detail = some(e.Message)
		p.Hint = some(e.Hint)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(p)
}

func respond(c *gin.Context, code int, err error) {
	writeProblem(c.Writer, code, err)
	c.Abort()
}

// failed answers an error of a handler and logs those that are ours.
func (s *server) failed(c *gin.Context, err error) {
	code := status(core.Code(err))
	if code >= http.StatusInternalServerError && c.Request.Context().Err() == nil {
		s.Log.LogAttrs(c, slog.LevelError, "request failed",
			slog.String("route", c.FullPath()), slog.Int("status", code), slog.String("error", err.Error()))
	}
	respond(c, code, err)
}

// badRequest answers a request that could not be read.
func badRequest(c *gin.Context, err error) {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		respond(c, http.StatusRequestEntityTooLarge, &core.Error{
			Code: core.CodeTooLarge, Message: "the request is too large",
		})
		return
	}
	respond(c, http.StatusBadRequest, invalid(err.Error(), "see /api/v1/openapi.yaml for what is right"))
}

func invalid(message, hint string) error {
	return &core.Error{Code: core.CodeInvalid, Message: message, Hint: hint}
}

// some is nil for the zero value: absent is not zero.
func some[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// someOf is nil where there are none.
func someOf[T any](all []T) *[]T {
	if len(all) == 0 {
		return nil
	}
	return &all
}
