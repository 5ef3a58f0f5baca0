package ingest

import (
	"encoding/json"
	"net/http"
)

// refusal is an error on its way to the sender.
type refusal struct {
	status int
	code   string
	detail string
	hint   string
}

func (e *refusal) Error() string { return e.detail }

// writeProblem answers as RFC 9457 says.
func writeProblem(w http.ResponseWriter, e *refusal) {
	body, _ := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
		Hint   string `json:"hint,omitempty"`
	}{"about:blank", http.StatusText(e.status), e.status, e.detail, e.code, e.hint})
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	switch e.status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(e.status)
	_, _ = w.Write(body)
}
