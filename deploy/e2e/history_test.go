package e2e

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// What an order did: it was carried out, it was not, or nobody knows.
const (
	carriedOut = "carried out"
	refused    = "refused"
	unknown    = "unknown"
)

// routing is one subject as its users see it: a drain is carried out only while it serves, a restore only while it is
// out. A refusal says nothing: a lock may have stood in its way. What nobody knows may have happened at any time.
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
			case refused:
				return []any{out}
			}
			return append(done, out)
		},
		Equal: func(a, b any) bool { return a == b },
	}).ToModel()
}

// TestTheCheckerCanFail: two drains in a row, both carried out, are no history of one subject.
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
}

// history: orders of one subject at all replicas while the leader is killed and links are cut are as if they had come one
// after the other.
func (c *control) history() {
	lasts, site := 40*time.Second, "ams"
	if *long {
		lasts = 5 * time.Minute
	}
	var mu sync.Mutex
	var ops []porcupine.Operation
	var clients sync.WaitGroup
	began := time.Now()
	for id, r := range c.nodes {
		clients.Go(func() {
			for n := 0; time.Since(began) < lasts; n++ {
				kind := []string{"drain", "restore"}[n%2]
				op := porcupine.Operation{ClientId: id, Input: kind, Call: time.Since(began).Nanoseconds()}
				reply, err := c.order(r, kind, site)
				op.Return = time.Since(began).Nanoseconds()
				var refusal *net.OpError
				switch {
				case err == nil && reply.OK:
					op.Output = carriedOut
				case err == nil, errors.As(err, &refusal) && refusal.Op == "dial":
					op.Output = refused
				default:
					op.Output, op.Return = unknown, time.Hour.Nanoseconds()
					op.ClientId = id + 10*(n+1) // whoever waits for ever gives no other order
				}
				mu.Lock()
				ops = append(ops, op)
				mu.Unlock()
				time.Sleep(300 * time.Millisecond)
			}
		})
	}
	time.Sleep(lasts / 4)
	old := c.leader(30 * time.Second)
	process := old.process
	process.Kill()
	time.Sleep(lasts / 3)
	c.startServer(old)
	if err := c.n.Cut(old.place, c.others(old)[0].place); err != nil {
		c.t.Fatal(err)
	}
	clients.Wait()
	if err := c.n.Heal(); err != nil {
		c.t.Fatal(err)
	}
	tally := map[string]int{}
	for _, op := range ops {
		tally[op.Output.(string)]++ //nolint:forcetypeassert // set above
	}
	c.t.Logf("%d orders: %v", len(ops), tally)
	if tally[carriedOut] < 4 {
		c.t.Errorf("only %d orders were carried out: the history shows nothing", tally[carriedOut])
	}
	if got := porcupine.CheckOperationsTimeout(routing(), ops, time.Minute); got != porcupine.Ok {
		c.t.Errorf("the orders are %s: %s", got, brief(ops))
	}
	c.calm()
	if c.exec.Weights()[site] != 100 {
		c.restore(site)
	}
}
