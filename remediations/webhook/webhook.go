package webhook

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/internal/outbound"
)

const (
	defaultTimeout = 10 * time.Second
	maxAnswer      = 64 << 10
	excerpt        = 200 // characters of a foreign answer in a detail
)

// Options of a Target. URL and Secrets are required.
type Options struct {
	URL          string                // https, or http with AllowPrivate; without user and password
	Secrets      []remediations.Secret // one, or two while rotating: newest first
	Timeout      time.Duration         // of one attempt; 0: 10 s
	AllowPrivate bool                  // the executor lives in our own network
	TLS          *tls.Config           // private roots or a client certificate; nil: the system's roots
	UserAgent    string                // empty: "evenkeel"
}

// Target sends commands to one endpoint. It is safe for concurrent use and starts no goroutine of its own.
type Target struct {
	url       string
	secrets   []remediations.Secret
	userAgent string
	client    *outbound.Client
}

var (
	_ remediations.Target      = (*Target)(nil)
	_ remediations.Preflighter = (*Target)(nil)
)

// New checks the options. Errors name the option and what would be right, and never quote a secret.
func New(o Options) (*Target, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("webhook url is not of the form https://host/path")
	case u.User != nil:
		return nil, errors.New("webhook url carries a user or password: the signature is the credential, remove them")
	case u.Scheme == "http" && !o.AllowPrivate:
		return nil, errors.New("webhook url is plain http: use https, or set allow_private for an executor in your own network")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("webhook url has scheme %q, want https", u.Scheme)
	case len(o.Secrets) < 1 || len(o.Secrets) > 2:
		return nil, fmt.Errorf("webhook has %d secrets, want one, or two while rotating", len(o.Secrets))
	case o.Timeout < 0:
		return nil, fmt.Errorf("webhook timeout %s is below 0", o.Timeout)
	}
	for i, s := range o.Secrets {
		if s.IsZero() {
			return nil, fmt.Errorf("webhook secret %d is empty", i+1)
		}
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.UserAgent == "" {
		o.UserAgent = "evenkeel"
	}
	return &Target{
		url:       o.URL,
		secrets:   append([]remediations.Secret(nil), o.Secrets...),
		userAgent: o.UserAgent,
		client: outbound.New(outbound.Options{
			AllowPrivate: o.AllowPrivate, TLS: o.TLS, Timeout: o.Timeout, MaxAnswer: maxAnswer,
		}),
	}, nil
}

// Do makes one delivery attempt; see the package for how answers are read.
func (t *Target) Do(ctx context.Context, r remediations.Request) (remediations.Receipt, error) {
	body, err := r.Body()
	if err != nil {
		return remediations.Receipt{}, &remediations.Permanent{Err: err}
	}
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {t.userAgent}}
	if err := remediations.Sign(h, r.ID, time.Now(), body, t.secrets...); err != nil {
		return remediations.Receipt{}, &remediations.Permanent{Err: err}
	}
	a, err := t.client.Post(ctx, t.url, h, body)
	if err != nil {
		return remediations.Receipt{Status: a.Status, Latency: a.Latency}, err
	}
	return read(a)
}

// Preflight asks the executor for the tokens it holds. An error means that nobody can tell.
func (t *Target) Preflight(ctx context.Context, clusterID string) (remediations.Standing, error) {
	now := time.Now()
	body, err := remediations.PreflightBody(clusterID, now)
	if err != nil {
		return remediations.Standing{}, err
	}
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {t.userAgent}}
	if err := remediations.Sign(h, "preflight_"+strings.ToLower(rand.Text()), now, body, t.secrets...); err != nil {
		return remediations.Standing{}, err
	}
	a, err := t.client.Post(ctx, t.url, h, body)
	if err != nil {
		return remediations.Standing{}, err
	}
	if a.Status != http.StatusOK {
		return remediations.Standing{}, fmt.Errorf("the executor answers %d to the question: %s", a.Status, outbound.Excerpt(string(a.Body), excerpt))
	}
	return remediations.ParseStanding(a.Body)
}

