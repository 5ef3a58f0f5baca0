package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/decide"
)

// book is a ledger that keeps what it is told in memory, and can be told to fail.
type book struct {
	mu       sync.Mutex
	fail     error
	lose     bool // the write happens but its answer does not come back
	revision int64
	snapshot core.Snapshot
	log      []string
	lost     bool // another leads
	orders   []core.Order
	answers  map[string]core.Reply
	inputs   chan<- input
}

func (b *book) Commit(_ context.Context, changes []core.Change) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil && !b.lose {
		return 0, b.fail
	}
	for _, c := range changes {
		if a := c.Answer; a != nil && !slices.ContainsFunc(b.orders, func(o core.Order) bool { return o.ID == a.OrderID }) {
			return 0, &core.Error{Code: core.CodeNotFound, Message: "the order is gone"}
		}
	}
	b.revision++
	for _, c := range changes {
		switch {
		case c.Episode != nil:
			b.snapshot.Episodes = put(b.snapshot.Episodes, *c.Episode, func(e core.Episode) string { return e.ID })
		case c.Action != nil:
			b.snapshot.Actions = put(b.snapshot.Actions, *c.Action, func(a core.Action) string { return a.ID })
		case c.Intent != nil:
			i := *c.Intent
			i.Seq = b.revision
			b.snapshot.Intents = append(b.snapshot.Intents, i)
			b.log = append(b.log, "record "+i.ID)
		case c.Answer != nil:
			b.orders = slices.DeleteFunc(b.orders, func(o core.Order) bool { return o.ID == c.Answer.OrderID })
			b.answers[c.Answer.OrderID] = c.Answer.Reply
		case c.Routing != nil:
			b.snapshot.Routing = put(b.snapshot.Routing, *c.Routing, func(r core.Routing) string { return r.Subject.Key() })
		}
	}
	if b.lose {
		return 0, b.fail
	}
	return b.revision, nil
}

func put[T any](list []T, v T, id func(T) string) []T {
	out := slices.DeleteFunc(slices.Clone(list), func(o T) bool { return id(o) == id(v) })
	return append(out, v)
}

func (b *book) Load(context.Context) (core.Snapshot, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil && !b.lose {
		return core.Snapshot{}, b.fail
	}
	return b.snapshot, nil
}

func (b *book) Perform(i core.Intent) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, "perform "+i.ID)
	if i.Seq == 0 {
		b.log = append(b.log, "no fencing token")
	}
}

func (b *book) Notify(core.Notice) {}

func (b *book) Abandon() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log = append(b.log, "abandon")
}

func (b *book) Leading() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.lost
}

func (b *book) waiting() []core.Order {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.orders)
}

// lead says who leads from now on.
func (b *book) lead(ours bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = !ours
}

func (b *book) set(fail error, lose bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail, b.lose = fail, lose
}

func (b *book) story() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.log)
}

// An order whose giver is gone, or that had to wait too long for the ledger, is not carried out later.
func TestALateOrderIsNotCarriedOut(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(_ *loop, order func() chan core.Reply) {
		b.set(errors.New("disk full"), false)
		reply := order()
		time.Sleep(15 * time.Second)
		b.set(nil, false)
		if r := <-reply; r.OK || r.Code != core.CodeUnavailable {
			t.Errorf("carried out after 15 s: %+v", r)
		}
		if got := b.story(); len(got) != 0 {
			t.Errorf("performed: %q", got)
		}
	})
}

// Of two topologies that are sent at once the older one may come last. It is not the one that is decided by.
func TestAnOlderTopologyThatComesLater(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(_ *loop, order func() chan core.Reply) {
		older := testTopology()
		older.Sites, older.Services[0].Entries = nil, nil
		b.inputs <- input{Input: decide.Input{Topology: &older}}
		if r := <-order(); !r.OK {
			t.Errorf("decided by an older one: %+v", r)
		}
	})
}

func testTopology() core.Topology {
	t := core.Topology{
		Lab: true, Probe: core.DefaultProbeTiming(),
		Services: []core.Service{{Name: "checkout", Entries: map[string]string{}}},
		Plans: []core.Plan{{Name: "drain", Kind: core.PlanDrain, Moves: core.ScopeReads, Steps: []core.Step{
			{Target: "director", Verify: core.VerifySpec{ShareBelow: .01, Within: 10}},
		}}},
		Guards: core.Guards{
			MaxDrainedSites: 1, MinServing: 1, BudgetPerHour: 5, BudgetPerDay: 5, RetryFactor: 1,
			DrainExpiry: time.Hour, NotAfter: time.Minute, CloseAfter: time.Second,
		},
		Policies: []core.Policy{{Name: "dead", Condition: core.Failing, Plan: "drain", Mode: core.ModeObserve}},
	}
	for _, s := range []string{"ams", "fra", "waw"} {
		t.Sites = append(t.Sites, core.Site{Name: s, Capacity: map[string]float64{"checkout": 100}})
		t.Services[0].Entries[s] = "http://" + s
	}
	return t
}

