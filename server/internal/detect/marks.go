package detect

import (
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// MarkKind says what a marked time is.
type MarkKind uint8

// The kinds of marked times.
const (
	// MarkIncident is a time in which the subject was in trouble that others than statistics have seen.
	MarkIncident MarkKind = iota + 1
	// MarkDrained is a time in which users were being moved away from the subject, were away, or came back.
	MarkDrained
	// MarkShifted is a time in which the subject carried the users of another site.
	MarkShifted
	// MarkChange is a change that somebody declared.
	MarkChange
	// MarkMaintenance is a time in which people worked at the subject.
	MarkMaintenance
	// MarkSpecial is a time on the calendar that is not like others, such as a holiday.
	MarkSpecial
)

// OnRecord are the kinds of times that a ledger knows of, which are all but those on the calendar.
func OnRecord() []MarkKind {
	return []MarkKind{MarkIncident, MarkDrained, MarkShifted, MarkChange, MarkMaintenance}
}

// String is what the API and people call the kind.
func (k MarkKind) String() string {
	switch k {
	case MarkIncident:
		return "incident"
	case MarkDrained:
		return "drained"
	case MarkShifted:
		return "shifted"
	case MarkChange:
		return "change"
	case MarkMaintenance:
		return "maintenance"
	case MarkSpecial:
		return "special"
	}
	return "unknown"
}

// Mark is a time that is not like others for a subject. A site's mark is one of all its services.
type Mark struct {
	Kind    MarkKind
	Subject core.Subject
	From    time.Time
	Until   time.Time // no longer in it; zero: it is not over
	What    string    // of a change: what was declared; of MarkDrained: why a person ordered it, empty when none did; of a special time: its name
	// Load is, of MarkShifted, how many users the subject is to have, as a multiple of those that it had before; 0 when that
	// is not known.
	Load float64
	// Said is, of what was marked when it was over or was going on, when that was; zero: as it began.
	Said time.Time
	// Watches are, of MarkSpecial, those that it matters to; none: all. Like is the day that it resembles for model seasonal, and
	// Judged says that other models judge it too.
	Watches []string
	Like    detectors.Day
	Judged  bool
}

// holds reports whether the mark is on at a time.
func (m Mark) holds(at time.Time) bool {
	return !at.Before(m.From) && (m.Until.IsZero() || at.Before(m.Until))
}

// marked is what holds for one series at one time.
type marked struct {
	away  *Mark // users are moved away from all that the series is about
	aside *Mark // the oldest of those that make the time no example for others
	// maintained says that people work at what the series is about, or at a part of it.
	maintained bool
	shifted    *Mark   // users were moved here
	load       float64 // users as a multiple of before, 0 when users were moved here and nobody knows how many
	changes    []Mark  // that are under way or ended lately
	special    *Mark   // the time is a special one; of several the first
	apart      bool    // and is none of all siblings
}

// marksAt are the marks that say something of a subject at a time.
func marksAt(marks []Mark, s core.Subject, at time.Time) (out marked) {
	out.load = 1
	for i := range marks {
		m := &marks[i]
		if !m.Subject.Overlaps(s) {
			continue
		}
		all := m.Subject.Covers(s) // that the series is about
		if m.Kind == MarkChange {
			if !at.Before(m.From) && at.Before(m.Until.Add(changeSettles)) {
				out.changes = append(out.changes, *m)
			}
			continue
		}
		if !m.holds(at) {
			continue
		}
		if m.Kind == MarkSpecial {
			if out.special == nil {
				out.special = m
			}
			continue
		}
		if m.Kind == MarkDrained && all && (out.away == nil || m.From.Before(out.away.From)) {
			out.away = m
		}
		if m.Kind == MarkShifted && all {
			out.shifted, out.load = m, out.load*m.Load
		}
		out.maintained = out.maintained || m.Kind == MarkMaintenance
		if out.aside == nil || m.From.Before(out.aside.From) {
			out.aside = m
		}
	}
	return out
}
