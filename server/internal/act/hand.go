package act

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Sender makes one delivery attempt; every remediations.Target is one.
type Sender interface {
	Do(ctx context.Context, r remediations.Request) (remediations.Receipt, error)
}

// EdgeView is what the edge says of one service at one site now. A view that also has SinceView is asked for
// data counted after a given time.
type EdgeView interface {
	Traffic(site, service string) core.Traffic
}

// SinceView is what the edge says of one service at one site out of data counted at since or later only.
type SinceView interface {
	TrafficSince(site, service string, since time.Time) core.Traffic
}

// Options of a Hand. Edge, Outcomes and NoticeOutcomes are required.
type Options struct {
	Targets        map[string]Sender // by name
	Edge           EdgeView
	Outcomes       func(core.Outcome)
	NoticeOutcomes func(core.NoticeOutcome)
	// Services are the services that a site serves; an action on a whole site is verified on all of them together.
	// nil: a whole site cannot be verified.
	Services func(site string) []string
	Pager    Pager // nil: notices end as no_channel
	// Identity is asked at each delivery: it changes when an operator adopts the ledger.
	Identity func() core.Identity
	// May is asked just before anything leaves this process; while it is false nothing does. nil: always.
	May      func() bool
	BaseURL  string // where people reach this server; empty: requests carry no link
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: unmeasured
	Timing   Timing
}

// Timing is how patient the hand is. Zero fields take the value in brackets.
type Timing struct {
	Waits       []time.Duration // between delivery attempts, the last repeats (2, 5, 10, 20, 30 s)
	Polls       []time.Duration // between questions after accepted, the last repeats (1, 2, 5 s)
	Attempt     time.Duration   // of one attempt, for senders without a limit of their own (30 s)
	Look        time.Duration   // between looks at the edge (250 ms)
	Looks       int             // consecutive good looks at different data (2)
	Within      time.Duration   // to verify, when the step does not say (30 s)
	Soonest     time.Duration   // that a verification may fail after: the edge must be able to report twice (5 s)
	EdgeWindow  time.Duration   // that the figures of an EdgeView without SinceView cover at most (10 s)
	NoticeWaits []time.Duration // between attempts to deliver a notice, the last repeats (10, 20, 40, 60, 120, 300 s)
	NoticeFor   time.Duration   // how long a notice is tried (24 h)
}

func (t Timing) withDefaults() Timing {
	durations := func(d *[]time.Duration, seconds ...int) {
		if len(*d) == 0 {
			for _, s := range seconds {
				*d = append(*d, time.Duration(s)*time.Second)
			}
		}
	}
	duration := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	durations(&t.Waits, 2, 5, 10, 20, 30)
	durations(&t.Polls, 1, 2, 5)
	durations(&t.NoticeWaits, 10, 20, 40, 60, 120, 300)
	duration(&t.Attempt, 30*time.Second)
	duration(&t.Look, 250*time.Millisecond)
	duration(&t.Within, 30*time.Second)
	duration(&t.Soonest, 5*time.Second)
	duration(&t.EdgeWindow, 10*time.Second)
	duration(&t.NoticeFor, 24*time.Hour)
	if t.Looks <= 0 {
		t.Looks = 2
	}
	return t
}

// remembered is how many finished intents and notices are known, to answer when they are performed again.
const remembered = 512

// Hand performs intents and delivers notices. It is safe for concurrent use.
type Hand struct {
	o       Options
	timing  Timing
	log     *slog.Logger
	metrics *metrics
	wg      sync.WaitGroup

	mu      sync.Mutex
	ctx     context.Context // until the next Abandon or Close
	cancel  context.CancelFunc
	closed  bool
	jobs    map[string]*job
	ended   []string // ids of finished jobs, oldest first
	lines   map[string]*line
	notices map[string]string // state by id, empty while under way
	told    []string          // ids of finished notices, oldest first
}

// New returns a Hand. It starts no goroutine before the first intent or notice.
func New(o Options) *Hand {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Hand{
		o: o, timing: o.Timing.withDefaults(), log: o.Log, metrics: newMetrics(o.Registry, o.Targets),
		ctx: ctx, cancel: cancel,
		jobs: map[string]*job{}, lines: map[string]*line{}, notices: map[string]string{},
	}
}

