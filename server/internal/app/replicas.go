package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/api"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
)

const (
	publishEvery = time.Second
	publishWait  = 2 * time.Second
	routingEvery = time.Second
	storeEvery   = 2 * time.Second
	livingFor    = 10 * time.Second // how long after its last word a replica still has its watches
	// farApart is how many minor versions two replicas may differ and work together.
	farApart = 2
)

func ledgerDir(data string) string { return filepath.Join(data, "ledger") }

// together says what is wrong with settings that do not go together: passed over, they would begin a ledger of its own for a
// server that was to join one.
func (o Options) together(replicas bool) error {
	switch {
	case o.Bootstrap && o.JoinFile != "":
		return &core.Error{
			Code: core.CodeInvalid, Message: "--bootstrap begins a ledger and --join joins one that is there",
			Hint: "give --bootstrap to the first replica of a new installation only, and --join FILE to each other one",
		}
	case !replicas && o.Replica == "" && (o.Bootstrap || o.JoinFile != "" || o.PeerListen != ""):
		return &core.Error{
			Code: core.CodeInvalid, Message: "--bootstrap, --join and --peer-listen are for one of several replicas, and the configuration has none",
			Hint: "give the file that declares them with --config, and the name of this one with --replica",
		}
	}
	return nil
}

// ledgerReplicas says how this server is one of several; nil when it is alone.
func (s *Server) ledgerReplicas() (*ledger.Replicas, error) {
	if err := s.opts.together(len(s.config.Replicas) > 0); err != nil {
		return nil, err
	}
	r, err := replicasOf(s.config, s.opts.Replica)
	if r == nil || err != nil {
		return nil, err
	}
	r.Bootstrap = s.opts.Bootstrap
	if s.opts.PeerListen != "" {
		r.Listen = s.opts.PeerListen
	}
	if s.opts.JoinFile == "" {
		return r, nil
	}
	if r.Join, err = readBundle(s.opts.JoinFile); err != nil {
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "the bundle cannot be read", Err: err,
			Hint: "give the file that 'evenkeel-server replica add' wrote; once joined, --join is not needed",
		}
	}
	return r, nil
}

const maxBundle = 1 << 20 // bytes

// readBundle reads what may be a bundle; the rest of a longer file is not read, and it is none.
func readBundle(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBundle))
	return text, errors.Join(err, f.Close())
}

func replicasOf(c config.Config, name string) (*ledger.Replicas, error) {
	names := make([]string, len(c.Replicas))
	for i, r := range c.Replicas {
		names[i] = r.Name
	}
	i := slices.Index(names, name)
	switch {
	case name == "" && len(names) == 0:
		return nil, nil //nolint:nilnil // a server that is alone
	case name == "":
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "the configuration has replicas, and this server is not told which of them it is",
			Hint: "start it with --replica and one of: " + strings.Join(names, ", "),
		}
	case len(names) == 0:
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "the configuration has no replicas, and this server is told to be " + name,
			Hint: "declare them under replicas:, or start it without --replica",
		}
	case i < 0:
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "the configuration has no replica " + name,
			Hint: "add it under replicas:, or use one of: " + strings.Join(names, ", "),
		}
	}
	return &ledger.Replicas{
		Name: name, Peer: c.Replicas[i].Peer, Listen: c.Replicas[i].Listen, Pattern: c.Ledger.Pattern,
		TLS:       ledger.TLSFiles{CA: c.Ledger.TLS.CA, Cert: c.Ledger.TLS.Cert, Key: c.Ledger.TLS.Key},
		Endpoints: c.Ledger.Endpoints,
	}, nil
}

// newLoop is the loop with what one of several replicas needs besides.
func (s *Server) newLoop() *loop {
	l := &loop{
		ledger: s.ledger, hand: s.hand, inputs: s.inputs, topology: s.world.current, observe: s.eyes.judge,
		changed: s.eyes.changed, log: s.room("loop"), metrics: newLoopMetrics(s.registry), pending: s.pending, moved: s.marks.stale,
	}
	if s.several() {
		l.lead, l.ordered, l.orders = s.ledger.LeadershipChanged(), s.ledger.Ordered(), s.ledger.Orders
		l.follow, l.judged = s.followed(l), s.judged
	}
	return l
}