func testObservation() core.Observation {
	at := time.Now()
	o := core.Observation{Replica: "r", At: at, FreshSites: 3}
	for _, s := range []string{"ams", "fra", "waw"} {
		subject := core.Subject{Site: s, Service: "checkout"}
		o.Assessments = append(o.Assessments, core.Assessment{Subject: subject, Condition: core.Healthy, HealthySince: &at, Eligible: 2})
		o.Traffic = append(o.Traffic, core.Traffic{
			Site: s, Service: "checkout", At: at, Known: true, Requests: 10, Count: 30, Share: 1. / 3, Success: 1,
			ServiceSuccess: 1, ServiceCount: 90, Weight: 100, WeightKnown: true,
		})
		o.Writers = append(o.Writers, core.Writer{Name: s, Kind: "site", LastAt: at, Fresh: true})
	}
	return o
}

// runLoop runs a loop on a book and gives the test an order to drain fra.
func runLoop(t *testing.T, b *book, f func(l *loop, order func() chan core.Reply)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		inputs := make(chan input)
		b.inputs = inputs
		b.answers = map[string]core.Reply{}
		l := &loop{
			orders: b.waiting,
			ledger: b, hand: b, inputs: inputs, topology: testTopology,
			observe: func([]core.Routing) core.Observation { return testObservation() },
			changed: make(chan struct{}), log: slog.New(slog.DiscardHandler), metrics: newLoopMetrics(prometheus.NewRegistry()),
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { l.run(ctx); close(done) }()
		time.Sleep(time.Second) // on the bubble's clock: observations have come in
		f(l, func() chan core.Reply {
			reply := make(chan core.Reply, 1)
			inputs <- input{
				caller: ctx, given: time.Now(),
				Input: decide.Input{Command: &core.Command{
					Kind: core.CommandDrain, Subject: core.Subject{Site: "fra", Service: "checkout"}, By: "ann", Reason: "test",
				}},
				reply: reply,
			}
			return reply
		})
		cancel()
		<-done
	})
}

func TestNothingIsPerformedThatIsNotRecorded(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(_ *loop, order func() chan core.Reply) {
		r := <-order()
		if !r.OK {
			t.Fatalf("reply %+v", r)
		}
		want := []string{"record " + core.WebhookID(r.ActionID, 1), "perform " + core.WebhookID(r.ActionID, 1)}
		if got := b.story(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

func TestALedgerThatCannotRecordStopsTheActing(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(l *loop, order func() chan core.Reply) {
		b.set(errors.New("disk full"), false)
		reply := order()
		time.Sleep(5 * time.Second)
		if got := b.story(); len(got) != 0 {
			t.Errorf("acted without a record: %q", got)
		}
		if err := l.ready(); err == nil {
			t.Error("the loop says it is ready")
		}
		b.set(nil, false)
		if r := <-reply; !r.OK {
			t.Errorf("the order was lost: %+v", r)
		}
		if got := b.story(); len(got) != 2 {
			t.Errorf("after the ledger came back: %q", got)
		}
		if err := l.ready(); err != nil {
			t.Errorf("not ready again: %v", err)
		}
	})
}

// A commit whose answer is lost may have happened. What it recorded is performed from the record, once, and the
// order is decided again on what the ledger really holds.
func TestACommitInDoubtIsReadBack(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(_ *loop, order func() chan core.Reply) {
		b.set(errors.New("no answer"), true)
		reply := order()
		synctest.Wait()
		b.set(nil, false)
		t.Logf("%+v", <-reply) // accepted or refused as already running: both are true
		records, performs := 0, 0
		for _, s := range b.story() {
			switch s[:6] {
			case "record":
				records++
			case "perfor":
				performs++
			default:
				t.Error(s)
			}
		}
		if records != 1 || performs != 1 {
			t.Errorf("recorded %d, performed %d: %q", records, performs, b.story())
		}
	})
}

// The watches are to know of users that are moved before their figures change.
func TestTheLoopSaysThatUsersAreMoved(t *testing.T) {
	moved := make(chan struct{}, 1)
	runLoop(t, &book{}, func(l *loop, order func() chan core.Reply) {
		l.moved = moved
		if len(moved) != 0 {
			t.Error("users are moved before anybody orders it")
		}
		if r := <-order(); !r.OK || len(moved) != 1 {
			t.Errorf("%+v, told %d times", r, len(moved))
		}
	})
}
