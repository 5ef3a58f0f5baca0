package act_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/act"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// edge is a sender of users that reports once a second and says how the subject fares since a given time.
type edge struct {
	mu       sync.Mutex
	start    time.Time
	share    float64 // now
	success  float64
	rate     float64 // requests/s of the service
	weight   float64
	weighs   bool // it reports weights
	silentAt time.Time
}

func newEdge() *edge {
	return &edge{start: time.Now(), share: 0.33, success: 1, rate: 300, weight: 100, weighs: true}
}

func (e *edge) set(f func(*edge)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e)
}

func (e *edge) Traffic(site, service string) core.Traffic {
	return e.TrafficSince(site, service, time.Time{})
}

func (e *edge) TrafficSince(site, service string, since time.Time) core.Traffic {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if !e.silentAt.IsZero() && now.After(e.silentAt) {
		now = e.silentAt
	}
	newest := e.start.Add(now.Sub(e.start).Truncate(time.Second))
	t := core.Traffic{Site: site, Service: service, At: newest, Weight: e.weight, WeightKnown: e.weighs}
	first := e.start
	if since.After(e.start) {
		first = e.start.Add((since.Sub(e.start) + time.Second - 1).Truncate(time.Second))
	}
	if !newest.After(first) || !e.silentAt.IsZero() && time.Since(e.silentAt) > 3*time.Second {
		return t
	}
	seconds := min(newest.Sub(first), 3*time.Second).Seconds()
	t.Known, t.Share = true, e.share
	t.Requests, t.Count = e.rate*e.share, e.rate*e.share*seconds
	t.Success = e.success
	t.ServiceCount, t.ServiceSuccess = e.rate*seconds, 0.999
	return t
}

// sender answers by a script; the last answer repeats.
type sender struct {
	mu   sync.Mutex
	sent []remediations.Request
	at   []time.Time
	do   []func(ctx context.Context) (remediations.Receipt, error)
}

func (s *sender) Do(ctx context.Context, r remediations.Request) (remediations.Receipt, error) {
	s.mu.Lock()
	do := s.do[min(len(s.sent), len(s.do)-1)]
	s.sent, s.at = append(s.sent, r), append(s.at, time.Now())
	s.mu.Unlock()
	return do(ctx)
}

func (s *sender) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sent)
}

type script = func(ctx context.Context) (remediations.Receipt, error)

func answers(state remediations.State) script {
	return func(context.Context) (remediations.Receipt, error) {
		return remediations.Receipt{State: state, Status: 200}, nil
	}
}

func fails(err error) script {
	return func(context.Context) (remediations.Receipt, error) { return remediations.Receipt{}, err }
}

// story collects what the hand reports.
type story struct {
	mu       sync.Mutex
	outcomes []core.Outcome
	notices  []core.NoticeOutcome
}

func (s *story) outcome(o core.Outcome) {
	s.mu.Lock()
	s.outcomes = append(s.outcomes, o)
	s.mu.Unlock()
}

func (s *story) notice(o core.NoticeOutcome) {
	s.mu.Lock()
	s.notices = append(s.notices, o)
	s.mu.Unlock()
}

// kinds is the story in words: attempts by their result, the rest by their kind.
func (s *story) kinds() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, o := range s.outcomes {
		if o.Kind == core.OutcomeAttempt {
			out = append(out, "("+o.Attempt.Result+")")
		} else {
			out = append(out, string(o.Kind))
		}
	}
	return strings.Join(out, " ")
}

func (s *story) last() core.Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.outcomes) == 0 {
		return core.Outcome{}
	}
	return s.outcomes[len(s.outcomes)-1]
}

func intent() core.Intent {
	now := time.Now()
	return core.Intent{
		ID: "act_a_1", ActionID: "act_a", EpisodeID: "ep_a", Subject: core.Subject{Site: "fra", Service: "checkout"},
		Kind: core.PlanDrain, Moves: core.ScopeReads, Step: 1, Of: 1, Target: "director", Weight: 0, State: core.RoutingDrained,
		Mode: core.ModeAutomatic, At: now, NotAfter: now.Add(2 * time.Minute), MinActive: 1, Reason: "dead",
		Verify: core.VerifySpec{ShareBelow: 0.01, Within: 10},
		Before: core.Traffic{Known: true, Share: 0.33, ServiceCount: 900, At: now}, Seq: 41,
	}
}

// room is a hand with a script for its only target.
type room struct {
	*act.Hand
	edge   *edge
	sender *sender
	story  *story
}

