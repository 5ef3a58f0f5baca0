package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
	"github.com/evenkeel/evenkeel/server/internal/store"
)

const (
	// backtestMost is how far back a backtest may go.
	backtestMost = 366 * 24 * time.Hour
	// backtestShown is how many alarms of a watch are told one by one.
	backtestShown = 20
)

// BacktestOptions say what is judged by which past.
type BacktestOptions struct {
	ConfigPath string
	Server     string   // URL of a running one, whose samples and records are the past
	Watches    []string // names; none: all
	Days       float64
	Suggest    bool      // other models too
	Progress   io.Writer // hears how far it is
	Now        func() time.Time
}

// BacktestReport is what the watches of a configuration would have said.
type BacktestReport struct {
	From    time.Time       `json:"from"`
	Until   time.Time       `json:"until"`
	Watches []BacktestWatch `json:"watches"`
}

// BacktestWatch is what one watch would have said, as it is or otherwise. Shares are of its series and ticks, 0 to 1.
type BacktestWatch struct {
	Watch       string             `json:"watch"`
	Settings    []string           `json:"settings,omitempty"` // of a candidate, as lines of the configuration
	Model       string             `json:"model"`
	Error       string             `json:"error,omitempty"` // why it could not be judged; the rest is empty then
	Series      int                `json:"series"`
	Ticks       int                `json:"ticks"`
	Points      int                `json:"points"`
	Anomalous   float64            `json:"anomalous"` // of the points
	Warming     float64            `json:"warming"`
	Unknown     float64            `json:"unknown"`
	SeriesWeeks float64            `json:"series_weeks"`
	Budget      float64            `json:"budget"`          // false alarms a series and week
	FalseAlarms int                `json:"false_alarms"`    // that nothing on record explains
	Rate        *float64           `json:"rate,omitempty"`  // of those, a series and week
	Lower       *float64           `json:"lower,omitempty"` // its interval of 90 %
	Upper       *float64           `json:"upper,omitempty"`
	Known       int                `json:"known_alarms"`     // in incidents, maintenance, or while users were moved
	Incidents   []BacktestIncident `json:"incidents"`        // on record about what it is about
	Alarms      []BacktestAlarm    `json:"alarms,omitempty"` // the false ones first, the newest first
	Note        string             `json:"note,omitempty"`
	Others      []BacktestWatch    `json:"others,omitempty"`     // candidates
	Suggestion  *BacktestAdvice    `json:"suggestion,omitempty"` // with --suggest

	met   int // of the incidents, and half of them within
	after time.Duration
}

// BacktestAdvice is which candidate does best; no settings: the watch as it is.
type BacktestAdvice struct {
	Settings []string `json:"settings,omitempty"`
	Why      string   `json:"why"`
}

// BacktestAlarm is one alarm.
type BacktestAlarm struct {
	At       time.Time `json:"at"`
	Last     time.Time `json:"last"`
	Series   string    `json:"series"`
	Sentence string    `json:"sentence"`
	Known    string    `json:"known,omitempty"` // what is on record of that time
}

// BacktestIncident is an incident on record.
type BacktestIncident struct {
	Subject core.Subject `json:"subject"`
	From    time.Time    `json:"from"`
	Until   time.Time    `json:"until,omitzero"`
	Met     bool         `json:"met"`
	AfterS  float64      `json:"after_s,omitempty"`
}

