package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

func automatic(t failer) *world {
	w := newWorld(t, testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil))
	w.quiet = true
	w.run(5*time.Second, time.Second)
	return w
}

func (w *world) kill(site string) {
	w.sick[w.subject(site)] = state{what: "dead", since: w.at.Add(time.Second), signal: core.SignalRefused}
}

// TestWakesExactly: with nothing but ticks and one observation a second, the drain starts at the very moment the
// hold is reached when the engine is woken as it asked.
func TestWakesExactly(t *testing.T) {
	w := automatic(t)
	w.kill("fra")
	w.sick[w.subject("fra")] = state{what: "dead", since: w.at.Add(300 * time.Millisecond), signal: core.SignalRefused}
	w.run(10*time.Second, time.Second)
	want := w.sick[w.subject("fra")].since.Add(10 * time.Second)
	if !w.wake.Equal(want) {
		t.Fatalf("wake at %s, want %s", w.wake, want)
	}
	w.at = w.wake
	if out := w.step(Input{Tick: true}); len(out.Intents) != 1 {
		t.Fatalf("%d intents at the end of the hold", len(out.Intents))
	}
}

// TestTickIsNoEvidence: a tick long after the observation does not count into the hold.
func TestTickIsNoEvidence(t *testing.T) {
	w := automatic(t)
	w.kill("fra")
	w.run(8*time.Second, time.Second)
	w.at = w.at.Add(4 * time.Second)
	if out := w.step(Input{Tick: true}); len(out.Intents) != 0 {
		t.Fatal("acted upon what nobody has seen")
	}
}

// TestOutcomesTwiceAndLate: duplicates, outcomes of finished steps and of unknown actions change nothing.
func TestOutcomesTwiceAndLate(t *testing.T) {
	w := automatic(t)
	w.hand = "silent"
	w.kill("fra")
	w.run(12*time.Second, time.Second)
	ep, _ := w.episode("fra")
	id := ep.ActionIDs[0]
	f := func(kind core.OutcomeKind, step int, want core.ActionState, changes bool) {
		t.Helper()
		o := core.Outcome{IntentID: core.WebhookID(id, step), ActionID: id, Step: step, Kind: kind, At: w.at, Attempt: &core.Attempt{N: 1, Result: "done"}}
		out := w.step(Input{Outcome: &o})
		if got := w.actions[id].State; got != want || (len(out.Changes) > 0) != changes {
			t.Errorf("%s of step %d: %s, %d changes", kind, step, got, len(out.Changes))
		}
	}
	f(core.OutcomeDone, 2, core.ActionRunning, false)
	f(core.OutcomeAttempt, 1, core.ActionRunning, true)
	f(core.OutcomeAttempt, 1, core.ActionRunning, false)
	f(core.OutcomeDone, 1, core.ActionVerifying, true)
	f(core.OutcomeDone, 1, core.ActionVerifying, false)
	intents, _ := New(w.topo, w.snapshot()).Pending()
	if len(intents) != 1 || !intents[0].Delivered {
		t.Errorf("pending after done: %+v", intents)
	}
	f(core.OutcomeVerified, 1, core.ActionSucceeded, true)
	f(core.OutcomeVerified, 1, core.ActionSucceeded, false)
	f(core.OutcomeIneffective, 1, core.ActionSucceeded, false)
	id = "act_nobody"
	f(core.OutcomeDone, 1, core.ActionUnknown, false)
}

// TestAttemptsOfBothLives: a restart counts attempts from 1 again, and both lives' attempts are on record.
func TestAttemptsOfBothLives(t *testing.T) {
	w := automatic(t)
	w.hand = "silent"
	w.kill("fra")
	w.run(12*time.Second, time.Second)
	ep, _ := w.episode("fra")
	id := ep.ActionIDs[0]
	f := func(at time.Time, want int) {
		t.Helper()
		o := core.Outcome{IntentID: core.WebhookID(id, 1), ActionID: id, Step: 1, Kind: core.OutcomeAttempt, At: at, Attempt: &core.Attempt{N: 1, At: at, Result: "retry"}}
		w.step(Input{Outcome: &o})
		if got := len(w.actions[id].Steps[0].Attempts); got != want {
			t.Errorf("%d attempts on record, want %d", got, want)
		}
	}
	before := w.at
	f(before, 1)
	f(before, 1)
	f(before.Add(time.Second), 2)
}

