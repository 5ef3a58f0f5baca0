package decide

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// world is what surrounds the engine in tests: sites with a state that health would report, an edge, a hand
// that carries out intents, and a ledger that keeps records as JSON.
type world struct {
	replicas func(core.Observation) (members int, views []core.ReplicaView) // nil: the server is alone
	t        failer
	topo     core.Topology
	born     core.Topology // that the engine began with
	e        *Engine
	start    time.Time
	at       time.Time
	sick     map[core.Subject]state
	weight   map[string]float64       // by site, as the edge reports it
	parts    map[core.Subject]float64 // the same by service, where services are weighed apart
	noEdge   bool
	tilt     core.Tilt
	fresh    int // sites with fresh inputs; -1 for all
	demand   float64
	demands  map[string]float64 // of services with another demand
	hand     string             // works, ignores, refuses, fails, expires, blind, silent
	queue    []due
	ledger   map[string][]byte
	base     core.Snapshot // what the present engine started from
	inputs   []Input
	outputs  [][]byte
	out      []string
	links    map[string]core.LinkStanding
	shadow   bool // compare every observation with an engine restarted from the ledger
	quiet    bool
	wake     time.Time
	actions  map[string]core.Action
}

// failer is what testing.T and rapid.T have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// state is what is wrong with a subject, and since when.
type state struct {
	what   string
	since  time.Time
	signal string
	global []string
}

type due struct {
	at time.Time
	o  core.Outcome
}

func newWorld(t failer, topo core.Topology) *world {
	start := time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)
	w := &world{
		t: t, topo: topo, born: topo, start: start, at: start, sick: map[core.Subject]state{}, weight: map[string]float64{},
		fresh: -1, demand: 100, hand: "works", ledger: map[string][]byte{}, links: map[string]core.LinkStanding{}, shadow: true, actions: map[string]core.Action{},
	}
	for _, s := range topo.Sites {
		w.weight[s.Name] = 100
	}
	w.e = New(topo, core.Snapshot{})
	return w
}

// testTopology has the given sites, one service checkout on all of them, and the usual policies and plans.
func testTopology(mode core.Mode, sites, witnesses []string) core.Topology {
	t := core.Topology{
		Revision: 1, Witnesses: witnesses,
		Guards: core.Guards{MaxDrainedSites: 1, BudgetPerHour: 2, BudgetPerDay: 4, CloseAfter: 30 * time.Second},
		Plans: []core.Plan{
			{Name: "drain", Kind: core.PlanDrain, Moves: core.ScopeReads, Steps: []core.Step{
				{Target: "director", Weight: 0, Verify: core.VerifySpec{ShareBelow: 0.01, Within: 30}, OnFail: "stop"},
			}},
			{Name: "restore", Kind: core.PlanRestore, Moves: core.ScopeReads},
		},
		Policies: []core.Policy{
			{Name: "dead-service", Condition: core.Failing, Classes: []core.Class{core.ClassOutside, core.ClassInside}, Plan: "drain", Mode: mode},
			{Name: "isolated-site", Condition: core.Failing, Classes: []core.Class{core.ClassOutside, core.ClassSilence}, Plan: "drain", Mode: mode},
			{Name: "dead-edge", Condition: core.Failing, Classes: []core.Class{core.ClassOutside, core.ClassSymptom}, Plan: "drain", Mode: mode},
			{Name: "slow-site", Condition: core.Degraded, Classes: []core.Class{core.ClassOutside, core.ClassSymptom}, Plan: "drain", Mode: core.ModeApprove},
			{Name: "anomaly", Condition: core.Degraded, Classes: []core.Class{core.ClassSymptom}, Plan: "drain", Mode: mode},
			{Name: "healthy-again", Condition: core.Healthy, Plan: "restore", Mode: mode},
		},
	}
	for _, w := range []int{1, 10, 50, 100} {
		t.Plans[1].Steps = append(t.Plans[1].Steps, core.Step{
			Target: "director", Weight: w, Verify: core.VerifySpec{ShareAbove: 0.2, SuccessAbove: 0.99, Within: 30}, OnFail: "rollback",
		})
	}
	svc := core.Service{Name: "checkout", Entries: map[string]string{}}
	for _, s := range sites {
		t.Sites = append(t.Sites, core.Site{Name: s, Capacity: map[string]float64{"checkout": 1200}})
		svc.Entries[s] = "https://" + s + ".example.net/"
	}
	t.Services = []core.Service{svc}
	return t
}

func (w *world) subject(site string) core.Subject {
	return core.Subject{Site: site, Service: "checkout"}
}

