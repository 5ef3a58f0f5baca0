package health

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const tickLen = 50 * time.Millisecond

// world is a small simulated world: agents that probe as the real ones do, an edge that counts, and a tracker
// that is asked after every instant at which something arrived or its wake was due.
type world struct {
	tb       testing.TB
	topo     core.Topology
	tracker  *Tracker
	start    time.Time
	now      time.Time
	rng      *rand.Rand
	wake     time.Time
	facts    int  // arrived at this instant
	told     bool // something else than a fact changed since the last judgement
	judged   map[string]string
	last     core.Observation
	out      strings.Builder
	probes   map[string]*prober
	order    []string
	arriving []arrival
	routing  []core.Routing

	down    map[string]string        // subject -> reason, for everybody
	outside map[string]string        // subject -> reason, from outside only
	inside  map[string]string        // subject -> reason, from inside only
	cut     map[string]string        // "from>to" -> reason, that direction only
	private map[string]string        // "from>to" -> reason, private path
	further map[string]string        // subject -> reason, a further user-path probe; nobody makes it before the first
	loss    map[string]float64       // subject or "from>to" -> share of probes that fail
	took    map[string]time.Duration // subject -> duration of a success
	silent  map[string]bool          // writer whose facts do not arrive
	skew    map[string]time.Duration // agent clock minus ours
	naive   map[string]bool          // agent whose clock offset is not known yet
	rate    map[string]float64       // subject -> requests/s at the edge
	errors  map[string]float64       // subject -> share of them that fail
	counter map[string]float64
	copies  []*linkAgent

	detectors []core.Signal // repeated at their intervals
	frozen    bool          // the server stands still: facts wait
	waiting   []core.Fact
}

type prober struct {
	from, site, service string
	private             bool
	next                time.Time
}

// linkAgent repeats what an agent says of one end of a link.
type linkAgent struct {
	fact core.Fact
	next time.Time
}

type arrival struct {
	at   time.Time
	fact core.Fact
}

func testTopology(sites, witnesses, services []string) core.Topology {
	topo := core.Topology{Witnesses: witnesses, Probe: core.DefaultProbeTiming()}
	for _, s := range sites {
		topo.Sites = append(topo.Sites, core.Site{Name: s})
	}
	for _, name := range services {
		svc := core.Service{Name: name, Entries: map[string]string{}, Objective: core.Objective{LatencyP99: 400 * time.Millisecond}}
		for _, s := range sites {
			svc.Entries[s] = "http://" + s
		}
		topo.Services = append(topo.Services, svc)
	}
	return topo
}

func newWorld(tb testing.TB, topo core.Topology) *world {
	w := &world{
		tb: tb, topo: topo, tracker: New("r1", topo), start: time.Unix(1_700_000_000, 0).UTC(), rng: rand.New(rand.NewPCG(7, 2026)),
		judged: map[string]string{}, probes: map[string]*prober{}, down: map[string]string{}, outside: map[string]string{},
		inside: map[string]string{}, cut: map[string]string{}, private: map[string]string{}, further: map[string]string{}, loss: map[string]float64{},
		took: map[string]time.Duration{}, silent: map[string]bool{}, skew: map[string]time.Duration{}, naive: map[string]bool{},
		rate: map[string]float64{}, errors: map[string]float64{}, counter: map[string]float64{},
	}
	w.now = w.start
	vantages := topo.Vantages()
	for i, v := range vantages {
		for _, svc := range topo.Services {
			for _, site := range topo.Serving(svc.Name) {
				for _, private := range []bool{false, true} {
					if private && v == site {
						continue
					}
					id := fmt.Sprintf("%s>%s/%s/%t", v, site, svc.Name, private)
					phase := time.Duration(i) * time.Second / time.Duration(len(vantages))
					w.probes[id] = &prober{from: v, site: site, service: svc.Name, private: private, next: w.now.Add(phase.Truncate(tickLen))}
					w.order = append(w.order, id)
				}
			}
		}
	}
	return w
}

