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
		late := intent() // a restart performs in any order: the older one must not end the newer
		late.ID, late.Seq, late.NotAfter = "act_c_1", 40, time.Now().Add(time.Second)
		r.Perform(late)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		sent := map[string]int{}
		for _, q := range r.sender.sent {
			sent[q.ID]++
		}
		if sent["act_a_1"] != 1 || sent["act_a_2"] < 5 || sent["act_b_1"] < 5 {
			t.Errorf("sent %v", sent)
		}
		if got := r.story.kinds(); strings.Count(got, "expired") != 3 {
			t.Errorf("story %s, want the end of three", got)
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
		synctest.Wait() // the attempt is under way
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

// A hand that is let go of reports nothing of what was under way, sends nothing while it may not, and does the same
// intent again when it is performed anew.
func TestAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var told []core.Outcome
		sent := 0
		may := true
		target := senderFunc(func(ctx context.Context, _ remediations.Request) (remediations.Receipt, error) {
			mu.Lock()
			sent++
			first := sent == 1
			mu.Unlock()
			if first {
				<-ctx.Done()
				return remediations.Receipt{}, &remediations.Unknown{Err: ctx.Err()}
			}
			return remediations.Receipt{State: remediations.StateRefused}, nil
		})
		h := act.New(act.Options{
			Targets: map[string]act.Sender{"director": target}, Edge: nothing{},
			Outcomes:       func(o core.Outcome) { mu.Lock(); told = append(told, o); mu.Unlock() },
			NoticeOutcomes: func(core.NoticeOutcome) {},
			Identity:       func() core.Identity { return core.Identity{ClusterID: "c_1", Epoch: 1} },
			May:            func() bool { mu.Lock(); defer mu.Unlock(); return may },
		})
		in := core.Intent{
			ID: "act_1", ActionID: "act", Subject: core.Subject{Site: "fra", Service: "checkout"}, Kind: core.PlanDrain, State: core.RoutingDrained,
			Target: "director", Seq: 7, Step: 1, Of: 1, At: time.Now(), NotAfter: time.Now().Add(time.Minute),
		}
		h.Perform(in)
		synctest.Wait()
		mu.Lock()
		may = false
		mu.Unlock()
		h.Abandon()
		h.Perform(in)
		time.Sleep(10 * time.Second)
		mu.Lock()
		if sent != 1 || len(told) != 0 {
			t.Errorf("sent %d times, told %+v", sent, told)
		}
		may = true
		mu.Unlock()
		time.Sleep(time.Second)
		mu.Lock()
		if sent != 2 || len(told) != 2 || told[1].Kind != core.OutcomeRefused {
			t.Errorf("sent %d times, told %+v", sent, told)
		}
		mu.Unlock()
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

type senderFunc func(context.Context, remediations.Request) (remediations.Receipt, error)

func (f senderFunc) Do(ctx context.Context, r remediations.Request) (remediations.Receipt, error) {
	return f(ctx, r)
}

type nothing struct{}

func (nothing) Traffic(string, string) core.Traffic { return core.Traffic{} }
