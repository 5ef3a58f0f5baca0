package detect

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// KnowsSpecial reports whether special times are something to a model: whether it compares with a past that they are no example of.
func KnowsSpecial(m Model) bool {
	return slices.Contains(append(learners(), ModelService, ModelPeers), m)
}

// Weekday is the day of a name, such as sunday; none for another text.
func Weekday(name string) detectors.Day {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if strings.EqualFold(d.String(), name) {
			return detectors.Sunday + detectors.Day(d)
		}
	}
	return detectors.NoDay
}

// marksFor are the marks that touch a time and mean something to the watch.
func (w *watcher) marksFor(from, until time.Time) []Mark {
	marks := w.marks(from, until)
	concerns := func(m *Mark) bool {
		return m.Kind != MarkSpecial ||
			KnowsSpecial(w.watch.model()) && (len(m.Watches) == 0 || slices.Contains(m.Watches, w.watch.Name))
	}
	for i := range marks {
		if !concerns(&marks[i]) {
			return slices.DeleteFunc(slices.Clone(marks), func(m Mark) bool { return !concerns(&m) })
		}
	}
	return marks
}

// noExample says of a special time that it is no example for others, however long it is: for the models that do not tell such times apart themselves.
func (m marked) noExample() marked {
	if m.special != nil {
		m.maintained = true
		if m.aside == nil {
			m.aside = m.special
		}
	}
	return m
}

// tell has the models that tell special times apart know of the present one.
func (p *past) tell(special *Mark) {
	var is []detectors.Interval
	if special != nil {
		is = []detectors.Interval{{From: special.From, Until: special.Until, Like: special.Like}}
	}
	if slices.Equal(is, p.special) {
		return
	}
	p.special = is
	models := []detectors.Model{p.model}
	if p.on {
		models = append(models, p.aside)
	}
	if c := p.changed; c != nil {
		models = append(models, c.model, c.stray)
	}
	for _, m := range models {
		p.told(m)
	}
}

// told is a model that knows of the present special time.
func (p *past) told(m detectors.Model) detectors.Model {
	if s, ok := m.(*detectors.Seasonal); ok {
		s.Special = p.special
	}
	return m
}

// celebrate says of a series in a special time what becomes of it: that it is not judged, or by what.
func (s *series) celebrate(w Watch, m marked) {
	s.special = ""
	if m.special == nil {
		return
	}
	until := core.ClockText(m.special.Until)
	if day := m.special.Until.UTC().Format(time.DateOnly); day != s.lastAt.UTC().Format(time.DateOnly) {
		until = day + " " + until
	}
	when := "the special time " + m.special.What + ", until " + until
	switch model := w.model(); {
	case model == ModelSeasonal && m.special.Like != detectors.NoDay:
		s.special = "judged like a " + strings.ToLower(dayName(m.special.Like)) + " in " + when
	case model == ModelSeasonal:
		s.special = "judged by the recent past in " + when
	case model == ModelPeers && !m.apart:
		s.special = "in " + when + ", as all its siblings"
	case m.special.Judged && model != ModelPeers:
		s.special = "in " + when + ", which is not learned"
	default:
		if s.unknown == "" {
			s.unknown = "not judged in " + when
		}
	}
}

func dayName(d detectors.Day) string {
	return (time.Sunday + time.Weekday(d-detectors.Sunday)).String()
}

// partSpecial takes from the row of peers those that are in a special time while others are not: they are not comparable then, and nothing is learned of how
// far apart they are. A time that is special to all of them leaves them comparable.
func (r *row) partSpecial(at time.Time, marks []Mark, seen func(*series)) {
	special := make([]marked, len(r.values))
	there, in := 0, 0
	for i, x := range r.values {
		if math.IsNaN(x) {
			continue
		}
		there++
		if special[i] = r.series[i].marked(at, marks); special[i].special != nil {
			in++
		}
	}
	if in == 0 || in == there {
		return
	}
	for i, m := range special {
		if m.special == nil {
			continue
		}
		r.values[i], r.heard[i], m.apart = math.NaN(), at, true
		seen(r.series[i])
		r.series[i].lastAt, r.series[i].absent = at, false
		r.series[i].celebrate(r.watch, m)
	}
}