func newRoom(t *testing.T, do ...script) *room {
	t.Helper()
	r := &room{edge: newEdge(), sender: &sender{do: do}, story: &story{}}
	r.Hand = act.New(act.Options{
		Targets: map[string]act.Sender{"director": r.sender}, Edge: r.edge,
		Outcomes: r.story.outcome, NoticeOutcomes: r.story.notice,
		Identity: core.Identity{ClusterID: "c_1", Epoch: 3}, BaseURL: "https://ek.example.net/", Registry: prometheus.NewRegistry(),
	})
	return r
}

func (r *room) close(t *testing.T) {
	t.Helper()
	if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// moves drains at the edge when it is asked to.
func (r *room) moves(weight, share float64) script {
	return func(context.Context) (remediations.Receipt, error) {
		r.edge.set(func(e *edge) { e.weight, e.share = weight, share })
		return remediations.Receipt{State: remediations.StateDone, Status: 200}, nil
	}
}

func TestDeliveredAndVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.close(t)
		r.sender.do = []script{r.moves(0, 0)}
		start := time.Now()
		in := intent()
		r.Perform(in)
		synctest.Wait()
		if got := r.story.kinds(); got != "(done) done" || !time.Now().Equal(start) {
			t.Errorf("at once: %s after %s", got, time.Since(start))
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := r.story.kinds(); got != "(done) done verified" {
			t.Errorf("story %s", got)
		}
		o := r.story.last()
		if got, want := o.Sentence, "director: share 33 % -> 0 %, users' success 99.9 %"; got != want {
			t.Errorf("sentence %q, want %q", got, want)
		}
		if o.At.Sub(start) > 2500*time.Millisecond || o.After == nil || o.After.At.Sub(start) < time.Second {
			t.Errorf("verified after %s on data of %s", o.At.Sub(start), o.After.At.Sub(start))
		}
		q := r.sender.sent[0]
		if q.ID != in.ID || q.Type != remediations.TypeDrain || q.Data.Fencing != (remediations.Fencing{ClusterID: "c_1", Epoch: 3, Seq: 41}) ||
			q.Data.DesiredState != "drained" || q.Data.Mode != "automatic" || q.Data.Precondition.MinActiveSites != 1 ||
			q.Data.Reason.EvidenceURL != "https://ek.example.net/api/v1/episodes/ep_a" {
			t.Errorf("request %+v", q)
		}
		if err := q.Validate(); err != nil {
			t.Error(err)
		}
	})
}

func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fails(&remediations.Transient{Err: errors.New("503"), Status: 503}))
		defer r.close(t)
		in := intent()
		r.Perform(in)
		time.Sleep(119 * time.Second)
		synctest.Wait()
		if strings.Contains(r.story.kinds(), "expired") {
			t.Error("expired before not_after")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := r.story.kinds(); !strings.HasSuffix(got, "(retry) expired") {
			t.Errorf("story %s", got)
		}
		want := []time.Duration{2, 5, 10, 20, 30}
		for i := 1; i < len(r.sender.at)-1; i++ {
			low := want[min(i-1, len(want)-1)] * time.Second
			if gap := r.sender.at[i].Sub(r.sender.at[i-1]); gap < low || gap > low+low/5 {
				t.Errorf("attempt %d after %s, want %s and up to a fifth more", i+1, gap, low)
			}
		}
		if last := r.sender.at[len(r.sender.at)-1]; !last.Equal(in.NotAfter.Add(-time.Second)) {
			t.Errorf("last attempt %s before not_after, want 1s", in.NotAfter.Sub(last))
		}
		for _, q := range r.sender.sent {
			if q.ID != in.ID {
				t.Errorf("id %s", q.ID)
			}
		}
	})
}

func TestRetryAfter(t *testing.T) {
	f := func(after time.Duration, attempts int) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(t, fails(&remediations.Transient{Err: errors.New("429"), Status: 429, RetryAfter: after}))
			defer r.close(t)
			r.Perform(intent())
			time.Sleep(121 * time.Second)
			synctest.Wait()
			if r.sender.count() != attempts {
				t.Errorf("%d attempts, want %d", r.sender.count(), attempts)
			}
			for i := 1; i < len(r.sender.at); i++ {
				if gap := r.sender.at[i].Sub(r.sender.at[i-1]); gap < after {
					t.Errorf("again after %s, was asked for %s", gap, after)
				}
			}
			if got := r.story.last().Kind; got != core.OutcomeExpired {
				t.Errorf("ends %s", got)
			}
		})
	}
	f(50*time.Second, 3)
	f(10*time.Minute, 1)
}

