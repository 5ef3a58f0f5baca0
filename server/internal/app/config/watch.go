package config

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// Watch is a query, a schedule and a model; or, with ready, a set of such that is ready-made. What a model does not have
// stays empty, and is refused where it is given.
type Watch struct {
	Ready   string            `yaml:"ready,omitempty"`   // hosts, http, links, store or self
	Except  []string          `yaml:"except,omitempty"`  // of a ready-made set: the watches that are left out
	Name    string            `yaml:"name,omitempty"`    // its name, the label detector of what it says
	Query   string            `yaml:"query,omitempty"`   // in MetricsQL
	Bad     string            `yaml:"bad,omitempty"`     // of burn-rate, with total: numbers of events of an interval
	Total   string            `yaml:"total,omitempty"`   // of burn-rate: all events of an interval
	Metrics map[string]string `yaml:"metrics,omitempty"` // of service: queries by name
	About   string            `yaml:"about,omitempty"`   // the label that names the site
	Service string            `yaml:"service,omitempty"` // the service it is about; none: the label service of a series, or the whole site
	Every   Duration          `yaml:"every,omitempty"`   // how often, 1s to 24h; of a ready-made set 30s
	Cron    string            `yaml:"cron,omitempty"`    // when it asks, in UTC, in place of every
	Model   string            `yaml:"model,omitempty"`   // what judges the series

	Direction     string                `yaml:"direction,omitempty"`      // the side on which a deviation counts
	Floor         Floor                 `yaml:"floor,omitempty"`          // the least deviation that is news; to models with a threshold in deviations: the least that one of these is
	Floors        map[string]Floor      `yaml:"floors,omitempty"`         // of service, by metric: the least deviation that is news
	ValidRange    ValidRange            `yaml:"valid_range,omitempty"`    // what its values can be; others are neither judged nor learned
	ValidRanges   map[string]ValidRange `yaml:"valid_ranges,omitempty"`   // the same of service, by metric
	TriggerPoints int                   `yaml:"trigger_points,omitempty"` // of models with a limit or a band: so many outside are news, in a row
	TriggerOf     int                   `yaml:"trigger_of,omitempty"`     // of as many, up to 64, trigger_points are enough
	RecoverPoints int                   `yaml:"recover_points,omitempty"` // of the same, trend, burn-rate and absence: so many inside end it, in a row
	RecoverOf     int                   `yaml:"recover_of,omitempty"`     // of as many, up to 64, recover_points are enough
	Threshold     *float64              `yaml:"threshold,omitempty"`      // of threshold: the limit; of robust-z and its like: how many deviations are news
	// FalseAlarmsPerWeek is what a series of the watch may cost, for model auto, and a subject for service; for cusum, what noise would cost.
	FalseAlarmsPerWeek *float64     `yaml:"false_alarms_per_week,omitempty"`
	Limit              *float64     `yaml:"limit,omitempty"`         // of trend: the last value that is all right
	Horizon            Duration     `yaml:"horizon,omitempty"`       // of trend: how near the limit is news
	Window             Duration     `yaml:"window,omitempty"`        // of trend: how much past the line goes through
	Objective          Percent      `yaml:"objective,omitempty"`     // of burn-rate: the part of events that is good
	Windows            []BurnWindow `yaml:"windows,omitempty"`       // of burn-rate: when it speaks
	Patience           float64      `yaml:"patience,omitempty"`      // of absence: intervals
	FlatAfter          Duration     `yaml:"flat_after,omitempty"`    // of absence: standstills are judged from so long an acquaintance on
	RestsAtZero        bool         `yaml:"rests_at_zero,omitempty"` // of absence: a standstill at zero is all right
	Ratio              bool         `yaml:"ratio,omitempty"`         // of peers
	// Demand says that the values grow with the number of users, and are judged as if the site had no other's.
	Demand    bool     `yaml:"demand,omitempty"`
	MaxSeries int      `yaml:"max_series,omitempty"` // more are refused and counted; 0: 1000
	EvalDelay Duration `yaml:"eval_delay,omitempty"` // how far behind the clock it asks, up to 1h, for samples that come late
	Class     string   `yaml:"class,omitempty"`      // what it says is; cause for trend and absence
	Group     string   `yaml:"group,omitempty"`      // of watches that are likely to be odd together, as latency; none: a group of its own
	Train     Duration `yaml:"train,omitempty"`      // 0s: what the model needs

	path string // where it stands in the file
	made bool   // it is of a ready-made set

	implied bool
}

// Implied reports whether the watch is there without a word of watches: it is over the certificates that probes see.
func (w Watch) Implied() bool { return w.implied }

// Floor is the smallest deviation worth a word.
type Floor struct {
	Absolute float64 `yaml:"absolute"` // in the unit of the query
	Relative Percent `yaml:"relative"` // of what was expected
}

// ValidRange is what values can be, both ends included.
type ValidRange struct {
	Min *float64 `yaml:"min,omitempty"` // none: there is no least one
	Max *float64 `yaml:"max,omitempty"` // none: there is no greatest one
}

// BurnWindow is a rule of burn-rate: the budget burns more than Factor times too fast over Long, and still does over Short.
type BurnWindow struct {
	Long   Duration `yaml:"long"`   // must burn
	Short  Duration `yaml:"short"`  // must burn still
	Factor float64  `yaml:"factor"` // so many times too fast
}

