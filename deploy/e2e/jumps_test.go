package e2e

import (
	"fmt"
	"strings"
	"time"
)

// jump is what the wall clock of one replica does.
type jump struct {
	by    time.Duration
	leads bool // it is that of the leader
}

func jumps() []jump {
	if !*long {
		return []jump{{-time.Hour, true}, {time.Hour, false}}
	}
	var out []jump
	for _, by := range []time.Duration{-time.Hour, time.Hour, 90 * time.Second, -5 * time.Second} {
		out = append(out, jump{by, true}, jump{by, false})
	}
	return out
}

// clocksJump: the wall clock of one replica jumps and stays where it is. The replica says so and does not lead, nobody is
// drained for it, and a site that dies meanwhile is drained by the others.
func (c *control) clocksJump() {
	if err := wallClockJumps(); err != nil {
		c.t.Skip(err)
	}
	for _, j := range jumps() {
		c.clockJumps(j)
	}
}

func (c *control) clockJumps(j jump) {
	c.t.Helper()
	victim := c.leader(time.Minute)
	if !j.leads {
		victim = c.others(victim)[0]
	}
	known := len(c.exec.Calls())
	c.setClock(victim, j.by)
	c.until(time.Minute, victim.name+" doubts its clock", func() error { return c.doubts(victim, "clock") })
	time.Sleep(outlasts) // what a replica may do wrong takes time
	leader := c.leader(time.Minute)
	c.t.Logf("the clock of %s is off by %s (it led: %t): %s leads", victim.name, j.by, j.leads, leader.name)
	if j.by.Abs() > time.Minute {
		if err := c.doubts(victim, "those of the agents"); err != nil || leader == victim {
			c.t.Errorf("%s leads, the clock of %s is off by %s: %v", leader.name, victim.name, j.by, err)
		}
	}
	if got := c.exec.Calls()[known:]; len(got) > 0 {
		c.t.Errorf("commands after a clock jumped: %s", brief(got))
	}
	c.outage(c.others(victim)[0].place)
	c.setClock(victim, 0)
	c.restore(c.others(victim)[0].place)
}

// doubts is an error when a replica does not doubt itself for a reason.
func (c *control) doubts(r *replica, reason string) error {
	s, err := get[struct {
		Tilt struct {
			On     bool   `json:"on"`
			Reason string `json:"reason"`
		} `json:"tilt"`
	}](c.t.Context(), r.Client, "/status")
	if err == nil && (!s.Tilt.On || !strings.Contains(s.Tilt.Reason, reason)) {
		err = fmt.Errorf("%s: %+v", r.name, s.Tilt)
	}
	return err
}

// outage takes the shop and the agent of a site away until it is drained; its replica lives.
func (c *control) outage(site string) {
	c.t.Helper()
	began, known := time.Now(), len(c.exec.Calls())
	c.takeAway(site)
	c.moved(time.Minute, site, 0)
	for _, call := range c.exec.Calls()[known:] {
		if call.Effective {
			c.t.Logf("drained after %.1f s, the hold is %s", call.Applied.Sub(began).Seconds(), c.wide.hold)
			break
		}
	}
	c.giveBack(site)
}

// takeAway kills the shop and the agent of a site, giveBack brings them back.
func (c *control) takeAway(site string) {
	c.agents[site].Kill()
	c.shops[site].Close()
}

func (c *control) giveBack(site string) {
	c.t.Helper()
	c.openShop(site)
	c.startAgent(site)
}

func (c *control) setClock(r *replica, off time.Duration) {
	c.t.Helper()
	if err := r.process.SetWallClock(off); err != nil {
		c.t.Fatal(err)
	}
}
