package pagerduty_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/pagerduty"
	"github.com/evenkeel/evenkeel/remediations/pagerduty/pagerdutytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "0123456789abcdef0123456789ABCDEF"

func client(t testing.TB, h http.Handler) *pagerduty.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	k, err := pagerduty.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pagerduty.New(pagerduty.Options{Key: k, BaseURL: s.URL + "/", AllowPrivate: true, Burst: 500})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func event(action pagerduty.Action, summary string) pagerduty.Event {
	return pagerduty.Event{
		Action: action, DedupKey: pagerduty.DedupKey("fra", "dead-service", "ep_1"), Summary: summary, Source: "fra",
		Severity: pagerduty.Critical, Timestamp: time.Now(),
	}
}

func send(t *testing.T, c *pagerduty.Client, e pagerduty.Event) {
	t.Helper()
	r, err := c.Send(t.Context(), e)
	if err != nil || r.State != pagerduty.Accepted || r.Status != 202 {
		t.Fatalf("result %+v, error %v", r, err)
	}
}

func TestStory(t *testing.T) {
	double := pagerdutytest.NewServer(key)
	c := client(t, double)
	e := event(pagerduty.Trigger, "checkout at fra is dead")
	e.Details = []pagerduty.Detail{{Name: "why", Value: `refused from "ams" & lon`}}
	e.Links = []pagerduty.Link{{Href: "https://ek.example.net/", Text: "Episode"}}
	e.Images = []pagerduty.Image{{Src: "https://ek.example.net/i.png"}}
	send(t, c, e)
	send(t, c, event(pagerduty.Update, "drained"))
	double.Acknowledge(e.DedupKey)
	send(t, c, event(pagerduty.Update, "verified"))
	send(t, c, pagerduty.Event{Action: pagerduty.Resolve, DedupKey: e.DedupKey})
	send(t, c, event(pagerduty.Trigger, "dead again"))
	send(t, c, pagerduty.Event{Action: pagerduty.Resolve, DedupKey: "nobody"})
	alerts := double.Alerts()
	if len(alerts) != 2 || alerts[0].State != pagerdutytest.Resolved || alerts[0].Notified != 1 || alerts[1].State != pagerdutytest.Open {
		t.Fatalf("alerts %+v", alerts)
	}
	if got := strings.Join(alerts[0].Log, "; "); got != "trigger checkout at fra is dead; trigger drained; trigger verified; resolve" {
		t.Errorf("log %s", got)
	}
	if double.Dropped() != 1 || len(double.Refused()) != 0 {
		t.Errorf("dropped %d, refused %v", double.Dropped(), double.Refused())
	}
}

// Whatever the caller gives, the double finds nothing to refuse.
func TestLimits(t *testing.T) {
	double := pagerdutytest.NewServer()
	c := client(t, double)
	e := event(pagerduty.Trigger, strings.Repeat("ü", 3000)+"\xff")
	e.DedupKey = strings.Repeat("k", 400)
	e.Component = strings.Repeat("c", 5000)
	for range 20 {
		e.Details = append(e.Details, pagerduty.Detail{Name: "log", Value: strings.Repeat("<", 50_000)})
	}
	send(t, c, e)
	send(t, c, pagerduty.Event{Action: pagerduty.Resolve, DedupKey: e.DedupKey})
	if alerts := double.Alerts(); len(alerts) != 1 || alerts[0].State != pagerdutytest.Resolved {
		t.Errorf("the cut key does not match itself: %+v, refused %v", alerts, double.Refused())
	}
}

func TestInvalidEvents(t *testing.T) {
	double := pagerdutytest.NewServer()
	c := client(t, double)
	f := func(change func(*pagerduty.Event)) {
		t.Helper()
		e := event(pagerduty.Trigger, "s")
		change(&e)
		var never *remediations.Permanent
		if _, err := c.Send(t.Context(), e); !errors.As(err, &never) {
			t.Errorf("%+v: error %v, want *Permanent", e, err)
		}
	}
	f(func(e *pagerduty.Event) { e.Action = pagerduty.ActionUnknown })
	f(func(e *pagerduty.Event) { e.DedupKey = "" })
	f(func(e *pagerduty.Event) { e.Summary = " " })
	f(func(e *pagerduty.Event) { e.Source = "" })
	f(func(e *pagerduty.Event) { e.Severity = "high" })
	if len(double.Refused()) != 0 {
		t.Errorf("sent all the same: %v", double.Refused())
	}
	f(func(e *pagerduty.Event) { e.Images = []pagerduty.Image{{Src: "http://example.net/i.png"}} }) // refused there
	if len(double.Refused()) != 1 {
		t.Errorf("refused %v", double.Refused())
	}
}