// Detect is the watch as the watchman takes it.
func (w Watch) Detect() detect.Watch {
	out := detect.Watch{
		Name: w.Name, Query: w.Query, Bad: w.Bad, Total: w.Total, Metrics: w.Metrics, About: detect.About(w.About), Service: w.Service,
		Every: w.Every.D(), Cron: w.Cron, Model: detect.Model(w.Model), Direction: detect.Direction(w.Direction),
		Floor: detect.Floor{Absolute: w.Floor.Absolute, Relative: float64(w.Floor.Relative)}, Threshold: w.Threshold,
		Limit: w.Limit, Horizon: w.Horizon.D(), Window: w.Window.D(), Objective: float64(w.Objective),
		Patience: w.Patience, FlatAfter: w.FlatAfter.D(), RestsAtZero: w.RestsAtZero, Ratio: w.Ratio, Demand: w.Demand, Training: w.Train.D(),
		MaxSeries: w.MaxSeries, Group: w.Group, EvalDelay: w.EvalDelay.D(),
		Valid: detect.Range(w.ValidRange), TriggerPoints: w.TriggerPoints, TriggerOf: w.TriggerOf,
		RecoverPoints: w.RecoverPoints, RecoverOf: w.RecoverOf,
	}
	for name, f := range w.Floors {
		if out.Floors == nil {
			out.Floors = map[string]detect.Floor{}
		}
		out.Floors[name] = detect.Floor{Absolute: f.Absolute, Relative: float64(f.Relative)}
	}
	for name, r := range w.ValidRanges {
		if out.ValidOf == nil {
			out.ValidOf = map[string]detect.Range{}
		}
		out.ValidOf[name] = detect.Range(r)
	}
	if w.FalseAlarmsPerWeek != nil {
		out.FalseAlarms = *w.FalseAlarmsPerWeek
	}
	for _, x := range w.Windows {
		out.Windows = append(out.Windows, detectors.BurnWindow{Long: x.Long.D(), Short: x.Short.D(), Factor: x.Factor})
	}
	switch w.Class { // another one is told where the file is checked
	case core.ClassSymptom.String():
		out.Class = core.ClassSymptom
	case core.ClassCause.String():
		out.Class = core.ClassCause
	}
	return out
}

// fillWatches puts the watches of ready-made sets in the place of their names, and gives all of them their defaults.
func (c *Config) fillWatches() {
	var out []Watch
	own, replaced := map[string]bool{}, map[string]Watch{}
	for i := range c.Watches {
		own[c.Watches[i].Name] = true
		c.Watches[i].path = fmt.Sprintf("watches[%d]", i)
	}
	for _, w := range c.Watches {
		made, problems := c.made(w)
		if w.Ready == "" || len(problems) > 0 {
			out = append(out, w)
			continue
		}
		for _, m := range made {
			if own[m.Name] { // which takes its place
				replaced[m.Name] = m
			} else {
				out = append(out, m)
			}
		}
	}
	c.Watches = out
	for i := range c.Watches {
		w := &c.Watches[i]
		if of, ok := replaced[w.Name]; ok && w.Ready == "" {
			w.inherit(of)
		}
		if w.Ready == "" {
			w.fill()
		}
	}
}

// inherit is what a watch has of the one of a ready-made set whose place it takes: what it says is evidence of the same.
func (w *Watch) inherit(of Watch) {
	orDefault(&w.About, of.About)
	if w.Model != string(detect.ModelTrend) { // which is a cause in any set
		orDefault(&w.Class, of.Class)
	}
	if w.Class == core.ClassSymptom.String() {
		orDefault(&w.Group, of.Group)
	}
}

func (w *Watch) fill() {
	orDefault(&w.About, "target_site")
	orDefault(&w.Model, "auto")
	orDefault(&w.Direction, "both")
	if w.Model == string(detect.ModelTrend) || w.Model == string(detect.ModelAbsence) {
		orDefault(&w.Class, core.ClassCause.String())
	}
	orDefault(&w.Class, core.ClassSymptom.String())
	if w.Every == 0 && w.Cron == "" {
		w.Every = Duration(10 * time.Second)
	}
	d := w.Detect().Filled()
	if w.FalseAlarmsPerWeek == nil && d.FalseAlarms != 0 {
		w.FalseAlarmsPerWeek = &d.FalseAlarms
	}
	w.Threshold, w.Horizon, w.Window, w.Objective, w.Patience = d.Threshold, Duration(d.Horizon), Duration(d.Window), Percent(d.Objective), d.Patience
	w.Train, w.MaxSeries = Duration(d.Training), d.MaxSeries
}

func (v *validator) watchList() {
	seen, twice := map[string]bool{}, map[string]bool{}
	for _, w := range v.c.Watches {
		_, problems := v.c.made(w)
		for _, p := range problems {
			v.bad(w.path+"."+p.Field, "%s", p.Text)
		}
		if w.Ready != "" {
			continue
		}
		if w.made && seen[w.Name] {
			if !twice[w.path] {
				v.bad(w.path, "the watch %s of this set is there already; keep one of the two sets", w.Name)
			}
			twice[w.path] = true
			continue
		}
		v.nameAt(w.path, w.Name, seen)
		v.oneOf(w.path+".class", w.Class, "symptom", "cause")
		if w.Service != "" {
			v.known(w.path+".service", "service", w.Service, v.services)
		}
		if w.Model == string(detect.ModelPeers) && len(v.c.Sites) < 3 {
			v.bad(w.path+".model", "peers takes three sites to say which of them has parted, and there are %d; use auto", len(v.c.Sites))
		}
		if !w.made { // those are right by a test
			v.queries(w)
		}
		for _, p := range w.Detect().Problems() {
			if p.Field == "name" { // told above
				continue
			}
			path := w.path
			if p.Field != "" {
				path += "." + p.Field
			}
			if w.made {
				p.Text = w.Name + ": " + p.Text
			}
			v.bad(path, "%s", p.Text)
		}
	}
}
