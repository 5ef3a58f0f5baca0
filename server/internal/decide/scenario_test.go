package decide

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// TestScenarios tells the stories under testdata. Each file starts with "world"; every observation is also
// judged by an engine restarted from the ledger, and at the end all inputs are replayed into a new engine.
func TestScenarios(t *testing.T) {
	datadriven.Walk(t, "testdata/scenarios", func(t *testing.T, path string) {
		var w *world
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "world" {
				if w != nil {
					checkReplay(t, w)
				}
				w = scenarioWorld(t, d)
				return ""
			}
			w.t, w.out = t, nil
			w.tell(d)
			if len(w.out) == 0 {
				return ""
			}
			return strings.Join(w.out, "\n") + "\n"
		})
		checkReplay(t, w)
	})
}

func checkReplay(t *testing.T, w *world) {
	t.Helper()
	e := New(w.born, w.base)
	for i, in := range w.inputs {
		if got := encode(t, e.Step(in)); got != string(w.outputs[i]) {
			t.Fatalf("replayed input %d differs: %s", i, difference(got, string(w.outputs[i])))
		}
	}
}

func scenarioWorld(t *testing.T, d *datadriven.TestData) *world {
	sites, witnesses := []string{"fra", "ams", "lon"}, []string(nil)
	mode := core.ModeAutomatic
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "sites":
			sites = a.Vals
		case "witnesses":
			witnesses = a.Vals
		case "mode":
			if err := mode.UnmarshalText([]byte(a.Vals[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
	topo := testTopology(mode, sites, witnesses)
	for _, a := range d.CmdArgs {
		switch a.Key {
		case "lab":
			topo.Lab = true
			for i := range topo.Policies {
				topo.Policies[i].Hold = 3 * time.Second
			}
		case "capacity":
			for i := range topo.Sites {
				topo.Sites[i].Capacity["checkout"] = number(t, a.Vals[0])
			}
		case "cooldown":
			topo.Guards.Cooldown = span(t, a.Vals[0])
		case "budget":
			topo.Guards.BudgetPerHour = int(number(t, a.Vals[0]))
		case "min_serving":
			topo.Guards.MinServing = int(number(t, a.Vals[0]))
		case "moves":
			topo.Plans[0].Moves = core.Scope(a.Vals[0])
		case "links": // links=(orders:fra>ams/5s): a link and its objective
			for _, v := range a.Vals {
				name, objective, _ := strings.Cut(v, "/")
				store, from, to, _ := core.SplitLinkName(name)
				topo.Stores = append(topo.Stores, core.Store{Name: store, Links: []core.Link{{From: from, To: to, RPO: span(t, objective)}}})
			}
		case "on_fail":
			topo.Plans[0].Steps[0].OnFail = a.Vals[0]
		case "policies":
			topo.Policies = slices.DeleteFunc(topo.Policies, func(p core.Policy) bool { return !slices.Contains(a.Vals, p.Name) })
		case "assert":
			topo.Assertions = []core.Assertion{{Name: "pair", AtLeast: int(number(t, a.Vals[0])), Of: sites}}
		case "weights":
			st := topo.Plans[0].Steps[0]
			topo.Plans[0].Steps = nil
			for _, v := range a.Vals {
				st.Weight = int(number(t, v))
				topo.Plans[0].Steps = append(topo.Plans[0].Steps, st)
			}
		}
	}
	w := newWorld(t, topo)
	warm := 5 * time.Second // the world is known before the story starts
	for _, a := range d.CmdArgs {
		if a.Key == "freeze" { // freeze=(from,until,scope) in time after the start
			w.topo.Freezes = append(w.topo.Freezes, core.Freeze{
				Name: "sales-peak", From: w.start.Add(warm + span(t, a.Vals[0])), Until: w.start.Add(warm + span(t, a.Vals[1])), Scope: a.Vals[2:],
			})
		}
	}
	for _, a := range d.CmdArgs {
		if a.Key == "change" { // change=(from,until,site,service) in time after the start
			w.topo.Changes = append(w.topo.Changes, core.DeclaredChange{
				ID: strconv.Itoa(len(w.topo.Changes)), What: "checkout 2.4", By: "ci", Site: a.Vals[2], Service: a.Vals[3],
				Start: w.start.Add(warm + span(t, a.Vals[0])), End: w.start.Add(warm + span(t, a.Vals[1])),
			})
		}
	}
	w.e, w.born = New(w.topo, core.Snapshot{}), w.topo
	w.quiet = true
	w.run(warm, time.Second)
	w.start, w.quiet = w.at, false
	return w
}

func span(t failer, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func number(t failer, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tell runs one command of a story.
func (w *world) tell(d *datadriven.TestData) {
	arg := func(key, def string) string {
		for i, a := range d.CmdArgs {
			if i > 0 && a.Key == key || i == 0 && a.Key == key && len(a.Vals) > 0 {
				return strings.Join(a.Vals, ",")
			}
		}
		return def
	}
	site := arg("site", "fra")
	switch d.Cmd {
	case "link": // link orders:fra>ams caught_up exposure=1s lower=0s upper=1s; without a state: nobody looks
		w.copyState(d.CmdArgs[0].Key, arg)
		if len(d.CmdArgs) > 1 {
			l := w.links[d.CmdArgs[0].Key]
			if err := l.State.UnmarshalText([]byte(d.CmdArgs[1].Key)); err != nil {
				w.t.Fatal(err)
			}
			w.links[d.CmdArgs[0].Key] = l
		}
	case "see": // see fra dead signal=refused
		st := state{what: d.CmdArgs[1].Key, since: w.at.Add(time.Second), signal: arg("signal", core.SignalTimeout)}
		if g := arg("global", ""); g != "" {
			st.global = strings.Split(g, ",")
		}
		w.sick[w.subject(d.CmdArgs[0].Key)] = st
	case "run": // run 20s every=1s
		w.run(span(w.t, d.CmdArgs[0].Key), span(w.t, arg("every", "1s")))
	case "tick":
		w.at = w.at.Add(span(w.t, d.CmdArgs[0].Key))
		w.step(Input{Tick: true})
	case "hand":
		w.hand = d.CmdArgs[0].Key
	case "edge": // edge off | edge fra 40
		w.noEdge = d.CmdArgs[0].Key == "off"
		if len(d.CmdArgs) == 2 {
			w.weight[d.CmdArgs[0].Key] = number(w.t, d.CmdArgs[1].Key)
		}
	case "tilt":
		w.tilt = core.Tilt{}
		if d.CmdArgs[0].Key == "on" {
			w.tilt = core.Tilt{On: true, Reason: "clock jumped", Since: w.at, Until: w.at.Add(time.Minute)}
		}
	case "fresh":
		w.fresh = int(number(w.t, d.CmdArgs[0].Key))
	case "demand":
		w.demand = number(w.t, d.CmdArgs[0].Key)
	case "restart": // a new engine from the ledger; what is pending is performed again
		w.base, w.born = w.snapshot(), w.topo
		w.e = New(w.topo, w.base)
		w.inputs, w.outputs = nil, nil
		intents, notices := w.e.Pending()
		w.queue = nil
		for _, i := range intents {
			w.perform(i)
			w.out = append(w.out, fmt.Sprintf("pending intent %s step %d weight %d delivered=%t", i.Subject, i.Step, i.Weight, i.Delivered))
		}
		w.out = append(w.out, fmt.Sprintf("pending notices: %d", len(notices)))
	case "maintenance": // maintenance fra for=10m service=all; without a time all of it ends
		w.maintain(core.Subject{Site: d.CmdArgs[0].Key, Service: arg("service", "checkout")}, span(w.t, arg("for", "0s")))
	case "command":
		w.order(d, site, arg)
	case "record":
		w.showRecord(site)
	case "episode":
		w.showEpisode(site)
	default:
		w.t.Fatalf("no such command: %s", d.Cmd)
	}
}

func (w *world) order(d *datadriven.TestData, site string, arg func(string, string) string) {
	c := core.Command{Kind: core.CommandKind(d.CmdArgs[0].Key), By: arg("by", "ann"), Reason: strings.TrimSpace(d.Input), On: arg("on", "") == "true"}
	if h := arg("for", ""); h != "" {
		c.Hold = span(w.t, h)
	}
	ep, _ := w.episode(site)
	switch c.Kind {
	case core.CommandDrain, core.CommandRestore:
		c.Subject = w.subject(site)
	case core.CommandHold:
		c.EpisodeID = ep.ID
	case core.CommandApprove, core.CommandVeto:
		c.DecisionID = ep.DecisionID
		if n := arg("decision", ""); n != "" {
			c.DecisionID = core.DecisionID(ep.ID, int(number(w.t, n)))
		}
	case core.CommandBrake, core.CommandReconcile:
	}
	w.step(Input{Command: &c})
}

func (w *world) showRecord(site string) {
	ep, _ := w.episode(site)
	d := w.decision(ep.DecisionID)
	w.out = append(w.out, fmt.Sprintf("decision %d: %s, policy %s, plan %s, mode %s", d.N, d.Verdict, d.Policy, d.Plan, d.Mode), d.Sentence)
	for _, r := range d.Rulings {
		w.out = append(w.out, fmt.Sprintf("  %2d %-12s %-11s %s", r.N, r.Guard, r.Answer, r.Sentence))
	}
	for _, a := range d.Alternatives {
		w.out = append(w.out, fmt.Sprintf("  not %s (%s): %s", a.Policy, a.Verdict, a.Sentence))
	}
	if e := d.Effect; e != nil {
		w.out = append(w.out, fmt.Sprintf("  effect: %.0f/s move, afterwards %v of %v", e.Moved, e.After, e.Capacity))
	}
}

func (w *world) showEpisode(site string) {
	ep, ok := w.episode(site)
	if !ok {
		w.out = append(w.out, "no episode")
		return
	}
	open := "open"
	if ep.ClosedAt != nil {
		open = "closed"
	}
	w.out = append(w.out, fmt.Sprintf("%s, %s, worst %s, routing %s, %d decisions, %d actions, %d notices, paged %t, longest %.1f s",
		open, ep.Condition, ep.Worst, ep.Routing, ep.Decisions, len(ep.ActionIDs), ep.Notices, ep.Paged, float64(ep.LongestFailure)))
	for _, id := range ep.ActionIDs {
		a := w.actions[id]
		w.out = append(w.out, fmt.Sprintf("action %s attempt %d by %s: %s", a.Plan, a.Attempt, a.By, a.State))
	}
	for _, r := range w.snapshot().Routing {
		if r.Subject.Site == site {
			w.out = append(w.out, fmt.Sprintf("routing %s: %s %d %%", r.Subject, r.State, r.Weight))
		}
	}
}
