package act_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/pagerduty"
	"github.com/evenkeel/evenkeel/remediations/pagerduty/pagerdutytest"
	"github.com/evenkeel/evenkeel/remediations/receiver"
	"github.com/evenkeel/evenkeel/remediations/webhook"
	"github.com/evenkeel/evenkeel/server/internal/act"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// fastEdge reports a hundred times a second: real time is spent here.
type fastEdge struct{ *edge }

func (e fastEdge) TrafficSince(site, service string, since time.Time) core.Traffic {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	return core.Traffic{
		Site: site, Service: service, At: now, Known: now.Sub(since) > 20*time.Millisecond, Requests: 100, Count: 100, Share: e.share, Success: 1,
		ServiceCount: 300, ServiceSuccess: 0.999, Weight: e.weight, WeightKnown: true,
	}
}

// house is a hand, the webhook and an executor, all real but for the users.
type house struct {
	*act.Hand
	edge     fastEdge
	story    *story
	applied  atomic.Int32
	before   atomic.Value // func(http.ResponseWriter) bool: answers in the executor's place
	lies     atomic.Bool
	hold     chan struct{} // what is applied is done once this is closed; nil: at once
	refuses  atomic.Bool
	requests atomic.Int32
}

func newHouse(t *testing.T, timeout time.Duration) *house {
	t.Helper()
	x := &house{edge: fastEdge{newEdge()}, story: &story{}}
	key, err := remediations.ParseSecret(remediations.GenerateSecret())
	if err != nil {
		t.Fatal(err)
	}
	executor, err := receiver.New(receiver.Options{
		Secrets: []remediations.Secret{key}, Clusters: []string{"c_1"}, StateFile: filepath.Join(t.TempDir(), "fence.json"),
		Check: func(context.Context, receiver.Command) error {
			if x.refuses.Load() {
				return &receiver.Refuse{By: "last-site", Detail: "no other site serves checkout"}
			}
			return nil
		},
		Apply: func(_ context.Context, c receiver.Command) (receiver.State, error) {
			x.applied.Add(1)
			if !x.lies.Load() {
				x.edge.set(func(e *edge) { e.weight, e.share = float64(c.Step.Weight), float64(c.Step.Weight)/300 })
			}
			if x.hold != nil {
				<-x.hold
			}
			return receiver.State{State: remediations.StateDone, Weight: float64(c.Step.Weight)}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x.requests.Add(1)
		if f, ok := x.before.Load().(func(http.ResponseWriter) bool); ok && f(w) {
			return
		}
		executor.ServeHTTP(w, r)
	}))
	t.Cleanup(listener.Close)
	target, err := webhook.New(webhook.Options{
		URL: listener.URL, Secrets: []remediations.Secret{key}, Timeout: timeout, AllowPrivate: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	x.Hand = act.New(act.Options{
		Targets: map[string]act.Sender{"director": target}, Edge: x.edge,
		Outcomes: x.story.outcome, NoticeOutcomes: x.story.notice, Identity: func() core.Identity { return core.Identity{ClusterID: "c_1", Epoch: 3} },
		Timing: act.Timing{Waits: []time.Duration{100 * time.Millisecond}, Look: 10 * time.Millisecond, Soonest: 300 * time.Millisecond},
	})
	t.Cleanup(func() {
		if err := x.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return x
}

// until polls over the network's real time until the story is complete.
func (x *house) until(t *testing.T, kind core.OutcomeKind, story string) core.Outcome {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if o := x.story.last(); o.Kind == kind {
			if got := x.story.kinds(); got != story {
				t.Errorf("story %s, want %s", got, story)
			}
			return o
		}
	}
	t.Fatalf("story %s, never %s", x.story.kinds(), kind)
	return core.Outcome{}
}

// awaits polls until the story is that far.
func (x *house) awaits(t *testing.T, story string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); x.story.kinds() != story; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("story %s, want %s", x.story.kinds(), story)
		}
	}
}

func TestHTTPDone(t *testing.T) {
	x := newHouse(t, 0)
	x.Perform(intent())
	o := x.until(t, core.OutcomeVerified, "(done) done verified")
	if !strings.HasPrefix(o.Sentence, "director: share 33 % -> 0 %") {
		t.Errorf("sentence %s", o.Sentence)
	}
	if a := x.story.outcomes[0].Attempt; a.Status != 200 || a.N != 1 || a.LatencyMS <= 0 {
		t.Errorf("attempt %+v", a)
	}
}