// TestLateProof: an action whose effect could not be told is released by a proof that comes later.
func TestLateProof(t *testing.T) {
	w := automatic(t)
	w.hand = "blind"
	w.kill("fra")
	w.run(45*time.Second, time.Second)
	ep, _ := w.episode("fra")
	id := ep.ActionIDs[0]
	if got := w.actions[id].State; got != core.ActionUnknown {
		t.Fatalf("action is %s", got)
	}
	w.step(Input{Outcome: &core.Outcome{IntentID: core.WebhookID(id, 1), ActionID: id, Step: 1, Kind: core.OutcomeVerified, At: w.at}})
	if got := w.actions[id].State; got != core.ActionSucceeded {
		t.Fatalf("action is %s after the proof", got)
	}
}

// TestNotices: outcomes of notices are kept until they are settled, and the key stays one.
func TestNotices(t *testing.T) {
	w := automatic(t)
	w.kill("fra")
	out := Output{}
	for len(out.Notices) == 0 {
		w.at = w.at.Add(time.Second)
		o := w.observation()
		out = w.step(Input{Observation: &o})
	}
	n := out.Notices[0]
	if want := "evenkeel:fra:dead-service:" + n.EpisodeID; n.DedupKey != want || n.Kind != noticeTrigger {
		t.Fatalf("%s %s, want %s", n.Kind, n.DedupKey, want)
	}
	f := func(state string, attempt, changes, pending int) {
		t.Helper()
		out := w.step(Input{NoticeOutcome: &core.NoticeOutcome{NoticeID: n.ID, At: w.at, State: state, Attempt: &core.Attempt{N: attempt}}})
		if _, left := w.e.Pending(); len(out.Changes) != changes || len(left) != pending {
			t.Errorf("%q: %d changes, %d pending", state, len(out.Changes), len(left))
		}
	}
	f("", 1, 1, 1)
	f("", 1, 0, 1)
	f("sent", 2, 1, 0)
	f("sent", 3, 0, 0)
	w.sick[w.subject("fra")] = state{what: "isolated", since: w.at, signal: core.SignalTimeout}
	w.run(6*time.Second, time.Second)
	_, left := w.e.Pending()
	if len(left) != 1 || left[0].DedupKey != n.DedupKey || left[0].Kind != noticeUpdate {
		t.Errorf("later notices: %+v", left)
	}
}

// TestDedupKeyFits: a key is at most 255 characters and stays distinct.
func TestDedupKeyFits(t *testing.T) {
	ep := &core.Episode{ID: "ep_x", Subject: core.Subject{Site: strings.Repeat("s", 300)}}
	a := dedupKey(ep)
	ep.ID = "ep_y"
	if b := dedupKey(ep); len(a) > 255 || a == b {
		t.Errorf("%d characters, distinct %t", len(a), a != b)
	}
}

// TestInputStaysTheCallers: nothing that came in is kept or changed, nothing that went out is shared.
func TestInputStaysTheCallers(t *testing.T) {
	w := automatic(t)
	w.shadow = false // this test goes past the ledger
	w.kill("fra")
	w.at = w.at.Add(time.Second)
	o := w.observation()
	before := encode(t, o)
	out := w.e.Step(Input{At: w.at, Observation: &o})
	if encode(t, o) != before {
		t.Error("the input was changed")
	}
	clean := encode(t, w.e.clone().Step(Input{At: w.at, Tick: true}))
	for i := range o.Assessments {
		clear(o.Assessments[i].Evidence)
		clear(o.Assessments[i].Votes)
	}
	clear(o.Traffic)
	for _, c := range out.Changes {
		if c.Episode != nil {
			clear(c.Episode.Evidence)
			clear(c.Episode.Demand)
		}
		if c.Decision != nil {
			clear(c.Decision.Evidence)
			clear(c.Decision.Votes)
		}
	}
	if got := encode(t, w.e.clone().Step(Input{At: w.at, Tick: true})); got != clean {
		t.Error("the engine shares memory with its caller")
	}
	w.run(12*time.Second, time.Second)
	if ep, _ := w.episode("fra"); len(ep.ActionIDs) != 1 || ep.Demand["ams"] != 100 {
		t.Errorf("the engine shares memory with its caller: %+v", ep)
	}
}

