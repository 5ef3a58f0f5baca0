package app

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/pagerduty"
	"github.com/evenkeel/evenkeel/remediations/webhook"
	"github.com/evenkeel/evenkeel/server/internal/act"
	"github.com/evenkeel/evenkeel/server/internal/api"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/decide"
	"github.com/evenkeel/evenkeel/server/internal/detect"
	"github.com/evenkeel/evenkeel/server/internal/ingest"
	"github.com/evenkeel/evenkeel/web"
)

// wireHand makes the targets and the hand.
func (s *Server) wireHand() error {
	targets := map[string]act.Sender{}
	s.askers = map[string]remediations.Preflighter{}
	for _, t := range s.config.Targets {
		target, err := newTarget(t, s.opts.Version)
		if err != nil {
			return err
		}
		targets[t.Name] = target
		s.askers[t.Name] = target
	}
	pager, err := s.pager()
	if err != nil {
		return err
	}
	s.hand = act.New(act.Options{
		Targets: targets, Edge: s.eyes, Identity: s.ledger.Identity, May: s.mayAct, BaseURL: s.config.Server.URL, Pager: pager,
		Outcomes:       func(o core.Outcome) { s.send(input{Input: decide.Input{At: o.At, Outcome: &o}}) },
		NoticeOutcomes: func(o core.NoticeOutcome) { s.send(input{Input: decide.Input{At: o.At, NoticeOutcome: &o}}) },
		Services: func(site string) []string {
			var out []string
			for _, service := range s.world.current().Services {
				if _, ok := service.Entries[site]; ok {
					out = append(out, service.Name)
				}
			}
			return out
		},
		Log: s.room("act"), Registry: s.registry,
	})
	return nil
}

// newTarget makes the sender of one target.
func newTarget(t config.Target, version string) (*webhook.Target, error) {
	secrets, err := secretsOf(t)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	target, err := webhook.New(webhook.Options{
		URL: t.URL, Secrets: secrets, Timeout: t.Timeout.D(), AllowPrivate: t.AllowPrivate, UserAgent: "evenkeel/" + version,
	})
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	return target, nil
}

// secretsOf are the signing secrets of a target, the newest first.
func secretsOf(t config.Target) ([]remediations.Secret, error) {
	var out []remediations.Secret
	for _, text := range []core.Secret{t.Secret, t.OldSecret} {
		if text == "" {
			continue
		}
		secret, err := remediations.ParseSecret(text.Reveal())
		if err != nil {
			return nil, err
		}
		out = append(out, secret)
	}
	return out, nil
}

// pager is the way to people, nil when none is configured.
func (s *Server) pager() (act.Pager, error) {
	if len(s.config.Notify) == 0 {
		return nil, nil //nolint:nilnil // no pager is a choice, not a failure
	}
	n := s.config.Notify[0]
	key, err := pagerduty.ParseKey(n.RoutingKey.Reveal())
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	client, err := pagerduty.New(pagerduty.Options{Key: key, BaseURL: n.URL, AllowPrivate: n.AllowPrivate})
	if err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	return pagerDuty{client: client, baseURL: s.config.Server.URL}, nil
}

// send hands an input to the loop. It waits when the loop is busy, and gives up only when the server stops: what
// was on its way is then performed again by the next start.
func (s *Server) send(in input) {
	select {
	case s.inputs <- in:
	case <-s.stopping:
	}
}

