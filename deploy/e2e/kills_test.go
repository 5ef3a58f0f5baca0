package e2e

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// moment of an action at which its leader dies.
type moment struct {
	name   string
	manner Manner                           // of the executor meanwhile
	before func(c *control, old *replica)   // what is broken before the order; nil: nothing
	when   func(c *control, known int) bool // it has come; known is how many commands there were before the order
}

func moments() []moment {
	first := func(c *control, known int) Call {
		if calls := c.exec.Calls(); len(calls) > known {
			return calls[known]
		}
		return Call{}
	}
	return []moment{
		{
			"between record and delivery",
			Manner{},
			func(c *control, old *replica) { cut{old.place, edgePlace, oneWay}.do(c) },
			func(*control, int) bool { return true }, // it is recorded by the time the order is answered
		},
		{
			"in delivery, before the effect",
			Manner{Before: 2 * time.Second},
			nil,
			func(c *control, known int) bool { return !first(c, known).Arrived.IsZero() },
		},
		{
			"after the effect, before the answer",
			Manner{After: 2 * time.Second},
			nil,
			func(c *control, known int) bool { return !first(c, known).Applied.IsZero() },
		},
		{
			"while it verifies",
			Manner{},
			nil,
			func(c *control, known int) bool { return !first(c, known).Answered.IsZero() },
		},
		{
			"as the second step begins",
			Manner{},
			nil,
			func(c *control, known int) bool { return len(c.exec.Calls()) > known+1 },
		},
	}
}

// leaderKilled: the leader dies at one moment of an action after the other, alone or with its whole site; the next one ends
// the action. In the short form two of them alone, and one with the site.
func (c *control) leaderKilled() {
	c.killedBeforeTheRecord()
	for i, m := range moments() {
		if *long || i == 0 || i == 2 {
			c.killedAt(m, false)
		}
		if *long || i == 3 {
			c.killedAt(m, true)
		}
	}
}

func (c *control) killedAt(m moment, whole bool) {
	c.t.Helper()
	defer c.exec.Behave(Manner{})
	old := c.leader(time.Minute)
	site := c.others(old)[0].place
	c.exec.Behave(m.manner)
	if m.before != nil {
		m.before(c, old)
	}
	known := len(c.exec.Calls())
	if r, err := c.order(c.others(old)[1], "drain", site); err != nil || !r.OK {
		c.t.Fatalf("%+v, %v", r, err)
	}
	c.until(time.Minute, m.name, func() error {
		if !m.when(c, known) {
			return errors.New("not yet")
		}
		return nil
	})
	killed := time.Now()
	if whole {
		c.loseSite(old)
	} else {
		old.process.Kill()
		old.process = nil
		c.heal()
	}
	c.exec.Behave(Manner{})
	next := c.leader(time.Minute)
	c.t.Logf("killed %s %s (its site too: %t): %s leads after %s", old.name, m.name, whole, next.name, time.Since(killed).Round(100*time.Millisecond))
	c.moved(2*time.Minute, site, 0)
	if whole {
		c.bringBack(old)
	} else {
		c.startServer(old)
	}
	c.restore(site)
}

// killedBeforeTheRecord: what a leader took and could not record before another one leads happens never, also not when it
// comes back, or what it had sent arrives: the kernel goes on sending for the dead.
func (c *control) killedBeforeTheRecord() {
	old, since, known := c.leader(time.Minute), time.Now(), len(c.exec.Calls())
	for _, r := range c.others(old) {
		cut{old.place, r.place, bothWays}.do(c)
	}
	answered := make(chan error, 1)
	go func() {
		r, err := c.order(old, "drain", c.others(old)[0].place)
		if err == nil {
			err = fmt.Errorf("%+v", r)
		}
		answered <- err
	}()
	select {
	case err := <-answered:
		c.t.Errorf("an order that cannot be recorded is answered: %v", err)
	case <-time.After(time.Second): // it has been taken, and waits for its record
	}
	old.process.Kill()
	old.process = nil
	<-answered
	next := c.leader(time.Minute)
	c.heal()
	c.startServer(old)
	c.calm()
	if c.leader(time.Minute) != next {
		c.t.Errorf("%s came back and leads", old.name)
	}
	for _, a := range must[[]Action](c.t)(next.Actions(c.t.Context())) {
		if a.CreatedAt.After(since) {
			c.t.Errorf("an order that was not recorded became %s", brief(a))
		}
	}
	if got := c.exec.Calls()[known:]; len(got) > 0 {
		c.t.Errorf("an order that was not recorded was carried out: %s", brief(got))
	}
}

// deadSite: the whole site of the leader dies; the others drain it by themselves at the shipped holds. In the long form
// it dies once more with its network alive, which refuses all connections.
func (c *control) deadSite() {
	c.siteDies((*control).loseSite)
	if *long {
		c.siteDies((*control).killSite)
	}
}

func (c *control) siteDies(how func(c *control, r *replica)) {
	c.t.Helper()
	old := c.leader(time.Minute)
	known := len(c.exec.Calls())
	died := time.Now()
	how(c, old)
	c.moved(2*time.Minute, old.place, 0)
	for _, call := range c.exec.Calls()[known:] {
		if call.Effective {
			c.t.Logf("ha_dead_leader_site_drain %.1f s", call.Applied.Sub(died).Seconds())
			break
		}
	}
	for _, a := range must[[]Action](c.t)(c.others(old)[0].Actions(c.t.Context())) {
		if a.CreatedAt.After(died) && (a.Subject.Site != old.place || !strings.HasPrefix(a.By, "policy")) {
			c.t.Errorf("an action that nobody asked for: %s", brief(a))
		}
	}
	c.bringBack(old)
	c.restore(old.place)
}

// followerSiteDies: when the site of a replica dies that does not lead, the one that leads goes on leading and drains it, and
// never takes the wait for its ledger for a pause of its own.
func (c *control) followerSiteDies() {
	old := c.leader(time.Minute)
	since := must[standing](c.t)(c.standing(old)).Since
	for _, lost := range c.others(old) {
		known := len(c.exec.Calls())
		died := time.Now()
		c.loseSite(lost)
		c.moved(time.Minute, lost.place, 0)
		for _, call := range c.exec.Calls()[known:] {
			if call.Effective {
				c.t.Logf("ha_dead_follower_site_drain %.1f s, the hold is %s", call.Applied.Sub(died).Seconds(), c.wide.hold)
				break
			}
		}
		if s := must[standing](c.t)(c.standing(old)); !s.Leads || !s.Since.Equal(since) {
			c.t.Errorf("%s led since %s, now: %+v", old.name, clock(since), s)
		}
		c.bringBack(lost)
		c.restore(lost.place)
	}
}