// do obeys one line of a story.
func (w *world) do(line string) error {
	f := strings.Fields(line)
	w.told = true
	arg := func(i int) string {
		if i < len(f) {
			return f[i]
		}
		return ""
	}
	switch {
	case f[0] == "wait":
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			return err
		}
		w.run(d)
		return nil
	case f[0] == "heal":
		clear(w.down)
		clear(w.outside)
		clear(w.inside)
		clear(w.cut)
		clear(w.private)
		clear(w.loss)
		clear(w.took)
		clear(w.silent)
		clear(w.errors)
		return nil
	case f[0] == "server" && arg(1) == "pauses":
		d, err := time.ParseDuration(arg(2))
		if err != nil {
			return err
		}
		w.frozen = true
		w.run(d)
		w.frozen = false
		w.tracker.Paused(d, w.now)
		for _, f := range w.waiting {
			w.send(f)
		}
		w.waiting = nil
		return nil
	case f[0] == "server" && arg(1) == "clock":
		d, err := time.ParseDuration(arg(2))
		if err != nil {
			return err
		}
		w.tracker.ClockJumped(d, w.now)
		return nil
	case f[0] == "canary":
		w.tracker.Canary(arg(1) == "ok", w.now)
		return nil
	case f[0] == "route":
		sub := w.subject(arg(1))
		states := map[string]core.RoutingState{"active": core.RoutingActive, "draining": core.RoutingDraining, "drained": core.RoutingDrained, "restoring": core.RoutingRestoring}
		w.routing = slices.DeleteFunc(w.routing, func(r core.Routing) bool { return r.Subject == sub })
		w.routing = append(w.routing, core.Routing{Subject: sub, State: states[arg(2)], ChangedAt: w.now})
		return nil
	case f[0] == "detector":
		sub := w.subject(arg(2))
		s := core.Signal{
			Detector: arg(1), Subject: sub, Class: core.ClassSymptom, At: w.now, Interval: 10 * time.Second,
			State: core.DetectorNormal, Value: 2, Expected: 2, Lower: 1, Upper: 3, HasBand: true, FalseAlarms: 1,
		}
		if slices.Contains(f, "anomalous") {
			s.State, s.Value, s.Score = core.DetectorAnomalous, 9, 1-1e-7
		}
		if slices.Contains(f, "barely") { // as odd as is seen once a week
			s.Score = 1 - 1/(7*24*360.)
		}
		if slices.Contains(f, "failed") { // its query
			s.State = core.DetectorUnknown
		}
		if slices.Contains(f, "cause") {
			s.Class = core.ClassCause
		}
		if i := slices.Index(f, "from"); i >= 0 {
			s.Labels = map[string]string{"site": arg(i + 1)}
		}
		if i := slices.Index(f, "in"); i >= 0 {
			s.Group = arg(i + 1)
		}
		w.detectors = slices.DeleteFunc(w.detectors, func(o core.Signal) bool {
			return o.Detector == s.Detector && o.Subject == s.Subject && maps.Equal(o.Labels, s.Labels)
		})
		w.signal(s)
		w.judge()
		if !slices.Contains(f, "once") {
			w.detectors = append(w.detectors, s)
		}
		return nil
	case f[0] == "edge":
		return w.edge(f)
	case f[0] == "clock":
		d, err := time.ParseDuration(arg(2))
		w.skew[arg(1)] = d
		w.naive[arg(1)] = arg(3) == "unknown"
		return err
	}
	if arg(1) == "source" || arg(1) == "target" {
		return w.replicate(f)
	}
	switch arg(1) {
	case "down":
		w.down[f[0]] = arg(2)
	case "down-outside":
		w.outside[f[0]] = arg(2)
	case "down-inside":
		w.inside[f[0]] = arg(2)
	case "cut":
		w.cut[f[0]] = "timeout"
	case "probe-error":
		w.cut[f[0]] = core.ReasonProbeError
	case "cut-both":
		from, to, _ := strings.Cut(f[0], ">")
		w.cut[from+">"+to], w.cut[to+">"+from] = "timeout", "timeout"
	case "private-cut":
		w.private[f[0]] = "timeout"
	case "api-up":
		w.further[f[0]] = ""
	case "api-down":
		w.further[f[0]] = arg(2)
	case "backbone-down":
		for _, v := range w.topo.Vantages() {
			if v != f[0] {
				w.private[v+">"+f[0]] = arg(2)
			}
		}
	case "blind":
		for _, s := range w.topo.Sites {
			if s.Name != f[0] {
				w.cut[f[0]+">"+s.Name] = "timeout"
			}
		}
	case "loses":
		n, err := strconv.ParseFloat(strings.TrimSuffix(arg(2), "%"), 64)
		w.loss[f[0]] = n / 100
		return err
	case "takes":
		d, err := time.ParseDuration(arg(2))
		w.took[f[0]] = d
		return err
	case "silent":
		w.silent[f[0]] = true
	case "loud":
		delete(w.silent, f[0])
	case "up":
		for _, m := range []map[string]string{w.down, w.outside, w.inside, w.cut} {
			delete(m, f[0])
		}
		delete(w.loss, f[0])
	default:
		return fmt.Errorf("nobody knows what %q means", line)
	}
	return nil
}

