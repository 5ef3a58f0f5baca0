package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func replicaCommand(o Options) *cobra.Command {
	return group("replica", "List, add, replace and remove the replicas of the server",
		replicaListCommand(o),
		replicaAddCommand(o, "add", "Take a configured replica in, and write the bundle that it joins with", false),
		replicaAddCommand(o, "replace", "Take in a replica anew that lost its disk, and write the bundle that it joins with", true),
		replicaRemoveCommand(o))
}

func replicaListCommand(o Options) *cobra.Command {
	return newCommand(o, "list", "List the replicas with their last words", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			all, err := s.replicas(ctx)
			if err != nil {
				return err
			}
			return s.print(all, func(w io.Writer) {
				loud(w, &all.Leadership, nil)
				if len(all.Members) == 0 {
					_, _ = fmt.Fprintln(w, "this server is alone")
					return
				}
				columns(w, replicaRows(*all)...)
			})
		})
}

func (s *session) replicas(ctx context.Context) (*client.Replicas, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	res, err := c.ListReplicasWithResponse(ctx)
	if err := ask(s, http.StatusOK, func(r *client.ListReplicasResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return nil, err
	}
	if res.JSON200 == nil {
		return nil, s.strange()
	}
	return res.JSON200, nil
}

// loud says what must not be overlooked: that nobody can act.
func loud(w io.Writer, l *core.Leadership, pending *string) {
	if l != nil && !l.Quorum {
		_, _ = fmt.Fprintf(w, "*** NO QUORUM: this server does nothing by itself and takes no order; reads go on. %s\n", printable(l.Reason))
		if several(l) {
			_, _ = fmt.Fprintln(w, "*** First ask the other replicas with --server: one of them may lead.")
		}
		_, _ = fmt.Fprintln(w, "*** Break-glass when none does: evenkeel-server break-glass; when the quorum is back: evenkeel-server reconcile")
	} else if l != nil && l.Leader == "" && !l.Leads {
		_, _ = fmt.Fprintf(w, "*** NO LEADER is known: nothing acts by itself until a replica takes over; reads go on. %s\n", printable(l.Reason))
	}
	if pending != nil {
		_, _ = fmt.Fprintf(w, "*** PENDING ADOPTION: nothing is commanded in the name of this ledger. %s\n", printable(*pending))
		_, _ = fmt.Fprintln(w, "*** Ask the executors: evenkeel-server preflight; then, when it is right: evenkeel-server adopt --reason WHY")
	}
}

func replicaRows(all client.Replicas) [][]string {
	rules := int64(-1) // the number of the leader's configuration
	for _, m := range all.Members {
		if m.Name == all.Leadership.Leader && m.View != nil {
			rules = m.View.Revision
		}
	}
	rows := [][]string{{"REPLICA", "AT", "STATE", "LEADS", "VOTE", "LAST WORD", "VERSION", "ADDRESS"}}
	for _, m := range all.Members {
		row := []string{m.Name, m.At, m.State, "-", voteOf(m, all.At), "never", "-", m.URL}
		if m.Name == all.Leadership.Leader && m.State != core.MemberAbsent {
			row[3] = "leads"
		}
		if m.View != nil && rules >= 0 && m.View.Revision != rules {
			row[4] += "; by another configuration than the leader's"
		}
		if m.View != nil {
			row[5], row[6] = "unknown", m.View.Version
			if !m.View.Heard.IsZero() {
				row[5] = ago(all.At.Sub(m.View.Heard))
			}
		}
		for i, cell := range row {
			if cell == "" {
				row[i] = "-"
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// staleAfter is how old the word of a replica may be to count, and freshSites of how many locations it must hear.
const (
	staleAfter = 5 * time.Second
	freshSites = 2
)

// voteOf says whether what a replica sees counts, and else why not. at is now by the clock of the views.
func voteOf(m client.Member, at time.Time) string {
	switch v := m.View; {
	case m.State == core.MemberAbsent:
		return "none: it is no member"
	case m.State == core.MemberLearner && v == nil:
		return "none: start it with its bundle"
	case m.State == core.MemberLearner:
		return "none: it is learning"
	case m.State == core.MemberStranger:
		return "none: it is not configured"
	case v == nil:
		return "none: never heard"
	case v.Heard.IsZero() || at.Sub(v.Heard) > staleAfter:
		return "stale"
	case v.Tilt.On:
		return "tilt: " + v.Tilt.Reason
	case v.Unfit != "":
		return "unfit: " + v.Unfit
	case v.FreshSites < freshSites:
		return fmt.Sprintf("blind: hears agents of %d, %d sites are needed", v.FreshSites, freshSites)
	}
	return "counts"
}

func ago(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1f s ago", max(d, 0).Seconds())
	}
	return d.Round(time.Second).String() + " ago"
}

func replicaAddCommand(o Options, verb, short string, replace bool) *cobra.Command {
	var out string
	var force bool
	cmd := newCommand(o, verb+" NAME --out FILE", short, cobra.ExactArgs(1), func(ctx context.Context, s *session, args []string) error {
		return s.addReplica(ctx, args[0], replace, out, force)
	})
	cmd.Flags().StringVar(&out, "out", "", "file to write the bundle to, readable by its owner only; it holds a private key")
	cmd.Flags().BoolVar(&force, "force", false, "replace the file of --out")
	return lasting(cmd, 30*time.Second)
}

func (s *session) addReplica(ctx context.Context, name string, replace bool, out string, force bool) error {
	if out == "" || out == "-" {
		return &core.Error{
			Code: core.CodeInvalid, Message: "a bundle holds a private key and is never printed", Hint: "name a file with --out, as in --out " + name + ".bundle",
		}
	}
	c, err := s.admin()
	if err != nil {
		return err
	}
	// The file comes first: a member whose bundle cannot be written down would be waited for.
	file, err := openSecret(out, force)
	if err != nil {
		return err
	}
	res, err := c.AddReplicaWithResponse(ctx, client.ReplicaRequest{Name: name, Replace: &replace})
	if err := ask(s, http.StatusCreated, func(r *client.AddReplicaResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return errors.Join(err, file.drop())
	}
	if res.JSON201 == nil || res.JSON201.Bundle == "" {
		return errors.Join(s.strange(), file.drop())
	}
	if err := file.keepText(res.JSON201.Bundle); err != nil {
		return &core.Error{
			Code: core.CodeInternal, Message: "replica " + name + " was taken in, but its bundle could not be written to " + out, Err: err,
			Hint: "make the bundle anew with: evenkeel-server replica replace " + name + " --out FILE",
		}
	}
	return s.print(map[string]string{"replica": name, "bundle_file": out}, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "replica %s is taken in; carry %s there by a safe way and start it once with:\n", printable(name), out)
		_, _ = fmt.Fprintf(w, "  evenkeel-server serve --replica %s --join %s ...\nthen remove the file: it holds a private key\n", printable(name), out)
	})
}

func replicaRemoveCommand(o Options) *cobra.Command {
	var yes bool
	cmd := newCommand(o, "remove NAME", "Let a replica leave for good", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			c, err := s.admin()
			if err != nil {
				return err
			}
			all, err := s.replicas(ctx)
			if err != nil {
				return err
			}
			left, err := whatIsLeft(*all, args[0])
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintln(s.Err, left)
			if !yes {
				if err := s.typed(ctx, "name of the replica", args[0]); err != nil {
					return err
				}
			}
			res, err := c.RemoveReplicaWithResponse(ctx, args[0])
			if err := ask(s, http.StatusNoContent, func(r *client.RemoveReplicaResponse) *client.Problem {
				return r.ApplicationProblemJSONDefault
			}, res, err); err != nil {
				return err
			}
			return s.print(map[string]string{"removed": args[0]}, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "replica %s is removed; in the configuration put another in its place, or take it out where three or five are left\n", printable(args[0]))
			})
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return lasting(cmd, 30*time.Second)
}

// whatIsLeft says how many may fail once a replica has left. Its error says that it is no member, or the last one.
func whatIsLeft(all client.Replicas, name string) (string, error) {
	left, member, votes := 0, false, false
	for _, m := range all.Members {
		switch {
		case m.Name == name:
			member, votes = m.State != core.MemberAbsent, m.State == core.MemberVoter
		case m.State == core.MemberVoter:
			left++
		}
	}
	switch {
	case len(all.Members) == 0:
		return "", &core.Error{
			Code: core.CodeNotFound, Message: "this server is alone and has no replica " + name,
			Hint: "name one that has replicas with --server; to end this one stop it and keep its data directory",
		}
	case !member:
		return "", &core.Error{Code: core.CodeNotFound, Message: "no replica " + name + " is a member", Hint: "see evenkeel-server replica list"}
	case votes && left == 0:
		return "", &core.Error{
			Code: core.CodeConflict, Message: name + " is the last replica with a vote, and the ledger would end with it",
			Hint: "add another first, or stop the server and keep its data directory",
		}
	case left == 1:
		return fmt.Sprintf("Without %s there is one replica with a vote; when that one fails, nothing acts.", printable(name)), nil
	}
	return fmt.Sprintf("Without %s there are %d replicas with a vote, of which %d may fail and the others still act.",
		printable(name), left, (left-1)/2), nil
}
