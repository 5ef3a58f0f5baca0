package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func linksCommand(o Options) *cobra.Command {
	return newCommand(o, "links", "Show the replication links and how far their targets are behind", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			res, err := c.ListLinksWithResponse(ctx)
			if err := ask(s, http.StatusOK, func(r *client.ListLinksResponse) *client.Problem {
				return r.ApplicationProblemJSONDefault
			}, res, err); err != nil {
				return err
			}
			if res.JSON200 == nil {
				return s.strange()
			}
			return s.print(*res.JSON200, func(w io.Writer) {
				if len(*res.JSON200) == 0 {
					_, _ = fmt.Fprintln(w, "no agent looks at replication: see evenkeel-agent run --replication")
					return
				}
				columns(w, linkRows(*res.JSON200)...)
			})
		})
}

func linkRows(all []core.LinkView) [][]string {
	rows := [][]string{{"LINK", "CHANNEL", "END", "STATE", "BEHIND", "AT RISK", "COMPLETE AT"}}
	for _, l := range all {
		complete := "never seen"
		if l.CaughtUp != nil {
			complete = l.CaughtUp.Format(time.DateTime)
		}
		row := []string{l.Link, l.Channel, l.End, l.State.String(), behind(l), atMost(l.Exposure), complete}
		for i, cell := range row {
			if cell == "" {
				row[i] = "-"
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// behind are the bounds; what is not known is said to be so.
func behind(l core.LinkView) string {
	switch {
	case l.LagLower != nil && l.LagUpper != nil:
		return fmt.Sprintf("%.1f to %.1f s", *l.LagLower, *l.LagUpper)
	case l.LagLower != nil:
		return fmt.Sprintf("%.1f s or more", *l.LagLower)
	case l.LagUpper != nil:
		return atMost(l.LagUpper)
	}
	return "unknown"
}

func atMost(seconds *float64) string {
	if seconds == nil {
		return "unknown"
	}
	return fmt.Sprintf("at most %.1f s", *seconds)
}
