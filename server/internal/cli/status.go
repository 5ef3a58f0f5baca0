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

// overview is what status shows.
type overview struct {
	Status   client.Status  `json:"status"`
	Sites    []client.Site  `json:"sites"`
	Episodes []core.Episode `json:"episodes"` // open ones
	// Replicas is nil for a server that is alone, and while they cannot be listed.
	Replicas *client.Replicas `json:"replicas,omitempty"`
}

func statusCommand(o Options) *cobra.Command {
	return newCommand(o, "status", "Show the server, the sites and what is open", cobra.NoArgs,
		func(ctx context.Context, s *session, _ []string) error {
			view, err := s.overview(ctx)
			if err != nil {
				return err
			}
			return s.print(view, func(w io.Writer) { view.table(w) })
		})
}

func (s *session) overview(ctx context.Context) (*overview, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	st, err := c.GetStatusWithResponse(ctx)
	if err := ask(s, http.StatusOK, func(r *client.GetStatusResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, st, err); err != nil {
		return nil, err
	}
	sites, err := c.ListSitesWithResponse(ctx)
	if err := ask(s, http.StatusOK, func(r *client.ListSitesResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, sites, err); err != nil {
		return nil, err
	}
	open := true
	episodes, err := c.ListEpisodesWithResponse(ctx, &client.ListEpisodesParams{Open: &open})
	if err := ask(s, http.StatusOK, func(r *client.ListEpisodesResponse) *client.Problem {
		return r.ApplicationProblemJSONDefault
	}, episodes, err); err != nil {
		return nil, err
	}
	if st.JSON200 == nil || sites.JSON200 == nil || episodes.JSON200 == nil {
		return nil, s.strange()
	}
	out := &overview{Status: *st.JSON200, Sites: *sites.JSON200, Episodes: *episodes.JSON200}
	if several(out.Status.Leadership) {
		// The rest is worth showing without it.
		if out.Replicas, err = s.replicas(ctx); err != nil {
			_, _ = fmt.Fprintln(s.Err, "warning: the replicas cannot be listed: "+printable(err.Error()))
		}
	}
	return out, nil
}

// several says whether a server is one of several.
func several(l *core.Leadership) bool { return l != nil && l.Self != "" }

func (v *overview) table(w io.Writer) {
	st := v.Status
	_, _ = fmt.Fprintf(w, "version %s, cluster %s, epoch %d, revision %d\n",
		printable(st.Version), printable(st.ClusterID), st.Epoch, st.Revision)
	loud(w, st.Leadership, st.Pending)
	if several(st.Leadership) {
		_, _ = fmt.Fprintln(w, leads(*st.Leadership))
	}
	switch {
	case st.Acting:
		_, _ = fmt.Fprintln(w, "acting: yes")
	case st.Reason != nil:
		_, _ = fmt.Fprintf(w, "acting: no, %s\n", printable(*st.Reason))
	default:
		_, _ = fmt.Fprintln(w, "acting: no")
	}
	if st.Brake != nil && st.Brake.On {
		_, _ = fmt.Fprintf(w, "brake: on since %s by %s: %s\n",
			clock(st.Brake.At), printable(st.Brake.By), printable(st.Brake.Reason))
	}
	if st.Maintenance != nil {
		for _, c := range *st.Maintenance {
			_, _ = fmt.Fprintf(w, "maintenance: %s until %s by %s: %s\n", printable(c.About().String()), clock(c.Until()), printable(c.By), printable(c.What))
		}
	}
	if st.Tilt != nil && st.Tilt.On {
		_, _ = fmt.Fprintf(w, "tilted: %s\n", printable(st.Tilt.Reason))
	}
	for _, p := range st.Parts {
		if !p.Ok {
			_, _ = fmt.Fprintf(w, "%s: %s\n", printable(p.Name), printable(p.Word))
		}
	}
	_, _ = fmt.Fprintln(w)
	if v.Replicas != nil {
		columns(w, replicaRows(*v.Replicas)...)
		_, _ = fmt.Fprintln(w)
	}
	rows := [][]string{{"SITE", "SERVICE", "CONDITION", "ROUTING", "WEIGHT", "SHARE", "AGENT"}}
	for _, site := range v.Sites {
		agent := heard(site)
		if len(site.Services) == 0 {
			rows = append(rows, []string{site.Name, "-", "-", "-", "-", "-", agent})
		}
		for _, x := range site.Services {
			share := "-"
			if x.Traffic != nil && x.Traffic.Known {
				share = strconv.FormatFloat(100*x.Traffic.Share, 'f', 1, 64) + " %"
			}
			rows = append(rows, []string{
				site.Name, x.Name, x.Condition.String(), x.Routing.String(), strconv.Itoa(x.Weight) + " %", share, agent,
			})
		}
	}
	if len(v.Sites) > 0 {
		columns(w, rows...)
		_, _ = fmt.Fprintln(w)
	} else {
		_, _ = fmt.Fprintln(w, "no sites are configured")
	}
	if st.Anomalies != nil {
		for _, x := range *st.Anomalies {
			_, _ = fmt.Fprintf(w, "%s: %s\n", x.Class, printable(x.Sentence))
		}
		_, _ = fmt.Fprintln(w)
	}
	v.episodes(w)
	if st.SpecialTimes != nil {
		_, _ = fmt.Fprintln(w)
		for _, x := range *st.SpecialTimes {
			_, _ = fmt.Fprintf(w, "%s: %s\n", printable(x.Name), printable(x.Sentence))
		}
	}
	if st.Feedback != nil {
		_, _ = fmt.Fprintln(w)
		columns(w, precisionRows(*st.Feedback)...)
	}
	if st.Warming != nil {
		_, _ = fmt.Fprintln(w)
		for _, x := range *st.Warming {
			_, _ = fmt.Fprintf(w, "%s: %s\n", printable(x.Watch), printable(x.Sentence))
		}
	}
}

// episodes are the open ones, the oldest first.
func (v *overview) episodes(w io.Writer) {
	if len(v.Episodes) == 0 {
		_, _ = fmt.Fprintln(w, "no open episodes")
		return
	}
	rows := [][]string{{"EPISODE", "SINCE", "SUBJECT", "CONDITION", "ROUTING", "WHAT"}}
	for _, e := range slices.Backward(v.Episodes) {
		rows = append(rows, []string{e.ID, clock(e.Onset), e.Subject.String(), e.Condition.String(), e.Routing.String(), e.Sentence})
	}
	columns(w, rows...)
	for _, e := range slices.Backward(v.Episodes) {
		if e.Standing.Verdict == core.VerdictAwaitApproval {
			_, _ = fmt.Fprintf(w, "\n%s waits for your word: evenkeel-server approve %s --reason WHY, or veto\n",
				printable(e.Subject.String()), printable(e.DecisionID))
		}
	}
}

// leads says who leads, whether there is a quorum, and by whose account.
func leads(l core.Leadership) string {
	leader, quorum := "nobody", "no"
	if l.Leader != "" {
		leader = printable(l.Leader)
		if !l.Since.IsZero() {
			leader += " since " + clock(l.Since)
		}
	}
	if l.Quorum {
		quorum = "yes"
	}
	return fmt.Sprintf("leader: %s, quorum: %s, says replica %s", leader, quorum, printable(l.Self))
}

func heard(site client.Site) string {
	switch {
	case site.Fresh == nil:
		return "unknown"
	case *site.Fresh:
		return "heard"
	case site.LastAt == nil:
		return "never heard"
	}
	return "silent since " + clock(*site.LastAt)
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
