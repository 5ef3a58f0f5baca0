package decide

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// changesATime is how many declared changes are told of in one step: of a pipeline that runs wild there may be thousands, and a step is one
	// transaction.
	changesATime = 50
	// changeNews is how long ago a change may have ended that nobody was told of: longer ago it is no news.
	changeNews = time.Hour
)

// changeName is the place and id by which a declared change is known.
type changeName struct{ site, id string }

// tellChanges tells of each declared change twice: once it is known, and when it is over.
func (s *step) tellChanges() {
	told := 0
	for i := range s.e.topo.Changes {
		c := &s.e.topo.Changes[i]
		name := changeName{c.Site, c.ID}
		over, known := s.e.told[name]
		ends := !s.at.Before(c.Until())
		switch {
		case over, !known && s.at.Sub(c.Until()) > changeNews:
			continue
		case known && !ends:
			s.wakeAt(c.Until())
			continue
		case told == changesATime:
			s.wakeAt(s.at.Add(time.Second))
			return
		}
		told++
		if !known {
			s.line(lineChange, "", c.About(), declaredText(c, s.at))
		}
		if ends {
			s.line(lineChange, "", c.About(), overText(c))
		} else {
			s.wakeAt(c.Until())
		}
		s.e.told[name] = ends
		s.told = append(s.told, core.ToldChange{Site: c.Site, ID: c.ID, Over: ends})
	}
}

func declaredText(c *core.DeclaredChange, at time.Time) string {
	from := ""
	if !c.At(at) {
		from = " from " + dayText(c.Start, at)
	}
	return fmt.Sprintf("%s of %s declared by %s%s until %s: %s", c.Noun(), c.About(), c.By, from, dayText(c.Until(), at), c.What)
}

func overText(c *core.DeclaredChange) string {
	by := ""
	if c.EndedBy != "" {
		by = ", ended by " + c.EndedBy
	}
	return fmt.Sprintf("%s of %s is over%s: %s", c.Noun(), c.About(), by, c.What)
}

// dayText is a time of which the day is told where it is a day away or more.
func dayText(t, at time.Time) string {
	if t.Sub(at).Abs() >= 24*time.Hour {
		return t.UTC().Format(time.DateOnly) + " " + core.ClockText(t)
	}
	return core.ClockText(t)
}
