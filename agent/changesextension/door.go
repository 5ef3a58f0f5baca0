package changesextension

import (
	"encoding/json"
	"errors"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Path is the door's only one: POST a Request there, GET what waits for a server.
const Path = "/changes"

const mostBody = 16 << 10

// Taken is the answer to a request.
type Taken struct {
	Change
	Servers int `json:"servers"` // how many will be told
}

// Problem is the answer when a request is not taken.
type Problem struct {
	Detail string `json:"detail"`
}

func (c *changes) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, c.post)
	mux.HandleFunc("GET "+Path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, c.queue.all()) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Behind a foreign name is a web page that had it point at this machine.
		if c.cfg.Address != "" && !loopback(r.Host) {
			answer(w, http.StatusMisdirectedRequest, Problem{"the door is not called by that name: use " + c.cfg.Address})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (c *changes) post(w http.ResponseWriter, r *http.Request) {
	// A page of a browser cannot send this type without asking first, and is not answered.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		answer(w, http.StatusUnsupportedMediaType, Problem{"send Content-Type: application/json"})
		return
	}
	var req Request
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil {
		answer(w, http.StatusBadRequest, Problem{`the body is no change: send {"what": "deploy checkout 1.4", "service": "checkout", "ttl_s": 1800}: ` + err.Error()})
		return
	}
	change, err := req.change(time.Now())
	if err != nil {
		answer(w, http.StatusBadRequest, Problem{err.Error()})
		return
	}
	switch err := c.take(change); {
	case err == nil:
		answer(w, http.StatusAccepted, Taken{change, len(c.cfg.Endpoints)})
	case errors.Is(err, errOther):
		answer(w, http.StatusConflict, Problem{err.Error()})
	default:
		answer(w, http.StatusServiceUnavailable, Problem{"the change cannot be kept: " + err.Error()})
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
