package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func linksCommand(o Options) *cobra.Command {
	var ends bool
	cmd := newCommand(o, "links", "Show the replication links, how far their targets are behind and what would be lost", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if ends {
				return showEnds(ctx, s, c)
			}
			res, err := c.GetConditionsWithResponse(ctx)
			if err := ask(s, http.StatusOK, func(r *client.GetConditionsResponse) *client.Problem {
				return r.ApplicationProblemJSONDefault
			}, res, err); err != nil {
				return err
			}
			if res.JSON200 == nil {
				return s.strange()
			}
			links := res.JSON200.Links
			if links == nil {
				links = []core.LinkStanding{}
			}
			return s.print(links, func(w io.Writer) { showLinks(w, len(links), standingRows(links)) })
		})
	cmd.Flags().BoolVar(&ends, "ends", false, "show what each agent says of each end, with all its figures")
	return cmd
}

// showEnds prints what the agents say of each end.
func showEnds(ctx context.Context, s *session, c *client.ClientWithResponses) error {
	res, err := c.ListLinksWithResponse(ctx)
	if err := ask(s, http.StatusOK, func(r *client.ListLinksResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return err
	}
	if res.JSON200 == nil {
		return s.strange()
	}
	return s.print(*res.JSON200, func(w io.Writer) { showLinks(w, len(*res.JSON200), linkRows(*res.JSON200)) })
}

func showLinks(w io.Writer, n int, rows [][]string) {
	if n == 0 {
		_, _ = fmt.Fprintln(w, "no link is configured and no agent looks at replication: see stores in the configuration and evenkeel-agent run --replication")
		return
	}
	columns(w, rows...)
}

// standingRows are the links with all their ends taken together.
func standingRows(all []core.LinkStanding) [][]string {
	rows := [][]string{{"LINK", "STATE", "BEHIND", "AT RISK", "OBJECTIVE", "SINCE"}}
	for _, l := range all {
		state, objective, since := l.State.String(), "none", "-"
		if l.Reason != "" {
			state += " (" + l.Reason + ")"
		}
		if l.RPO > 0 {
			objective = interval(l.RPO)
		}
		if l.Since != nil {
			since = l.Since.Format(time.DateTime)
		}
		rows = append(rows, []string{l.Link, state, within(l.LagLower, l.LagUpper), atMost(l.Exposure), objective, since})
	}
	return rows
}

func linkRows(all []core.LinkView) [][]string {
	rows := [][]string{{"LINK", "CHANNEL", "END", "STATE", "BEHIND", "AT RISK", "COMPLETE AT"}}
	for _, l := range all {
		complete := "never seen"
		if l.CaughtUp != nil {
			complete = l.CaughtUp.Format(time.DateTime)
		}
		row := []string{l.Link, l.Channel, l.End, l.State.String(), within(l.LagLower, l.LagUpper), atMost(l.Exposure), complete}
		for i, cell := range row {
			if cell == "" {
				row[i] = "-"
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// within are bounds; what is not known is said to be so.
func within(lower, upper *float64) string {
	switch {
	case lower != nil && upper != nil:
		return interval(*lower) + " to " + interval(*upper)
	case lower != nil:
		return interval(*lower) + " or more"
	}
	return atMost(upper)
}

func atMost(seconds *float64) string {
	if seconds == nil {
		return "unknown"
	}
	return "at most " + interval(*seconds)
}

// interval is a number of seconds, below one of milliseconds: a bound that is not zero is not shown as zero.
func interval(seconds float64) string {
	if seconds < 1 {
		return fmt.Sprintf("%.0f ms", math.Ceil(1000*seconds))
	}
	return fmt.Sprintf("%.1f s", seconds)
}
