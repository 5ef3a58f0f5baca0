package detect

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// setting is something that only some models have.
type setting struct {
	field  string
	given  bool
	models []Model
}

func (w Watch) settings() []setting {
	return []setting{
		{"query", w.Query != "", slices.DeleteFunc(models(), func(m Model) bool { return m == ModelService })},
		{"bad", w.Bad != "", []Model{ModelBurnRate}},
		{"total", w.Total != "", []Model{ModelBurnRate}},
		{"metrics", w.Metrics != nil, []Model{ModelService}},
		{"direction", w.Direction != "" && w.Direction != DirectionBoth, slices.DeleteFunc(models(), func(m Model) bool {
			return m == ModelBurnRate || m == ModelAbsence || m == ModelService
		})},
		{"floors", w.Floors != nil, []Model{ModelService}},
		{"valid_range", !w.Valid.any(), slices.DeleteFunc(models(), func(m Model) bool { return m == ModelService })},
		{"valid_ranges", w.ValidOf != nil, []Model{ModelService}},
		{"trigger_points", w.TriggerPoints != 0, banded()},
		{"trigger_of", w.TriggerOf != 0, banded()},
		{"recover_of", w.RecoverOf != 0, banded()},
		{"recover_points", w.RecoverPoints != 0, append(banded(), ModelTrend, ModelBurnRate, ModelAbsence)},
		{"floor", w.Floor != Floor{}, []Model{ModelAuto, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelCUSUM, ModelPeers}},
		{"threshold", w.Threshold != nil, []Model{ModelThreshold, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelPeers}},
		{"false_alarms_per_week", w.FalseAlarms != 0, []Model{ModelAuto, ModelService, ModelCUSUM}},
		{"limit", w.Limit != nil, []Model{ModelTrend}},
		{"horizon", w.Horizon != 0, []Model{ModelTrend}},
		{"window", w.Window != 0, []Model{ModelTrend}},
		{"objective", w.Objective != 0, []Model{ModelBurnRate}},
		{"windows", w.Windows != nil, []Model{ModelBurnRate}},
		{"patience", w.Patience != 0, []Model{ModelAbsence}},
		{"flat_after", w.FlatAfter != 0, []Model{ModelAbsence}},
		{"rests_at_zero", w.RestsAtZero, []Model{ModelAbsence}},
		{"ratio", w.Ratio, []Model{ModelPeers}},
		{"demand", w.Demand, append(learners(), ModelService)},
	}
}

// banded are the models with a limit or a band.
func banded() []Model {
	return []Model{ModelThreshold, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelPeers}
}

// fit says which settings the model has not, and which it needs.
func (w Watch) fit(bad func(field, format string, args ...any)) {
	model := w.model()
	for _, s := range w.settings() {
		switch {
		case !s.given || slices.Contains(s.models, model):
		case model == ModelService && (s.field == "floor" || s.field == "valid_range"):
			bad(s.field, "the metrics of service differ in unit; want %ss: {METRIC: ...} instead", s.field)
		default:
			bad(s.field, "model %s has no such setting, it belongs to %s; leave it out, or take another model", model, listed(s.models))
		}
	}
	w.fitQuestions(bad)
	w.fitValues(bad)
	if w.Group != "" && w.class() == core.ClassCause {
		bad("group", "it is of symptoms, which count as one where they are odd together, and this is a cause; leave it out")
	}
	if model != ModelThreshold && w.Threshold != nil && *w.Threshold == 0 {
		bad("threshold", "at 0 scales everything is news; want a number above 0, or leave it out for that of the model")
	}
	switch model {
	case ModelThreshold:
		if w.Threshold == nil {
			bad("threshold", "it is missing; want the last value that is all right, in the unit of the query")
		}
	case ModelTrend:
		if w.Limit == nil {
			bad("limit", "it is missing; want the last value that is all right, in the unit of the query")
		}
		if w.Class == core.ClassSymptom {
			bad("class", "a trend is a forecast, and what may come has no user felt yet; want cause")
		}
		most := (w.lookback() / trendLeast).Truncate(time.Second)
		if field, apart := w.apart(); apart > most && most >= minEvery { // a window that is shorter is wrong itself
			bad(field, "values %v apart are fewer than the %d in a window of %v that a trend takes, and it would never speak; want them at most %v apart, or a longer window",
				apart, trendLeast, w.lookback(), most)
		}
	case ModelBurnRate:
		field, apart := w.apart()
		for i, rule := range w.rules() {
			if apart > rule.Short {
				bad(field, "%v is longer than the short window %d of %v, which would never speak; want a shorter one, or other windows",
					apart, i, rule.Short)
				break
			}
		}
	case ModelAbsence:
		if w.RestsAtZero && w.FlatAfter == 0 {
			bad("rests_at_zero", "it speaks of standstills, which are judged only with flat_after; want flat_after: 24h too, or neither")
		}
	case ModelAuto, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelCUSUM, ModelPeers, ModelService:
	}
}

