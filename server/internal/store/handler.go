package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect/prometheus"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/httpserver"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// maxFormBytes bounds a query that comes as a form.
const maxFormBytes = 1 << 20

// prefix is where the read-only Prometheus API is mounted.
const prefix = "/prometheus/api/v1/"

// route is one question of the Prometheus API.
type route struct {
	name  string
	label string // label values only
}

// Handler is the read-only part of the Prometheus API, for paths that begin with /prometheus: query,
// query_range, series, labels, label values, export, metadata and what Grafana asks of a data source. It does
// no authentication. Whatever else is asked is 404 or 405 as problem+json; a query that fails is answered in
// Prometheus' own form, because that is what Grafana reads.
func (s *Store) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rt, ok := parseRoute(r.URL.Path)
		if !ok {
			problem(w, http.StatusNotFound, core.CodeNotFound, "no such question", "see the read-only Prometheus API under "+prefix)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			w.Header().Set("Allow", "GET, POST")
			problem(w, http.StatusMethodNotAllowed, core.CodeInvalid, "the store is read-only here", "use GET or POST")
			return
		}
		switch rt.name {
		case "status/buildinfo":
			// Grafana chooses its calls by this version; VictoriaMetrics answers the same.
			writeJSON(w, http.StatusOK, `{"status":"success","data":{"version":"2.24.0"}}`)
			return
		case "query_exemplars":
			writeJSON(w, http.StatusOK, `{"status":"success","data":[]}`)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxFormBytes)
		if err := r.ParseForm(); err != nil {
			if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
				problem(w, http.StatusRequestEntityTooLarge, core.CodeTooLarge, "the form is larger than 1 MiB", "ask less at once")
				return
			}
			problem(w, http.StatusBadRequest, core.CodeInvalid, "the form cannot be read", "send application/x-www-form-urlencoded")
			return
		}
		s.be.serve(w, r, rt)
	})
}

// parseRoute is the allow-list: what is not named here does not exist.
func parseRoute(path string) (route, bool) {
	name, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return route{}, false
	}
	switch name {
	case "query", "query_range", "series", "labels", "export", "metadata", "status/buildinfo", "query_exemplars":
		return route{name: name}, true
	}
	rest, ok := strings.CutPrefix(name, "label/")
	if !ok {
		return route{}, false
	}
	label, ok := strings.CutSuffix(rest, "/values")
	if !ok || label == "" || label == "." || label == ".." || strings.Contains(label, "/") {
		return route{}, false
	}
	return route{name: "values", label: label}, true
}

func (e *embedded) serve(w http.ResponseWriter, r *http.Request, rt route) {
	leave, err := e.enter(r.Context(), e.readers)
	if err != nil {
		promError(w, http.StatusServiceUnavailable, err)
		return
	}
	defer leave()
	e.freshen()
	start := time.Now()
	switch rt.name {
	case "query":
		err = prometheus.QueryHandler(nil, start, w, r)
	case "query_range":
		err = prometheus.QueryRangeHandler(nil, start, w, r)
	case "series":
		err = prometheus.SeriesHandler(nil, start, w, r)
	case "labels":
		err = prometheus.LabelsHandler(nil, start, w, r)
	case "values":
		err = prometheus.LabelValuesHandler(nil, start, rt.label, w, r)
	case "metadata":
		err = prometheus.MetadataHandler(nil, start, w, r)
	case "export":
		err = prometheus.ExportHandler(start, w, r)
	}
	if err == nil {
		return
	}
	code := http.StatusUnprocessableEntity
	if status, ok := errors.AsType[*httpserver.ErrorWithStatusCode](err); ok {
		code = status.StatusCode
	}
	promError(w, code, err)
}

// promError answers in the form of the Prometheus API.
func promError(w http.ResponseWriter, code int, err error) {
	kind := "execution"
	switch code {
	case http.StatusBadRequest:
		kind = "bad_data"
	case http.StatusServiceUnavailable:
		kind = "unavailable"
	}
	body, _ := json.Marshal(map[string]string{"status": "error", "errorType": kind, "error": err.Error()})
	writeJSON(w, code, string(body))
}

func writeJSON(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = fmt.Fprint(w, body)
}

// problem answers as RFC 9457 says.
func problem(w http.ResponseWriter, status int, code, detail, hint string) {
	body, _ := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
		Code   string `json:"code"`
		Hint   string `json:"hint,omitempty"`
	}{"about:blank", http.StatusText(status), status, detail, code, hint})
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Del("Content-Encoding")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
