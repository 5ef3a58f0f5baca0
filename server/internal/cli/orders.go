package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// order makes a command that gives an order. It adds --reason, without which no order is given.
func order(o Options, use, short string, args cobra.PositionalArgs, build func([]string) (client.CommandRequest, error)) *cobra.Command {
	var reason string
	cmd := newCommand(o, use, short, args, func(ctx context.Context, s *session, given []string) error {
		req, err := build(given)
		if err != nil {
			return err
		}
		if req.Reason = strings.TrimSpace(reason); req.Reason == "" {
			return &core.Error{
				Code: core.CodeInvalid, Message: "an order needs a reason", Hint: `say why, as in --reason "disk is failing"`,
			}
		}
		return s.order(ctx, req)
	})
	cmd.Flags().StringVar(&reason, "reason", "", "why; it goes on the record")
	return cmd
}

// post gives an order and returns what became of it.
func (s *session) post(ctx context.Context, c *client.ClientWithResponses, req client.CommandRequest) (core.Reply, error) {
	res, err := c.PostCommandWithResponse(ctx, req)
	if err := ask(s, http.StatusOK, func(r *client.PostCommandResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return core.Reply{}, err
	}
	if res.JSON200 == nil {
		return core.Reply{}, s.strange()
	}
	return *res.JSON200, nil
}

func (s *session) order(ctx context.Context, req client.CommandRequest) error {
	c, err := s.admin()
	if err != nil {
		return err
	}
	reply, err := s.post(ctx, c, req)
	if err != nil {
		return err
	}
	if !reply.OK && s.output != "json" {
		refused := &core.Error{Code: CodeRefused, Message: printable(reply.Sentence)}
		if reply.Code == core.CodeNotFound {
			refused.Hint = "evenkeel-server status shows the sites, the services and what is open"
		}
		return refused
	}
	if err := s.print(reply, func(w io.Writer) {
		_, _ = fmt.Fprintln(w, printable(reply.Sentence))
		if reply.ActionID != "" {
			_, _ = fmt.Fprintln(w, "action "+printable(reply.ActionID))
		}
	}); err != nil {
		return err
	}
	if !reply.OK {
		return &core.Error{Code: CodeRefused, Message: printable(reply.Sentence)}
	}
	return nil
}

// subject reads SITE [SERVICE].
func subject(args []string) *core.Subject {
	s := &core.Subject{Site: args[0], Service: core.AllServices}
	if len(args) > 1 {
		s.Service = args[1]
	}
	return s
}

func drainCommand(o Options) *cobra.Command {
	return order(o, "drain SITE [SERVICE] --reason TEXT", "Send users away from a site, or from one service there",
		cobra.RangeArgs(1, 2), func(args []string) (client.CommandRequest, error) {
			return client.CommandRequest{Kind: core.CommandDrain, Subject: subject(args)}, nil
		})
}

func restoreCommand(o Options) *cobra.Command {
	return order(o, "restore-site SITE [SERVICE] --reason TEXT", "Bring users back to a site, or to one service there",
		cobra.RangeArgs(1, 2), func(args []string) (client.CommandRequest, error) {
			return client.CommandRequest{Kind: core.CommandRestore, Subject: subject(args)}, nil
		})
}

func approveCommand(o Options) *cobra.Command {
	return order(o, "approve DECISION --reason TEXT", "Approve a decision that waits for it",
		cobra.ExactArgs(1), func(args []string) (client.CommandRequest, error) {
			return client.CommandRequest{Kind: core.CommandApprove, DecisionID: &args[0]}, nil
		})
}

func vetoCommand(o Options) *cobra.Command {
	return order(o, "veto DECISION --reason TEXT", "Refuse a decision that waits for approval",
		cobra.ExactArgs(1), func(args []string) (client.CommandRequest, error) {
			return client.CommandRequest{Kind: core.CommandVeto, DecisionID: &args[0]}, nil
		})
}

func holdCommand(o Options) *cobra.Command {
	var lasts time.Duration
	cmd := order(o, "hold EPISODE --reason TEXT", "Let nothing be done automatically about an episode for a while",
		cobra.ExactArgs(1), func(args []string) (client.CommandRequest, error) {
			seconds := lasts.Seconds()
			return client.CommandRequest{Kind: core.CommandHold, EpisodeID: &args[0], HoldS: &seconds}, nil
		})
	cmd.Flags().DurationVar(&lasts, "for", 15*time.Minute, "how long, up to 24h")
	return cmd
}

func brakeCommand(o Options) *cobra.Command {
	return order(o, "brake on|off --reason TEXT", "Stop all automatic actions, or release them",
		cobra.ExactArgs(1), func(args []string) (client.CommandRequest, error) {
			if args[0] != "on" && args[0] != "off" {
				return client.CommandRequest{}, &core.Error{
					Code: core.CodeInvalid, Message: fmt.Sprintf("the brake cannot be %q", args[0]), Hint: "say on or off",
				}
			}
			on := args[0] == "on"
			return client.CommandRequest{Kind: core.CommandBrake, On: &on}, nil
		})
}
