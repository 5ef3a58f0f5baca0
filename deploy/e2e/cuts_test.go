package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestReplicasApart: whatever links are cut, and however long a leader sleeps, a minority does nothing and a cut link drains
// nobody; a site that no other site sees is drained once, by the majority. Holds are short, so that every cut outlasts them.
func TestReplicasApart(t *testing.T) {
	t.Parallel()
	c := placedControl(t, wide{pattern: "cross-region", hold: 4 * time.Second, disk: 512 << 20})
	c.part("links", (*control).links)
	c.part("a site apart", (*control).siteApart)
	c.part("follower's site dies", (*control).followerSiteDies)
	c.part("all apart", (*control).allApart)
	c.part("no quorum", (*control).noQuorum)
	c.part("leader asleep", (*control).leaderAsleep)
	c.part("leader naps", (*control).leaderNaps)
	c.part("clocks jump", (*control).clocksJump)
	c.part("disk full", (*control).diskFull)
}

// outlasts is longer than a term and longer than the hold: who had to take over or to act has done so.
const outlasts = 14 * time.Second

// cut is one way to cut a link.
type cut struct{ from, to, how string }

const (
	bothWays = "both ways"
	oneWay   = "one way"
)

// do cuts what goes from one place to the other, or all that goes between them.
func (k cut) do(c *control) {
	c.t.Helper()
	err := c.n.Cut(k.from, k.to)
	if k.how == bothWays {
		err = errors.Join(err, c.n.Cut(k.to, k.from))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *control) heal() {
	c.t.Helper()
	if err := c.n.Heal(); err != nil {
		c.t.Fatal(err)
	}
}

// linkCuts are all cuts of one link; in the short form one link both ways, two one way.
func linkCuts() []cut {
	if !*long {
		return []cut{{"fra", "ams", bothWays}, {"fra", "waw", oneWay}, {"waw", "ams", oneWay}}
	}
	var out []cut
	places := append(controlSites(), edgePlace)
	for i, a := range places {
		for _, b := range places[i+1:] {
			out = append(out, cut{a, b, bothWays}, cut{a, b, oneWay}, cut{b, a, oneWay})
		}
	}
	return out
}

// links: no cut of a link between two places drains anything, and one replica leads.
func (c *control) links() {
	calls := len(c.exec.Calls())
	for _, k := range linkCuts() {
		k.do(c)
		time.Sleep(outlasts) // how long a cut lasts is the thing under test
		r := c.leader(time.Minute)
		c.t.Logf("%s to %s is cut %s: %s leads", k.from, k.to, k.how, r.name)
		c.heal()
		c.calm()
	}
	if got := c.exec.Calls()[calls:]; len(got) > 0 {
		c.t.Errorf("a cut link led to commands: %s", brief(got))
	}
}

// siteApart: the site of the leader, in the long form each site, is cut off from both others while its users still reach
// it. The others take over and drain it; the one that is alone takes no order.
func (c *control) siteApart() {
	type apart struct {
		lone *replica
		how  string
	}
	list := []apart{{c.leader(time.Minute), bothWays}}
	if *long {
		list = nil
		for _, r := range c.nodes {
			list = append(list, apart{r, bothWays}, apart{r, oneWay})
		}
	}
	for _, a := range list {
		known, began := len(c.exec.Calls()), time.Now()
		led := c.leader(time.Minute) == a.lone
		for _, r := range c.others(a.lone) {
			cut{a.lone.place, r.place, a.how}.do(c)
		}
		rest := c.without(a.lone)
		rest.moved(2*time.Minute, a.lone.place, 0)
		next := rest.leader(time.Minute)
		c.t.Logf("%s (led: %t) is cut off %s: %s leads, drained after %.1f s", a.lone.name, led, a.how, next.name,
			c.exec.Calls()[known].Applied.Sub(began).Seconds())
		c.refusesOrders(a.lone)
		c.heal()
		c.calm()
		for _, act := range must[[]Action](c.t)(next.Actions(c.t.Context())) {
			if act.CreatedAt.After(began) && (act.Subject.Site != a.lone.place || !strings.HasPrefix(act.By, "policy")) {
				c.t.Errorf("an action that nobody asked for: %s", brief(act))
			}
		}
		c.restore(a.lone.place)
	}
}

// without is the control without one replica, whose word is old.
func (c *control) without(r *replica) *control {
	out := *c
	out.nodes = c.others(r)
	return &out
}

// refusesOrders checks that a replica without a quorum says so at once.
func (c *control) refusesOrders(r *replica) {
	c.t.Helper()
	began := time.Now()
	reply, err := c.order(r, "drain", c.others(r)[0].place)
	if took := time.Since(began); err == nil || !strings.Contains(err.Error(), "quorum") || took > 3*time.Second {
		c.t.Errorf("an order to %s without a quorum: %+v, %v, after %s", r.name, reply, err, took)
	}
}

// says waits until a replica says that it has no quorum and does not act.
func (c *control) saysNoQuorum(r *replica) {
	c.t.Helper()
	c.until(time.Minute, r.name+" says that it has no quorum", func() error {
		s, err := c.standing(r)
		if err != nil || s.Quorum || s.Leads {
			return fmt.Errorf("%+v, %w", s, err)
		}
		status, err := r.Status(c.t.Context())
		if err != nil || status.Acting || !strings.Contains(status.Reason, "no quorum") {
			return fmt.Errorf("%+v, %w", status, err)
		}
		return nil
	})
}
