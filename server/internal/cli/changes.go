package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func changeCommand(o Options) *cobra.Command {
	return group("change", "Declare deploys, maintenance and other changes, mark past incidents, end them, and list them",
		changeDeclareCommand(o), changeEndCommand(o), changeListCommand(o))
}

// changeFlags are the settings of change declare.
type changeFlags struct {
	id, site, service, what, source, start string
	lasts                                  time.Duration
	maintenance, incident                  bool
}

func changeDeclareCommand(o Options) *cobra.Command {
	var f changeFlags
	cmd := newCommand(o, "declare --site SITE --what TEXT [--service SERVICE] [--for 30m] [--maintenance | --incident]",
		"Declare a change of a site; with the same --id it can be said again", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error { return s.declare(ctx, f) })
	flags := cmd.Flags()
	flags.StringVar(&f.site, "site", "", "the site")
	flags.StringVar(&f.service, "service", core.AllServices, "the service; all is the whole site")
	flags.StringVar(&f.what, "what", "", `what is changed, as in "deploy checkout 1.4"`)
	flags.StringVar(&f.source, "source", "operator", "what declares it")
	flags.StringVar(&f.start, "start", "", "when it starts, as 2026-11-27T10:00:00Z; empty: now")
	flags.DurationVar(&f.lasts, "for", 30*time.Minute, "how long it takes, up to 24h; a maintenance up to 72h")
	flags.BoolVar(&f.maintenance, "maintenance", false, "people work there: until its end nothing moves its users, or others to it, by itself")
	flags.BoolVar(&f.incident, "incident", false, "it was trouble and is over, up to 60 days ago: detectors are not to learn from it, and change end takes that back")
	flags.StringVar(&f.id, "id", "", "its id, as that of a pipeline's run; empty: made of the change")
	return cmd
}

func (s *session) declare(ctx context.Context, f changeFlags) error {
	if f.site == "" || f.what == "" {
		return &core.Error{
			Code: core.CodeInvalid, Message: "a change needs a site and a text", Hint: `as in --site fra --what "deploy checkout 1.4"`,
		}
	}
	if longest := (core.DeclaredChange{Maintenance: f.maintenance}).Longest(); f.lasts < time.Second || f.lasts > longest {
		return &core.Error{Code: core.CodeInvalid, Message: "--for is out of range", Hint: fmt.Sprintf("give 1s to %.0fh", longest.Hours())}
	}
	start := time.Now().UTC().Truncate(time.Millisecond)
	if f.start != "" {
		var err error
		if start, err = timeOf("--start", f.start); err != nil {
			return err
		}
	}
	end := start.Add(f.lasts)
	req := client.ChangeRequest{Site: &f.site, Service: &f.service, What: f.what, Source: &f.source, Start: &start, End: &end}
	if f.maintenance {
		req.Maintenance = &f.maintenance
	}
	if f.incident {
		req.Incident = &f.incident
	}
	if f.id != "" {
		req.ID = &f.id
		if f.start == "" { // a second word about the same id is about the same change, whenever it is said
			seconds := f.lasts.Seconds()
			req.Start, req.End, req.TTLS = nil, nil, &seconds
		}
	}
	c, err := s.admin()
	if err != nil {
		return err
	}
	res, err := c.DeclareChangeWithResponse(ctx, req)
	if err := ask(s, newOrKnown(res), func(r *client.DeclareChangeResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return err
	}
	made := cmp.Or(res.JSON201, res.JSON200)
	if made == nil {
		return s.strange()
	}
	return s.printChange(*made)
}

func (s *session) printChange(c core.DeclaredChange) error {
	return s.print(c, func(w io.Writer) {
		ended := ""
		if c.EndedBy != "" {
			ended = ", ended by " + printable(c.EndedBy)
		}
		_, _ = fmt.Fprintf(w, "%s %s of %s until %s%s: %s\n", c.Noun(), printable(c.ID), printable(c.About().String()), clock(c.Until()), ended, printable(c.What))
	})
}

func changeEndCommand(o Options) *cobra.Command {
	return newCommand(o, "end SITE ID", "End a declared change or maintenance before its time, or take an incident back", cobra.ExactArgs(2),
		func(ctx context.Context, s *session, args []string) error {
			c, err := s.admin()
			if err != nil {
				return err
			}
			res, err := c.EndChangeWithResponse(ctx, client.ChangeEndRequest{Site: args[0], ID: args[1]})
			if err := ask(s, http.StatusOK, func(r *client.EndChangeResponse) *client.Problem {
				return r.ApplicationProblemJSONDefault
			}, res, err); err != nil {
				return err
			}
			if res.JSON200 == nil {
				return s.strange()
			}
			return s.printChange(*res.JSON200)
		})
}

func changeListCommand(o Options) *cobra.Command {
	var active bool
	cmd := newCommand(o, "list", "List the declared changes, the newest start first", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			res, err := c.ListChangesWithResponse(ctx, &client.ListChangesParams{Active: &active})
			if err := ask(s, http.StatusOK, func(r *client.ListChangesResponse) *client.Problem {
				return r.ApplicationProblemJSONDefault
			}, res, err); err != nil {
				return err
			}
			if res.JSON200 == nil {
				return s.strange()
			}
			return s.print(*res.JSON200, func(w io.Writer) {
				rows := [][]string{{"START", "END", "KIND", "SITE", "SERVICE", "WHAT", "SOURCE", "BY", "ENDED BY", "ID"}}
				for _, c := range *res.JSON200 {
					rows = append(rows, []string{
						clock(c.Start), clock(c.Until()), c.Noun(), c.Site, c.Service, printable(c.What), printable(c.Source), c.By, printable(c.EndedBy), printable(c.ID),
					})
				}
				columns(w, rows...)
			})
		})
	cmd.Flags().BoolVar(&active, "active", false, "only those that are under way")
	return cmd
}