// assess is what health would say of checkout at a site now.
func (w *world) assess(site string) core.Assessment { return w.assessOf(w.subject(site)) }

func (w *world) assessOf(sub core.Subject) core.Assessment {
	site := sub.Site
	st, ok := w.sick[sub]
	if !ok {
		st = state{what: "healthy", since: w.start.Add(-time.Hour)}
	}
	since := st.since
	a := core.Assessment{Subject: sub, Condition: core.Failing, Onset: &since, FailingSince: &since, Global: st.global}
	outside, inside, sig := core.ProbeDown, core.ProbeDown, st.signal
	classes := []core.Class{core.ClassOutside, core.ClassInside}
	switch st.what {
	case "healthy":
		a.Condition, a.Onset, a.FailingSince, a.HealthySince = core.Healthy, nil, nil, &since
		outside, inside, classes = core.ProbeUp, core.ProbeUp, nil
	case "suspect":
		a.Condition, a.Kind = core.Suspect, core.KindNoQuorum
		a.FailingSince, inside, classes = nil, core.ProbeUp, classes[:1]
	case "dead", "claimed": // claimed: health says failing, one vantage has seen it
		a.Kind = core.KindDeadService
	case "isolated":
		a.Kind, inside, classes = core.KindIsolatedSite, core.ProbeUnknown, []core.Class{core.ClassOutside, core.ClassSilence}
	case "dead-edge":
		a.Kind, inside, classes = core.KindDeadEdge, core.ProbeUp, []core.Class{core.ClassOutside, core.ClassSymptom}
	case "gray":
		a.Condition, a.Kind, a.FailingSince, inside = core.Degraded, core.KindGray, nil, core.ProbeUp
		classes = []core.Class{core.ClassOutside, core.ClassSymptom}
	case "slow":
		a.Condition, a.Kind, a.FailingSince, inside = core.Degraded, core.KindSlow, nil, core.ProbeUp
		outside, sig, classes = core.ProbeUp, core.SignalSlow, []core.Class{core.ClassOutside, core.ClassSymptom}
	case "anomaly":
		a.Condition, a.Kind, a.FailingSince, inside = core.Degraded, core.KindAnomaly, nil, core.ProbeUp
		outside, sig, classes = core.ProbeUp, core.SignalAnomaly, []core.Class{core.ClassSymptom}
	case "silent":
		a.Condition, a.Kind, a.FailingSince, inside = core.ConditionUnknown, core.KindSilent, nil, core.ProbeUnknown
		outside, sig, classes = core.ProbeUp, core.SignalSilence, []core.Class{core.ClassSilence}
	case "link":
		a.Condition, a.Kind, a.FailingSince, inside = core.Suspect, core.KindLink, nil, core.ProbeUp
		classes = []core.Class{core.ClassLink}
	case "unknown":
		a = core.Assessment{Subject: sub}
		outside, inside, classes = core.ProbeUnknown, core.ProbeUnknown, nil
	default:
		w.t.Fatalf("no such state: %s", st.what)
	}
	a.Signal = sig
	first := true
	for _, v := range w.topo.Vantages() {
		vote := core.Vote{Vantage: v, State: outside, At: w.at, Eligible: v != site}
		if v == site {
			vote.State = inside
		}
		if st.what == "suspect" || st.what == "link" || (st.what == "claimed" && v != site) {
			vote.State = core.ProbeUp
			if v != site && first {
				vote.State, first = core.ProbeDown, false
			}
		}
		if vote.State == core.ProbeDown || st.what == "slow" && v != site {
			vote.Signal = sig
		}
		a.Votes = append(a.Votes, vote)
	}
	for _, c := range classes {
		ev := core.Evidence{Class: c, Subject: sub, Signal: sig, Source: "probes", Path: "wan", Onset: since, Last: w.at}
		switch c {
		case core.ClassInside:
			ev.Source, ev.Path = site, "lan:"+site
		case core.ClassSymptom:
			ev.Source, ev.Path, ev.Signal = "director", "edge", core.SignalErrors
			if st.what == "anomaly" || st.what == "slow" {
				ev.Band, ev.Signal = &core.Band{Value: 9, Expected: 1, Upper: 2, Score: 1}, core.SignalAnomaly
			}
		case core.ClassSilence:
			ev.Source, ev.Path, ev.Signal = site, "control", core.SignalSilence
		case core.ClassUnknown, core.ClassOutside, core.ClassCause, core.ClassLink:
		}
		a.Evidence = append(a.Evidence, ev)
	}
	return a
}

