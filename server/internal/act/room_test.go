package act_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/act"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

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
		Identity: func() core.Identity { return core.Identity{ClusterID: "c_1", Epoch: 3} }, BaseURL: "https://ek.example.net/", Registry: prometheus.NewRegistry(),
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