func TestHTTPRetryThenDone(t *testing.T) {
	x := newHouse(t, 0)
	left := atomic.Int32{}
	left.Store(2)
	x.before.Store(func(w http.ResponseWriter) bool {
		if left.Add(-1) < 0 {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	x.Perform(intent())
	x.until(t, core.OutcomeVerified, "(retry) (retry) (done) done verified")
}

// timeout is how long the sender waits where the executor is slower. A busy machine brings the command to it in that time.
const timeout = 2 * time.Second

func TestHTTPTimeoutThenFoundDone(t *testing.T) {
	x := newHouse(t, timeout)
	x.hold = make(chan struct{})
	defer close(x.hold)
	x.Perform(intent())
	x.until(t, core.OutcomeVerified, "(unknown) done verified")
	if x.requests.Load() != 1 || x.applied.Load() != 1 {
		t.Errorf("%d requests, applied %d times; want one and once", x.requests.Load(), x.applied.Load())
	}
}

// The executor is slower than the sender waits, and the edge does not show it yet: the repeat is accepted and then
// done, and it is applied once.
func TestHTTPTimeoutThenPolled(t *testing.T) {
	x := newHouse(t, timeout)
	x.hold = make(chan struct{})
	x.lies.Store(true)
	in := intent()
	in.Verify.Within = 0.5
	x.Perform(in)
	x.awaits(t, "(unknown) (accepted)")
	close(x.hold)
	x.until(t, core.OutcomeIneffective, "(unknown) (accepted) (done) done ineffective")
	if x.applied.Load() != 1 {
		t.Errorf("applied %d times, want once", x.applied.Load())
	}
}

func TestHTTPRefused(t *testing.T) {
	x := newHouse(t, 0)
	x.refuses.Store(true)
	x.Perform(intent())
	o := x.until(t, core.OutcomeRefused, "(refused) refused")
	if o.Sentence != "director refused by last-site: no other site serves checkout" || x.applied.Load() != 0 {
		t.Errorf("sentence %s, applied %d times", o.Sentence, x.applied.Load())
	}
}

func TestHTTPStale(t *testing.T) {
	x := newHouse(t, 0)
	newer := intent()
	newer.ID, newer.ActionID, newer.Seq = "act_b_1", "act_b", 50
	x.Perform(newer)
	x.until(t, core.OutcomeVerified, "(done) done verified")
	x.Perform(intent())
	o := x.until(t, core.OutcomeRefused, "(done) done verified (refused) refused")
	if !strings.Contains(o.Sentence, "epoch 3, seq 50; ours has seq 41") || x.applied.Load() != 1 {
		t.Errorf("sentence %s, applied %d times", o.Sentence, x.applied.Load())
	}
}

func TestHTTPExpired(t *testing.T) {
	x := newHouse(t, 0)
	x.before.Store(func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusServiceUnavailable); return true })
	in := intent()
	in.NotAfter = time.Now().Add(400 * time.Millisecond)
	x.Perform(in)
	for end := time.Now().Add(time.Minute); x.story.last().Kind != core.OutcomeExpired; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("story %s", x.story.kinds())
		}
	}
	if x.applied.Load() != 0 || x.story.last().At.Before(in.NotAfter) {
		t.Errorf("applied %d times, expired %s before not_after", x.applied.Load(), in.NotAfter.Sub(x.story.last().At))
	}
}

func TestHTTPLyingExecutor(t *testing.T) {
	x := newHouse(t, 0)
	x.lies.Store(true)
	in := intent()
	in.Verify.Within = 0.5
	x.edge.set(func(e *edge) { e.weight = 0 }) // and its weight report lies too
	x.Perform(in)
	o := x.until(t, core.OutcomeIneffective, "(done) done ineffective")
	if !strings.Contains(o.Sentence, "nothing moved") || o.After == nil || o.After.Share != 0.33 {
		t.Errorf("sentence %s", o.Sentence)
	}
}

func TestHTTPCloseInMidDelivery(t *testing.T) {
	x := newHouse(t, 0)
	x.hold = make(chan struct{})
	defer close(x.hold)
	x.Perform(intent())
	for x.applied.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := x.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := x.story.kinds(); got != "" {
		t.Errorf("story %s, want nothing", got)
	}
}

// voice is a pager by PagerDuty.
type voice struct{ client *pagerduty.Client }

func (v voice) Page(ctx context.Context, n core.Notice) (act.Paged, error) {
	e := pagerduty.Event{DedupKey: n.DedupKey, Summary: n.Summary, Source: n.Source, Severity: n.Severity, Timestamp: n.At}
	switch n.Kind {
	case "trigger":
		e.Action = pagerduty.Trigger
	case "update":
		e.Action = pagerduty.Update
	case "resolve":
		e.Action = pagerduty.Resolve
	}
	r, err := v.client.Send(ctx, e)
	return act.Paged{Status: r.Status, Detail: r.Message, Cancelled: r.State != pagerduty.Accepted}, err
}

func TestHTTPPagerDuty(t *testing.T) {
	double := pagerdutytest.NewServer()
	double.Fail(1, http.StatusServiceUnavailable, 0)
	listener := httptest.NewServer(double)
	defer listener.Close()
	key, err := pagerduty.ParseKey("0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	client, err := pagerduty.New(pagerduty.Options{Key: key, BaseURL: listener.URL, AllowPrivate: true})
	if err != nil {
		t.Fatal(err)
	}
	s := &story{}
	h := act.New(act.Options{
		Edge: newEdge(), Outcomes: s.outcome, NoticeOutcomes: s.notice,
		Pager:  voice{client},
		Timing: act.Timing{NoticeWaits: []time.Duration{50 * time.Millisecond}},
	})
	sent := func(ends string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); s.ends() != ends; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("ends %q, want %q", s.ends(), ends)
			}
		}
	}
	n := notice("t", "trigger", pagerduty.DedupKey("fra", "dead-service", "ep_1"))
	n.EpisodeID, n.Details = "ep_1", []core.Detail{{Name: "policy", Value: "dead-service"}}
	h.Notify(n)
	sent("t=sent")
	h.Notify(notice("u", "update", n.DedupKey))
	sent("t=sent u=sent")
	h.Notify(notice("r", "resolve", n.DedupKey))
	sent("r=sent t=sent u=sent")
	alerts := double.Alerts()
	if len(alerts) != 1 || alerts[0].State != pagerdutytest.Resolved || len(alerts[0].Log) != 3 {
		t.Errorf("alerts %+v, refused %v", alerts, double.Refused())
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