// job is one intent being performed, or performed.
type job struct {
	core.Intent
	stop  context.CancelFunc
	mu    sync.Mutex // held while outcomes are told, so that they stay in order
	final []core.Outcome
	// attempts made by this process.
	attempts int
}

// Perform carries the intent out: deliver, verify, report. It returns at once. An intent whose id is under way or
// was finished here does not run again; its outcomes, attempts excepted, are reported again.
func (h *Hand) Perform(in core.Intent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	round := h.ctx
	if j, ok := h.jobs[in.ID]; ok {
		h.wg.Go(func() { h.repeat(round, j, in.Delivered) })
		return
	}
	for _, old := range h.jobs {
		if old.overtakenBy(in) {
			old.stop()
		}
	}
	ctx, stop := context.WithCancel(round)
	j := &job{Intent: in, stop: stop}
	h.jobs[in.ID] = j
	h.wg.Go(func() {
		defer stop()
		h.metrics.underWay.Inc()
		defer h.metrics.underWay.Dec()
		h.run(ctx, j)
		if ctx.Err() != nil && round.Err() == nil {
			h.log.Info("intent was overtaken by a newer one", slog.String("intent", j.ID), slog.String("target", j.Target))
		}
		h.finish(j)
	})
}

// overtakenBy reports whether in is a newer command to the same target about the same users: a rollback, say. Going on
// with the old one could only end in a refusal as stale, and in a verification of what nobody wants any more.
func (j *job) overtakenBy(in core.Intent) bool {
	a, b := j.Subject, in.Subject
	return j.Target == in.Target && j.Seq < in.Seq && a.Unit == b.Unit && a.Overlaps(b)
}

// Close ends everything under way and waits for it, until ctx ends. Nothing is reported after it was called.
func (h *Hand) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	h.cancel()
	h.mu.Unlock()
	done := make(chan struct{})
	go func() { h.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Abandon ends everything under way and forgets it, without waiting: another process goes on with it. What is performed
// or notified afterwards is done as if it were new; nothing from before is reported any more.
func (h *Hand) Abandon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.cancel()
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.jobs, h.ended = map[string]*job{}, nil
	h.lines, h.notices, h.told = map[string]*line{}, map[string]string{}, nil
}

// allowed waits until something may leave this process; false when ctx ends first.
func (h *Hand) allowed(ctx context.Context) bool {
	for h.o.May != nil && !h.o.May() {
		if !pause(ctx, 50*time.Millisecond) {
			return false
		}
	}
	return ctx.Err() == nil
}

func (h *Hand) finish(j *job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs[j.ID] != j {
		return // abandoned, and perhaps performed anew
	}
	h.ended = append(h.ended, j.ID)
	if len(h.ended) > remembered {
		delete(h.jobs, h.ended[0])
		h.ended = h.ended[1:]
	}
}

// tell reports one outcome, unless the hand is being closed or the intent was overtaken.
func (h *Hand) tell(ctx context.Context, j *job, kind core.OutcomeKind, attempt *core.Attempt, after *core.Traffic, sentence string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	o := core.Outcome{
		IntentID: j.ID, ActionID: j.ActionID, Step: j.Step, Kind: kind, At: time.Now(),
		Attempt: attempt, After: after, Sentence: sentence,
	}
	h.metrics.outcomes.WithLabelValues(string(kind)).Inc()
	if kind != core.OutcomeAttempt {
		j.final = append(j.final, o)
		h.log.Info("outcome of an intent", slog.String("intent", j.ID), slog.String("target", j.Target),
			slog.String("outcome", string(kind)), slog.String("sentence", sentence))
	}
	h.o.Outcomes(o)
}

// repeat reports again what is known of the job. Who knows that it was delivered is not told so.
func (h *Hand) repeat(ctx context.Context, j *job, delivered bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.final {
		if ctx.Err() != nil {
			return
		}
		if o.Kind == core.OutcomeDone && delivered {
			continue
		}
		h.o.Outcomes(o)
	}
}

func (h *Hand) run(ctx context.Context, j *job) {
	done := time.Now()
	if !j.Delivered {
		var ok bool
		if done, ok = h.deliver(ctx, j); !ok {
			return
		}
	}
	h.verify(ctx, j, done)
}

// pause waits; it reports false when the hand is being closed.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// nth is the i-th of a schedule whose last entry repeats.
func nth(schedule []time.Duration, i int) time.Duration {
	return schedule[min(i, len(schedule)-1)]
}