func (w *world) traffic(site string) core.Traffic { return w.trafficOf(w.subject(site)) }

func (w *world) trafficOf(sub core.Subject) core.Traffic {
	site := sub.Site
	t := core.Traffic{Site: site, Service: sub.Service, At: w.at}
	if w.noEdge {
		return t
	}
	if p, ok := w.parts[sub]; ok {
		t.Known, t.WeightKnown, t.Weight, t.Requests, t.Count = true, true, p, w.demand, 10*w.demand
		t.Share, t.Success, t.ServiceSuccess, t.ServiceCount = 0.33, 1, 1, 30*w.demand
		return t
	}
	total, bad := 0.0, 0.0
	for _, s := range w.topo.Sites {
		total += w.weight[s.Name]
		switch w.sick[core.Subject{Site: s.Name, Service: sub.Service}].what {
		case "dead", "isolated", "dead-edge":
			bad += w.weight[s.Name]
		}
	}
	all := w.demand * float64(len(w.topo.Sites))
	if d, ok := w.demands[sub.Service]; ok {
		all = d * float64(len(w.topo.Sites))
	}
	t.Known, t.WeightKnown, t.Weight = true, true, w.weight[site]
	if total > 0 {
		t.Share, t.ServiceSuccess = w.weight[site]/total, 1-bad/total
	}
	t.Requests, t.Count, t.ServiceCount, t.Success = all*t.Share, 10*all*t.Share, 10*all, t.ServiceSuccess
	return t
}

func (w *world) observation() core.Observation {
	o := core.Observation{Replica: "server-1", At: w.at, Tilt: w.tilt}
	for i, v := range w.topo.Vantages() {
		kind := "site"
		if i >= len(w.topo.Sites) {
			kind = "witness"
		}
		up := w.sick[w.subject(v)].what != "isolated" && w.sick[w.subject(v)].what != "silent" && (w.fresh < 0 || o.FreshSites < w.fresh)
		if up {
			o.FreshSites++
		}
		o.Writers = append(o.Writers, core.Writer{Name: v, Kind: kind, LastAt: w.at, Fresh: up})
	}
	for _, s := range w.topo.Sites {
		for _, svc := range w.topo.Services {
			sub := core.Subject{Site: s.Name, Service: svc.Name}
			o.Assessments = append(o.Assessments, w.assessOf(sub))
			o.Traffic = append(o.Traffic, w.trafficOf(sub))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.links)) {
		o.Links = append(o.Links, w.links[name])
	}
	if w.replicas != nil {
		o.Members, o.Replicas = w.replicas(o)
	}
	return o
}

// copyState is what health would say of a link from now on; what it is complete to stands still.
func (w *world) copyState(name string, arg func(key, def string) string) {
	store, from, to, ok := core.SplitLinkName(name)
	if !ok {
		w.t.Fatalf("%q is no link", name)
	}
	l := core.LinkStanding{Link: name, Store: store, From: from, To: to, Declared: true, Reason: arg("reason", "")}
	figure := func(key string) *float64 {
		text := arg(key, "")
		if text == "" {
			return nil
		}
		v := span(w.t, text).Seconds()
		return &v
	}
	l.LagLower, l.LagUpper, l.Exposure = figure("lower"), figure("upper"), figure("exposure")
	if l.Exposure != nil {
		at := w.at.Add(-time.Duration(*l.Exposure * float64(time.Second)))
		l.CompleteTo = &at
	}
	w.links[name] = l
}

// step feeds one input, writes what comes out into the ledger and shows it.
func (w *world) step(in Input) Output {
	w.t.Helper()
	in.At = w.at
	if w.shadow && in.Observation != nil {
		restarted := New(w.topo, w.snapshot())
		restarted.takeMemory(w.e)
		a, b := encode(w.t, w.e.clone().Step(in).Changes), encode(w.t, restarted.Step(in).Changes)
		if a != b {
			w.t.Fatalf("at %s a restarted engine differs: %s", w.rel(w.at), difference(a, b))
		}
	}
	w.inputs = append(w.inputs, in)
	out := w.e.Step(in)
	w.outputs = append(w.outputs, []byte(encode(w.t, out)))
	w.wake = out.Wake
	w.commit(out.Changes)
	for _, i := range out.Intents {
		w.perform(i)
	}
	if !w.quiet {
		w.show(out)
	}
	return out
}

