package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/decide"
)

// recorder is the ledger as the loop needs it.
type recorder interface {
	Commit(ctx context.Context, changes []core.Change) (int64, error)
	Load(ctx context.Context) (core.Snapshot, error)
	Leading() bool
}

// performer is the hand as the loop needs it. Its methods return at once.
type performer interface {
	Perform(intent core.Intent)
	Notify(notice core.Notice)
	Abandon()
}

// input is one thing to be decided upon; reply, when set, is answered once the outcome is on record. An order has a
// caller: it is not carried out once the caller is gone or orderGood has passed since it was given. One that came by
// another replica is answered in the ledger instead.
type input struct {
	decide.Input
	reply  chan<- core.Reply
	caller context.Context //nolint:containedctx // it crosses a channel with the order it belongs to
	given  time.Time
	order  *core.Order
}

// late reports whether an order may no longer be carried out.
func (in input) late() bool {
	if in.order != nil {
		return time.Since(in.given).Abs() > orderGood // perhaps by the clock of another machine, which may be ahead
	}
	return in.caller != nil && (in.caller.Err() != nil || time.Since(in.given) > orderGood)
}

// loop decides, records, acts - in this order, one input at a time, while this replica leads. A record that fails stops
// the acting: the engine is thrown away and read back from the ledger before anything else happens (fail static).
type loop struct {
	ledger   recorder
	hand     performer
	inputs   <-chan input
	topology func() core.Topology
	observe  func(routing []core.Routing) core.Observation
	changed  <-chan struct{} // facts came in that may change an observation
	log      *slog.Logger
	metrics  *loopMetrics
	moved    chan<- struct{} // hears that users are moved; may be nil

	// The rest is for one of several replicas; all of it may be nil.
	lead    <-chan struct{}          // somebody else leads now, or nobody
	ordered <-chan struct{}          // an order came by another replica
	orders  func() []core.Order      // those that wait
	follow  func() []core.Routing    // what is commanded, as far as this replica has read
	pending func() (why string)      // why nothing may be commanded in our name yet, empty when it may
	judged  func(o core.Observation) // hears of every observation

	engine   *decide.Engine
	memory   memory
	answered []string // ids of orders answered in this leadership, the newest last
	wake     time.Time
	static   atomic.Pointer[string] // why nothing is recorded and so nothing acts; nil when all is well
	brake    atomic.Pointer[core.Brake]
}

const (
	judgeEvery    = 250 * time.Millisecond // at least this often, whatever comes in
	wakeMin       = 5 * time.Millisecond
	commitTimeout = 5 * time.Second
	retryEvery    = time.Second
	orderGood     = 10 * time.Second // how long after it was given an order may be carried out
	keptAnswers   = 256
)

// run goes on until ctx ends.
func (l *loop) run(ctx context.Context) {
	ticker := time.NewTicker(judgeEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		if !l.leads() {
			l.watch(ctx, ticker.C)
			continue
		}
		if l.engine == nil {
			if !l.ensure(ctx) {
				continue
			}
			l.takeOrders(ctx) // those that nobody took so far
			continue
		}
		wake := time.NewTimer(time.Until(l.wake))
		select {
		case <-ctx.Done():
		case in := <-l.inputs:
			l.step(ctx, in)
		case <-l.lead:
		case <-l.ordered:
			l.takeOrders(ctx)
		case <-l.changed:
			l.judge(ctx)
		case <-ticker.C:
			l.judge(ctx)
		case <-wake.C:
			l.wake = time.Now().Add(time.Hour)
			l.judge(ctx)
		}
		wake.Stop()
	}
}

func (l *loop) judge(ctx context.Context) {
	l.step(ctx, input{Input: l.look(l.engine.Routing())})
}

// look makes an observation and remembers what a later leadership would need of it.
func (l *loop) look(routing []core.Routing) decide.Input {
	observation := l.observe(routing)
	l.memory.add(observation.Traffic, observation.At)
	if l.judged != nil {
		l.judged(observation)
	}
	return decide.Input{At: observation.At, Observation: &observation}
}

// step decides one input, records what follows, and only then acts on it.
func (l *loop) step(ctx context.Context, in input) {
	doubt := false // an earlier try may be on record after all
	for ctx.Err() == nil {
		if !l.leads() {
			l.decline(in, doubt)
			return
		}
		if in.Observation == nil && !l.ensure(ctx) {
			continue
		}
		if in.late() {
			l.dropOrder(ctx, in)
			return
		}
		started := time.Now()
		if in.Observation == nil {
			in.At = started // and not when it was sent: time must not run backwards past an observation
		}
		if in.Topology != nil {
			newest := l.topology() // of two that were sent at once the older one may come last
			in.Topology = &newest
		}
		out := l.engine.Step(in.Input)
		if in.order != nil && out.Reply != nil {
			out.Changes = append(out.Changes, core.Change{Answer: &core.OrderAnswer{OrderID: in.order.ID, Reply: *out.Reply}})
		}
		revision, err := l.record(ctx, out.Changes)
		if err != nil && in.order != nil && core.Code(err) == core.CodeNotFound {
			l.engine = nil // it has carried out an order that is not there any more
			return
		}
		if err != nil {
			doubt = doubt || core.Code(err) == core.CodeUnavailable
			l.stop(ctx, err)
			if in.Observation != nil { // the next one says the same
				return
			}
			continue // an outcome or a command is decided again on what the ledger really holds
		}
		if slices.ContainsFunc(out.Changes, func(c core.Change) bool { return c.Routing != nil }) {
			poke(l.moved) // the watches are to know before their figures change
		}
		for _, intent := range out.Intents {
			intent.Seq = revision
			l.hand.Perform(intent)
		}
		for _, notice := range out.Notices {
			l.hand.Notify(notice)
		}
		l.remember(out)
		l.metrics.decisions.follow(out.Changes)
		if in.reply != nil && out.Reply != nil {
			in.reply <- *out.Reply
		}
		l.metrics.step(time.Since(started), len(out.Changes))
		return
	}
}