// replicate obeys "orders:fra>ams target caught_up 0.1..0.3 exposure 0.4 channel c reason r" and "orders:fra>ams target quiet":
// the agent at the end says so every five seconds.
func (w *world) replicate(f []string) error {
	_, from, to, ok := core.SplitLinkName(f[0])
	if !ok {
		return fmt.Errorf("%q is no link", f[0])
	}
	x := core.Fact{Kind: core.FactLink, Site: from, Target: f[0], Interval: 5 * time.Second, Link: &core.LinkFigures{End: f[1]}}
	if f[1] == "target" {
		x.Site = to
	}
	number := func(text string) *float64 {
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil
		}
		return &n
	}
	for i := 3; i < len(f); i++ {
		next := ""
		if i+1 < len(f) {
			next = f[i+1]
		}
		switch lower, upper, bounds := strings.Cut(f[i], ".."); {
		case bounds:
			x.Link.Lower, x.Link.Upper = number(lower), number(upper)
			continue
		case f[i] == "exposure":
			x.Link.Exposure = number(next)
		case f[i] == "channel":
			x.Link.Channel = next
		case f[i] == "reason":
			x.Reason = next
		case f[i] == "by":
			x.Site = next
		default:
			return fmt.Errorf("nobody knows what %q means of a link", f[i])
		}
		i++
	}
	w.copies = slices.DeleteFunc(w.copies, func(a *linkAgent) bool {
		return a.fact.Target == x.Target && a.fact.Site == x.Site && a.fact.Link.End == x.Link.End && a.fact.Link.Channel == x.Link.Channel
	})
	if f[2] == "quiet" {
		return nil
	}
	var state core.LinkState
	if err := state.UnmarshalText([]byte(f[2])); err != nil {
		return err
	}
	x.State = uint8(state)
	w.copies = append(w.copies, &linkAgent{fact: x, next: w.now})
	return nil
}

// links lets the agents look at replication. An exposure that was said once is as old as the look.
func (w *world) links() {
	for _, a := range w.copies {
		if !w.now.Before(a.next) {
			f := a.fact
			f.AgentAt = w.now
			w.send(f)
			a.next = w.now.Add(f.Interval)
		}
	}
}

// signal lets a detector speak now.
func (w *world) signal(s core.Signal) {
	s.At = w.now
	w.tracker.Signal(s)
	w.facts++
}

// watches let the detectors repeat what they said.
func (w *world) watches() {
	for _, s := range w.detectors {
		if w.now.Sub(s.At)%s.Interval == 0 {
			w.signal(s)
		}
	}
}

