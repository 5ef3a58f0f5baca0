package e2e

import (
	"os"
	"testing"
	"time"
)

// TestFiveReplicas: two of five replicas may die at once, the leader among them, and what has to be done is done; with three
// dead nothing is, until one is back.
func TestFiveReplicas(t *testing.T) {
	t.Parallel()
	c := placedControl(t, wide{pattern: "cross-region", hold: 4 * time.Second, sites: []string{"fra", "ams", "waw", "par", "dub"}})
	c.part("two die", (*control).twoDie)
	c.part("three die", (*control).threeDie)
}

// killReplicas kills the leader and more of the replicas at once. Their sites live.
func (c *control) killReplicas(n int) (dead, alive []*replica) {
	c.t.Helper()
	old := c.leader(time.Minute)
	all := append([]*replica{old}, c.others(old)...)
	dead, alive = all[:n], all[n:]
	for _, r := range dead {
		if err := r.process.Signal(os.Kill); err != nil {
			c.t.Fatal(err)
		}
	}
	for _, r := range dead {
		r.process.Kill()
		r.process = nil
	}
	return dead, alive
}

func (c *control) twoDie() {
	dead, alive := c.killReplicas(2)
	next := c.leader(time.Minute)
	c.t.Logf("%s and %s are dead, %s leads", dead[0].name, dead[1].name, next.name)
	c.outage(alive[2].place)
	for _, r := range dead {
		c.startServer(r)
	}
	c.restore(alive[2].place)
}

func (c *control) threeDie() {
	dead, alive := c.killReplicas(3)
	known := len(c.exec.Calls())
	for _, r := range alive {
		c.saysNoQuorum(r)
	}
	c.takeAway(alive[1].place)
	time.Sleep(outlasts) // how long it lasts is the thing under test
	for _, r := range alive {
		c.saysNoQuorum(r)
		c.isRead(r)
	}
	if got := c.exec.Calls()[known:]; len(got) > 0 {
		c.t.Errorf("commands without a quorum: %s", brief(got))
	}
	c.startServer(dead[2]) // three of five are enough
	c.moved(2*time.Minute, alive[1].place, 0)
	c.giveBack(alive[1].place)
	for _, r := range dead[:2] {
		c.startServer(r)
	}
	c.restore(alive[1].place)
}