// takeOrders carries out what was ordered by other replicas. An order is answered once: its answer and what follows
// from it are one transaction, which takes the order off the list.
func (l *loop) takeOrders(ctx context.Context) {
	if l.orders == nil {
		return
	}
	for _, o := range l.orders() {
		if slices.Contains(l.answered, o.ID) {
			continue // the list trails the ledger a little
		}
		c := o.Command
		given := o.After // our own clock knows better than that of another machine, which may be wrong
		if given.IsZero() {
			given = o.Given
		}
		l.step(ctx, input{Input: decide.Input{Command: &c}, order: &o, given: given})
		l.answered = append(l.answered, o.ID)
		l.answered = l.answered[max(0, len(l.answered)-keptAnswers):]
	}
}

// dropOrder says on the record that an order was not carried out.
func (l *loop) dropOrder(ctx context.Context, in input) {
	c := in.Command
	what := string(c.Kind)
	if c.Subject.Site != "" {
		what += " of " + c.Subject.String()
	}
	line := core.Line{At: time.Now(), Subject: c.Subject, Kind: "command", Sentence: fmt.Sprintf(
		"%s by %s, given %.1f s ago, is not carried out: it is too old, or whoever gave it is gone",
		what, c.By, time.Since(in.given).Seconds())}
	reply := core.Reply{Code: core.CodeUnavailable, Sentence: line.Sentence}
	changes := []core.Change{{Line: &line}}
	if in.order != nil {
		changes = append(changes, core.Change{Answer: &core.OrderAnswer{OrderID: in.order.ID, Reply: reply}})
	}
	if _, err := l.record(ctx, changes); err != nil {
		l.log.Warn("late order not carried out and not recorded", slog.String("order", string(c.Kind)), slog.Any("error", err))
	}
	if in.reply != nil {
		in.reply <- reply
	}
}

func (l *loop) record(ctx context.Context, changes []core.Change) (int64, error) {
	if len(changes) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	return l.ledger.Commit(ctx, changes)
}

// ready says why nothing acts, or nil.
func (l *loop) ready() error {
	if reason := l.static.Load(); reason != nil {
		return errors.New(*reason)
	}
	return nil
}

func (l *loop) remember(out decide.Output) {
	l.wake = time.Now().Add(time.Hour)
	if !out.Wake.IsZero() {
		l.wake = later(out.Wake, time.Now().Add(wakeMin)) // a wake that is due again at once must not spin
	}
	for _, c := range out.Changes {
		if c.Brake != nil {
			l.brake.Store(c.Brake)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// stop throws the engine away: it may know things that are not on record. It waits a little, since what cannot be
// written now cannot be written at once.
func (l *loop) stop(ctx context.Context, err error) {
	l.engine = nil
	if !l.leads() {
		return // the next leader goes on; there is nothing to mend here
	}
	reason := fmt.Sprintf("the ledger cannot record, so nothing acts: %v", err)
	if l.static.Swap(&reason) == nil {
		l.log.Error("ledger cannot record, acting stopped", slog.Any("error", err))
	}
	l.metrics.static.Set(1)
	select {
	case <-ctx.Done():
	case <-time.After(retryEvery):
	}
}

// ensure has an engine that knows what is on record and what is seen now. Without the latter it would judge orders
// by a world in which nobody serves.
func (l *loop) ensure(ctx context.Context) bool {
	if l.engine == nil && l.reload(ctx) && l.recovered(ctx) {
		l.judge(ctx)
	}
	return l.engine != nil
}

// recovered ends a stop of the acting, which takes a record that is really written.
func (l *loop) recovered(ctx context.Context) bool {
	if l.static.Load() == nil {
		return true
	}
	line := core.Line{At: time.Now(), Kind: "system", Sentence: "the ledger records again: acting goes on"}
	if _, err := l.record(ctx, []core.Change{{Line: &line}}); err != nil {
		l.stop(ctx, err)
		return false
	}
	l.static.Store(nil)
	l.metrics.static.Set(0)
	l.log.Info("ledger records again, acting resumed")
	return true
}

// reload reads the engine back from the ledger and performs again what was under way.
func (l *loop) reload(ctx context.Context) bool {
	load, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	snapshot, err := l.ledger.Load(load)
	if err != nil {
		l.stop(ctx, err)
		return false
	}
	l.engine = decide.New(l.topology(), snapshot)
	l.engine.Recall(l.memory.all())
	l.brake.Store(snapshot.Brake)
	l.metrics.decisions.begin(snapshot.Episodes)
	intents, notices := l.engine.Pending()
	for _, intent := range intents {
		l.hand.Perform(intent)
	}
	for _, notice := range notices {
		l.hand.Notify(notice)
	}
	return true
}
