package e2e

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// What an order did.
const (
	carriedOut = "carried out"
	isOut      = "refused: it is out already"
	isIn       = "refused: it is not out"
	refused    = "refused"         // for a reason that says nothing of the state: a lock, say
	notTaken   = "error: not done" // the error says that it was not carried out
	unknown    = "unknown"
)

// routing is one subject as operators see it: a drain is carried out only while it serves, a restore only while it is out,
// and a refusal that names the state tells the truth. What nobody knows may have happened at any time since, or never.
func routing() porcupine.Model {
	return (&porcupine.NondeterministicModel{
		Init: func() []any { return []any{false} }, // out?
		Step: func(state, input, output any) []any {
			out, drain := state.(bool), input.(string) == "drain" //nolint:forcetypeassert // of our own making
			done := []any{}
			if out != drain {
				done = append(done, drain)
			}
			switch output.(string) { //nolint:forcetypeassert // as above
			case carriedOut:
				return done
			case isOut, isIn:
				if out != (output == isOut) {
					return nil
				}
				return []any{out}
			case refused, notTaken:
				return []any{out}
			}
			return append(done, out)
		},
		Equal: func(a, b any) bool { return a == b },
	}).ToModel()
}

// TestTheCheckerCanFail: two drains in a row, both carried out, are no history of one subject; nor is a restore after a
// drain that was never taken, or a refusal that lies.
func TestTheCheckerCanFail(t *testing.T) {
	op := func(id int, kind, result string, from, to int64) porcupine.Operation {
		return porcupine.Operation{ClientId: id, Input: kind, Output: result, Call: from, Return: to}
	}
	f := func(want bool, ops ...porcupine.Operation) {
		t.Helper()
		if got := porcupine.CheckOperations(routing(), ops); got != want {
			t.Errorf("%v: %v", ops, got)
		}
	}
	f(true, op(0, "drain", carriedOut, 1, 2), op(1, "restore", carriedOut, 3, 4), op(0, "drain", carriedOut, 5, 6))
	f(false, op(0, "drain", carriedOut, 1, 2), op(1, "drain", carriedOut, 3, 4))
	f(false, op(0, "restore", carriedOut, 1, 2))
	f(true, op(0, "drain", unknown, 1, 9), op(1, "restore", carriedOut, 3, 4))
	f(false, op(0, "drain", refused, 1, 2), op(1, "restore", carriedOut, 3, 4))
	f(false, op(0, "drain", notTaken, 1, 2), op(1, "restore", carriedOut, 3, 4))
	f(true, op(0, "drain", carriedOut, 1, 3), op(1, "drain", isOut, 2, 4))
	f(false, op(0, "drain", carriedOut, 1, 2), op(1, "restore", isIn, 3, 4))
	f(false, op(0, "drain", isOut, 1, 2), op(0, "drain", carriedOut, 3, 4))
}

// outcome is what an order did, by its answer alone.
func outcome(reply Reply, err error) string {
	var dialled *net.OpError
	if errors.As(err, &dialled) && dialled.Op == "dial" {
		return notTaken
	}
	text := reply.Sentence
	if err != nil {
		text = err.Error()
	}
	for _, says := range []struct{ words, what string }{
		{"is drained already", isOut},
		{"is not drained", isIn},
		{"no order can be taken", notTaken},
		{"could not be handed to the leader, and was not", notTaken},
		{"the order was taken back", notTaken},
		{"the order was not carried out", notTaken},
		{"is not carried out: it is too old", notTaken},
	} {
		if strings.Contains(text, says.words) {
			return says.what
		}
	}
	switch {
	case err != nil:
		return unknown
	case reply.OK:
		return carriedOut
	}
	return refused
}

// history: orders of one subject at all replicas, while the leader is killed and the next one is cut off, are as if they
// had come one after the other.
func (c *control) history() {
	lasts, site := 35*time.Second, "ams" // one round of trouble
	if *long {
		lasts = 5 * time.Minute
	}
	began := time.Now()
	ops := c.orders(lasts, site, func(done func() bool) {
		for !done() {
			old := c.leader(time.Minute)
			old.process.Kill()
			c.leaderBut(old)
			c.startServer(old)
			c.working(8 * time.Second)
			if done() {
				return
			}
			lone := c.leader(time.Minute)
			for _, r := range c.others(lone) {
				cut{lone.place, r.place, bothWays}.do(c)
			}
			c.leaderBut(lone)
			c.heal() // well below the hold: nothing is drained by itself
			c.working(8 * time.Second)
		}
	})
	tally := map[string]int{}
	for _, op := range ops {
		tally[op.Output.(string)]++ //nolint:forcetypeassert // set by orders
	}
	c.t.Logf("%d orders in %s: %v", len(ops), time.Since(began).Round(time.Second), tally)
	if tally[carriedOut] < 3 || tally[isOut]+tally[isIn] == 0 {
		c.t.Errorf("too few orders say something: the history shows nothing")
	}
	if got := porcupine.CheckOperationsTimeout(routing(), ops, time.Minute); got != porcupine.Ok {
		c.t.Errorf("the orders are %s: %s", got, brief(ops))
	}
	// The same history after two drains in a row, both carried out, is none. They come before everything: what is unknown
	// could explain them away later, and to find that it cannot takes for ever.
	doctored := append(slices.Clone(ops),
		porcupine.Operation{Input: "drain", Output: carriedOut, Call: -4, Return: -3},
		porcupine.Operation{Input: "drain", Output: carriedOut, Call: -2, Return: -1})
	if got := porcupine.CheckOperationsTimeout(routing(), doctored, time.Minute); got != porcupine.Illegal {
		c.t.Errorf("a doctored history is %s", got)
	}
	c.calm()
	if c.exec.Weights()[site] != 100 {
		c.restore(site)
	}
}

// leaderBut waits until somebody else leads.
func (c *control) leaderBut(old *replica) {
	c.t.Helper()
	c.without(old).leader(time.Minute)
}

// working lets the clients work for a while without trouble.
func (c *control) working(d time.Duration) { rest(c.t.Context(), d) }

// orders has one client at each replica drain and restore the site in turn, for a time and while the trouble lasts, and
// returns what they were told.
func (c *control) orders(lasts time.Duration, site string, trouble func(done func() bool)) []porcupine.Operation {
	c.t.Helper()
	var mu sync.Mutex
	var ops []porcupine.Operation
	var clients sync.WaitGroup
	defer clients.Wait()
	began := time.Now()
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	for id, r := range c.nodes {
		clients.Go(func() {
			for n := 0; rest(ctx, 300*time.Millisecond); n++ {
				kind := []string{"drain", "restore"}[n%2]
				op := porcupine.Operation{ClientId: id, Input: kind, Call: time.Since(began).Nanoseconds()}
				what := outcome(c.order(r, kind, site))
				op.Output, op.Return = what, time.Since(began).Nanoseconds()
				if what == unknown {
					op.Return = time.Hour.Nanoseconds()
					op.ClientId = id + 10*(n+1) // whoever waits for ever gives no other order
				}
				mu.Lock()
				ops = append(ops, op)
				mu.Unlock()
			}
		})
	}
	trouble(func() bool { return time.Since(began) > lasts })
	cancel()
	clients.Wait()
	return ops
}