// Command carries an operator's order to the loop and waits until its outcome is on record.
//
// A replica that does not lead hands it to the one that does.
func (s *Server) Command(ctx context.Context, c core.Command) (core.Reply, error) {
	if why := s.pending(); why != "" {
		return core.Reply{}, &core.Error{
			Code: core.CodeUnavailable, Message: "nothing is commanded in the name of this ledger yet: " + why, Hint: "see evenkeel-server preflight, then evenkeel-server adopt",
		}
	}
	if s.several() && !s.ledger.Leading() {
		if l := s.ledger.Leadership(); !l.Quorum {
			return core.Reply{}, &core.Error{
				Code: core.CodeUnavailable, Message: "no quorum, so no order can be taken: " + l.Reason,
				Hint: "give it to a replica that reaches the others; when none does, command the executor with: evenkeel-server break-glass",
			}
		}
		ctx, cancel := context.WithTimeout(ctx, orderGood)
		defer cancel()
		return s.ledger.Order(ctx, c)
	}
	if reason := s.loop.static.Load(); reason != nil {
		return core.Reply{}, &core.Error{
			Code: core.CodeUnavailable, Message: *reason, Hint: "look at /readyz?verbose; nothing is done that is not on record",
		}
	}
	reply := make(chan core.Reply, 1)
	select {
	case s.inputs <- input{Input: decide.Input{Command: &c}, reply: reply, caller: ctx, given: time.Now()}:
	case <-ctx.Done():
		return core.Reply{}, ctx.Err()
	}
	select {
	case r := <-reply:
		if r.Code == codeInDoubt {
			return core.Reply{}, &core.Error{Code: core.CodeUnavailable, Message: r.Sentence, Hint: "look at the timeline before giving it again"}
		}
		return r, nil
	case <-ctx.Done():
		return core.Reply{}, &core.Error{
			Code: core.CodeUnavailable, Message: "the order was taken but its outcome is not known", Err: ctx.Err(),
			Hint: "look at the timeline before giving it again",
		}
	}
}

// newWatchman makes the watches of the configuration.
func (s *Server) newWatchman() (*detect.Watchman, error) {
	var watches []detect.Watch
	special, err := newSpecials(s.config)
	if err != nil {
		return nil, err
	}
	s.special = special
	for _, w := range s.config.Watches {
		watches = append(watches, w.Detect())
	}
	return detect.New(s.watching(watches, newOwnSigns(s.room("detect"), s.eyes.Signals).take))
}

// watching is all that the watches are told and asked for.
func (s *Server) watching(watches []detect.Watch, signals func([]core.Signal)) detect.Options {
	return detect.Options{
		Watches: watches, Querier: s.store, Writer: s.store, Signals: signals, Log: s.room("detect"), Registry: s.registry,
		Mine: s.sharesOf(watches), Zone: s.zone, Marks: s.marksBetween,
		Dir: filepath.Join(s.opts.DataDir, "detect"),
	}
}

// zone is the civil time of a site of the configuration.
func (s *Server) zone(site string) *time.Location { return zoneOf(s.config, site) }

func zoneOf(c config.Config, site string) *time.Location {
	for _, x := range c.Sites {
		if x.Name == site {
			if zone, err := time.LoadLocation(x.TimeZone); err == nil { // checked when the file was read
				return zone
			}
		}
	}
	return nil
}

// shareable is how often a watch may be asked and still be left to another replica: a cluster shows what was written some
// seconds later, and what is older than three turns counts as unknown.
const shareable = 5 * time.Second

// sharesOf says which watches this replica asks; nil: all of them.
func (s *Server) sharesOf(watches []detect.Watch) func(watch string) bool {
	if !s.config.Storage.ShareDetectors {
		return nil
	}
	quick := map[string]bool{}
	for _, w := range watches {
		quick[w.Name] = w.Cron == "" && w.Every < shareable
	}
	return func(watch string) bool {
		return quick[watch] || detect.Share(watch, s.living()) == s.opts.Replica
	}
}

// living are the replicas that were heard lately and whose stores work, this one included.
func (s *Server) living() []string {
	out := []string{s.opts.Replica}
	for _, v := range s.ledger.Views() {
		if v.Replica != s.opts.Replica && v.Unfit == "" && time.Since(v.Heard) < livingFor {
			out = append(out, v.Replica)
		}
	}
	return out
}