// followed reads what the leader has commanded, at most once in routingEvery. It is called by the loop alone.
func (s *Server) followed(l *loop) func() []core.Routing {
	var last time.Time
	var routing []core.Routing
	return func() []core.Routing {
		if time.Since(last) < routingEvery {
			return routing
		}
		last = time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), routingEvery)
		defer cancel()
		if now, err := s.ledger.Routing(ctx); err == nil {
			routing = now
		}
		if brake, err := s.ledger.Brake(ctx); err == nil {
			l.brake.Store(brake)
		}
		return routing
	}
}

// mayAct is asked by the hand before anything leaves this process.
func (s *Server) mayAct() bool { return s.ledger.Leading() && s.pending() == "" }

// pending is why nothing may be commanded in the name of this ledger yet, empty when it may.
func (s *Server) pending() string { return s.ledger.Identity().Pending }

// judged publishes at once when a condition has changed: a vote must not wait for the next second.
func (s *Server) judged(o core.Observation) {
	var now strings.Builder
	for _, a := range o.Assessments {
		fmt.Fprintf(&now, "%s=%d;", a.Subject.Key(), a.Condition)
	}
	fmt.Fprintf(&now, "%t", o.Tilt.On)
	if text := now.String(); text != s.published {
		s.published = text
		poke(s.urgent)
	}
}

// publish tells the other replicas what this one sees, each second and when it changes.
func (s *Server) publish(ctx context.Context) {
	ticker := time.NewTicker(publishEvery)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-s.urgent:
		}
		view := core.ViewOf(s.eyes.Observation(), s.opts.Version, s.unfit(), s.world.current().Revision)
		s.ledger.Fit(view.Doubt()) //nolint:contextcheck // a resignation is bounded by itself
		bounded, cancel := context.WithTimeout(ctx, publishWait)
		err := s.ledger.Publish(bounded, view)
		cancel()
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			s.room("app").Warn("observation published", slog.Bool("ok", !failing), slog.Any("error", err))
		}
	}
}

// watchStore asks the store how it is. It is not asked in passing: one in another process may take its time to answer.
func (s *Server) watchStore(ctx context.Context) {
	look := func(time.Time) {
		var broken *string
		if err := s.store.Ready(); err != nil {
			text := "its store is broken: " + firstLine(err.Error())
			broken = &text
		}
		if was := s.broken.Swap(broken); (was == nil) != (broken == nil) {
			s.room("app").Warn("store of this replica", slog.Bool("ok", broken == nil))
		}
	}
	look(time.Now())
	every(ctx, storeEvery, look)
}

// unfit is why the vote of this replica does not count, besides tilt and missing inputs.
func (s *Server) unfit() string {
	if broken := s.broken.Load(); broken != nil && s.ownStore() {
		return *broken
	}
	leader := s.ledger.Leadership().Leader
	for _, v := range s.ledger.Views() {
		if v.Replica == leader && leader != s.opts.Replica && tooFar(s.opts.Version, v.Version) {
			return fmt.Sprintf("its version %s and %s of %s, which leads, are more than %d minor versions apart", s.opts.Version, v.Version, v.Replica, farApart)
		}
	}
	return ""
}

// ownStore reports whether the store is this replica's own. One that all replicas share says nothing of one of them: without
// it they all lack the statistics, and judge by the facts, which need no store.
func (s *Server) ownStore() bool { return s.config.Storage.URL == "" && s.config.Storage.Insert == "" }

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// tooFar reports whether two versions may not work together. What is no release, a build from a work tree, may.
func tooFar(a, b string) bool {
	x, okX := minorOf(a)
	y, okY := minorOf(b)
	return okX && okY && (x[0] != y[0] || max(x[1]-y[1], y[1]-x[1]) > farApart)
}

