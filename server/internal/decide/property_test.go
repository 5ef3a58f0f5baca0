package decide

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// machine drives a world with whatever happens, and holds what must never happen against every output.
type machine struct {
	*world
	rt        *rapid.T
	restarted bool
	braked    bool // before the step
}

func (m *machine) site(rt *rapid.T) string {
	return rapid.SampledFrom(m.topo.Sites).Draw(rt, "site").Name
}

// after is called with every output: the invariants.
func (m *machine) after(out Output, cause Input) {
	for _, a := range m.actions {
		for _, b := range m.actions {
			if a.ID < b.ID && running(&a) && running(&b) && m.e.sharesLock(a.Subject, b.Subject) {
				m.rt.Fatalf("two actions in one lock: %s and %s", a.Sentence, b.Sentence)
			}
		}
	}
	for _, i := range out.Intents {
		m.leftAlone(i)
		if i.State != core.RoutingDrained {
			continue
		}
		a := m.actions[i.ActionID]
		for _, svc := range m.e.services(i.Subject) {
			if left := m.servingWithout(i.Subject.Site, svc); left < max(1, m.topo.Guards.MinServing) {
				m.rt.Fatalf("a drain of %s leaves %d sites to %s", i.Subject, left, svc)
			}
		}
		if !byOperator(&a) && a.Kind == core.PlanDrain && i.Step == 1 {
			m.judgedWell(i)
		}
	}
	for _, c := range out.Changes {
		if d := c.Decision; d != nil {
			m.explained(*d)
		}
	}
	if !out.Wake.IsZero() && !out.Wake.After(m.at) {
		m.rt.Fatalf("asks to be woken in the past: %s at %s", out.Wake, m.at)
	}
	if (cause.Command != nil) != (out.Reply != nil) || (out.Reply != nil && out.Reply.Sentence == "") {
		m.rt.Fatalf("a command without a reply, or the other way round: %+v", out.Reply)
	}
}

// servingWithout counts the sites that serve while site does not, by what the engine was last told.
func (m *machine) servingWithout(site, service string) int {
	n := 0
	for _, s := range m.topo.Sites {
		sub := core.Subject{Site: s.Name, Service: service}
		a, _ := m.e.reported(sub)
		away := false
		for _, r := range m.e.Routing() {
			covers := r.Subject == sub || (r.Subject.WholeSite() && r.Subject.Site == s.Name)
			away = away || (covers && r.State != core.RoutingActive)
		}
		if s.Name != site && !away && (a.Condition == core.Healthy || a.Condition == core.Suspect) {
			n++
		}
	}
	return n
}

// judgedWell: an automatic drain rests on a failure seen by a quorum, never on silence, statistics or the
// unknown alone.
func (m *machine) judgedWell(i core.Intent) {
	a, _ := m.e.assessment(i.Subject)
	if a.Condition < core.Degraded {
		m.rt.Fatalf("acted upon %s being %s", i.Subject, a.Condition)
	}
	if !a.Has(core.ClassOutside) && !a.Has(core.ClassInside) {
		m.rt.Fatalf("acted upon %s without a failure seen from outside or inside", i.Subject)
	}
	if down, _ := outsideVotes(m.topo, a); down < 2 && (len(m.topo.Sites) != 2 || len(m.topo.Witnesses) > 0) {
		m.rt.Fatalf("acted upon %s with %d votes", i.Subject, down)
	}
	if m.e.obs.Tilt.On || m.braked || len(a.Global) > 1 {
		m.rt.Fatalf("acted upon %s in tilt, under the brake or upon a global trouble", i.Subject)
	}
}

// leftAlone: nothing but a person's order, or the way back of what was begun, moves users of those that people work at, or to them.
func (m *machine) leftAlone(i core.Intent) {
	a := m.actions[i.ActionID]
	if byOperator(&a) || i.Kind != a.Kind {
		return
	}
	for _, c := range m.topo.Changes {
		if !c.Maintenance || !c.At(m.at) {
			continue
		}
		if c.About().Overlaps(i.Subject) {
			m.rt.Fatalf("%s of %s at %s, where people work", i.Kind, i.Subject, m.at)
		}
		for _, svc := range m.e.services(i.Subject) {
			to := core.Subject{Site: c.Site, Service: svc}
			if a.Kind == core.PlanDrain && c.About().Covers(to) && m.e.routingOf(to).State == core.RoutingActive {
				m.rt.Fatalf("users of %s are moved to %s, where people work", i.Subject, to)
			}
		}
	}
}