// RunBacktest judges the past of a running server by the watches of a configuration, which need not be those that it runs with. It reads and changes
// nothing.
func RunBacktest(ctx context.Context, o BacktestOptions) (BacktestReport, error) {
	var out BacktestReport
	if o.Now == nil {
		o.Now = time.Now
	}
	span := time.Duration(o.Days * 24 * float64(time.Hour))
	if !(o.Days > 0) || span > backtestMost || span < time.Minute {
		return out, &core.Error{Code: core.CodeInvalid, Message: fmt.Sprintf("%g days cannot be judged", o.Days), Hint: "give --days from 0.001 to 366"}
	}
	c, err := config.Load(o.ConfigPath)
	if err != nil {
		return out, err
	}
	watches, err := chosen(c, o.Watches)
	if err != nil {
		return out, err
	}
	base, err := url.Parse(strings.TrimSuffix(o.Server, "/"))
	if err != nil || (base.Scheme != "http" && base.Scheme != "https") || base.Host == "" {
		return out, &core.Error{Code: core.CodeInvalid, Message: "the server's address is no http or https URL", Hint: "write it like http://127.0.0.1:8450"}
	}
	samples, err := store.Open(ctx, store.Options{URL: base.JoinPath("prometheus").String()})
	if err != nil {
		return out, err
	}
	defer func() { _ = samples.Close() }()
	out.Until = o.Now().UTC().Truncate(time.Second)
	out.From = out.Until.Add(-span)
	marks, err := marksOf(ctx, base, out.From.Add(-backtestMost/4), out.Until)
	if err != nil {
		return out, err
	}
	words, err := past[core.Feedback](ctx, base, "feedback", url.Values{"limit": {"1000"}})
	if err != nil {
		return out, err
	}
	said := core.Verdicts(words)
	special, err := newSpecials(c)
	if err != nil {
		return out, err
	}
	b := detect.Backtest{
		From: out.From, Until: out.Until, Querier: samples, Zone: func(site string) *time.Location { return zoneOf(c, site) },
		Marks: func(from, until time.Time) []detect.Mark {
			return append(special.between(from, until), touching(marks, from, until)...)
		},
		Said: func(watch, series string, onset time.Time) core.Said { return said[core.AlarmID(watch, series, onset)] },
	}
	for _, w := range watches {
		b.Watch = w.Detect()
		x, err := backtestOf(ctx, b, o)
		if err != nil {
			return out, err
		}
		out.Watches = append(out.Watches, x)
	}
	return out, nil
}

// chosen are the watches of these names.
func chosen(c config.Config, names []string) ([]config.Watch, error) {
	if len(c.Watches) == 0 {
		return nil, &core.Error{Code: core.CodeInvalid, Message: "the configuration has no watches", Hint: "add one under watches:, as the README shows"}
	}
	if len(names) == 0 {
		return c.Watches, nil
	}
	var out []config.Watch
	for _, name := range names {
		i := slices.IndexFunc(c.Watches, func(w config.Watch) bool { return w.Name == name })
		if i < 0 {
			var all []string
			for _, w := range c.Watches {
				all = append(all, w.Name)
			}
			return nil, &core.Error{Code: core.CodeNotFound, Message: fmt.Sprintf("there is no watch %q", name), Hint: "there are " + strings.Join(all, ", ")}
		}
		out = append(out, c.Watches[i])
	}
	return out, nil
}

// backtestOf judges one watch, and with Suggest its candidates too. What is wrong with a watch is in the report; an error ends it all.
func backtestOf(ctx context.Context, b detect.Backtest, o BacktestOptions) (BacktestWatch, error) {
	watch, budget := b.Watch, b.Watch.Budget()
	candidates := []detect.Candidate{{Watch: watch}}
	if o.Suggest {
		candidates = watch.Candidates()
	}
	var all []BacktestWatch
	var judged []detect.Judged
	for _, c := range candidates {
		b.Watch = c.Watch
		what := strings.Join(append([]string{watch.Name}, c.Settings...), ", ")
		said := o.Now()
		b.Progress = func(at time.Time) {
			if now := o.Now(); now.Sub(said) >= 5*time.Second {
				said = now
				_, _ = fmt.Fprintf(o.Progress, "backtest: %s: %.0f %%\n", what, 100*at.Sub(b.From).Hours()/b.Until.Sub(b.From).Hours())
			}
		}
		j, err := b.Run(ctx)
		switch much := (*detect.TooMuchError)(nil); {
		case ctx.Err() != nil:
			return BacktestWatch{}, ctx.Err()
		case core.Code(err) == core.CodeUnavailable:
			return BacktestWatch{}, fmt.Errorf("watch %s: %w", watch.Name, err)
		case errors.As(err, &much):
			days := o.Days * float64(much.Most) / float64(much.Points)
			err = fmt.Errorf("%w; give --days %.2g", err, days*0.99)
		}
		x := tell(c, j, budget, err)
		all, judged = append(all, x), append(judged, j)
		if err != nil {
			return x, nil // the other ones ask the same
		}
	}
	out := all[0]
	if o.Suggest {
		best, why := detect.Best(judged, budget)
		if len(all) == 1 {
			why = "no other model fits what it asks; " + why
		}
		out.Others, out.Suggestion = all[1:], &BacktestAdvice{Settings: candidates[best].Settings, Why: why}
	}
	return out, nil
}

