package app

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// A replica that loses the leadership lets go of what it was doing, takes no order, and performs it again, with the same
// id, when it leads again.
func TestWhoDoesNotLeadDoesNothing(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(l *loop, order func() chan core.Reply) {
		r := <-order()
		if !r.OK {
			t.Fatalf("reply %+v", r)
		}
		id := core.WebhookID(r.ActionID, 1)
		b.lead(false)
		time.Sleep(time.Second)
		if got := b.story(); !slices.Equal(got, []string{"record " + id, "perform " + id, "abandon"}) {
			t.Errorf("story %q", got)
		}
		if r := <-order(); r.OK || r.Code != core.CodeUnavailable {
			t.Errorf("an order is taken: %+v", r)
		}
		time.Sleep(time.Minute)
		if err := l.ready(); err != nil {
			t.Errorf("a replica that does not lead is well, and says %v", err)
		}
		b.lead(true)
		time.Sleep(time.Second)
		if got := b.story(); !slices.Equal(got[len(got)-2:], []string{"abandon", "perform " + id}) {
			t.Errorf("story %q", got)
		}
	})
}

// The demand of before is known to who leads next, so the survivors' capacity can be judged.
func TestTheMinutesBeforeAreRemembered(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(l *loop, _ func() chan core.Reply) {
		b.lead(false)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		n := len(l.memory.all()) / 3
		if n < 170 || n > 190 {
			t.Errorf("%d seconds are remembered", n)
		}
	})
}

func TestOrdersOfOtherReplicas(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(_ *loop, _ func() chan core.Reply) {
		drain := core.Command{Kind: core.CommandDrain, Subject: core.Subject{Site: "fra", Service: "checkout"}, By: "ann", Reason: "test"}
		brake := core.Command{Kind: core.CommandBrake, On: true, By: "ann", Reason: "test"}
		b.mu.Lock()
		b.orders = []core.Order{
			{ID: "old", Command: drain, From: "r2", Given: time.Now().Add(-11 * time.Second)},
			{ID: "new", Command: drain, From: "r2", Given: time.Now()},
			{ID: "old by our clock", Command: drain, From: "r3", Given: time.Now(), After: time.Now().Add(-11 * time.Second)},
			{ID: "of a wrong clock", Command: brake, From: "r3", Given: time.Now().Add(-time.Hour), After: time.Now().Add(-time.Second)},
		}
		b.lost = true
		b.mu.Unlock()
		time.Sleep(time.Second)
		if got := b.waiting(); len(got) != 4 {
			t.Fatalf("a replica that does not lead took %d orders", 4-len(got))
		}
		b.lead(true) // as after a take-over: both still wait
		time.Sleep(time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		if r := b.answers["old"]; r.OK || r.Code != core.CodeUnavailable {
			t.Errorf("an old order is answered %+v", r)
		}
		if r := b.answers["old by our clock"]; r.OK || r.Code != core.CodeUnavailable {
			t.Errorf("an old order of a clock that is ahead is answered %+v", r)
		}
		if r := b.answers["of a wrong clock"]; !r.OK {
			t.Errorf("an order of a clock that is behind is answered %+v", r)
		}
		if r := b.answers["new"]; !r.OK || r.ActionID == "" {
			t.Errorf("an order is answered %+v", r)
		}
		performed := slices.DeleteFunc(slices.Clone(b.log), func(s string) bool { return !strings.HasPrefix(s, "perform") })
		if len(performed) != 1 {
			t.Errorf("performed %q", performed)
		}
	})
}

// An order whose record is in doubt when the lead is lost is not called refused: it may be carried out.
func TestAnOrderInDoubtIsSaidToBe(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(_ *loop, order func() chan core.Reply) {
		b.set(&core.Error{Code: core.CodeUnavailable, Message: "no answer"}, true)
		reply := order()
		synctest.Wait()
		b.lead(false)
		if r := <-reply; r.OK || r.Code != codeInDoubt {
			t.Errorf("the reply is %+v", r)
		}
	})
}

// The very moment a replica leads, or its ledger is adopted, it takes orders.
func TestAnOrderAtTheMomentOfTheLead(t *testing.T) {
	b := &book{}
	runLoop(t, b, func(_ *loop, order func() chan core.Reply) {
		b.lead(false)
		time.Sleep(time.Minute)
		b.lead(true)
		if r := <-order(); !r.OK {
			t.Errorf("the reply is %+v", r)
		}
	})
}
