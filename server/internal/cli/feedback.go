package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/evenkeel/evenkeel/server/internal/cli/client"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

func feedbackCommand(o Options) *cobra.Command {
	return group("feedback", "Say whether alarms and episodes were right, and see what was said",
		feedbackGiveCommand(o), feedbackAlarmsCommand(o), feedbackListCommand(o))
}

// feedbackFlags are the settings of feedback give.
type feedbackFlags struct{ episode, alarm, watch, series, onset, note string }

func feedbackGiveCommand(o Options) *cobra.Command {
	var f feedbackFlags
	cmd := newCommand(o, "give true|false|unsure (--episode ID | --alarm ID | --watch NAME --series TEXT --onset TIME) [--note TEXT]",
		"Say whether an episode or an alarm was right; your last word counts, and no threshold moves by it", cobra.ExactArgs(1),
		func(ctx context.Context, s *session, args []string) error {
			return s.giveFeedback(ctx, core.Said(args[0]), f)
		})
	flags := cmd.Flags()
	flags.StringVar(&f.episode, "episode", "", "the id of an episode")
	flags.StringVar(&f.alarm, "alarm", "", "the id of an alarm, as feedback alarms has it")
	flags.StringVar(&f.watch, "watch", "", "the watch of an older alarm")
	flags.StringVar(&f.series, "series", "", "its series, as sentences call it")
	flags.StringVar(&f.onset, "onset", "", "when it began, as 2026-11-27T10:00:00Z")
	flags.StringVar(&f.note, "note", "", "why, in at most 500 bytes")
	return cmd
}

func (s *session) giveFeedback(ctx context.Context, label core.Said, f feedbackFlags) error {
	req := client.FeedbackRequest{Label: label}
	text := func(v string) *string {
		if v == "" {
			return nil
		}
		return &v
	}
	req.EpisodeID, req.Watch, req.Series, req.Note = text(f.episode), text(f.watch), text(f.series), text(f.note)
	if f.onset != "" {
		onset, err := timeOf("--onset", f.onset)
		if err != nil {
			return err
		}
		req.Onset = &onset
	}
	c, err := s.admin()
	if err != nil {
		return err
	}
	if f.alarm != "" {
		if f.episode+f.watch+f.series+f.onset != "" {
			return &core.Error{Code: core.CodeInvalid, Message: "--alarm says it all", Hint: "leave out --episode, --watch, --series and --onset"}
		}
		all, err := s.alarms(ctx)
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.ID == f.alarm {
				req.Watch, req.Series, req.Onset = &a.Watch, &a.Series, &a.Onset
			}
		}
		if req.Watch == nil {
			return &core.Error{
				Code: core.CodeNotFound, Message: "the server tells of no alarm " + f.alarm,
				Hint: "see evenkeel-server feedback alarms; an older one is named by --watch, --series and --onset",
			}
		}
	}
	res, err := c.GiveFeedbackWithResponse(ctx, req)
	if err := ask(s, newOrKnown(res), func(r *client.GiveFeedbackResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return err
	}
	kept := cmp.Or(res.JSON201, res.JSON200)
	if kept == nil {
		return s.strange()
	}
	return s.print(*kept, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s is %s by %s\n", printable(kept.About), kept.Label, printable(kept.By))
	})
}

// alarms are those that the server tells of.
func (s *session) alarms(ctx context.Context) ([]core.Alarm, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	most := 1000
	res, err := c.ListAlarmsWithResponse(ctx, &client.ListAlarmsParams{Limit: &most})
	if err := ask(s, http.StatusOK, func(r *client.ListAlarmsResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, res, err); err != nil {
		return nil, err
	}
	if res.JSON200 == nil {
		return nil, s.strange()
	}
	return *res.JSON200, nil
}

func feedbackAlarmsCommand(o Options) *cobra.Command {
	return newCommand(o, "alarms", "List the alarms of the last 24 hours, those that are on first", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			all, err := s.alarms(ctx)
			if err != nil {
				return err
			}
			return s.print(all, func(w io.Writer) {
				rows := [][]string{{"ONSET", "LAST", "ALARM", "WATCH", "WHAT"}}
				for _, a := range all {
					last := "on"
					if a.Over {
						last = clock(a.Last)
					}
					rows = append(rows, []string{clock(a.Onset), last, a.ID, a.Watch, a.Sentence})
				}
				columns(w, rows...)
			})
		})
}

func feedbackListCommand(o Options) *cobra.Command {
	var history bool
	var about string
	cmd := newCommand(o, "list", "List what people said, the newest first", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			params := &client.ListFeedbackParams{History: &history}
			if about != "" {
				params.About = &about
			}
			res, err := c.ListFeedbackWithResponse(ctx, params)
			if err := ask(s, http.StatusOK, func(r *client.ListFeedbackResponse) *client.Problem {
				return r.ApplicationProblemJSONDefault
			}, res, err); err != nil {
				return err
			}
			if res.JSON200 == nil {
				return s.strange()
			}
			return s.print(*res.JSON200, func(w io.Writer) {
				rows := [][]string{{"AT", "LABEL", "BY", "ABOUT", "WATCH", "SERIES", "NOTE"}}
				for _, f := range *res.JSON200 {
					rows = append(rows, []string{clock(f.At), string(f.Label), f.By, f.About, f.Watch, f.Series, f.Note})
				}
				columns(w, rows...)
			})
		})
	cmd.Flags().BoolVar(&history, "history", false, "every word, and not only the last one of each person about each")
	cmd.Flags().StringVar(&about, "about", "", "only of the alarm or episode with this id")
	return cmd
}

// precisionRows are how often alarms were right by what people say.
func precisionRows(all []core.Precision) [][]string {
	rows := [][]string{{"BY FEEDBACK", "TRUE", "FALSE", "UNSURE", "PRECISION", "90 %", "LABELS"}}
	for _, p := range all {
		name, share, within := "watch "+p.Watch, "-", "-"
		if p.Watch == "" {
			name = "episodes"
		}
		if p.Precision != nil && p.Lower != nil && p.Upper != nil {
			share, within = fmt.Sprintf("%.2f", *p.Precision), fmt.Sprintf("%.2f to %.2f", *p.Lower, *p.Upper)
		}
		rows = append(rows, []string{name, fmt.Sprint(p.True), fmt.Sprint(p.False), fmt.Sprint(p.Unsure), share, within, fmt.Sprint(p.Labels)})
	}
	return rows
}
