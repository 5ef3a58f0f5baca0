package decide

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// three replicas that see what the leader sees; change makes one of them see otherwise.
func three(change func(i int, v *core.ReplicaView)) func(core.Observation) (int, []core.ReplicaView) {
	return func(o core.Observation) (int, []core.ReplicaView) {
		var views []core.ReplicaView
		for i, name := range []string{"r1", "r2", "r3"} {
			v := core.ViewOf(o, "v1", "", 1)
			v.Replica, v.Heard = name, o.At.Add(-time.Second)
			if change != nil {
				change(i, &v)
			}
			views = append(views, v)
		}
		return 3, views
	}
}

// What the replicas say decides with what the vantages say: two of three are enough, one is not, and each that does not
// agree is named with its reason.
func TestTheVotesOfReplicas(t *testing.T) {
	f := func(acts bool, words string, change func(i int, v *core.ReplicaView)) {
		t.Helper()
		w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil))
		w.quiet, w.replicas = true, three(change)
		w.run(5*time.Second, time.Second)
		w.kill("fra")
		w.run(2*time.Minute, time.Second)
		if drained := w.weight["fra"] == 0; drained != acts {
			t.Errorf("%s: drained %t", words, drained)
		}
		ep, ok := w.episode("fra")
		if !ok {
			t.Fatal("no episode")
		}
		r := ruling(t, w.decision(ep.DecisionID), "quorum")
		if acts != (r.Answer == core.Pass) || !strings.Contains(r.Sentence, words) {
			t.Errorf("%s: %q, want %q", r.Answer, r.Sentence, words)
		}
	}
	only := func(n int, change func(*core.ReplicaView)) func(int, *core.ReplicaView) {
		return func(i int, v *core.ReplicaView) {
			if i >= 3-n {
				change(v)
			}
		}
	}
	f(true, "3 of 3 replicas agree", nil)
	f(true, "2 of 3 replicas agree", only(1, func(v *core.ReplicaView) { v.Subjects = nil }))
	f(false, "r2 says healthy", only(2, func(v *core.ReplicaView) { v.Subjects = nil }))
	f(true, "2 of 3", only(1, func(v *core.ReplicaView) { v.Tilt = core.Tilt{On: true, Reason: "the clock jumped"} }))
	f(false, "r2 doubts itself", only(2, func(v *core.ReplicaView) { v.Tilt = core.Tilt{On: true, Reason: "the clock jumped"} }))
	f(false, "r3 cannot be counted: its store is broken", only(2, func(v *core.ReplicaView) { v.Unfit = "its store is broken" }))
	f(false, "r2: fresh inputs from 1 site, 2 are needed", only(2, func(v *core.ReplicaView) { v.FreshSites = 1 }))
	f(false, "r2 was last heard", only(2, func(v *core.ReplicaView) { v.Heard = v.At.Add(-obsFresh) }))
	f(false, "nobody knows when r2 last spoke", only(2, func(v *core.ReplicaView) { v.Heard = time.Time{} }))
}

// A minority that hears nobody else does nothing, however clear it is.
func TestAMinorityOfReplicasDoesNothing(t *testing.T) {
	w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil))
	all := three(nil)
	w.quiet, w.replicas = true, func(o core.Observation) (int, []core.ReplicaView) {
		_, views := all(o)
		return 3, views[:1]
	}
	w.run(5*time.Second, time.Second)
	w.kill("fra")
	w.run(2*time.Minute, time.Second)
	if w.weight["fra"] != 100 {
		t.Error("one of three drained a site")
	}
	ep, _ := w.episode("fra")
	if r := ruling(t, w.decision(ep.DecisionID), "quorum"); !strings.Contains(r.Sentence, "2 replicas were never heard") {
		t.Errorf("%q", r.Sentence)
	}
}

func ruling(t *testing.T, d core.Decision, guard string) core.Ruling {
	t.Helper()
	for _, r := range d.Rulings {
		if r.Guard == guard {
			return r
		}
	}
	t.Fatalf("decision %s has no ruling of %s: %+v", d.ID, guard, d)
	return core.Ruling{}
}

// Who leads since a moment ago knows the demand of before, and does not begin the hold anew.
func TestANewLeaderGoesOnWhereTheOldOneWas(t *testing.T) {
	f := func(recall bool) core.Answer {
		t.Helper()
		w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil))
		w.quiet, w.replicas = true, three(nil)
		var memory []core.Traffic
		for range 60 {
			memory = append(memory, w.observation().Traffic...)
			w.at = w.at.Add(time.Second)
		}
		w.kill("fra") // and the leader with it, which has recorded nothing
		for range 45 {
			memory = append(memory, w.observation().Traffic...)
			w.at = w.at.Add(time.Second)
		}
		w.e = New(w.topo, w.snapshot())
		if recall {
			w.e.Recall(memory)
		}
		o := w.observation()
		out := w.step(Input{Observation: &o})
		if recall && len(out.Intents) != 1 {
			t.Errorf("the first look of the new leader commands %d steps", len(out.Intents))
		}
		ep, ok := w.episode("fra")
		if !ok {
			t.Fatal("no episode")
		}
		d := w.decision(ep.DecisionID)
		if r := ruling(t, d, "hold"); r.Answer != core.Pass {
			t.Errorf("the hold begins anew: %s", r.Sentence)
		}
		return ruling(t, d, "capacity").Answer
	}
	if got := f(true); got != core.Pass && got != core.Bound {
		t.Errorf("with the memory the capacity guard says %s", got)
	}
	if got := f(false); got != core.CannotTell {
		t.Errorf("without it the capacity guard says %s: the test shows nothing", got)
	}
}

