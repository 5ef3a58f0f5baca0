package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// adoptFlags are the settings of adopt.
type adoptFlags struct {
	cluster, reason string
	epoch           int64
	yes             bool
}

func adoptCommand(o Options) *cobra.Command {
	var f adoptFlags
	cmd := lasting(newCommand(o, "adopt --reason TEXT [--epoch N] [--cluster-id ID]",
		"Say that this ledger speaks for a cluster from now on, with a higher epoch", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error { return s.adopt(ctx, f) }), time.Minute) // it asks the executors
	flags := cmd.Flags()
	flags.StringVar(&f.cluster, "cluster-id", "", "the cluster to speak for (default: the present one)")
	flags.Int64Var(&f.epoch, "epoch", 0, "the epoch to speak with, above the present one and above what executors hold (default: the next)")
	flags.StringVar(&f.reason, "reason", "", "why; it goes on the record")
	flags.BoolVar(&f.yes, "yes", false, "do it without asking")
	return cmd
}

func (s *session) adopt(ctx context.Context, f adoptFlags) error {
	req := client.AdoptRequest{Reason: strings.TrimSpace(f.reason)}
	switch {
	case req.Reason == "":
		return &core.Error{
			Code: core.CodeInvalid, Message: "adopting needs a reason", Hint: `say why, as in --reason "restored after the fire"`,
		}
	case f.epoch < 0:
		return &core.Error{Code: core.CodeInvalid, Message: "an epoch counts from 1", Hint: "leave --epoch out for the next one"}
	}
	if f.cluster != "" {
		if err := core.CheckClusterID(f.cluster); err != nil {
			return err
		}
	}
	c, err := s.admin()
	if err != nil {
		return err
	}
	st, err := c.GetStatusWithResponse(ctx)
	if err := ask(s, http.StatusOK, func(r *client.GetStatusResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, st, err); err != nil {
		return err
	}
	if st.JSON200 == nil {
		return s.strange()
	}
	now := *st.JSON200
	cluster, epoch := now.ClusterID, now.Epoch+1
	if f.cluster != "" {
		cluster, req.ClusterID = f.cluster, &f.cluster
	}
	if f.epoch > 0 {
		epoch, req.Epoch = f.epoch, &f.epoch
	}
	_, _ = fmt.Fprintf(s.Err, "The ledger of %s speaks for cluster %s with epoch %d. Adopted, it speaks for %s with epoch %d:\n",
		s.servers, printable(now.ClusterID), now.Epoch, printable(cluster), epoch)
	_, _ = fmt.Fprintln(s.Err, "executors take its commands, and refuse whoever still commands with an earlier epoch. This cannot be taken back.")
	if now.Pending != nil {
		_, _ = fmt.Fprintln(s.Err, "It waits for this: "+printable(*now.Pending))
	}
	if cluster != now.ClusterID {
		if doubt := s.unknownTo(ctx, c, cluster); doubt != "" {
			_, _ = fmt.Fprintln(s.Err, printable(doubt))
		}
	}
	if !f.yes {
		if err := s.typed(ctx, "cluster id", cluster); err != nil {
			return err
		}
	}
	return s.adopted(ctx, c, req)
}

// unknownTo says that no executor has obeyed a cluster so far, or that this is not known; empty when one has.
func (s *session) unknownTo(ctx context.Context, c *client.ClientWithResponses, cluster string) string {
	res, err := c.GetPreflightWithResponse(ctx, &client.GetPreflightParams{ClusterID: &cluster})
	if err := ask(s, http.StatusOK, func(r *client.GetPreflightResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return "It is not known whether an executor knows cluster " + cluster + ": " + err.Error()
	}
	if res.JSON200 == nil {
		return "It is not known whether an executor knows cluster " + cluster + ": " + s.strange().Error()
	}
	answered := 0
	for _, p := range *res.JSON200 {
		if p.Result == "cannot_tell" {
			continue
		}
		if answered++; p.ClusterID == cluster && p.Epoch > 0 {
			return ""
		}
	}
	if answered == 0 {
		return "No executor answers, so nobody can say whether cluster " + cluster + " is one: see evenkeel-server preflight."
	}
	return fmt.Sprintf("NO EXECUTOR KNOWS cluster %s: none of the %d that answer has obeyed it. Is it spelt right? See evenkeel-server preflight.", cluster, answered)
}

func (s *session) adopted(ctx context.Context, c *client.ClientWithResponses, req client.AdoptRequest) error {
	res, err := c.AdoptWithResponse(ctx, req)
	if err := ask(s, http.StatusOK, func(r *client.AdoptResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return err
	}
	if res.JSON200 == nil {
		return s.strange()
	}
	who := *res.JSON200
	return s.print(who, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "adopted: cluster %s, epoch %d\nsee what the executors say now: evenkeel-server preflight\n", printable(who.ClusterID), who.Epoch)
	})
}

// typed has the operator type a word that says he knows what he does.
func (s *session) typed(ctx context.Context, what, word string) error {
	in := s.In
	if in == nil {
		if info, err := os.Stdin.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return &core.Error{Code: core.CodeInvalid, Message: "nobody is there to ask whether this is meant", Hint: "give --yes when it is"}
		}
		in = os.Stdin
	}
	_, _ = fmt.Fprintf(s.Err, "Type the %s %s to go on: ", what, printable(word))
	answer := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			line = ""
		}
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case line := <-answer:
		if line != word {
			return &core.Error{Code: core.CodeInvalid, Message: "that is not the " + what + "; nothing was done", Hint: "give --yes to go on without being asked"}
		}
	}
	return nil
}