// tell is the report on one judgement.
func tell(c detect.Candidate, j detect.Judged, budget float64, err error) BacktestWatch {
	x := BacktestWatch{Watch: c.Watch.Name, Settings: c.Settings, Model: string(cmp.Or(c.Watch.Model, detect.ModelAuto)), Budget: budget, Incidents: []BacktestIncident{}}
	if err != nil {
		x.Error = err.Error()
		return x
	}
	all := float64(max(1, j.Points+j.Warming+j.Unknown))
	x.Series, x.Ticks, x.Points, x.SeriesWeeks, x.Note = j.Series, j.Ticks, j.Points, j.Weeks, j.Note
	x.Warming, x.Unknown = float64(j.Warming)/all, float64(j.Unknown)/all
	x.Anomalous = float64(j.Anomalous) / float64(max(1, j.Points))
	x.FalseAlarms = j.False()
	x.Known = len(j.Alarms) - x.FalseAlarms
	if rate := j.Rate(); !math.IsNaN(rate) {
		lower, upper := detectors.CountInterval(x.FalseAlarms, calibrationConfidence)
		lower, upper = lower/j.Weeks, upper/j.Weeks
		x.Rate, x.Lower, x.Upper = &rate, &lower, &upper
	}
	switch {
	case j.Series == 0:
		x.Note = "no series: the store has nothing of that time that the query finds, or its series do not say which site they are about"
	case j.Points == 0 && j.Warming > 0:
		x.Note = "nothing was judged: there are too few values so far, so give more days or wait"
	case j.Points == 0:
		x.Note = "nothing was judged: it was unknown all the time"
	}
	x.met, x.after = j.Met()
	for _, i := range j.Incidents {
		x.Incidents = append(x.Incidents, BacktestIncident{Subject: i.Subject, From: i.From, Until: i.Until, Met: i.Met, AfterS: i.After.Seconds()})
	}
	slices.SortStableFunc(j.Alarms, func(a, b detect.JudgedAlarm) int { return cmp.Or(cmp.Compare(a.Known, b.Known), b.At.Compare(a.At)) })
	for _, a := range j.Alarms {
		x.Alarms = append(x.Alarms, BacktestAlarm{At: a.At.UTC(), Last: a.Last.UTC(), Series: a.Series, Sentence: a.Sentence, Known: a.Known})
	}
	return x
}

// past asks a running server for a list.
func past[T any](ctx context.Context, base *url.URL, path string, query url.Values) (all []T, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	u := base.JoinPath("api/v1", path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("ask for %s: %w", path, err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeUnavailable, Message: "the server does not answer at " + base.Redacted(), Hint: "start it, or give its URL with --server", Err: err,
		}
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		err = json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&all)
	} else {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeUnavailable, Message: "what answers at " + base.Redacted() + " does not say what is on record (" + path + ")",
			Hint: "give the URL of an evenkeel-server of this version with --server", Err: err,
		}
	}
	return all, nil
}

// marksOf are the times on record of a running server.
func marksOf(ctx context.Context, base *url.URL, from, until time.Time) ([]detect.Mark, error) {
	all, err := past[core.MarkedTime](ctx, base, "marks", url.Values{"from": {from.Format(time.RFC3339)}, "until": {until.Format(time.RFC3339)}})
	if err != nil {
		return nil, err
	}
	out := make([]detect.Mark, 0, len(all))
	for _, m := range all {
		kinds := detect.OnRecord()
		if i := slices.IndexFunc(kinds, func(k detect.MarkKind) bool { return k.String() == m.Kind }); i >= 0 {
			out = append(out, detect.Mark{Kind: kinds[i], Subject: m.Subject, From: m.From, Until: m.Until, What: m.What, Load: m.Load})
		}
	}
	return out, nil
}