// maintain declares a maintenance for a time from now on; one of no time ends all of its subject.
func (w *world) maintain(sub core.Subject, lasts time.Duration) {
	w.t.Helper()
	w.topo.Changes = slices.Clone(w.topo.Changes)
	for i := range w.topo.Changes {
		if c := &w.topo.Changes[i]; lasts == 0 && c.Maintenance && c.About() == sub && c.At(w.at) {
			c.EndedAt, c.EndedBy = w.at, "admin ann"
		}
	}
	if lasts > 0 {
		w.topo.Changes = append(w.topo.Changes, core.DeclaredChange{
			ID: strconv.Itoa(len(w.topo.Changes)), What: "swap the disks", By: "admin ann", Site: sub.Site, Service: sub.Service, Start: w.at, End: w.at.Add(lasts), Maintenance: true,
		})
	}
	t := w.topo
	w.step(Input{Topology: &t})
}

// clone makes an engine in the same state, the memory of demand included.
func (e *Engine) clone() *Engine {
	snap := core.Snapshot{Brake: &e.brake}
	for _, ep := range e.episodes {
		snap.Episodes = append(snap.Episodes, *ep)
	}
	for _, a := range e.actions {
		snap.Actions = append(snap.Actions, *a)
	}
	snap.Intents = slices.Collect(maps.Values(e.intents))
	snap.Routing = e.Routing()
	for _, n := range e.notices {
		snap.Notices = append(snap.Notices, *n)
	}
	for name, over := range e.told {
		snap.Told = append(snap.Told, core.ToldChange{Site: name.site, ID: name.id, Over: over})
	}
	c := New(e.topo, snap)
	c.guards, c.obs = e.guards, e.obs
	c.takeMemory(e)
	return c
}

// takeMemory takes over what a restart loses on purpose: the demand of the last minutes, and when the engine
// was started. Without the first a new episode may not know its demand; the second gives the hand its time.
func (e *Engine) takeMemory(from *Engine) {
	e.started, e.blind = from.started, from.blind
	for k, h := range from.history {
		e.history[k] = slices.Clone(h)
	}
}

// difference shows two texts around the first place where they differ.
func difference(a, b string) string {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	from := max(0, i-200)
	return fmt.Sprintf("...%s\nbut ...%s", a[from:min(len(a), i+200)], b[from:min(len(b), i+200)])
}

func encode(t failer, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return string(b)
}

// recordKey says which field of a change is set and what it is the record of.
func recordKey(c core.Change) string {
	switch {
	case c.Episode != nil:
		return "episode/" + c.Episode.ID
	case c.Decision != nil:
		return "decision/" + c.Decision.ID
	case c.Action != nil:
		return "action/" + c.Action.ID
	case c.Intent != nil:
		return "intent/" + c.Intent.ID
	case c.Routing != nil:
		return "routing/" + c.Routing.Subject.Key()
	case c.Notice != nil:
		return "notice/" + c.Notice.ID
	case c.Brake != nil:
		return "brake"
	case c.Told != nil:
		return "told/" + c.Told.Site + "/" + c.Told.ID
	}
	return ""
}

func (w *world) commit(changes []core.Change) {
	seen := map[string]bool{}
	for _, c := range changes {
		k := recordKey(c)
		if k == "" {
			continue
		}
		_, exists := w.ledger[k]
		once := strings.HasPrefix(k, "intent/") || strings.HasPrefix(k, "decision/")
		if seen[k] || (once && exists) {
			w.t.Fatalf("record %s is written twice", k)
		}
		seen[k] = true
		w.ledger[k] = []byte(encode(w.t, c))
		if c.Action != nil {
			w.actions[c.Action.ID] = *c.Action
		}
	}
}

func (w *world) snapshot() core.Snapshot {
	var snap core.Snapshot
	for _, k := range slices.Sorted(maps.Keys(w.ledger)) {
		var c core.Change
		if err := json.Unmarshal(w.ledger[k], &c); err != nil {
			w.t.Fatalf("decode %s: %v", k, err)
		}
		switch {
		case c.Episode != nil:
			snap.Episodes = append(snap.Episodes, *c.Episode)
		case c.Action != nil:
			snap.Actions = append(snap.Actions, *c.Action)
		case c.Intent != nil:
			snap.Intents = append(snap.Intents, *c.Intent)
		case c.Routing != nil:
			snap.Routing = append(snap.Routing, *c.Routing)
		case c.Notice != nil:
			snap.Notices = append(snap.Notices, *c.Notice)
		case c.Brake != nil:
			snap.Brake = c.Brake
		case c.Told != nil:
			snap.Told = append(snap.Told, *c.Told)
		}
	}
	return snap
}