func (m *machine) explained(d core.Decision) {
	for _, r := range d.Rulings {
		if r.Sentence == "" || r.Answer == core.AnswerUnknown {
			m.rt.Fatalf("guard %s does not explain itself: %+v", r.Guard, r)
		}
	}
	holds := slices.ContainsFunc(d.Rulings, func(r core.Ruling) bool { return r.Answer == core.Object || r.Answer == core.CannotTell })
	if d.Verdict == core.VerdictAct && d.Policy != "" && holds {
		m.rt.Fatalf("acts against an objection: %s", d.Sentence)
	}
	if d.Verdict != core.VerdictAct && !holds {
		m.rt.Fatalf("does not act and does not say why: %s", d.Sentence)
	}
}

func (m *machine) feed(in Input) {
	m.braked = m.e.brake.On && (in.Command == nil || in.Command.Kind != core.CommandBrake)
	m.after(m.step(in), in)
}

func (m *machine) actionsOf() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"trouble": func(rt *rapid.T) {
			st := state{
				what: rapid.SampledFrom([]string{
					"healthy", "healthy", "suspect", "dead", "dead", "isolated", "dead-edge", "gray", "slow", "anomaly", "claimed", "silent", "link", "unknown",
				}).Draw(rt, "what"),
				since:  m.at.Add(time.Second),
				signal: rapid.SampledFrom([]string{core.SignalRefused, core.SignalTimeout, core.SignalErrors}).Draw(rt, "signal"),
			}
			if rapid.IntRange(0, 9).Draw(rt, "global") == 0 {
				st.global = []string{"fra", "ams"}
			}
			site := m.site(rt)
			for _, svc := range m.topo.Services { // mostly of all services together
				if svc.Name == "checkout" || rapid.IntRange(0, 3).Draw(rt, "alone") > 0 {
					m.sick[core.Subject{Site: site, Service: svc.Name}] = st
				}
			}
		},
		"time": func(rt *rapid.T) {
			every := rapid.SampledFrom([]time.Duration{time.Second, time.Second, 4 * time.Second, 20 * time.Second}).Draw(rt, "every")
			for range rapid.IntRange(1, 40).Draw(rt, "beats") {
				m.at = m.at.Add(every)
				o := m.observation()
				m.feed(Input{Observation: &o})
				m.deliver()
			}
		},
		"tick": func(rt *rapid.T) {
			m.at = m.at.Add(time.Duration(rapid.IntRange(1, 20000).Draw(rt, "ms")) * time.Millisecond)
			m.feed(Input{Tick: true})
		},
		"doubt": func(rt *rapid.T) {
			m.tilt = core.Tilt{}
			if rapid.Bool().Draw(rt, "tilt") {
				m.tilt = core.Tilt{On: true, Reason: "clock jumped", Since: m.at, Until: m.at.Add(10 * time.Second)}
			}
			m.fresh = rapid.SampledFrom([]int{-1, -1, -1, 1}).Draw(rt, "fresh")
			m.noEdge = rapid.IntRange(0, 5).Draw(rt, "edge") == 0
		},
		"maintenance": func(rt *rapid.T) {
			sub := core.Subject{Site: m.site(rt), Service: rapid.SampledFrom([]string{"checkout", core.AllServices}).Draw(rt, "service")}
			m.at = m.at.Add(time.Second)
			m.maintain(sub, rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Second, 5 * time.Minute}).Draw(rt, "lasts"))
		},
		"hand": func(rt *rapid.T) {
			m.hand = rapid.SampledFrom([]string{"works", "works", "works", "ignores", "refuses", "fails", "expires", "blind", "silent"}).Draw(rt, "hand")
		},
		"order": func(rt *rapid.T) {
			site := m.site(rt)
			ep, _ := m.episode(site)
			c := core.Command{
				Kind: rapid.SampledFrom([]core.CommandKind{
					core.CommandApprove, core.CommandApprove, core.CommandVeto, core.CommandHold, core.CommandDrain,
					core.CommandRestore, core.CommandRestore, core.CommandBrake, "dance",
				}).Draw(rt, "kind"),
				Subject:   core.Subject{Site: site, Service: rapid.SampledFrom([]string{"checkout", "checkout", core.AllServices}).Draw(rt, "service")},
				EpisodeID: ep.ID, DecisionID: ep.DecisionID, By: "ann",
				On:     rapid.IntRange(0, 3).Draw(rt, "on") == 0,
				Reason: rapid.SampledFrom([]string{"", "because", "because"}).Draw(rt, "reason"),
			}
			m.feed(Input{Command: &c})
		},
		"paged": func(rt *rapid.T) {
			_, notices := m.e.Pending()
			if len(notices) == 0 {
				rt.Skip("nothing to tell")
			}
			n := rapid.SampledFrom(notices).Draw(rt, "notice")
			m.feed(Input{NoticeOutcome: &core.NoticeOutcome{NoticeID: n.ID, At: m.at, State: rapid.SampledFrom([]string{"", "sent", "failed"}).Draw(rt, "state")}})
		},
		"restart": func(*rapid.T) {
			memory := m.e
			m.restarted = true
			m.base, m.born = m.snapshot(), m.topo
			m.e = New(m.topo, m.base)
			m.e.takeMemory(memory)
			m.inputs, m.outputs = nil, nil
			intents, _ := m.e.Pending()
			m.queue = nil
			for _, i := range intents {
				m.perform(i)
			}
			o := m.observation()
			m.feed(Input{Observation: &o})
		},
	}
}