// edge obeys "edge sends fra/checkout 100 failing 40%", "edge restarts" and "edge weight fra/checkout 0".
func (w *world) edge(f []string) error {
	switch f[1] {
	case "sends":
		n, err := strconv.ParseFloat(f[3], 64)
		if err != nil {
			return err
		}
		w.rate[f[2]], w.errors[f[2]] = n, 0
		if len(f) > 5 {
			p, err := strconv.ParseFloat(strings.TrimSuffix(f[5], "%"), 64)
			if err != nil {
				return err
			}
			w.errors[f[2]] = p / 100
		}
	case "restarts":
		clear(w.counter)
	case "weight":
		n, err := strconv.ParseFloat(f[3], 64)
		if err != nil {
			return err
		}
		sub := w.subject(f[2])
		w.send(core.Fact{
			Kind: core.FactEdgeWeight, Site: "director", TargetSite: sub.Site, Service: sub.Service, Value: n,
			AgentAt: w.now, Interval: time.Second,
		})
	default:
		return fmt.Errorf("the edge cannot %q", f[1])
	}
	return nil
}

func (w *world) subject(text string) core.Subject {
	site, service, _ := strings.Cut(text, "/")
	return core.Subject{Site: site, Service: service}
}

// run lets time go by.
func (w *world) run(d time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(tickLen)
		w.facts = 0
		w.agents()
		w.edges()
		w.links()
		w.watches()
		slices.SortStableFunc(w.arriving, func(a, b arrival) int { return a.at.Compare(b.at) })
		for len(w.arriving) > 0 && !w.arriving[0].at.After(w.now) {
			w.send(w.arriving[0].fact)
			w.arriving = w.arriving[1:]
		}
		if !w.frozen {
			w.judge()
		}
	}
}

func (w *world) agents() {
	if w.now.Sub(w.start)%time.Second == 0 {
		for _, v := range w.topo.Vantages() {
			w.send(core.Fact{Kind: core.FactHeartbeat, Site: v, AgentAt: w.now, Interval: time.Second})
		}
	}
	for _, id := range w.order {
		p := w.probes[id]
		if w.now.Before(p.next) {
			continue
		}
		f := core.Fact{
			Kind: core.FactProbe, Site: p.from, TargetSite: p.site, Service: p.service, Target: p.service + "-http",
			Path: "user", State: uint8(core.ProbeUp), Value: 0.02, Interval: time.Second,
		}
		sub := p.site + "/" + p.service
		if d, ok := w.took[sub]; ok {
			f.Value = d.Seconds()
		}
		reason := w.verdict(p, sub)
		if p.private {
			f.Path = "private"
			reason = w.private[p.from+">"+p.site]
		}
		p.next = p.next.Add(time.Second)
		took := time.Duration(0)
		if reason != "" {
			f.State, f.Reason = uint8(core.ProbeDown), reason
			if reason == core.ReasonProbeError {
				f.State = uint8(core.ProbeUnknown)
			}
			if reason == core.ReasonTimeout {
				took = 800 * time.Millisecond
			}
			p.next = p.next.Add(-500 * time.Millisecond)
			if e := w.now.Add(took + tickLen); p.next.Before(e) {
				p.next = e
			}
		}
		f.AgentAt = w.now.Add(took)
		w.arriving = append(w.arriving, arrival{f.AgentAt, f})
		if api, made := w.further[sub]; made && !p.private {
			f.Target, f.State, f.Reason = p.service+"-api", uint8(core.ProbeUp), cmp.Or(api, w.cut[p.from+">"+p.site])
			if f.Reason != "" {
				f.State = uint8(core.ProbeDown)
			}
			w.arriving = append(w.arriving, arrival{f.AgentAt, f})
		}
	}
}

func (w *world) verdict(p *prober, sub string) string {
	for _, reason := range []string{w.cut[p.from+">"+p.site], w.down[sub]} {
		if reason != "" {
			return reason
		}
	}
	if p.from == p.site {
		return w.inside[sub]
	}
	if r := w.outside[sub]; r != "" {
		return r
	}
	for _, k := range []string{sub, p.from + ">" + p.site, "everything"} {
		if l := w.loss[k]; l > 0 && !p.private && w.rng.Float64() < l {
			return core.ReasonTimeout
		}
	}
	return ""
}

