package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func preflightCommand(o Options) *cobra.Command {
	return lasting(newCommand(o, "preflight", "Ask every executor whether it would take a command of this server; nothing is commanded",
		cobra.NoArgs, func(ctx context.Context, s *session, _ []string) error { return s.preflight(ctx) }), time.Minute)
}

func (s *session) preflight(ctx context.Context) error {
	c, err := s.admin()
	if err != nil {
		return err
	}
	res, err := c.GetPreflightWithResponse(ctx, nil)
	if err := ask(s, http.StatusOK, func(r *client.GetPreflightResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return err
	}
	if res.JSON200 == nil {
		return s.strange()
	}
	all := *res.JSON200
	if err := s.print(all, func(w io.Writer) {
		if len(all) == 0 {
			_, _ = fmt.Fprintln(w, "no targets are configured")
			return
		}
		rows := [][]string{{"TARGET", "RESULT", "CLUSTER", "EPOCH", "SEQ", "WHAT", "REMEDY"}}
		for _, p := range all {
			row := []string{p.Target, p.Result, p.ClusterID, "-", "-", p.Sentence, p.Remedy}
			if p.Epoch > 0 {
				row[3], row[4] = strconv.FormatInt(p.Epoch, 10), strconv.FormatInt(p.Seq, 10)
			}
			if row[2] == "" {
				row[2] = "-"
			}
			rows = append(rows, row)
		}
		columns(w, rows...)
	}); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(p core.Preflight) bool { return p.Result == "ok" })
	if len(all) > 0 {
		return &core.Error{
			Code: CodeRefused, Message: fmt.Sprintf("a command would be refused, or nobody knows, at %d of the targets, %s the first",
				len(all), printable(all[0].Target)),
		}
	}
	return nil
}