// A request that timed out after it was sent did its work: the edge shows it, nothing is sent again.
func TestUnknownThenFoundDone(t *testing.T) {
	f := func(weighs bool) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(t)
			defer r.close(t)
			r.edge.weighs = weighs
			r.sender.do = []script{func(context.Context) (remediations.Receipt, error) {
				r.edge.set(func(e *edge) { e.weight, e.share = 0, 0 })
				time.Sleep(10 * time.Second)
				return remediations.Receipt{}, &remediations.Unknown{Err: errors.New("time-out")}
			}}
			r.Perform(intent())
			time.Sleep(20 * time.Second)
			synctest.Wait()
			if got := r.story.kinds(); got != "(unknown) done verified" || r.sender.count() != 1 {
				t.Errorf("story %s, %d requests", got, r.sender.count())
			}
		})
	}
	f(true)
	f(false)
}

func TestUnknownThenSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.close(t)
		r.sender.do = []script{fails(errors.New("of no known type")), r.moves(0, 0)}
		r.Perform(intent())
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := r.story.kinds(); got != "(unknown) (done) done verified" || r.sender.sent[0].ID != r.sender.sent[1].ID {
			t.Errorf("story %s", got)
		}
	})
}

// Without weights a share that was low before proves nothing about our request.
func TestUnknownIsNotProvenByAnOldShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fails(&remediations.Unknown{Err: errors.New("time-out")}))
		defer r.close(t)
		r.edge.weighs, r.edge.share = false, 0
		in := intent()
		in.Before.Share = 0
		r.Perform(in)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if got := r.story.last().Kind; got != core.OutcomeExpired || r.sender.count() < 5 {
			t.Errorf("ends %s after %d requests", got, r.sender.count())
		}
	})
}

// A restart finds an intent past its not_after: it may have been obeyed.
func TestPastNotAfter(t *testing.T) {
	f := func(weight, share float64, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(t, answers(remediations.StateDone))
			defer r.close(t)
			r.edge.weight, r.edge.share = weight, share
			in := intent()
			in.NotAfter = time.Now().Add(-time.Minute)
			r.Perform(in)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if got := r.story.kinds(); got != want || r.sender.count() != 0 {
				t.Errorf("story %s, %d requests; want %s and none", got, r.sender.count(), want)
			}
		})
	}
	f(0, 0, "done verified")
	f(100, 0.33, "expired")
}

func TestAcceptedIsPolled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.close(t)
		accepted := answers(remediations.StateAccepted)
		r.sender.do = []script{accepted, accepted, accepted, r.moves(0, 0)}
		r.Perform(intent())
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := r.story.kinds(); got != "(accepted) (accepted) (accepted) (done) done verified" {
			t.Errorf("story %s", got)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, answers(remediations.StateAccepted))
		defer r.close(t)
		r.Perform(intent())
		time.Sleep(130 * time.Second)
		synctest.Wait()
		if got := r.story.last(); got.Kind != core.OutcomeExpired {
			t.Errorf("ends %s: %s", got.Kind, got.Sentence)
		}
	})
}

func TestFinalAnswers(t *testing.T) {
	f := func(do script, kind core.OutcomeKind, sentence string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(t, do)
			defer r.close(t)
			r.Perform(intent())
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if o := r.story.last(); o.Kind != kind || !strings.Contains(o.Sentence, sentence) || r.sender.count() != 1 {
				t.Errorf("%s %q after %d requests, want %s %q", o.Kind, o.Sentence, r.sender.count(), kind, sentence)
			}
		})
	}
	gives := func(rc remediations.Receipt) script {
		return func(context.Context) (remediations.Receipt, error) { return rc, nil }
	}
	f(gives(remediations.Receipt{State: remediations.StateRefused, RefusedBy: "last-site", Detail: "only 1 left"}),
		core.OutcomeRefused, "director refused by last-site: only 1 left")
	f(gives(remediations.Receipt{State: remediations.StateRefused}), core.OutcomeRefused, "a rule of its own")
	f(gives(remediations.Receipt{State: remediations.StateStale, Current: &remediations.Fencing{ClusterID: "c_1", Epoch: 3, Seq: 99}}),
		core.OutcomeRefused, "obeys a newer command (epoch 3, seq 99; ours has seq 41)")
	f(gives(remediations.Receipt{State: remediations.StateExpired}), core.OutcomeExpired, "compare the clocks")
	f(gives(remediations.Receipt{State: remediations.StateDone, DryRun: true}), core.OutcomeFailed, "only rehearsed")
	f(fails(&remediations.Permanent{Err: errors.New("answer 401"), Status: 401}), core.OutcomeFailed, "answer 401")
}

