package detect

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// About says by which label the series of a watch name the site they are about.
type About string

// The places a subject can be read from. A link label is "<store>:<from>><to>".
const (
	AboutSite       About = "site"
	AboutTargetSite About = "target_site"
	AboutLinkFrom   About = "link.from"
	AboutLinkTo     About = "link.to"
)

// Direction is the side on which a deviation counts.
type Direction string

// The directions.
const (
	DirectionAbove Direction = "above"
	DirectionBelow Direction = "below"
	DirectionBoth  Direction = "both"
)

// Floor is the smallest deviation that could matter. For auto a smaller one is none; the others count deviations in
// scales, and one scale is never less.
type Floor struct {
	Absolute float64 // in the unit of the query; zero means none
	Relative float64 // share of what is expected, 0.05 for 5 %; zero means none for auto and 2 % for the others, negative none
}

// Watch is one question that is asked again and again, and how its answers are judged.
type Watch struct {
	Name  string
	Query string // MetricsQL; one series per subject, and for peers one per sibling
	// Bad and Total may take the place of Query for burn-rate: how many events were bad, and how many there were, in
	// one interval of the schedule, each with the same labels. Without a value of both there is none; a query whose series
	// come into being with the first error needs "or 0 * total".
	Bad, Total string
	// Metrics take the place of Query for service, by the name that sentences call them: MetricsQL whose series have the
	// labels of the subject. What other labels they have tells several series of one metric apart.
	Metrics map[string]string
	About   About
	Service string        // empty: the label service of each series, or the whole site where there is none
	Every   time.Duration // this or Cron
	Cron    string        // five fields, in UTC
	Model   Model         // empty means auto
	// Direction is the watched side, and for trend that of the limit on which nothing is all right. Empty means both.
	Direction Direction
	Floor     Floor
	// Floors are those of the values of service, by metric: there is no anomaly unless one of the odd ones deviates by as much.
	Floors map[string]Floor
	// Valid is what the values can be, and ValidOf the same of service, by metric. Others are neither judged nor learned, and are said.
	Valid   Range
	ValidOf map[string]Range
	// TriggerPoints make a series anomalous, and RecoverPoints normal again; zero means what the model has, 1 and 3. They are in a row, or
	// with TriggerOf and RecoverOf of so many.
	TriggerPoints, TriggerOf, RecoverPoints, RecoverOf int
	// Threshold is the limit of model threshold in the unit of the query, and the reach of the band in scales for
	// robust-z, seasonal, local-fit and peers, where nil means their own.
	Threshold *float64
	// FalseAlarms is how many a series may raise in a week by chance, or a whole subject of service: the setting of these and
	// auto, where zero means 1; and of cusum, where noise would, and zero means one in 600000 values.
	FalseAlarms float64
	// Demand says that the values grow as the number of users does. While a site carries those of another one they are judged as
	// what they would be without them; not at all by service, which has other values too, and when nobody knows how
	// many there are.
	Demand bool
	// Limit is what a trend must not reach, in the unit of the query; Horizon how near is news, where zero means 24 h; and
	// Window how much of the past the line goes through, where zero means 6 h.
	Limit           *float64
	Horizon, Window time.Duration
	// Objective of burn-rate is the share of good events that is promised, where zero means 0.999, and Windows its rules,
	// where none means those of the SRE workbook.
	Objective float64
	Windows   []detectors.BurnWindow
	// Patience of absence is how many intervals may pass without a value; zero means 5.
	Patience float64
	// FlatAfter makes absence judge also whether a series that used to move stands still, from so long an acquaintance on;
	// zero means not. With RestsAtZero a run of zeros is no standstill.
	FlatAfter   time.Duration
	RestsAtZero bool
	// Ratio makes peers compare by what factor siblings differ, and not by how much.
	Ratio bool
	Class core.Class // symptom or cause; zero means symptom, and cause for trend and absence
	// Group names what is likely to be odd together, as latency or errors: in the judgement of a subject its watches count as one. Empty means
	// that the watch is a group of its own.
	Group string
	// EvalDelay is how far behind the clock the question is asked, so that late samples are in. Zero means none.
	EvalDelay time.Duration
	// Training is how much history is replayed at a start that knows nothing. Zero means what the model needs: a week for auto and service, or 180 intervals where those are longer,
	// four weeks for seasonal, the window of trend, the longest of burn-rate, a day for absence, 2000 intervals for peers, and else
	// 360 intervals and an hour: the window of the model before any trouble that it has not yet taken for the new
	// level. Of all series together no more than 100 million points are read: a week of 1650 series every 10 s.
	Training time.Duration
	// MaxSeries is how many series the watch may have, and of those judged in rows how many values; more are refused and
	// counted. Zero means 1000.
	MaxSeries int
}

const (
	modelWindow      = 360
	autoRows         = 180       // more than auto takes to judge, and service after it
	modelAdapt       = time.Hour // how long a new level must stand to be the level
	defaultMaxSeries = 1000
	minEvery         = time.Second
	maxEvery         = 24 * time.Hour
	maxTraining      = 100 * 24 * time.Hour
)

// Problem is what is wrong with one field of a watch and what would be right. The field has the name that it has in the
// configuration, and is empty where it is no single one.
type Problem struct{ Field, Text string }

