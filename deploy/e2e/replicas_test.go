package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestThreeReplicas: whenever a leader dies, alone or with its site, or is replaced, what it had begun ends, each step has
// one effect, the site that died is drained, and orders are as if one server had taken them.
func TestThreeReplicas(t *testing.T) {
	t.Parallel()
	c := placedControl(t, wide{pattern: "cross-region"})
	c.part("dead leader's site", (*control).deadSite)
	c.part("leader killed", (*control).leaderKilled)
	c.part("rolling restart", (*control).rollingRestart)
	c.part("history", (*control).history)
	c.part("versions", (*control).versions)
}

// placedControl starts a control plane once there is a place for it: with its agents and servers it counts as a lab.
func placedControl(t *testing.T, w wide) *control {
	t.Helper()
	labs <- struct{}{}
	t.Cleanup(func() { <-labs })
	asRoot(t)
	began := time.Now()
	c := newControl(t, w)
	t.Logf("%d replicas, agents and users after %s", len(c.nodes), time.Since(began).Round(time.Second))
	return c
}

// part runs a part of a test, unless one before it has failed: it would only tell of the same.
func (c *control) part(name string, f func(c *control)) {
	if c.t.Failed() {
		return
	}
	c.t.Run(name, func(t *testing.T) {
		sub := *c
		sub.t = t
		f(&sub)
		sub.proven()
	})
}

// TestReplicasFarApart: over long lines that are slower one way than the other the replicas elect, record and hand over with
// the timings of the pattern global.
func TestReplicasFarApart(t *testing.T) {
	t.Parallel()
	ms := map[string]time.Duration{"fra>ams": 20, "ams>fra": 60, "fra>waw": 40, "waw>fra": 120, "ams>waw": 90, "waw>ams": 30}
	c := placedControl(t, wide{pattern: "global", delay: func(from, to string) time.Duration { return ms[from+">"+to] * time.Millisecond }})
	old := c.leader(time.Minute)
	c.t.Logf("ha_far_apart_order_leader_p50 %d ms", c.orderTakes(old))
	c.t.Logf("ha_far_apart_order_follower_p50 %d ms, the slowest line takes 150 ms there and back", c.orderTakes(c.others(old)...))
	if r, err := c.order(c.others(old)[0], "drain", c.others(old)[1].place); err != nil || !r.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	old.process.Kill()
	old.process = nil
	killed := time.Now()
	next := c.leader(time.Minute)
	t.Logf("killed %s: %s leads after %s", old.name, next.name, time.Since(killed).Round(100*time.Millisecond))
	c.moved(2*time.Minute, c.others(old)[1].place, 0)
	c.startServer(old)
	c.restore(c.others(old)[1].place)
	c.proven()
}

// orderTakes is how many milliseconds half of the orders to the replicas take, one record each.
func (c *control) orderTakes(to ...*replica) int64 {
	c.t.Helper()
	var took []time.Duration
	for i := range 10 {
		began := time.Now()
		r, err := to[i%len(to)].Order(c.t.Context(), map[string]any{"kind": "brake", "on": i%2 == 0, "reason": "test"})
		if err != nil || !r.OK {
			c.t.Fatalf("%+v, %v", r, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2].Milliseconds()
}

// rollingRestart: the replicas are restarted one by one in the middle of an action, which ends all the same.
func (c *control) rollingRestart() {
	first := c.leader(time.Minute)
	site := c.others(first)[0].place
	c.exec.Behave(Manner{Before: time.Second})
	defer c.exec.Behave(Manner{})
	if r, err := c.order(first, "drain", site); err != nil || !r.OK {
		c.t.Fatalf("%+v, %v", r, err)
	}
	for _, r := range append([]*replica{first}, c.others(first)...) {
		stopped, led := time.Now(), c.leads.at(time.Now()).place == r.place
		if err := errors.Join(r.process.Signal(syscall.SIGTERM), r.process.Wait(time.Minute)); err != nil {
			c.t.Fatal(err)
		}
		r.process = nil
		next := c.leader(time.Minute)
		c.until(time.Minute, "the watch has seen it", func() error {
			if got := c.leads.at(time.Now()).place; got != next.place {
				return errors.New("it has seen " + got)
			}
			return nil
		})
		c.t.Logf("%s is stopped within %.2f s, %s leads", r.name, time.Since(stopped).Seconds(), next.name)
		if took := c.leads.at(time.Now()).since.Sub(stopped); led {
			c.t.Logf("ha_leader_stopped_in_action %.2f s", took.Seconds())
			if took > 5*time.Second { // far below a term, which is what it takes when nobody resigns
				c.t.Errorf("%s led, was told to stop, and %s leads after %s only", r.name, next.name, took)
			}
		}
		c.startServer(r)
		c.until(time.Minute, r.name+" is back", func() error { return r.Ready(c.t.Context()) })
	}
	c.moved(2*time.Minute, site, 0)
	c.restore(site)
}

// versions: replicas two minor versions apart work together; one that is further away says so, and its vote does not count.
func (c *control) versions() {
	root := must[string](c.t)(moduleRoot())
	build := func(version string) string {
		path := filepath.Join(c.dir, "server-"+version)
		cmd := exec.CommandContext(c.t.Context(), "go", "build", "-ldflags", "-s -w -X main.version="+version, "-o", path, "./server")
		cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			c.t.Fatalf("build %s: %v: %s", version, err, out)
		}
		return path
	}
	change := func(r *replica, binary string) {
		c.t.Helper()
		if err := errors.Join(r.process.Signal(syscall.SIGTERM), r.process.Wait(time.Minute)); err != nil {
			c.t.Fatal(err)
		}
		r.binary = binary
		c.startServer(r)
		c.until(time.Minute, r.name+" is back", func() error { return r.Ready(c.t.Context()) })
	}
	first := build("v0.1.0")
	for _, r := range c.nodes {
		change(r, first)
	}
	c.calm()
	odd := c.others(c.leader(time.Minute))[0]
	unfit := func(want string) {
		c.t.Helper()
		c.until(time.Minute, odd.name+" says of itself: "+want, func() error {
			out, err := get[struct {
				Members []struct {
					Name string `json:"name"`
					View struct {
						Version, Unfit string
					} `json:"view"`
				} `json:"members"`
			}](c.t.Context(), c.nodes[0].Client, "/replicas")
			for _, m := range out.Members {
				if fits := strings.Contains(m.View.Unfit, want) && (m.View.Unfit == "") == (want == ""); m.Name == odd.name && !fits || m.Name != odd.name && m.View.Unfit != "" {
					return fmt.Errorf("%s (%s): %q, %w", m.Name, m.View.Version, m.View.Unfit, err)
				}
			}
			return err
		})
	}
	change(odd, build("v0.3.0"))
	c.calm()
	unfit("")
	c.moveThereAndBack(c.leader(time.Minute))
	change(odd, build("v0.4.0"))
	unfit("minor versions apart")
	change(odd, "")
	c.calm()
}

// moveThereAndBack drains a site other than that of the replica by an order, and restores it.
func (c *control) moveThereAndBack(r *replica) {
	c.t.Helper()
	site := c.others(r)[0].place
	if reply, err := c.order(c.others(r)[1], "drain", site); err != nil || !reply.OK {
		c.t.Fatalf("%+v, %v", reply, err)
	}
	c.moved(2*time.Minute, site, 0)
	c.restore(site)
}