func (w *world) edges() {
	if len(w.rate) == 0 || w.now.Sub(w.start)%time.Second != 0 {
		return
	}
	for _, s := range w.tracker.subjects {
		sub := s.subject.Key()
		rate, ok := w.rate[sub]
		if !ok {
			continue
		}
		w.counter[sub+"2xx"] += rate * (1 - w.errors[sub])
		w.counter[sub+"5xx"] += rate * w.errors[sub]
		for _, class := range []string{"2xx", "5xx"} {
			w.send(core.Fact{
				Kind: core.FactEdgeRequests, Site: "director", TargetSite: s.subject.Site, Service: s.subject.Service,
				Reason: class, Value: w.counter[sub+class], AgentAt: w.now, Interval: time.Second,
			})
		}
	}
}

// send lets a fact arrive now, with its writer's clock.
func (w *world) send(f core.Fact) {
	if w.silent[f.Site] {
		return
	}
	if w.frozen {
		f.AgentAt = f.AgentAt.Add(w.skew[f.Site])
		f.ClockOffset, f.ClockKnown = w.skew[f.Site], !w.naive[f.Site]
		w.waiting = append(w.waiting, f)
		return
	}
	if !f.ClockKnown {
		f.AgentAt = f.AgentAt.Add(w.skew[f.Site])
		f.ClockOffset, f.ClockKnown = w.skew[f.Site], !w.naive[f.Site]
	}
	f.ReceivedAt = w.now
	w.facts++
	w.tracker.Fact(f, w.now)
}

// judge asks the tracker and writes down what is new in its answer. It also holds the tracker to its word about
// when it wants to be woken.
func (w *world) judge() {
	due := !w.wake.IsZero() && !w.now.Before(w.wake)
	w.last = w.tracker.Judge(w.now, w.routing)
	for _, a := range w.last.Assessments {
		say := a.Condition.String()
		if a.Kind != "" {
			say += " " + a.Kind
		}
		if len(a.Global) > 0 {
			say += " global"
		}
		k := a.Subject.Key()
		if w.judged[k] == say {
			continue
		}
		if w.facts == 0 && !due && !w.told && w.judged[k] != "" {
			w.tb.Errorf("%s: %s changed from %q to %q without a fact before the wake at %s", w.at(), k, w.judged[k], say, w.wake)
		}
		w.judged[k] = say
		fmt.Fprintf(&w.out, "%s  %s: %s | %s\n", w.at(), a.Subject, say, a.Sentence)
	}
	say := ""
	if w.last.Tilt.On {
		say = w.last.Tilt.Reason
	}
	if w.judged["tilt"] != say {
		w.judged["tilt"] = say
		if say == "" {
			say = "no doubt any more"
		}
		fmt.Fprintf(&w.out, "%s  this replica: %s\n", w.at(), say)
	}
	for _, l := range w.last.Links {
		say := l.State.String() + l.Reason
		if w.judged[l.Link] == say {
			continue
		}
		if w.facts == 0 && !due && !w.told && w.judged[l.Link] != "" {
			w.tb.Errorf("%s: %s changed from %q to %q without a fact before the wake at %s", w.at(), l.Link, w.judged[l.Link], say, w.wake)
		}
		w.judged[l.Link] = say
		fmt.Fprintf(&w.out, "%s  %s | %s\n", w.at(), l.Link, l.Sentence)
	}
	w.told = false
	w.wake = w.tracker.NextWake(w.now)
	if !w.wake.IsZero() && !w.wake.After(w.now) {
		w.tb.Errorf("%s: wake %s is not after now", w.at(), w.wake)
	}
	w.invariants()
}

// invariants hold after every judgement of every story.
func (w *world) invariants() {
	for _, a := range w.last.Assessments {
		checkAssessment(w.tb, a)
	}
	for _, l := range w.last.Links {
		checkLink(w.tb, l)
	}
}

func (w *world) at() string { return fmt.Sprintf("%6.2f", w.now.Sub(w.start).Seconds()) }