// Validate says what is wrong with the watch. It has all that is wrong, not the first.
func (w Watch) Validate() error {
	var errs []error
	for _, p := range w.Problems() {
		if p.Field != "" {
			p.Text = p.Field + ": " + p.Text
		}
		errs = append(errs, fmt.Errorf("watch %q: %s", w.Name, p.Text))
	}
	return errors.Join(errs...)
}

// Problems are all that is wrong with the watch.
func (w Watch) Problems() []Problem {
	var out []Problem
	bad := func(field, format string, args ...any) {
		out = append(out, Problem{field, fmt.Sprintf(format, args...)})
	}
	if w.Name == "" {
		bad("name", "it is empty; want a name to speak of it by")
	}
	switch w.About {
	case AboutSite, AboutTargetSite, AboutLinkFrom, AboutLinkTo:
	default:
		bad("about", "%q is not one of site, target_site, link.from, link.to", w.About)
	}
	if _, field, err := w.schedule(); err != nil {
		bad(field, "%v", err)
	}
	switch w.Direction {
	case "", DirectionAbove, DirectionBelow, DirectionBoth:
	default:
		bad("direction", "%q is not one of above, below, both", w.Direction)
	}
	switch w.Class {
	case core.ClassUnknown, core.ClassSymptom, core.ClassCause:
	case core.ClassOutside, core.ClassInside, core.ClassSilence, core.ClassLink:
		bad("class", "statistics are symptom or cause, never %s", w.Class)
	}
	if m := w.checked(); m == nil {
		bad("model", "%q is not one of %s", w.Model, listed(models()))
	} else {
		w.fit(bad)
		w.fitParameters(m.Validate(), bad)
	}
	if w.EvalDelay < 0 || w.EvalDelay > time.Hour {
		bad("eval_delay", "%v is out of range; want 0s to 1h", w.EvalDelay)
	}
	if w.Training < 0 || w.Training > maxTraining {
		bad("train", "%v is out of range; want 0s to 2400h", w.Training)
	}
	if w.MaxSeries < 0 {
		bad("max_series", "%d; want 1 or more, or 0 for %d", w.MaxSeries, defaultMaxSeries)
	}
	return out
}

// schedule is when the watch asks, or the field that is wrong and why.
func (w Watch) schedule() (s cron.Schedule, field string, err error) {
	switch {
	case w.Every != 0 && w.Cron != "":
		return nil, "cron", errors.New("it stands beside every; want one of the two")
	case w.Every == 0 && w.Cron == "":
		return nil, "every", errors.New(`want one of the two every and cron, such as every: 10s or cron: "*/5 * * * *"`)
	case w.Cron == "":
		if w.Every < minEvery || w.Every > maxEvery || w.Every%time.Millisecond != 0 {
			return nil, "every", fmt.Errorf("%v is out of range; want 1s to 24h in whole milliseconds", w.Every)
		}
		return grid(w.Every), "", nil
	case strings.Contains(w.Cron, "TZ=") || strings.HasPrefix(w.Cron, "@every"):
		return nil, "cron", fmt.Errorf("%q has a zone or an interval inside; want five fields in UTC, or every", w.Cron)
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	s, err = parser.Parse("CRON_TZ=UTC " + w.Cron)
	if err != nil {
		return nil, "cron", fmt.Errorf(`%q: %w; want five fields "minute hour day month weekday" in UTC`, w.Cron, err)
	}
	if s.Next(time.Unix(0, 0).UTC()).IsZero() {
		return nil, "cron", fmt.Errorf("%q: there is no such day", w.Cron)
	}
	return s, "", nil
}

// grid is a schedule on the multiples of an interval since 1970, so that every replica asks at the same times.
type grid time.Duration

// Next implements cron.Schedule.
func (g grid) Next(t time.Time) time.Time {
	ms, every := t.UnixMilli(), time.Duration(g).Milliseconds()
	return time.UnixMilli((ms/every + 1) * every).UTC()
}

func (w Watch) maxSeries() int {
	if w.MaxSeries == 0 {
		return defaultMaxSeries
	}
	return w.MaxSeries
}

func (w Watch) class() core.Class {
	switch {
	case w.Class != core.ClassUnknown:
		return w.Class
	case w.model() == ModelTrend || w.model() == ModelAbsence:
		return core.ClassCause
	}
	return core.ClassSymptom
}

// falseAlarms is how many a series may raise in a week by chance, 0 for models that are not calibrated.
func (w Watch) falseAlarms() float64 {
	switch {
	case w.model() != ModelAuto && w.model() != ModelService:
		return 0
	case w.FalseAlarms == 0:
		return detectors.DefaultFalseAlarmsPerWeek
	}
	return w.FalseAlarms
}

func (w Watch) direction() string {
	if w.Direction == "" {
		return string(DirectionBoth)
	}
	return string(w.Direction)
}

// subject reads whom a series is about. It is false when the series does not say.
func (w Watch) subject(labels map[string]string) (core.Subject, bool) {
	var site string
	switch w.About {
	case AboutSite, AboutTargetSite:
		site = labels[string(w.About)]
	case AboutLinkFrom, AboutLinkTo:
		_, ends, _ := strings.Cut(labels["link"], ":")
		from, to, ok := strings.Cut(ends, ">")
		if !ok || from == "" || to == "" {
			return core.Subject{}, false
		}
		site = from
		if w.About == AboutLinkTo {
			site = to
		}
	}
	service := w.Service
	if service == "" {
		service = labels["service"]
	}
	if service == "" {
		service = core.AllServices
	}
	return core.Subject{Site: site, Service: service}, site != ""
}
