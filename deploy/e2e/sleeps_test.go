package e2e

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// falls waits for a command of the leader to be under way and puts the leader to sleep in the middle of it. It returns the
// site that is being drained.
func (c *control) fallsAsleep(old *replica) (site string) {
	c.t.Helper()
	site = c.others(old)[0].place
	c.exec.Behave(Manner{Before: time.Second})
	known := len(c.exec.Calls())
	if r, err := c.order(old, "drain", site); err != nil || !r.OK {
		c.t.Fatalf("%+v, %v", r, err)
	}
	c.until(time.Minute, "the command is under way", func() error {
		if len(c.exec.Calls()) == known {
			return errors.New("not yet")
		}
		return nil
	})
	if err := old.process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	return site
}

func (c *control) wakes(old *replica) {
	c.t.Helper()
	if err := old.process.Signal(syscall.SIGCONT); err != nil {
		c.t.Fatal(err)
	}
}

// leaderAsleep: a leader that sleeps past its term wakes as a follower, and what it had under way has one effect.
func (c *control) leaderAsleep() {
	defer c.exec.Behave(Manner{})
	old := c.leader(time.Minute)
	site := c.fallsAsleep(old)
	rest := c.without(old)
	next := rest.leader(time.Minute)
	rest.moved(2*time.Minute, site, 0)
	known := len(c.exec.Calls())
	c.wakes(old)
	c.until(time.Minute, old.name+" wakes as a follower", func() error {
		s, err := c.standing(old)
		if err != nil || s.Leads || s.Leader != next.name {
			return fmt.Errorf("%+v, %w", s, err)
		}
		return nil
	})
	c.calm()
	if got := c.exec.Calls()[known:]; len(got) > 0 {
		c.t.Errorf("commands after %s woke: %s", old.name, brief(got))
	}
	c.restore(site)
}

// leaderNaps: a leader that sleeps for less than its lease loses nothing: the action ends, whoever leads then.
func (c *control) leaderNaps() {
	defer c.exec.Behave(Manner{})
	naps := []time.Duration{time.Second, 4 * time.Second}
	if *long {
		naps = []time.Duration{300 * time.Millisecond, time.Second, 2 * time.Second, 3 * time.Second, 4 * time.Second, 5 * time.Second, 5900 * time.Millisecond}
	}
	for _, nap := range naps {
		old := c.leader(time.Minute)
		site := c.fallsAsleep(old)
		time.Sleep(nap) // the thing under test
		c.wakes(old)
		c.moved(2*time.Minute, site, 0)
		c.t.Logf("%s slept for %s: %s leads", old.name, nap, c.leader(time.Minute).name)
		c.restore(site)
	}
}