// parameters are the settings that a model checks itself, by what it calls them there.
func parameters() [][2]string {
	return [][2]string{
		{"false alarms per week ", "false_alarms_per_week"},
		{"absolute floor ", "floor.absolute"},
		{"relative floor ", "floor.relative"},
		{"threshold ", "threshold"},
		{"window ", "window"},
		{"horizon ", "horizon"},
		{"objective ", "objective"},
		{"patience ", "patience"},
		{"flat after ", "flat_after"},
		{"trigger points ", "trigger_points"},
		{"recover points ", "recover_points"},
		{"trigger of ", "trigger_of"},
		{"recover of ", "recover_of"},
		{"ARL0 ", "false_alarms_per_week"},
	}
}

// fitParameters says what the model says of its parameters, by the names of the settings.
func (w Watch) fitParameters(err error, bad func(field, format string, args ...any)) {
	if err == nil {
		return
	}
	for text := range strings.SplitSeq(err.Error(), "\n") {
		text, _, _ = strings.Cut(text, ", or 0 for ") // which is what it is without a word
		var i int
		if n, _ := fmt.Sscanf(text, "window %d", &i); n == 1 && w.model() == ModelBurnRate {
			bad(fmt.Sprintf("windows[%d]", i), "%s", text)
			continue
		}
		field := ""
		for _, p := range parameters() {
			if rest, ok := strings.CutPrefix(text, p[0]); ok {
				field, text = p[1], rest
				break
			}
		}
		if w.model() == ModelCUSUM && field == "false_alarms_per_week" { // of which the model takes the values from one to the next
			_, apart := w.apart()
			text = fmt.Sprintf("%v with values %v apart; want more than 0 and at most %.4g, one in ten values", w.FalseAlarms, apart, week.Seconds()/apart.Seconds()/10)
		}
		if field == "objective" { // of which a model takes the share
			text = fmt.Sprintf("%.6g%% leaves no error that is allowed; want less than 100%%, such as 99.9%%", w.Objective*100)
		}
		bad(field, "%s", text)
	}
}

// trendLeast is how many values a trend takes in its window.
const trendLeast = 12

// lookback is the window of a trend.
func (w Watch) lookback() time.Duration { return cmp.Or(w.Window, detectors.DefaultTrendWindow) }

// apart is how far apart the values are, and the setting that says so; 0 where it is a wrong one.
func (w Watch) apart() (field string, d time.Duration) {
	s, _, err := w.schedule()
	switch {
	case err != nil || w.Every > 0:
		return "every", w.Every
	default:
		return "cron", apart(s, s.Next(time.Unix(0, 0).UTC()))
	}
}

// apart is how far apart the values of a schedule are: from a tick to the next, or from there to the one after that where it
// is less. The last tick of a day, or of a week, says nothing of it.
func apart(s cron.Schedule, tick time.Time) time.Duration {
	next := s.Next(tick)
	return max(minEvery, min(next.Sub(tick), s.Next(next).Sub(next)))
}

// fitQuestions says what is wrong with what is asked.
func (w Watch) fitQuestions(bad func(field, format string, args ...any)) {
	empty := func(s string) bool { return strings.TrimSpace(s) == "" }
	switch {
	case w.model() == ModelService:
		if len(w.Metrics) < 2 {
			bad("metrics", "there are %d; want two or more, by name: {errors: QUERY, latency: QUERY}", len(w.Metrics))
		}
		for _, name := range slices.Sorted(maps.Keys(w.Metrics)) {
			if empty(name) || empty(w.Metrics[name]) {
				bad("metrics", "%q has no name or no query; want a MetricsQL expression by a name", name)
			}
		}
	case w.model() == ModelBurnRate && (w.Bad != "" || w.Total != ""):
		if w.Query != "" {
			bad("query", "it stands beside bad and total; want either the ratio of bad events, or their numbers")
		}
		if empty(w.Bad) {
			bad("bad", "it is missing beside total; want how many bad events an interval had")
		}
		if empty(w.Total) {
			bad("total", "it is missing beside bad; want how many events an interval had")
		}
	case empty(w.Query) && w.model() == ModelBurnRate:
		bad("query", "it is missing; want the ratio of bad events, from 0 to 1, or their numbers by bad and total")
	case empty(w.Query):
		bad("query", "it is empty; want a MetricsQL expression")
	}
}