// TestWhateverHappens is the safety of the room: any trouble, any order, any hand, any restart. Every
// observation is judged by a restarted engine too, which must write the same bytes.
func TestWhateverHappens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{world: drawWorld(rt), rt: rt}
		rt.Repeat(m.actionsOf())
		m.replayed()
	})
}

func drawWorld(rt *rapid.T) *world {
	shape := rapid.SampledFrom([][2][]string{
		{{"fra", "ams", "lon"}, nil}, {{"fra", "ams"}, {"wit"}}, {{"fra", "ams"}, nil}, {{"fra", "ams", "lon", "par"}, {"wit"}}, {{"fra"}, {"wit", "wot"}},
	}).Draw(rt, "sites")
	mode := rapid.SampledFrom([]core.Mode{core.ModeAutomatic, core.ModeAutomatic, core.ModeApprove, core.ModeRecommend, core.ModeObserve}).Draw(rt, "mode")
	topo := testTopology(mode, shape[0], shape[1])
	topo.Lab = rapid.Bool().Draw(rt, "lab")
	topo.Guards.MaxDrainedSites = rapid.IntRange(0, 3).Draw(rt, "max_drained")
	topo.Guards.MinServing = rapid.IntRange(0, 2).Draw(rt, "min_serving")
	topo.Guards.BudgetPerHour = rapid.IntRange(1, 9).Draw(rt, "budget")
	topo.Guards.Cooldown = rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 0}).Draw(rt, "cooldown")
	topo.Plans[0].Steps[0].OnFail = rapid.SampledFrom([]string{"", "stop", "continue", "rollback"}).Draw(rt, "on_fail")
	if rapid.Bool().Draw(rt, "halves") {
		half := topo.Plans[0].Steps[0]
		half.Weight = 50
		topo.Plans[0].Steps = []core.Step{half, topo.Plans[0].Steps[0]}
	}
	for i := range topo.Sites {
		topo.Sites[i].Capacity["checkout"] = rapid.SampledFrom([]float64{1200, 140, 100, 0}).Draw(rt, "capacity")
	}
	if rapid.Bool().Draw(rt, "two services") {
		cart := topo.Services[0]
		cart.Name = "cart"
		topo.Services = append(topo.Services, cart)
		for i := range topo.Sites {
			topo.Sites[i].Capacity["cart"] = 1200
		}
	}
	w := newWorld(rt, topo)
	w.quiet = true
	return w
}

func (m *machine) replayed() {
	if m.restarted {
		return // the inputs are those since the restart, and the memory is another engine's
	}
	e := New(m.born, m.base)
	for i, in := range m.inputs {
		if got := encode(m.rt, e.Step(in)); got != string(m.outputs[i]) {
			m.rt.Fatalf("replayed input %d differs: %s", i, difference(got, string(m.outputs[i])))
		}
	}
}

// TestObjectionNeverActs adds a guard that objects, cannot tell, says nothing or breaks, at any place in the
// list: nothing that was not an act becomes one, and no act by a policy stays one.
func TestObjectionNeverActs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &machine{world: drawWorld(rt), rt: rt}
		m.shadow = false
		bad := guard{99, "extra", true, rapid.SampledFrom([]func(view) ruled{
			func(view) ruled { return object("no") },
			func(view) ruled { return cannotTell("who knows") },
			func(view) ruled { return ruled{} },
			func(view) ruled { panic("broken") },
			func(view) ruled { return ruled{Ruling: core.Ruling{Answer: core.Bound}} },
		}).Draw(rt, "guard")}
		m.e.guards = slices.Insert(m.e.guards, rapid.IntRange(0, len(m.e.guards)).Draw(rt, "place"), bad)
		acts := m.actionsOf()
		delete(acts, "restart")
		rt.Repeat(acts)
		for id, a := range m.actions {
			if !byOperator(&a) {
				rt.Fatalf("action %s by %s in spite of the objection", id, a.By)
			}
		}
	})
}

