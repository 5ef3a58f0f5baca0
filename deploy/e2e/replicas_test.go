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

// TestThreeReplicas: whatever is cut, killed or paused, one replica leads, a step has at most one effect, the fence never
// goes back, a minority does nothing, and the drain of the dead leader's site happens.
func TestThreeReplicas(t *testing.T) {
	asRoot(t)
	labs <- struct{}{} // real agents and servers: it counts as a lab
	t.Cleanup(func() { <-labs })
	began := time.Now()
	c := newControl(t, wide{pattern: "cross-region"})
	t.Logf("three replicas, agents and users after %s", time.Since(began).Round(time.Second))
	part := func(name string, f func(c *control)) {
		if t.Failed() {
			return // the rest would only tell of the same
		}
		t.Run(name, func(t *testing.T) {
			sub := *c
			sub.t = t
			f(&sub)
			sub.proven()
		})
	}
	part("dead leader's site", (*control).deadSite)
	part("links", (*control).links)
	part("no quorum", (*control).noQuorum)
	part("leader killed", (*control).leaderKilled)
	part("leader asleep", (*control).leaderAsleep)
	part("rolling restart", (*control).rollingRestart)
	part("history", (*control).history)
	part("versions", (*control).versions)
}

// TestReplicasFarApart: over long lines that are slower one way than the other the replicas elect, record and hand over with
// the timings of the pattern global.
func TestReplicasFarApart(t *testing.T) {
	asRoot(t)
	labs <- struct{}{}
	t.Cleanup(func() { <-labs })
	ms := map[string]time.Duration{"fra>ams": 20, "ams>fra": 60, "fra>waw": 40, "waw>fra": 120, "ams>waw": 90, "waw>ams": 30}
	c := newControl(t, wide{pattern: "global", delay: func(from, to string) time.Duration { return ms[from+">"+to] * time.Millisecond }})
	old := c.leader(30 * time.Second)
	var took []time.Duration
	for i := range 10 {
		began := time.Now()
		r, err := c.others(old)[i%2].Order(t.Context(), map[string]any{"kind": "brake", "on": i%2 == 0, "reason": "test"})
		if err != nil || !r.OK {
			t.Fatalf("%+v, %v", r, err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	t.Logf("ha_far_apart_order_follower_p50 %d ms, the slowest line takes 150 ms there and back", took[5].Milliseconds())
	if r, err := c.order(c.others(old)[0], "drain", c.others(old)[1].place); err != nil || !r.OK {
		t.Fatalf("%+v, %v", r, err)
	}
	old.process.Kill()
	old.process = nil
	killed := time.Now()
	next := c.leader(time.Minute)
	t.Logf("killed %s: %s leads after %s", old.name, next.name, time.Since(killed).Round(100*time.Millisecond))
	c.moved(90*time.Second, c.others(old)[1].place, 0)
	c.startServer(old)
	c.restore(c.others(old)[1].place)
	c.proven()
}

// links: no cut of a link between two sites, in one or both directions, drains anything, and one replica leads.
func (c *control) links() {
	calls := len(c.exec.Calls())
	sites := controlSites()
	cuts := [][2]string{}
	for i, a := range sites {
		for _, b := range sites[i+1:] {
			cuts = append(cuts, [2]string{a, b})
		}
	}
	last := 3 // in the short form one link both ways and two one way
	if *long {
		last = 3 * len(cuts)
	}
	n := 0
	for kind := range 3 {
		for i, cut := range cuts {
			if n++; !*long && i != kind || n > last && *long {
				continue
			}
			a, b := cut[0], cut[1]
			var err error
			switch kind {
			case 0:
				err = c.n.CutBoth(a, b)
			case 1:
				err = c.n.Cut(a, b)
			default:
				err = c.n.Cut(b, a)
			}
			if err != nil {
				c.t.Fatal(err)
			}
			time.Sleep(14 * time.Second) // longer than a term: who had to take over has done so
			r := c.leader(30 * time.Second)
			c.t.Logf("%s and %s apart (%d of both, forth, back): %s leads", a, b, kind, r.name)
			if err := c.n.Heal(); err != nil {
				c.t.Fatal(err)
			}
			c.calm()
		}
	}
	if got := c.exec.Calls()[calls:]; len(got) > 0 {
		c.t.Errorf("a cut link led to commands: %s", brief(got))
	}
}

// noQuorum: one replica alone says so, is read, takes no order and does nothing; a person commands the executor past it,
// and that is put on record when the others are back.
func (c *control) noQuorum() {
	lone := c.nodes[0]
	for _, r := range c.others(lone) {
		r.process.Kill()
		r.process = nil
	}
	c.until(30*time.Second, "the lone replica says that it has no quorum", func() error {
		s, err := c.standing(lone)
		if err != nil || s.Quorum || s.Leads {
			return fmt.Errorf("%+v, %w", s, err)
		}
		status, err := lone.Status(c.t.Context())
		if err != nil || status.Acting || !strings.Contains(status.Reason, "no quorum") {
			return fmt.Errorf("%+v, %w", status, err)
		}
		return nil
	})
	calls := len(c.exec.Calls())
	for _, path := range []string{"/api/v1/timeline", "/api/v1/episodes", "/api/v1/sites", "/api/v1/conditions", "/api/v1/actions"} {
		if err := lone.Get(c.t.Context(), path, nil); err != nil {
			c.t.Errorf("not read without a quorum: %v", err)
		}
	}
	if err := lone.Ready(c.t.Context()); err != nil {
		c.t.Errorf("not ready to be read: %v", err)
	}
	began := time.Now()
	if r, err := c.order(lone, "drain", "ams"); err == nil || !strings.Contains(err.Error(), "quorum") || time.Since(began) > 3*time.Second {
		c.t.Errorf("an order without a quorum: %+v, %v, after %s", r, err, time.Since(began))
	}
	if got := len(c.exec.Calls()); got != calls {
		c.t.Errorf("%d commands without a quorum", got-calls)
	}
	out, err := c.n.Run(c.t.Context(), lone.place, c.p.Server, "break-glass", "drain", "ams", "checkout", "--config", c.config(), "--data", lone.Data,
		"--cluster-id", c.cluster(lone), "--by", "ann", "--reason", "no quorum", "--yes")
	if err != nil || c.exec.Weights()["ams"] != 0 {
		c.t.Fatalf("past the servers: %v, %s, weights %v", err, out, c.exec.Weights())
	}
	for _, r := range c.others(lone) {
		c.startServer(r)
	}
	c.leader(time.Minute)
	c.until(time.Minute, "the record is taken", func() error {
		_, err := c.run(lone, "reconcile")
		return err
	})
	c.until(30*time.Second, "the drain is on record", func() error {
		list, err := c.nodes[1].Actions(c.t.Context())
		if err == nil && !slices.ContainsFunc(list, func(a Action) bool { return a.Plan == "break-glass" && a.State == "succeeded" }) {
			err = errors.New(brief(list))
		}
		return err
	})
	c.restore("ams")
}

func (c *control) cluster(r *replica) string {
	return must[Status](c.t)(r.Status(c.t.Context())).ClusterID
}

// leaderKilled: the leader dies at one moment of an action after the other, alone or with its whole site; the next one ends
// the action.
func (c *control) leaderKilled() {
	defer c.exec.Behave(Manner{})
	type moment struct {
		name   string
		manner Manner
		when   func(known int) bool // the leader may be killed
	}
	moments := []moment{
		{"in delivery, before the effect", Manner{Before: 2 * time.Second}, func(known int) bool { return len(c.exec.Calls()) > known }},
		{"while it verifies", Manner{}, func(known int) bool {
			calls := c.exec.Calls()[known:]
			return len(calls) > 0 && !calls[0].Answered.IsZero()
		}},
		{"after the record", Manner{Before: 2 * time.Second}, func(int) bool { return true }},
		{"after the effect, before the answer", Manner{After: 2 * time.Second}, func(known int) bool {
			calls := c.exec.Calls()[known:]
			return len(calls) > 0 && !calls[0].Applied.IsZero()
		}},
		{"between the steps", Manner{}, func(known int) bool { return len(c.exec.Calls()) > known+1 }},
	}
	last := 2 // in the short form the first one alone, the second one with the site
	if *long {
		last = 2 * len(moments)
	}
	for i := range last {
		m, whole := moments[i%len(moments)], i >= len(moments) || !*long && i == 1
		old := c.leader(30 * time.Second)
		site := c.others(old)[0].place
		c.exec.Behave(m.manner)
		known := len(c.exec.Calls())
		if r, err := c.order(c.others(old)[1], "drain", site); err != nil || !r.OK {
			c.t.Fatalf("%+v, %v", r, err)
		}
		c.until(30*time.Second, m.name, func() error {
			if !m.when(known) {
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
		}
		c.exec.Behave(Manner{})
		next := c.leader(30 * time.Second)
		c.t.Logf("killed %s %s (its site too: %t): %s leads after %s", old.name, m.name, whole, next.name, time.Since(killed).Round(100*time.Millisecond))
		c.moved(90*time.Second, site, 0)
		if whole {
			c.bringBack(old)
		} else {
			c.startServer(old)
		}
		c.restore(site)
	}
}

// leaderAsleep: a leader that sleeps past its term wakes as a follower, and what it had under way has one effect.
func (c *control) leaderAsleep() {
	old := c.leader(30 * time.Second)
	site := c.others(old)[0].place
	c.exec.Behave(Manner{Before: time.Second})
	defer c.exec.Behave(Manner{})
	known := len(c.exec.Calls())
	if r, err := c.order(old, "drain", site); err != nil || !r.OK {
		c.t.Fatalf("%+v, %v", r, err)
	}
	c.until(10*time.Second, "the command is under way", func() error {
		if len(c.exec.Calls()) == known {
			return errors.New("not yet")
		}
		return nil
	})
	if err := old.process.Signal(syscall.SIGSTOP); err != nil {
		c.t.Fatal(err)
	}
	asleep := *c
	asleep.nodes = c.others(old)
	next := asleep.leader(40 * time.Second)
	asleep.moved(90*time.Second, site, 0)
	if err := old.process.Signal(syscall.SIGCONT); err != nil {
		c.t.Fatal(err)
	}
	c.until(30*time.Second, old.name+" wakes as a follower", func() error {
		s, err := c.standing(old)
		if err != nil || s.Leads || s.Leader != next.name {
			return fmt.Errorf("%+v, %w", s, err)
		}
		return nil
	})
	c.restore(site)
}

// rollingRestart: the replicas are restarted one by one in the middle of an action, which ends all the same.
func (c *control) rollingRestart() {
	first := c.leader(30 * time.Second)
	site := c.others(first)[0].place
	c.exec.Behave(Manner{Before: time.Second})
	defer c.exec.Behave(Manner{})
	if r, err := c.order(first, "drain", site); err != nil || !r.OK {
		c.t.Fatalf("%+v, %v", r, err)
	}
	for _, r := range append([]*replica{first}, c.others(first)...) {
		if err := errors.Join(r.process.Signal(syscall.SIGTERM), r.process.Wait(30*time.Second)); err != nil {
			c.t.Fatal(err)
		}
		r.process = nil
		stopped := time.Now()
		next := c.leader(30 * time.Second)
		c.t.Logf("%s restarts: %s leads after %s", r.name, next.name, time.Since(stopped).Round(10*time.Millisecond))
		c.startServer(r)
		c.until(time.Minute, r.name+" is back", func() error { return r.Ready(c.t.Context()) })
	}
	c.moved(90*time.Second, site, 0)
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
		if err := errors.Join(r.process.Signal(syscall.SIGTERM), r.process.Wait(30*time.Second)); err != nil {
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
	odd := c.others(c.leader(30 * time.Second))[0]
	unfit := func(want string) {
		c.t.Helper()
		c.until(30*time.Second, odd.name+" says of itself: "+want, func() error {
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
	c.moveThereAndBack(c.leader(30 * time.Second))
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
	c.moved(90*time.Second, site, 0)
	c.restore(site)
}

// deadSite: the whole site of the leader dies; the others drain it by themselves at the shipped holds.
func (c *control) deadSite() {
	old := c.leader(30 * time.Second)
	known := len(c.exec.Calls())
	died := time.Now()
	c.loseSite(old)
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
