package main

import (
	"maps"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// rebuilt puts up a state of another cluster.
func (d *door) rebuilt(cluster string, revision int, probe map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state = maps.Clone(d.state)
	d.state["cluster_id"], d.state["revision"], d.state["probes"] = cluster, revision, []map[string]any{probe}
	close(d.newer)
	d.newer = make(chan struct{})
}

// A server that begins to speak for another cluster is told what all are told, and is not followed before most servers speak
// for it. What was followed last is what the agent starts with.
func TestTheClusterOfServersChanges(t *testing.T) {
	t.Parallel()
	status := &atomic.Int32{}
	status.Store(200)
	url, _ := shop(t, 0, status)
	before, after := probeOf("before", "http", url), probeOf("after", "http", url)
	servers := []*door{openDoor(t, ""), openDoor(t, ""), openDoor(t, "")}
	for _, d := range servers {
		d.publish(7, before)
	}
	data, list := t.TempDir(), servers[0].URL+","+servers[1].URL+","+servers[2].URL
	agent := startAgent(t, data, list, "--role", "site")
	count := func(target string) (n [3]int) {
		for i, d := range servers {
			n[i] = len(d.seen("evenkeel.probe.state", target))
		}
		return n
	}
	// more waits until each server has heard of the target twice more.
	more := func(target, what string) {
		t.Helper()
		had := count(target)
		eventually(t, time.Minute, what, func() bool {
			n := count(target)
			return n[0] > had[0]+1 && n[1] > had[1]+1 && n[2] > had[2]+1
		})
	}
	more("before", "facts at all three")

	servers[0].rebuilt("c_other", 20, after)
	eventually(t, time.Minute, "one of three is refused", func() bool {
		return strings.Contains(agent.log.String(), "from another cluster")
	})
	more("before", "facts at all three, the one of another cluster too")
	if n := count("after"); n != [3]int{} {
		t.Errorf("one server of three is followed: %v facts of its target", n)
	}

	servers[1].rebuilt("c_other", 20, after)
	more("after", "two of three are followed")
	had := count("before")
	servers[2].rebuilt("c_test", 30, before)
	more("after", "the one left behind is not followed")
	if n := count("before"); n != had {
		t.Errorf("facts of a target that is no more: %v, then %v", had, n)
	}
	agent.stop()

	second := startAgent(t, data, list, "--role", "site")
	more("after", "the agent starts with what it followed last")
	if n := count("before"); n != had {
		t.Errorf("facts of a target that is no more: %v, then %v", had, n)
	}
	second.stop()
}