// MarkedTimes implements api.Marks.
func (m *marks) MarkedTimes(from, until time.Time) []core.MarkedTime {
	var out []core.MarkedTime
	for _, x := range m.between(from, until) {
		out = append(out, core.MarkedTime{Kind: x.Kind.String(), Subject: x.Subject, From: x.From, Until: x.Until, What: x.What, Load: x.Load})
	}
	return out
}

// Write tells the report to people.
func (r BacktestReport) Write(w io.Writer) error {
	var b strings.Builder
	const minutes = "2006-01-02 15:04"
	fmt.Fprintf(&b, "from %s to %s UTC, tick by tick as the server judges; nothing is changed\n", r.From.Format(minutes), r.Until.Format(minutes))
	for _, x := range r.Watches {
		b.WriteByte('\n')
		x.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err //nolint:wrapcheck // of where the report goes
}

func (x BacktestWatch) write(b *strings.Builder) {
	fmt.Fprintf(b, "%s (%s)", x.Watch, x.Model)
	if x.Error != "" {
		fmt.Fprintf(b, ": %s\n", x.Error)
		return
	}
	fmt.Fprintf(b, ": %d series, %d ticks; %.1f %% warming, %.1f %% unknown", x.Series, x.Ticks, 100*x.Warming, 100*x.Unknown)
	if x.Points > 0 {
		fmt.Fprintf(b, ", of the rest %.2g %% anomalous", 100*x.Anomalous)
	}
	b.WriteByte('\n')
	if x.Note != "" {
		fmt.Fprintf(b, "  %s\n", x.Note)
	}
	if x.Rate != nil {
		fmt.Fprintf(b, "  false alarms: %d, %.3g a series and week (%.0f %%: %.3g to %.3g), where %.3g may be; %d more in what is on record\n",
			x.FalseAlarms, *x.Rate, 100*calibrationConfidence, *x.Lower, *x.Upper, x.Budget, x.Known)
		fmt.Fprintf(b, "  incidents on record: %s\n", x.incidents())
	}
	for i, a := range x.Alarms {
		if i == backtestShown {
			fmt.Fprintf(b, "  and %d alarms more, in --output json\n", len(x.Alarms)-i)
			break
		}
		known := ""
		if a.Known != "" {
			known = " [" + a.Known + "]"
		}
		fmt.Fprintf(b, "  %s for %s%s %s: %s\n", a.At.Format("2006-01-02 15:04:05"), a.Last.Sub(a.At).Round(time.Second), known, a.Series, a.Sentence)
	}
	if x.Suggestion == nil {
		return
	}
	table := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "  \tFALSE ALARMS A SERIES AND WEEK\tINCIDENTS\tWARMING")
	for i, o := range append([]BacktestWatch{x}, x.Others...) {
		what := strings.Join(o.Settings, ", ")
		if i == 0 {
			what = "as it is: " + o.Model
		}
		rate := "none judged"
		if o.Rate != nil {
			rate = fmt.Sprintf("%.3g", *o.Rate)
		}
		_, _ = fmt.Fprintf(table, "  %s\t%s\t%s\t%.1f %%\n", what, rate, o.incidents(), 100*o.Warming)
	}
	_ = table.Flush()
	if len(x.Suggestion.Settings) == 0 {
		fmt.Fprintf(b, "  best as it is: %s\n", x.Suggestion.Why)
		return
	}
	fmt.Fprintf(b, "  best: %s\n  to have it, write in watch %s, in place of what is there of these and of threshold, trigger and recover points:\n", x.Suggestion.Why, x.Watch)
	for _, line := range x.Suggestion.Settings {
		fmt.Fprintf(b, "    %s\n", line)
	}
}

// incidents says how many were met, and how soon.
func (x BacktestWatch) incidents() string {
	if len(x.Incidents) == 0 {
		return "none"
	}
	text := fmt.Sprintf("%d of %d met", x.met, len(x.Incidents))
	if x.met > 0 {
		text += fmt.Sprintf(", half within %.0f s", x.after.Seconds())
	}
	return text
}