// TestAnyInput feeds what no sane neighbour would send.
func TestAnyInput(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := New(testTopology(core.ModeAutomatic, []string{"fra", "ams", "lon"}, []string{"wit"}), core.Snapshot{})
		at := time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)
		for range rapid.IntRange(1, 30).Draw(rt, "n") {
			at = at.Add(time.Duration(rapid.Int64Range(-int64(time.Minute), int64(time.Hour)).Draw(rt, "dt")))
			out := e.Step(anyInput(rt, at))
			encode(rt, out)
			e.Pending()
		}
	})
}

func anyInput(rt *rapid.T, at time.Time) Input {
	when := func() time.Time {
		return at.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(rt, "t")))
	}
	maybe := func() *time.Time {
		if rapid.Bool().Draw(rt, "nil") {
			return nil
		}
		w := when()
		return &w
	}
	num := func() float64 {
		return rapid.SampledFrom([]float64{0, 1, 100, -1, 1e300, math.Inf(1), math.Inf(-1), math.NaN()}).Draw(rt, "f")
	}
	name := func() string {
		return rapid.SampledFrom([]string{"fra", "ams", "lon", "wit", "", "nowhere", "checkout", "all"}).Draw(rt, "name")
	}
	sub := func() core.Subject { return core.Subject{Site: name(), Service: name()} }
	u8 := func(n int) uint8 { return uint8(rapid.IntRange(0, n).Draw(rt, "u")) }
	switch rapid.IntRange(0, 6).Draw(rt, "input") {
	case 0:
		return Input{At: at, Tick: true}
	case 1:
		return Input{At: at, Outcome: &core.Outcome{IntentID: name(), ActionID: name(), Step: rapid.IntRange(-1, 9).Draw(rt, "step"), Kind: core.OutcomeDone, At: when()}}
	case 2:
		return Input{At: at, NoticeOutcome: &core.NoticeOutcome{NoticeID: name(), State: "sent"}}
	case 3:
		return Input{At: at, Command: &core.Command{
			Kind:    rapid.SampledFrom([]core.CommandKind{"approve", "veto", "hold", "drain", "restore", "brake", ""}).Draw(rt, "kind"),
			Subject: sub(), EpisodeID: name(), DecisionID: name(), Reason: name(), Hold: time.Duration(rapid.Int64().Draw(rt, "hold")), On: rapid.Bool().Draw(rt, "on"),
		}}
	case 4:
		t := testTopology(core.ModeAutomatic, []string{name(), name()}, []string{name()})
		t.Revision = rapid.Int64Range(0, 5).Draw(rt, "revision")
		t.Guards.RetryFactor = num()
		if rapid.Bool().Draw(rt, "no plans") {
			t.Plans = nil
		}
		t.Changes = []core.DeclaredChange{{Site: name(), Service: name(), Start: when(), End: when(), Maintenance: rapid.Bool().Draw(rt, "maintenance")}}
		return Input{At: at, Topology: &t}
	}
	o := core.Observation{At: when(), FreshSites: rapid.IntRange(-1, 5).Draw(rt, "fresh"), Tilt: core.Tilt{On: rapid.Bool().Draw(rt, "tilt"), Since: when(), Until: when()}}
	for range rapid.IntRange(0, 5).Draw(rt, "assessments") {
		a := core.Assessment{
			Subject: sub(), Condition: core.Condition(u8(9)), Kind: name(), Signal: name(), Onset: maybe(), FailingSince: maybe(), HealthySince: maybe(),
		}
		for range rapid.IntRange(0, 4).Draw(rt, "evidence") {
			a.Evidence = append(a.Evidence, core.Evidence{
				Class: core.Class(u8(9)), Signal: name(), Source: name(), Path: name(), Onset: when(),
				Band: &core.Band{Value: num()}, Numbers: []core.Number{{Name: "x", Value: num()}},
			})
			a.Votes = append(a.Votes, core.Vote{Vantage: name(), State: core.ProbeState(u8(4)), Eligible: rapid.Bool().Draw(rt, "eligible")})
		}
		o.Assessments = append(o.Assessments, a)
		o.Traffic = append(o.Traffic, core.Traffic{Site: name(), Service: name(), At: when(), Known: true, Requests: num(), Share: num(), Weight: num(), WeightKnown: true})
		o.Writers = append(o.Writers, core.Writer{Name: name(), Kind: "site", Fresh: true})
	}
	return Input{At: at, Observation: &o}
}