// perform is the hand: what becomes of an intent, and when.
func (w *world) perform(i core.Intent) {
	say := func(after time.Duration, kind core.OutcomeKind, a *core.Attempt) {
		w.queue = append(w.queue, due{w.at.Add(after), core.Outcome{
			IntentID: i.ID, ActionID: i.ActionID, Step: i.Step, Kind: kind, Attempt: a,
		}})
	}
	ok := &core.Attempt{N: 1, At: w.at, LatencyMS: 12, Status: 200, Result: "done"}
	switch w.hand {
	case "works":
		say(200*time.Millisecond, core.OutcomeAttempt, ok)
		say(200*time.Millisecond, core.OutcomeDone, nil)
		say(2*time.Second, core.OutcomeVerified, nil)
	case "ignores":
		say(200*time.Millisecond, core.OutcomeDone, ok)
		kind := core.OutcomeIneffective
		if i.Verify.ShareBelow == 0 && i.Verify.ShareAbove == 0 { // a step that asks for nothing is proven by nothing
			kind = core.OutcomeVerified
		}
		say(30*time.Second, kind, nil)
	case "refuses":
		say(200*time.Millisecond, core.OutcomeRefused, &core.Attempt{N: 1, At: w.at, Status: 412, Result: "refused"})
	case "fails":
		say(200*time.Millisecond, core.OutcomeFailed, &core.Attempt{N: 1, At: w.at, Status: 401, Result: "failed"})
	case "expires":
		say(2*time.Minute, core.OutcomeExpired, &core.Attempt{N: 9, At: w.at, Result: "retry"})
	case "blind":
		say(200*time.Millisecond, core.OutcomeDone, ok)
		say(30*time.Second, core.OutcomeCannotTell, nil)
	case "silent":
	default:
		w.t.Fatalf("no such hand: %s", w.hand)
	}
}

// deliver feeds the outcomes that are due; a command that is carried out changes the edge.
func (w *world) deliver() {
	slices.SortStableFunc(w.queue, func(a, b due) int { return a.at.Compare(b.at) })
	for len(w.queue) > 0 && !w.queue[0].at.After(w.at) {
		d := w.queue[0]
		w.queue = w.queue[1:]
		d.o.At = w.at
		if d.o.Kind == core.OutcomeDone && (w.hand == "works" || w.hand == "blind") {
			a := w.actions[d.o.ActionID]
			w.weight[a.Subject.Site] = float64(a.Steps[d.o.Step-1].Weight)
			for sub := range w.parts {
				if sub.Site == a.Subject.Site && (a.Subject.WholeSite() || sub == a.Subject) {
					w.parts[sub] = float64(a.Steps[d.o.Step-1].Weight)
				}
			}
		}
		if d.o.Kind == core.OutcomeVerified || d.o.Kind == core.OutcomeIneffective {
			t := w.traffic(w.actions[d.o.ActionID].Subject.Site)
			d.o.After = &t
		}
		w.step(Input{Outcome: &d.o})
	}
}

// run lets time pass, with an observation at every beat.
func (w *world) run(d, every time.Duration) {
	for end := w.at.Add(d); w.at.Before(end); {
		w.at = w.at.Add(every)
		o := w.observation()
		w.step(Input{Observation: &o})
		w.deliver()
	}
}

func (w *world) rel(t time.Time) string {
	return fmt.Sprintf("%.1fs", t.Sub(w.start).Seconds())
}

func (w *world) show(out Output) {
	for _, c := range out.Changes {
		if l := c.Line; l != nil {
			w.out = append(w.out, fmt.Sprintf("%8s  %-9s  %s", w.rel(l.At), l.Kind, l.Sentence))
		}
	}
	if r := out.Reply; r != nil {
		code := "ok"
		if !r.OK {
			code = r.Code
		}
		w.out = append(w.out, fmt.Sprintf("%8s  %-9s  %s", w.rel(w.at), "reply", code+": "+r.Sentence))
	}
}

// episode is the latest episode in the ledger that the site had.
func (w *world) episode(site string) (core.Episode, bool) {
	var out core.Episode
	found := false
	for _, ep := range w.snapshot().Episodes {
		if ep.Subject.Site == site && (!found || ep.OpenedAt.After(out.OpenedAt)) {
			out, found = ep, true
		}
	}
	return out, found
}

func (w *world) decision(id string) core.Decision {
	var c core.Change
	if err := json.Unmarshal(w.ledger["decision/"+id], &c); err != nil || c.Decision == nil {
		w.t.Fatalf("no decision %q: %v", id, err)
	}
	return *c.Decision
}