func TestAnswers(t *testing.T) {
	f := func(status int, want any) {
		t.Helper()
		double := pagerdutytest.NewServer()
		double.Fail(1, status, 30*time.Second)
		_, err := client(t, double).Send(t.Context(), event(pagerduty.Trigger, "s"))
		if !errors.As(err, want) {
			t.Errorf("%d: error %T %v", status, err, err)
		}
		var again *remediations.Transient
		if errors.As(err, &again) && (again.RetryAfter != 30*time.Second || again.Status != status) {
			t.Errorf("%d: %+v", status, again)
		}
	}
	for _, s := range []int{400, 401, 403, 404, 302} {
		f(s, new(*remediations.Permanent))
	}
	for _, s := range []int{200, 408, 429, 500, 502, 503} {
		f(s, new(*remediations.Transient))
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	k, err := pagerduty.ParseKey(key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pagerduty.New(pagerduty.Options{Key: k, BaseURL: gone.URL, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	var again *remediations.Transient
	if _, err := c.Send(t.Context(), event(pagerduty.Trigger, "s")); !errors.As(err, &again) {
		t.Errorf("nobody listens: %v", err)
	}
}

// The double answers 429 beyond 120 events a minute, as the real one does.
func TestDoubleCountsTheRate(t *testing.T) {
	double := pagerdutytest.NewServer()
	c := client(t, double)
	for range 120 {
		send(t, c, event(pagerduty.Update, "s"))
	}
	var again *remediations.Transient
	if _, err := c.Send(t.Context(), event(pagerduty.Update, "s")); !errors.As(err, &again) || again.Status != 429 {
		t.Errorf("error %v, want 429", err)
	}
}

func TestKeyRefusesToPrint(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = fmt.Fprintf(w, `{"message":"bad key %s"}`, key)
	})
	c := client(t, echo)
	r, err := c.Send(t.Context(), event(pagerduty.Trigger, "s"))
	k, parseErr := pagerduty.ParseKey(key)
	if parseErr != nil {
		t.Fatal(parseErr)
	}
	o := pagerduty.Options{Key: k}
	if text := fmt.Sprintf("%v %+v %v %v %+v %#v %q %x", r, err, c, k, o, o, k, k); strings.Contains(text, key) || strings.Contains(text, fmt.Sprintf("%x", key)) {
		t.Errorf("printed: %s", text)
	}
	for _, bad := range []string{"", "short", strings.Repeat("-", 32)} {
		if _, err := pagerduty.ParseKey(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestOptions(t *testing.T) {
	k, err := pagerduty.ParseKey(" " + key + "\n")
	if err != nil {
		t.Fatal(err)
	}
	f := func(o pagerduty.Options, want string) {
		t.Helper()
		if _, err := pagerduty.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
	f(pagerduty.Options{}, "routing key")
	f(pagerduty.Options{Key: k, BaseURL: "http://events.example.net"}, "want https")
	f(pagerduty.Options{Key: k, BaseURL: "events"}, "https://host")
	f(pagerduty.Options{Key: k, Burst: -1}, "below 0")
	if _, err := pagerduty.New(pagerduty.Options{Key: k}); err != nil {
		t.Error(err)
	}
}

func ExampleClient_Send() {
	double := pagerdutytest.NewServer()
	s := httptest.NewServer(double)
	defer s.Close()
	k, err := pagerduty.ParseKey("0123456789abcdef0123456789abcdef")
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := pagerduty.New(pagerduty.Options{Key: k, BaseURL: s.URL, AllowPrivate: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range []pagerduty.Event{
		{
			Action: pagerduty.Trigger, DedupKey: pagerduty.DedupKey("fra", "dead-service", "ep_1"),
			Summary: "checkout at fra is dead", Source: "fra", Severity: pagerduty.Critical,
		},
		{Action: pagerduty.Resolve, DedupKey: pagerduty.DedupKey("fra", "dead-service", "ep_1")},
	} {
		r, err := c.Send(context.Background(), e)
		fmt.Println(e.Action, r.State, err)
	}
	fmt.Println(double.Alerts()[0].State)
	// Output:
	// trigger accepted <nil>
	// resolve accepted <nil>
	// resolved
}