func glass(w *world, site string, weight int) core.BreakGlass {
	state := core.RoutingDrained
	if weight == 100 {
		state = core.RoutingActive
	}
	return core.BreakGlass{
		ID: "bg_1", Subject: w.subject(site), Target: "director", Weight: weight, State: state, ClusterID: "c_1", Epoch: 1, Seq: 9,
		Result: "done", By: "ann", Reason: "no quorum", At: w.at.Add(-time.Minute),
	}
}

func reconcileOf(w *world, b core.BreakGlass) core.Reply {
	out := w.step(Input{Command: &core.Command{Kind: core.CommandReconcile, By: "bob", Reason: "back", BreakGlass: &b}})
	return *out.Reply
}

// What was commanded past the servers is what is routed, stands as a person's drain, and is put on record once.
func TestPastTheServers(t *testing.T) {
	w := automatic(t)
	w.weight["fra"] = 0 // as the executor was told
	r := reconcileOf(w, glass(w, "fra", 0))
	if !r.OK || r.ActionID == "" {
		t.Fatalf("%+v", r)
	}
	if got := w.e.routingOf(w.subject("fra")); got.State != core.RoutingDrained || got.Weight != 0 || got.ActionID != r.ActionID {
		t.Errorf("routing %+v", got)
	}
	ep, _ := w.episode("fra")
	if !ep.Paged {
		t.Error("nobody was paged")
	}
	if again := reconcileOf(w, glass(w, "fra", 0)); !again.OK || again.ActionID != r.ActionID || len(w.snapshot().Actions) != 1 {
		t.Errorf("the second time: %+v, %d actions", again, len(w.snapshot().Actions))
	}
	w.e = New(w.topo, w.snapshot())
	if again := reconcileOf(w, glass(w, "fra", 0)); !again.OK || len(w.snapshot().Actions) != 1 {
		t.Errorf("after a restart: %+v, %d actions", again, len(w.snapshot().Actions))
	}
	w.run(time.Hour, 10*time.Second)
	if w.weight["fra"] != 0 {
		t.Error("what a person drained past the servers is restored by a policy")
	}
}

// Of several commands past the servers the last one is what is routed, in whatever order their records come.
func TestSeveralTimesPastTheServers(t *testing.T) {
	f := func(order ...int) {
		t.Helper()
		w := automatic(t)
		given := w.at
		w.run(time.Minute, time.Second)
		for _, n := range order {
			b := glass(w, "fra", []int{0, 100, 0}[n])
			b.ID, b.At = fmt.Sprintf("bg_%d", n), given.Add(time.Duration(n)*time.Second)
			if r := reconcileOf(w, b); !r.OK {
				t.Fatalf("%+v", r)
			}
			w.e = New(w.topo, w.snapshot())
		}
		want := core.RoutingDrained
		if slices.Max(order) == 1 {
			want = core.RoutingActive
		}
		if got := w.e.routingOf(w.subject("fra")); got.State != want {
			t.Errorf("%v: routing is %+v", order, got)
		}
	}
	f(0, 1)
	f(1, 0)
	f(0, 1, 2)
	f(2, 0, 1)
}

func TestPastTheServersWithoutEffect(t *testing.T) {
	f := func(change func(w *world, b *core.BreakGlass), ok bool, words string) {
		t.Helper()
		w := automatic(t)
		b := glass(w, "fra", 0)
		change(w, &b)
		before := w.e.routingOf(w.subject("fra"))
		r := reconcileOf(w, b)
		if r.OK != ok || !strings.Contains(r.Sentence, words) {
			t.Errorf("%+v, want %t and %q", r, ok, words)
		}
		if got := w.e.routingOf(w.subject("fra")); got != before {
			t.Errorf("%s: routing became %+v", words, got)
		}
	}
	f(func(_ *world, b *core.BreakGlass) { b.Result, b.Detail = "refused", "last site" }, true, "did not obey: last site")
	f(func(_ *world, b *core.BreakGlass) { b.Subject.Site = "par" }, false, "not configured")
	f(func(w *world, b *core.BreakGlass) { b.At = w.at.Add(-remembered) }, false, "old")
	f(func(_ *world, b *core.BreakGlass) { b.ID = "" }, false, "names no record")
	f(func(w *world, b *core.BreakGlass) {
		w.step(Input{Command: &core.Command{Kind: core.CommandDrain, Subject: w.subject("fra"), By: "ann", Reason: "later"}})
		w.run(time.Minute, time.Second)
		b.At = w.at.Add(-10 * time.Minute)
	}, true, "something newer was commanded since")
}
