package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/calendar"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// specialAhead is how much of the calendar is unfolded beyond what is asked for.
const specialAhead = 24 * time.Hour

// specials are the special times of the configuration, unfolded as far as somebody asked. They are for many goroutines.
type specials struct {
	mu          sync.Mutex
	windows     []specialWindow
	from, until time.Time
	known       []detect.Mark // that touch this time
}

type specialWindow struct {
	schedule *calendar.Schedule
	mark     detect.Mark
}

func newSpecials(c config.Config) (*specials, error) {
	out := &specials{}
	for _, w := range c.SpecialWindows() {
		schedule, err := calendar.Parse(w.Window)
		if err != nil {
			return nil, fmt.Errorf("special times: %w", err)
		}
		out.windows = append(out.windows, specialWindow{schedule, w.Mark})
	}
	return out, nil
}

// between are those that touch a time.
func (s *specials) between(from, until time.Time) []detect.Mark {
	if s == nil || len(s.windows) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if from.Before(s.from) || until.After(s.until) {
		s.unfold(from, until)
	}
	return touching(s.known, from, until)
}

// marksBetween are the times that touch a time and are not like others: those on the calendar, and those on record.
func (s *Server) marksBetween(from, until time.Time) []detect.Mark {
	return append(s.special.between(from, until), s.marks.between(from, until)...)
}

// unfold makes known what touches a time. The far past, which a replay asks for in parts, is let go of by the first who asks for the present.
func (s *specials) unfold(from, until time.Time) {
	s.from, s.until, s.known = from, until.Add(specialAhead), nil
	for _, w := range s.windows {
		for _, i := range w.schedule.Intervals(s.from, s.until) {
			m := w.mark
			m.From, m.Until = i.Open, i.Close
			s.known = append(s.known, m)
		}
	}
}

// now are those that are on, by name.
func (s *specials) now(at time.Time) []core.SpecialTime {
	var out []core.SpecialTime
	for _, m := range s.between(at, at) {
		i := slices.IndexFunc(out, func(x core.SpecialTime) bool { return x.Name == m.What })
		if i < 0 {
			i = len(out)
			out = append(out, core.SpecialTime{Name: m.What, Sentence: "nothing is learned, and of the models that learn only seasonal and peers judge"})
			if m.Judged {
				out[i].Sentence = "judged, and nothing is learned"
			}
			if len(m.Watches) > 0 {
				out[i].Sentence += ", by " + strings.Join(m.Watches, ", ")
			}
		}
		x := &out[i]
		if !slices.Contains(x.Sites, m.Subject.Site) {
			x.Sites = append(x.Sites, m.Subject.Site)
		}
		if m.Until.After(x.Until) {
			x.Until = m.Until
		}
	}
	for i := range out {
		x := &out[i]
		slices.Sort(x.Sites)
		x.Sentence = "special time at " + strings.Join(x.Sites, ", ") + " until " + x.Until.UTC().Format("2006-01-02 15:04 UTC") + ": " + x.Sentence
	}
	slices.SortFunc(out, func(a, b core.SpecialTime) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// coming says how many special times a configuration has, and which comes next; empty where it has none.
func coming(c config.Config, now time.Time) string {
	if len(c.SpecialTimes) == 0 {
		return ""
	}
	text := fmt.Sprintf(", %d special times", len(c.SpecialTimes))
	s, err := newSpecials(c)
	if err != nil {
		return text
	}
	var next time.Time
	var name string
	for _, w := range s.windows {
		for _, i := range w.schedule.Next(now, 1) {
			if next.IsZero() || i.Open.Before(next) {
				next, name = i.Open, w.mark.What+" at "+w.mark.Subject.Site
			}
		}
	}
	if next.IsZero() {
		return text + " (none to come)"
	}
	return text + " (next " + name + ", " + next.UTC().Format("2006-01-02 15:04 UTC") + ")"
}