func TestNotPerformable(t *testing.T) {
	f := func(change func(*core.Intent), sentence string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(t, answers(remediations.StateDone))
			defer r.close(t)
			in := intent()
			change(&in)
			r.Perform(in)
			synctest.Wait()
			if o := r.story.last(); o.Kind != core.OutcomeFailed || !strings.Contains(o.Sentence, sentence) || r.sender.count() != 0 {
				t.Errorf("%s %q, %d requests", o.Kind, o.Sentence, r.sender.count())
			}
		})
	}
	f(func(in *core.Intent) { in.Target = "nobody" }, `no target named "nobody"`)
	f(func(in *core.Intent) { in.Seq = 0 }, "never recorded")
	f(func(in *core.Intent) { in.NotAfter = time.Time{} }, "until when")
}

func TestPerformedTwiceRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t)
		defer r.close(t)
		r.sender.do = []script{r.moves(0, 0)}
		in := intent()
		r.Perform(in)
		r.Perform(in)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if r.sender.count() != 1 || !strings.HasSuffix(r.story.kinds(), "verified") {
			t.Errorf("%d requests, story %s", r.sender.count(), r.story.kinds())
		}
		r.Perform(in) // whoever asks again did not hear the answer
		in.Delivered = true
		synctest.Wait()
		r.Perform(in)
		synctest.Wait()
		if got := r.story.kinds(); r.sender.count() != 1 || !strings.HasSuffix(got, "done verified done verified verified") {
			t.Errorf("%d requests, story %s", r.sender.count(), got)
		}
	})
}

func TestNewerIntentEndsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, fails(&remediations.Transient{Err: errors.New("503")}))
		defer r.close(t)
		r.Perform(intent())
		elsewhere := intent()
		elsewhere.ID, elsewhere.Subject.Site, elsewhere.Seq = "act_b_1", "ams", 42
		r.Perform(elsewhere)
		time.Sleep(time.Second)
		back := intent()
		back.ID, back.Seq, back.Kind, back.State, back.Weight = "act_a_2", 43, core.PlanRestore, core.RoutingActive, 100
		r.Perform(back)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		sent := map[string]int{}
		for _, q := range r.sender.sent {
			sent[q.ID]++
		}
		if sent["act_a_1"] != 1 || sent["act_a_2"] < 5 || sent["act_b_1"] < 5 {
			t.Errorf("sent %v", sent)
		}
		if got := r.story.kinds(); strings.Count(got, "expired") != 2 {
			t.Errorf("story %s, want the end of two", got)
		}
	})
}

func TestDeliveredIsOnlyVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRoom(t, answers(remediations.StateDone))
		defer r.close(t)
		r.edge.weight, r.edge.share = 0, 0
		in := intent()
		in.Delivered = true
		r.Perform(in)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := r.story.kinds(); got != "verified" || r.sender.count() != 0 {
			t.Errorf("story %s, %d requests", got, r.sender.count())
		}
	})
}

// Close in the middle of an attempt, a wait and a verification: nothing is reported afterwards.
func TestClose(t *testing.T) {
	hang := func(ctx context.Context) (remediations.Receipt, error) {
		<-ctx.Done()
		return remediations.Receipt{}, &remediations.Unknown{Err: ctx.Err()}
	}
	f := func(do script, story string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			r := newRoom(t, do)
			r.Perform(intent())
			time.Sleep(500 * time.Millisecond)
			r.close(t)
			r.Perform(intent())
			r.Notify(core.Notice{ID: "n", DedupKey: "k"})
			time.Sleep(5 * time.Minute)
			if got := r.story.kinds(); got != story || len(r.story.notices) != 0 {
				t.Errorf("story %q, want %q", got, story)
			}
		})
	}
	f(hang, "")
	f(fails(&remediations.Transient{Err: errors.New("503")}), "(retry)")
	f(fails(&remediations.Unknown{Err: errors.New("time-out")}), "(unknown)")
	f(answers(remediations.StateDone), "(done) done")
}

func TestCloseGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRoom(t, func(context.Context) (remediations.Receipt, error) { <-release; return remediations.Receipt{}, nil })
		r.Perform(intent())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		close(release)
	})
}

func TestMetricsExistAtZero(t *testing.T) {
	registry := prometheus.NewRegistry()
	h := act.New(act.Options{Targets: map[string]act.Sender{"director": &sender{}}, Registry: registry})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(families)
	for _, name := range []string{"evenkeel_act_attempts_total", "evenkeel_act_outcomes_total", "evenkeel_act_notices_total", "ineffective", "no_channel"} {
		if !strings.Contains(text, name) {
			t.Errorf("no %s", name)
		}
	}
	if err := h.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