// answer is every field an executor may send.
type answer struct {
	State     string                `json:"state"`
	Weight    json.RawMessage       `json:"weight"` // read apart: a mistyped weight must not become 0
	DryRun    bool                  `json:"dry_run"`
	Error     string                `json:"error"`
	Detail    string                `json:"detail"`
	RefusedBy string                `json:"refused_by"`
	Current   *remediations.Fencing `json:"current"`
}

func read(a outbound.Answer) (remediations.Receipt, error) {
	var body answer
	var mistyped *json.UnmarshalTypeError
	if err := json.Unmarshal(a.Body, &body); err != nil && (!errors.As(err, &mistyped) || mistyped.Field == "") {
		body = answer{Detail: string(a.Body)} // not an object of ours: the status speaks alone
	}
	rc := remediations.Receipt{
		DryRun: body.DryRun, Weight: percent(body.Weight), Detail: outbound.Excerpt(body.Detail, excerpt),
		Status: a.Status, Latency: a.Latency, RetryAfter: a.RetryAfter,
	}
	fail := func(why string) error {
		text := fmt.Sprintf("answer %d (%s)", a.Status, why)
		if said := outbound.Excerpt(body.Error+" "+body.Detail, excerpt); said != "" {
			text += ": " + said
		}
		return errors.New(text)
	}
	switch s := a.Status; {
	case s >= 200 && s < 300:
		return readSuccess(a, body, rc, fail)
	case s >= 300 && s < 400:
		return rc, &remediations.Permanent{Err: fail("redirects are not followed"), Status: s}
	case s == http.StatusConflict:
		rc.State, rc.Current = remediations.StateStale, body.Current
		return rc, nil
	case s == http.StatusPreconditionFailed:
		rc.State, rc.RefusedBy = remediations.StateRefused, outbound.Excerpt(body.RefusedBy, excerpt)
		return rc, nil
	case s == http.StatusGone && body.Error == remediations.StateExpired.String():
		rc.State = remediations.StateExpired
		return rc, nil
	case s == http.StatusBadGateway, s == http.StatusGatewayTimeout:
		return rc, &remediations.Unknown{Err: fail("a gateway gave up"), Status: s, RetryAfter: a.RetryAfter}
	case s == http.StatusRequestTimeout, s == http.StatusTooEarly, s == http.StatusTooManyRequests, s >= 500:
		return rc, &remediations.Transient{Err: fail("the executor asks to come again"), Status: s, RetryAfter: a.RetryAfter}
	case s == http.StatusUnauthorized, s == http.StatusForbidden:
		return rc, &remediations.Permanent{Err: fail("the executor does not obey us: check the secret and its list of clusters"), Status: s}
	case s == http.StatusGone:
		return rc, &remediations.Permanent{Err: fail("the endpoint is gone"), Status: s}
	}
	return rc, &remediations.Permanent{Err: fail("the executor does not take this"), Status: a.Status}
}

// percent is nil for anything that is no number within 0 to 100.
func percent(raw json.RawMessage) *float64 {
	var w *float64
	if err := json.Unmarshal(raw, &w); err != nil || w == nil || *w < 0 || *w > 100 {
		return nil
	}
	return w
}

func readSuccess(
	a outbound.Answer, body answer, rc remediations.Receipt, fail func(string) error,
) (remediations.Receipt, error) {
	switch {
	case a.Cut:
		return rc, &remediations.Unknown{Err: fail("longer than 64 KiB: this is no executor"), Status: a.Status}
	case body.State == "accepted", body.State == "" && a.Status == http.StatusAccepted:
		rc.State = remediations.StateAccepted
	case body.State == "done", body.State == "":
		// An endpoint that knows only Standard Webhooks answers 2xx and nothing else. Whether it did anything is
		// for the verification at the edge to say.
		rc.State = remediations.StateDone
	default:
		said := outbound.Excerpt(body.State, excerpt)
		return rc, &remediations.Unknown{Err: fail(fmt.Sprintf("state %q means nothing with a 2xx", said)), Status: a.Status}
	}
	return rc, nil
}