// minorOf is the major and minor number of a version such as v1.4.2 or v1.4.2-3-gabc.
func minorOf(version string) ([2]int, bool) {
	text, ok := strings.CutPrefix(version, "v")
	parts := strings.SplitN(text, ".", 3)
	if !ok || len(parts) < 3 {
		return [2]int{}, false
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return [2]int{major, minor}, err1 == nil && err2 == nil
}

// electorate is how many replicas are configured, and their words. One that is not configured any more may still be a
// member of the ledger and speak; it has no vote.
func electorate(configured []config.Replica, views []core.ReplicaView) (int, []core.ReplicaView) {
	return len(configured), slices.DeleteFunc(views, func(v core.ReplicaView) bool {
		return !slices.ContainsFunc(configured, func(r config.Replica) bool { return r.Name == v.Replica })
	})
}

var _ api.Control = (*Server)(nil)

// Leadership is who decides and acts.
func (s *Server) Leadership() core.Leadership { return s.ledger.Leadership() }

// Members are the replicas, configured and joined, with their last words.
func (s *Server) Members(ctx context.Context) ([]core.Member, error) {
	joined, err := s.ledger.Members(ctx)
	if err != nil {
		return nil, err
	}
	external := len(s.config.Ledger.Endpoints) > 0
	views := s.ledger.Views()
	out := []core.Member{}
	for _, r := range s.config.Replicas {
		m := core.Member{Name: r.Name, At: r.At, URL: r.URL, State: core.MemberAbsent}
		if i := slices.IndexFunc(joined, func(j core.Member) bool { return j.Name == r.Name || j.Peer == r.Peer }); i >= 0 {
			m.Peer, m.State = joined[i].Peer, joined[i].State
			joined = slices.Delete(joined, i, i+1)
		}
		if i := slices.IndexFunc(views, func(v core.ReplicaView) bool { return v.Replica == r.Name }); i >= 0 {
			m.View = &views[i]
			if external {
				m.State = core.MemberVoter
			}
		}
		out = append(out, m)
	}
	for _, m := range joined {
		m.State = core.MemberStranger
		out = append(out, m)
	}
	return out, nil
}

// AddReplica takes a configured replica into the ledger and returns the bundle it starts with.
func (s *Server) AddReplica(ctx context.Context, name string, replace bool) ([]byte, error) {
	i := slices.IndexFunc(s.config.Replicas, func(r config.Replica) bool { return r.Name == name })
	if i < 0 {
		return nil, &core.Error{
			Code: core.CodeNotFound, Message: "the configuration has no replica " + name,
			Hint: "add it under replicas: in the file of every replica first, and restart them one by one",
		}
	}
	return s.ledger.AddReplica(ctx, name, s.config.Replicas[i].Peer, replace)
}

// RemoveReplica lets a replica leave.
func (s *Server) RemoveReplica(ctx context.Context, name string) error {
	peer := ""
	if i := slices.IndexFunc(s.config.Replicas, func(r config.Replica) bool { return r.Name == name }); i >= 0 {
		peer = s.config.Replicas[i].Peer
	}
	if err := s.ledger.RemoveReplica(ctx, name, peer); err != nil {
		return err
	}
	if tokens, err := s.ledger.ListTokens(ctx); err == nil {
		s.revokeTokens(ctx, tokens, adminOf(name))
	}
	return nil
}

// Backup writes the ledger as it stands.
func (s *Server) Backup(ctx context.Context, w io.Writer) error { return s.ledger.Backup(ctx, w) }

// Adopt is an operator's word that this ledger speaks for a cluster, with a higher epoch.
func (s *Server) Adopt(ctx context.Context, clusterID string, epoch int64, by, reason string, token core.Secret) (core.Identity, error) {
	if err := s.adoptable(ctx, clusterID, epoch); err != nil {
		return core.Identity{}, err
	}
	identity, err := s.ledger.Adopt(ctx, clusterID, epoch, by, reason, token)
	if err == nil {
		s.preflight.Store(nil) // what the executors said to the old name says nothing of the new
	}
	return identity, err
}

// refused is what an executor would refuse us for, as it was found out last; empty when nothing is known to.
func (s *Server) refused() string {
	results := s.preflight.Load()
	if results == nil {
		return ""
	}
	for _, r := range *results {
		if r.Result != "ok" && r.Result != "cannot_tell" {
			return r.Sentence + ": " + r.Remedy
		}
	}
	return ""
}