// handler is everything that is served on the one listener.
func (s *Server) handler(said *opinions) (http.Handler, error) {
	door := ingest.New(ingest.Options{
		Store: s.store, Facts: s.eyes, Auth: s.ledger, States: s, Now: time.Now, Log: s.room("ingest"), Registry: s.registry,
		Revision:  func() int64 { return s.world.current().Revision },
		Retention: s.config.Storage.Retention.D(), ProbeInterval: s.config.Probes.Interval.D(),
	})
	return api.New(api.Options{
		Records: s.ledger, Live: s, Commander: s, Tokens: s.ledger, Self: s,
		Parts: []api.PartCheck{
			// One of several can be read while it can take no order.
			{Name: "ledger", Ready: s.ledger.Ready, ForOrders: s.several()},
			{Name: "store", Ready: func(context.Context) error { return s.store.Ready() }},
			{Name: "config", Ready: func(context.Context) error { return nil }}, // a server without one does not start
			{Name: "loop", Ready: func(context.Context) error { return s.loop.ready() }, ForOrders: s.several()},
			{Name: "detect", Ready: func(context.Context) error { return s.watchman.Behind() }, Warns: true},
		},
		Links: s, Changes: changes{s.ledger, s.marks.stale}, Opinions: said, Marks: &s.marks, Watches: s.watchman, Control: s,
		Ingest: door.Handler(), Prometheus: s.store.Handler(), Web: web.Files(),
		Metrics: promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}),
		Hosts:   api.HostsOf(s.config.Server.URL),
		Version: s.opts.Version, Started: time.Now(), Log: s.room("api"), Registry: s.registry,
	})
}

// Topology is the world as configured.
func (s *Server) Topology() core.Topology { return s.world.current() }

// Observation is the latest one.
func (s *Server) Observation() (core.Observation, bool) {
	o := s.eyes.Observation()
	return o, !o.At.IsZero()
}

// Stance says whether the system acts, as far as this replica knows, and what its statistics are worth.
func (s *Server) Stance() api.Stance {
	out := s.stance()
	out.Statistics, out.Special = s.calibration.Load(), s.special.now(time.Now())
	return out
}

func (s *Server) stance() api.Stance {
	if reason := s.standing(); reason != "" {
		return api.Stance{Reason: reason}
	}
	if brake := s.loop.brake.Load(); brake != nil && brake.On {
		return api.Stance{Reason: "the brake is on, by " + brake.By + ": " + brake.Reason}
	}
	t := s.world.current()
	if !slices.ContainsFunc(t.Policies, func(p core.Policy) bool { return p.Mode == core.ModeAutomatic }) {
		return api.Stance{Reason: "no policy is in automatic mode: nothing acts by itself"}
	}
	if blind := blindness(s.eyes.Observation()); blind != "" {
		return api.Stance{Reason: blind}
	}
	if refused := s.refused(); refused != "" {
		return api.Stance{Reason: refused}
	}
	return api.Stance{Acting: true}
}

// standing is why nothing can be decided or recorded, empty when it can.
func (s *Server) standing() string {
	if why := s.pending(); why != "" {
		return why
	}
	if reason := s.loop.static.Load(); reason != nil {
		return *reason
	}
	switch l := s.ledger.Leadership(); {
	case !l.Quorum:
		return "no quorum, so nothing acts: " + l.Reason
	case s.several() && l.Leader == "":
		return l.Reason
	}
	return ""
}

// blindness is why nothing could act now whatever happened, empty when it could: without the edge no action can be
// verified, and without two locations nobody can be accused.
func blindness(o core.Observation) string {
	edge := slices.ContainsFunc(o.Writers, func(w core.Writer) bool { return w.Kind == "edge" && w.Fresh })
	switch {
	case !edge:
		return "no fresh data from the edge: nothing can act, for nothing could be verified"
	case o.FreshSites < core.EnoughSites:
		return "fresh data from fewer than two locations: nobody can be accused"
	case o.Tilt.On:
		return "this replica doubts itself: " + o.Tilt.Reason
	}
	return ""
}