// TestFlickerIsPaced: a subject that changes its mind every second does not fill the ledger.
func TestFlickerIsPaced(t *testing.T) {
	w := automatic(t)
	w.shadow = false
	for i := range 600 {
		st := state{what: "suspect", since: w.at, signal: core.SignalTimeout}
		if i%2 == 0 {
			st.what = "gray"
			st.since = w.at.Add(time.Second)
		}
		w.sick[w.subject("fra")] = st
		w.run(time.Second, time.Second)
	}
	if ep, _ := w.episode("fra"); ep.Decisions > recordsFree+12 {
		t.Errorf("%d decisions in ten minutes", ep.Decisions)
	}
}

// TestWholeSite: an operator drains a site with everything on it; a service of it is brought back with it only.
func TestWholeSite(t *testing.T) {
	topo := testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, nil)
	topo.Plans = topo.Plans[:1] // without a restore plan the drain is undone in one step
	topo.Services[0].MovesWith = []string{"cart"}
	cart := core.Service{Name: "cart", Entries: topo.Services[0].Entries}
	topo.Services = append(topo.Services, cart)
	for i := range topo.Sites {
		topo.Sites[i].Capacity["cart"] = 500
	}
	e := New(topo, core.Snapshot{})
	at, long := atStart, atStart.Add(-time.Hour)
	observe := func(weight float64) Output {
		at = at.Add(time.Second)
		o := core.Observation{At: at, FreshSites: 3}
		for _, s := range topo.Sites {
			o.Writers = append(o.Writers, core.Writer{Name: s.Name, Kind: "site", Fresh: true})
			for _, svc := range topo.Services {
				o.Assessments = append(o.Assessments, core.Assessment{
					Subject: core.Subject{Site: s.Name, Service: svc.Name}, Condition: core.Healthy, HealthySince: &long,
				})
				tr := core.Traffic{Site: s.Name, Service: svc.Name, At: at, Known: true, Requests: 100, Count: 1000, Share: 0.33, ServiceSuccess: 1, ServiceCount: 3000, Weight: 100, WeightKnown: true}
				if s.Name == "fra" {
					tr.Weight = weight
				}
				o.Traffic = append(o.Traffic, tr)
			}
		}
		return e.Step(Input{At: at, Observation: &o})
	}
	command := func(kind core.CommandKind, service string) Output {
		return e.Step(Input{At: at, Command: &core.Command{Kind: kind, Subject: core.Subject{Site: "fra", Service: service}, By: "ann", Reason: "power work"}})
	}
	finish := func(i core.Intent) {
		e.Step(Input{At: at, Outcome: &core.Outcome{IntentID: i.ID, ActionID: i.ActionID, Step: i.Step, Kind: core.OutcomeVerified, At: at}})
	}
	observe(100)
	out := command(core.CommandDrain, "")
	if len(out.Intents) != 1 || out.Intents[0].Subject.Service != core.AllServices || !out.Intents[0].Before.Known || out.Intents[0].Before.Requests != 200 {
		t.Fatalf("drain of the site: %+v", out.Reply)
	}
	if r := command(core.CommandDrain, "cart").Reply; r.OK || !strings.Contains(r.Sentence, "drain of fra is running") {
		t.Errorf("a service of a site under way: %s", r.Sentence)
	}
	finish(out.Intents[0])
	observe(0)
	if r := e.routingOf(core.Subject{Site: "fra", Service: "cart"}); r.State != core.RoutingDrained {
		t.Errorf("cart is %s", r.State)
	}
	if r := command(core.CommandRestore, "cart").Reply; r.OK {
		t.Errorf("a part of a drained site was restored by itself: %s", r.Sentence)
	}
	out = command(core.CommandRestore, "")
	if len(out.Intents) != 1 || out.Intents[0].Weight != 100 || out.Intents[0].State != core.RoutingActive {
		t.Fatalf("restore of the site: %+v", out)
	}
	finish(out.Intents[0])
	observe(100)
	if len(e.open) != 0 {
		t.Errorf("%d episodes are open", len(e.open))
	}
	v := view{e: e, at: at, ep: &core.Episode{Subject: core.Subject{Site: "fra", Service: "checkout"}}}
	if r := ruleAssertions(v); r.Answer != core.Object || !strings.Contains(r.Sentence, "cart must move with checkout") {
		t.Errorf("checkout without cart: %s", r.Sentence)
	}
}

