package pagerduty

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/internal/outbound"
)

// DefaultBaseURL is PagerDuty's service region of the United States; the European one is
// https://events.eu.pagerduty.com.
const DefaultBaseURL = "https://events.pagerduty.com"

const (
	defaultTimeout = 15 * time.Second
	defaultBurst   = 20
	maxAnswer      = 64 << 10
	excerpt        = 300
)

// ErrTriggerNotAccepted is why a resolve was not sent: the trigger it waited for was not accepted.
var ErrTriggerNotAccepted = errors.New("its trigger was not accepted")

// Key is an integration's routing key, which refuses to print.
type Key struct{ text *string }

// ParseKey takes the 32 letters and digits of an integration key; surrounding white space is dropped. The error
// never quotes the key.
func ParseKey(s string) (Key, error) {
	s = strings.TrimSpace(s)
	if len(s) != 32 {
		return Key{}, fmt.Errorf("routing key has %d characters, want 32", len(s))
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return Key{}, errors.New("routing key has a character that is no letter or digit")
		}
	}
	return Key{text: &s}, nil
}

func (Key) String() string { return "[secret]" }

// GoString answers %#v.
func (Key) GoString() string { return "[secret]" }

// MarshalText answers every encoder.
func (Key) MarshalText() ([]byte, error) { return []byte("[secret]"), nil }

// Format answers every verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[secret]") }

// Options of a Client. Key is required.
type Options struct {
	Key          Key
	BaseURL      string        // empty: DefaultBaseURL; the path /v2/enqueue is added
	Timeout      time.Duration // of one attempt, without the wait in the queue; 0: 15 s
	PerMinute    float64       // events a minute after the burst; 0: 100
	Burst        int           // 0: 20
	AllowPrivate bool          // BaseURL is in our own network (a relay or a test double); also allows plain http
	TLS          *tls.Config   // nil: the system's roots
}

// Client sends the events of one routing key. It is safe for concurrent use. One Client per key: the rate is
// counted in it.
type Client struct {
	key    Key
	url    string
	client *outbound.Client

	mu      sync.Mutex
	limiter *rate.Limiter
	waiting waiting
	keys    map[string]*lane
	timer   *time.Timer // runs while something waits for a token
	arrived uint64
}

// New checks the options.
func New(o Options) (*Client, error) {
	if o.BaseURL == "" {
		o.BaseURL = DefaultBaseURL
	}
	u, err := url.Parse(o.BaseURL)
	switch {
	case o.Key.text == nil:
		return nil, errors.New("pagerduty needs a routing key")
	case err != nil || u.Host == "" || u.User != nil:
		return nil, errors.New("pagerduty base url is not of the form https://host")
	case u.Scheme != "https" && (u.Scheme != "http" || !o.AllowPrivate):
		return nil, fmt.Errorf("pagerduty base url has scheme %q, want https", u.Scheme)
	case o.PerMinute < 0 || o.Burst < 0 || o.Timeout < 0:
		return nil, errors.New("pagerduty rate, burst and timeout cannot be below 0")
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.PerMinute == 0 {
		o.PerMinute = 100
	}
	if o.Burst == 0 {
		o.Burst = defaultBurst
	}
	return &Client{
		key: o.Key, url: strings.TrimRight(o.BaseURL, "/") + "/v2/enqueue",
		client:  outbound.New(outbound.Options{AllowPrivate: o.AllowPrivate, TLS: o.TLS, Timeout: o.Timeout, MaxAnswer: maxAnswer}),
		limiter: rate.NewLimiter(rate.Limit(o.PerMinute/60), o.Burst),
		keys:    map[string]*lane{},
	}, nil
}

// State says what became of an event.
type State uint8

// States of an event that ended without an error.
const (
	StateUnknown State = iota
	Accepted           // PagerDuty has queued it
	Replaced           // not sent: a newer event of the same key took its place in the queue
	Cancelled          // not sent: the alert was resolved first
)

// String is the state in one word.
func (s State) String() string {
	switch s {
	case Accepted:
		return "accepted"
	case Replaced:
		return "replaced"
	case Cancelled:
		return "cancelled"
	case StateUnknown:
	}
	return "unknown"
}

// Result is what Send brought about.
type Result struct {
	State   State
	Status  int           // HTTP status, 0 when nothing was sent
	Message string        // PagerDuty's, shortened, one line
	Latency time.Duration // of the attempt, without the wait in the queue
}

// Send waits for the event's turn and makes one attempt. It blocks until the answer or the end of ctx; an event whose ctx
// ends while it waits is not sent (Transient).
func (c *Client) Send(ctx context.Context, e Event) (Result, error) {
	body, err := e.body(*c.key.text)
	if err != nil {
		return Result{}, &remediations.Permanent{Err: err}
	}
	turn, state, err := c.wait(ctx, e)
	if err != nil || turn == nil {
		return Result{State: state}, err
	}
	r, err := c.post(ctx, body)
	c.done(turn, err == nil)
	return r, err
}

func (c *Client) post(ctx context.Context, body []byte) (Result, error) {
	a, err := c.client.Post(ctx, c.url, http.Header{"Content-Type": {"application/json"}, "User-Agent": {"evenkeel"}}, body)
	if err != nil {
		return Result{Status: a.Status, Latency: a.Latency}, err
	}
	var said struct {
		Message string   `json:"message"`
		Errors  []string `json:"errors"`
	}
	_ = json.Unmarshal(a.Body, &said) // the status decides
	text := strings.ReplaceAll(strings.Join(append([]string{said.Message}, said.Errors...), " "), *c.key.text, "[secret]")
	r := Result{Status: a.Status, Message: outbound.Excerpt(text, excerpt), Latency: a.Latency}
	fail := fmt.Errorf("pagerduty answered %d: %s", a.Status, r.Message)
	switch s := a.Status; {
	case s == http.StatusAccepted:
		r.State = Accepted
		return r, nil
	case s >= 400 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests,
		s >= 300 && s < 400:
		return r, &remediations.Permanent{Err: fail, Status: s}
	}
	// A 200 is not PagerDuty's word either: some proxy answered in its place.
	return r, &remediations.Transient{Err: fail, Status: a.Status, RetryAfter: a.RetryAfter}
}
