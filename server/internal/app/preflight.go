package app

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	preflightEvery = 10 * time.Minute
	preflightLook  = 5 * time.Second // how soon after it began to lead a replica asks
	preflightWait  = 10 * time.Second
)

// Preflight asks every executor which token it holds, and says whether our next command would be obeyed if it were given in
// the name of a cluster; an empty clusterID is our own.
func (s *Server) Preflight(ctx context.Context, clusterID string) ([]core.Preflight, error) {
	identity := s.ledger.Identity()
	next := remediations.Fencing{ClusterID: cmp.Or(clusterID, identity.ClusterID), Epoch: identity.Epoch, Seq: s.ledger.Revision() + 1}
	out := make([]core.Preflight, 0, len(s.config.Targets))
	for _, a := range s.standings(ctx, next.ClusterID) {
		out = append(out, a.judged(next))
	}
	slices.SortFunc(out, func(a, b core.Preflight) int { return cmp.Compare(a.Target, b.Target) })
	return out, nil
}

// asked is what one executor said of the tokens it holds.
type asked struct {
	target   string
	standing remediations.Standing
	err      error
}

// standings asks all executors at once which tokens of a cluster they hold, in the order of the configuration.
func (s *Server) standings(ctx context.Context, cluster string) []asked {
	ctx, cancel := context.WithTimeout(ctx, preflightWait)
	defer cancel()
	out := make([]asked, len(s.config.Targets))
	var all sync.WaitGroup
	for i, t := range s.config.Targets {
		all.Go(func() {
			standing, err := s.askers[t.Name].Preflight(ctx, cluster)
			out[i] = asked{t.Name, standing, err}
		})
	}
	all.Wait()
	return out
}

// judged says whether the executor would obey the next command.
func (a asked) judged(next remediations.Fencing) core.Preflight {
	name, standing := a.target, a.standing
	if a.err != nil {
		return core.Preflight{
			Target: name, Result: "cannot_tell", Sentence: name + " cannot be asked: " + firstLine(a.err.Error()),
			Remedy: "see that it runs and knows the question (it does when it is built on remediations/receiver), or look at its own records",
		}
	}
	verdict, sentence, remedy := standing.Judge(next)
	cluster := next.ClusterID
	if verdict == remediations.StandingUnknownCluster {
		cluster = ""
		if one, err := standing.Next(""); err == nil {
			cluster = one.ClusterID
		}
	}
	high := standing.Highest(cluster)
	return core.Preflight{
		Target: name, Result: verdict, Sentence: name + ": " + sentence, Remedy: remedy,
		ClusterID: cluster, Epoch: high.Epoch, Seq: high.Seq,
	}
}

// preflights asks soon after this replica began to lead, and now and then: that an executor would refuse us is to be
// known before it matters.
func (s *Server) preflights(ctx context.Context) {
	if len(s.config.Targets) == 0 {
		return
	}
	var asked time.Time
	every(ctx, preflightLook, func(time.Time) {
		if !s.ledger.Leading() {
			s.preflight.Store(nil) // the one that leads knows
			return
		}
		if s.preflight.Load() != nil && time.Since(asked) < preflightEvery {
			return
		}
		asked = time.Now()
		results, err := s.Preflight(ctx, "")
		if err != nil || ctx.Err() != nil {
			return
		}
		was := s.refused()
		s.preflight.Store(&results)
		if now := s.refused(); now != was && now != "" {
			s.room("app").Error("an executor would refuse our commands", slog.String("why", now))
		}
	})
}
