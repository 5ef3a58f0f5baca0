package pagerdutytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	maxBody   = 512 << 10
	perMinute = 120
)

// States of an alert.
const (
	Open         = "open"
	Acknowledged = "acknowledged"
	Resolved     = "resolved"
)

// Alert is one alert as PagerDuty would show it.
type Alert struct {
	RoutingKey string   `json:"-"`
	DedupKey   string   `json:"dedup_key"`
	State      string   `json:"state"`
	Severity   string   `json:"severity"`
	Summary    string   `json:"summary"` // of the trigger that opened it
	Log        []string `json:"log"`     // action and summary of every event, in order
	Notified   int      `json:"notified"`
}

// Server is the double. The zero value is not ready, use NewServer. It is safe for concurrent use.
type Server struct {
	mu       sync.Mutex
	keys     []string
	alerts   []*Alert
	accepted map[string][]time.Time // by routing key, of the last 60 s
	dropped  int
	refused  []string
	failures []failure
}

type failure struct {
	status     int
	retryAfter time.Duration
}

var _ http.Handler = (*Server)(nil)

// NewServer returns a double that knows the routing keys; with none it knows every well-formed one. An event for a
// well-formed key it does not know is answered 202 and dropped, as processing is asynchronous at PagerDuty.
func NewServer(keys ...string) *Server {
	return &Server{keys: slices.Clone(keys), accepted: map[string][]time.Time{}}
}

// Fail answers the next n requests with the status, and with Retry-After when it is not 0.
func (s *Server) Fail(n, status int, retryAfter time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.failures = append(s.failures, failure{status: status, retryAfter: retryAfter})
	}
}

// Alerts returns copies of all alerts in the order in which they were opened.
func (s *Server) Alerts() []Alert {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Alert, 0, len(s.alerts))
	for _, a := range s.alerts {
		c := *a
		c.Log = slices.Clone(a.Log)
		out = append(out, c)
	}
	return out
}

// Dropped is how many events were accepted and had no effect: a resolve without an open alert, an unknown key.
func (s *Server) Dropped() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Refused are the reasons of all answers that were not 202, in order.
func (s *Server) Refused() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.refused)
}

// Acknowledge is a person's acknowledgement of an open alert.
func (s *Server) Acknowledge(dedupKey string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.alerts {
		if a.DedupKey == dedupKey && a.State == Open {
			a.State = Acknowledged
		}
	}
}

type event struct {
	RoutingKey  string  `json:"routing_key"`
	EventAction string  `json:"event_action"`
	DedupKey    string  `json:"dedup_key"`
	Payload     payload `json:"payload"`
	Images      []struct {
		Src string `json:"src"`
	} `json:"images"`
	Links []struct {
		Href string `json:"href"`
	} `json:"links"`
}

type payload struct {
	Summary       string         `json:"summary"`
	Source        string         `json:"source"`
	Severity      string         `json:"severity"`
	Timestamp     string         `json:"timestamp"`
	CustomDetails map[string]any `json:"custom_details"`
}

// ServeHTTP answers POST /v2/enqueue.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost || r.URL.Path != "/v2/enqueue" {
		http.NotFound(w, r)
		return
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.failures) > 0 {
		f := s.failures[0]
		s.failures = s.failures[1:]
		if f.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(f.retryAfter.Seconds())))
		}
		s.answer(w, f.status, "made to fail", nil)
		return
	}
	var e event
	problems := []string{"the event is larger than 512 KB"}
	if len(raw) <= maxBody {
		problems = []string{"the event is no JSON object of the right shape"}
		if err := json.Unmarshal(raw, &e); err == nil {
			problems = e.problems()
		}
	}
	if len(problems) > 0 {
		s.answer(w, http.StatusBadRequest, "Event object is invalid", problems)
		return
	}
	now := time.Now()
	recent := slices.DeleteFunc(s.accepted[e.RoutingKey], func(t time.Time) bool { return now.Sub(t) >= time.Minute })
	if len(recent) >= perMinute {
		s.accepted[e.RoutingKey] = recent
		s.answer(w, http.StatusTooManyRequests, "Requests rate limit reached for the integration key", nil)
		return
	}
	s.accepted[e.RoutingKey] = append(recent, now)
	s.apply(e)
	s.answer(w, http.StatusAccepted, "Event processed", nil)
}

func (s *Server) answer(w http.ResponseWriter, status int, message string, problems []string) {
	word := "success"
	if status != http.StatusAccepted {
		word = "invalid event"
		s.refused = append(s.refused, strings.Join(append([]string{strconv.Itoa(status), message}, problems...), ": "))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"status": word, "message": message, "errors": problems})
}

func (e event) problems() (out []string) {
	add := func(bad bool, problem string) {
		if bad {
			out = append(out, problem)
		}
	}
	add(len(e.RoutingKey) != 32, "'routing_key' must have 32 characters")
	trigger := e.EventAction == "trigger"
	add(!trigger && e.EventAction != "acknowledge" && e.EventAction != "resolve", "'event_action' is not one of trigger, acknowledge, resolve")
	add(!trigger && e.DedupKey == "", "'dedup_key' is missing")
	add(utf8.RuneCountInString(e.DedupKey) > 255, "'dedup_key' is longer than 255 characters")
	if !trigger {
		return out
	}
	p := e.Payload
	add(p.Summary == "", "'payload.summary' is missing")
	add(utf8.RuneCountInString(p.Summary) > 1024, "'payload.summary' is longer than 1024 characters")
	add(p.Source == "", "'payload.source' is missing")
	add(!slices.Contains([]string{"critical", "error", "warning", "info"}, p.Severity), "'payload.severity' is not one of critical, error, warning, info")
	if p.Timestamp != "" {
		_, err := time.Parse(time.RFC3339Nano, p.Timestamp)
		add(err != nil, "'payload.timestamp' is not ISO 8601")
	}
	for _, i := range e.Images {
		add(!strings.HasPrefix(i.Src, "https://"), "'images.src' must be https")
	}
	for _, l := range e.Links {
		add(l.Href == "", "'links.href' is missing")
	}
	return out
}

// apply does to the alerts what the event asks.
func (s *Server) apply(e event) {
	if len(s.keys) > 0 && !slices.Contains(s.keys, e.RoutingKey) {
		s.dropped++
		return
	}
	i := slices.IndexFunc(s.alerts, func(a *Alert) bool {
		return e.DedupKey != "" && a.RoutingKey == e.RoutingKey && a.DedupKey == e.DedupKey && a.State != Resolved
	})
	if i < 0 && e.EventAction != "trigger" {
		s.dropped++
		return
	}
	if i < 0 {
		key := e.DedupKey
		if key == "" {
			key = fmt.Sprintf("generated-%d", len(s.alerts)+1)
		}
		s.alerts = append(s.alerts, &Alert{
			RoutingKey: e.RoutingKey, DedupKey: key, State: Open, Severity: e.Payload.Severity, Summary: e.Payload.Summary, Notified: 1,
		})
		i = len(s.alerts) - 1
	}
	a := s.alerts[i]
	a.Log = append(a.Log, strings.TrimSpace(e.EventAction+" "+e.Payload.Summary))
	switch e.EventAction {
	case "acknowledge":
		a.State = Acknowledged
	case "resolve":
		a.State = Resolved
	}
}