// AgentState is what the agent at site works by, as soon as it is newer than after. It is an ingest.AgentStates.
func (s *Server) AgentState(ctx context.Context, site string, after ingest.Revision) (ingest.AgentState, error) {
	identity := s.ledger.Identity()
	for {
		topology, changed := s.world.get()
		now := ingest.Revision{ClusterID: identity.ClusterID, Epoch: identity.Epoch, Revision: topology.Revision}
		if newer(now, after) {
			return stateOf(topology, now, site)
		}
		select {
		case <-ctx.Done():
			return ingest.AgentState{}, ctx.Err()
		case <-changed:
		}
	}
}

// newer reports whether an agent that knows b should hear of a. Another ledger's word is always news.
func newer(a, b ingest.Revision) bool {
	if a.ClusterID != b.ClusterID {
		return true
	}
	return a.Epoch > b.Epoch || (a.Epoch == b.Epoch && a.Revision > b.Revision)
}

// stateOf tells one location what to probe: the user path of every service at every site, its own included. The
// vantages of a target are spread over the interval, so that together they look more often than each of them.
func stateOf(t core.Topology, revision ingest.Revision, site string) (ingest.AgentState, error) {
	vantages := t.Vantages()
	place := slices.Index(vantages, site)
	if place < 0 {
		return ingest.AgentState{}, &core.Error{
			Code: core.CodeNotFound, Message: "the configuration has no site or witness " + site,
			Hint: "add it to evenkeel.yaml, or use the token of a site that is there",
		}
	}
	out := ingest.AgentState{Revision: revision, Site: site, Kind: "site", Witnesses: t.Witnesses}
	if place >= len(t.Sites) {
		out.Kind = "witness"
	}
	for _, s := range t.Sites {
		out.Sites = append(out.Sites, s.Name)
	}
	for _, p := range append(entries(t), t.Probes...) {
		if slices.Contains(p.From, site) {
			out.Probes = append(out.Probes, question(t, p, vantages, site))
		}
	}
	return out, nil
}

// entries are the probes of the services' entries, which every location makes.
func entries(t core.Topology) []core.Probe {
	var out []core.Probe
	for _, service := range t.Services {
		for _, target := range t.Serving(service.Name) {
			kind, _ := core.ProbeKind(service.Entries[target])
			out = append(out, core.Probe{
				Name: service.Name + "-" + kind, TargetSite: target, Service: service.Name, Path: "user",
				URL: service.Entries[target], Expect: service.Expect[target], From: t.Vantages(),
			})
		}
	}
	return out
}

// question is the probe as the agent at site is told. An agent that knows only plain http would leave options out and
// accuse wrongly, so http with options is a kind of its own, which such an agent refuses.
func question(t core.Topology, p core.Probe, vantages []string, site string) ingest.Probe {
	interval := t.Probe.Interval.Milliseconds()
	kind, _ := core.ProbeKind(p.URL)
	out := ingest.Probe{
		Name: p.Name, TargetSite: p.TargetSite, Service: p.Service, Path: p.Path, Kind: kind, URL: p.URL,
		IntervalMS: interval, DeadlineMS: t.Probe.Deadline.Milliseconds(), PhaseMS: phase(vantages, site, p.TargetSite, interval),
	}
	if !p.Expect.Empty() {
		out.Options = &p.Expect
		if kind == "http" {
			out.Kind = "http-expect"
		}
	}
	return out
}

// phase is when in each interval, in milliseconds, the vantage probes the target: the others evenly spread, the
// target's own agent between the first two of them.
func phase(vantages []string, vantage, target string, interval int64) int64 {
	others := slices.DeleteFunc(slices.Clone(vantages), func(v string) bool { return v == target })
	gap := interval / int64(max(len(others), 1))
	if vantage == target {
		return gap / 2
	}
	return gap * int64(slices.Index(others, vantage))
}