// TestTopologyChange: what is no longer configured is closed, an older configuration is dropped.
func TestTopologyChange(t *testing.T) {
	w := automatic(t)
	w.sick[w.subject("fra")] = state{what: "suspect", since: w.at, signal: core.SignalTimeout}
	w.run(3*time.Second, time.Second)
	small := testTopology(core.ModeAutomatic, []string{"ams", "lon"}, nil)
	small.Revision = 0
	w.step(Input{Topology: &small})
	if ep, _ := w.episode("fra"); ep.ClosedAt != nil {
		t.Fatal("an older configuration was taken")
	}
	small.Revision = 2
	w.step(Input{Topology: &small})
	if ep, _ := w.episode("fra"); ep.ClosedAt == nil || !strings.Contains(ep.Sentence, "no longer configured") {
		t.Fatalf("the episode stays: %s", ep.Sentence)
	}
}

// TestContinue: a step that may fail does not stop the plan, and the end says so.
func TestContinue(t *testing.T) {
	w := automatic(t)
	step := w.topo.Plans[0].Steps[0]
	step.Target, step.OnFail = "dns", onFailContinue
	w.topo.Plans[0].Steps = []core.Step{step, w.topo.Plans[0].Steps[0]}
	w.e = New(w.topo, core.Snapshot{})
	w.run(2*time.Second, time.Second)
	w.hand = "fails"
	w.kill("fra")
	w.run(11*time.Second, time.Second)
	w.hand = "works"
	w.run(10*time.Second, time.Second)
	ep, _ := w.episode("fra")
	a := w.actions[ep.ActionIDs[0]]
	if a.State != core.ActionIneffective || a.Steps[0].State != core.StepFailed || a.Steps[1].State != core.StepSucceeded {
		t.Errorf("%s: %s, %s", a.State, a.Steps[0].State, a.Steps[1].State)
	}
}

// TestForgets: what is too old to count for anything is dropped.
func TestForgets(t *testing.T) {
	w := automatic(t)
	w.sick[w.subject("fra")] = state{what: "suspect", since: w.at, signal: core.SignalTimeout}
	w.run(3*time.Second, time.Second)
	w.sick = map[core.Subject]state{}
	w.run(40*time.Second, 10*time.Second)
	if len(w.e.episodes) != 1 || len(w.e.open) != 0 {
		t.Fatalf("%d episodes, %d open", len(w.e.episodes), len(w.e.open))
	}
	w.at = w.at.Add(remembered + time.Hour)
	w.step(Input{Tick: true})
	if len(w.e.episodes) != 0 {
		t.Error("an old episode is kept")
	}
}

// BenchmarkStep is one observation of five sites while one of them is failing and held.
func BenchmarkStep(b *testing.B) {
	w := newWorld(b, testTopology(core.ModeObserve, []string{"fra", "ams", "lon", "par", "mad"}, []string{"wit"}))
	w.quiet, w.shadow = true, false
	w.kill("fra")
	w.run(30*time.Second, time.Second)
	o := w.observation()
	b.ReportAllocs()
	for b.Loop() {
		w.e.Step(Input{At: w.at, Observation: &o})
	}
}

// BenchmarkStepHealthy is the usual case: nothing is wrong.
func BenchmarkStepHealthy(b *testing.B) {
	w := newWorld(b, testTopology(core.ModeObserve, []string{"fra", "ams", "lon", "par", "mad"}, []string{"wit"}))
	o := w.observation()
	b.ReportAllocs()
	for b.Loop() {
		w.e.Step(Input{At: w.at, Observation: &o})
	}
}
