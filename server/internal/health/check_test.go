package health

import (
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// fataler is what testing and rapid have in common.
type fataler interface {
	Helper()
	Errorf(format string, args ...any)
}

// checkAssessment holds an assessment against what must always be true of one.
func checkAssessment(tb fataler, a core.Assessment) {
	tb.Helper()
	down, up, inside := 0, 0, core.ProbeUnknown
	for _, v := range a.Votes {
		switch {
		case !v.Eligible:
			inside = v.State
		case v.State == core.ProbeDown:
			down++
		case v.State == core.ProbeUp:
			up++
		}
	}
	need := max(2, a.Eligible/2+1)
	if down != a.Down {
		tb.Errorf("%s: %d votes are down, Down says %d", a.Subject, down, a.Down)
	}
	if a.Condition == core.Failing {
		if up > 0 || a.FailingSince == nil {
			tb.Errorf("%s: failing with %d votes up, since %v", a.Subject, up, a.FailingSince)
		}
		if down < need && (a.Eligible != 1 || down != 1 || inside != core.ProbeDown) {
			tb.Errorf("%s: failing without a quorum: %d of %d, inside %s", a.Subject, down, a.Eligible, inside)
		}
	}
	if a.Condition == core.Healthy && (up == 0 || a.HealthySince == nil) {
		tb.Errorf("%s: healthy with no vote up", a.Subject)
	}
	if (a.Condition >= core.Suspect) != (a.Onset != nil) {
		tb.Errorf("%s: %s with onset %v", a.Subject, a.Condition, a.Onset)
	}
	if a.Sentence == "" {
		tb.Errorf("%s: no sentence", a.Subject)
	}
	for _, e := range a.Evidence {
		if e.Path == "" || e.Onset.Unix() <= 0 || e.Last.Before(e.Onset) || e.Sentence == "" || e.Source == "" {
			tb.Errorf("%s: evidence is not complete: %+v", a.Subject, e)
		}
	}
}

// checkLink holds what is said of a link against what must always be true of it.
func checkLink(tb fataler, l core.LinkStanding) {
	tb.Helper()
	switch {
	case l.Sentence == "" || l.Since == nil:
		tb.Errorf("%s: no sentence or no time", l.Link)
	case l.State == core.LinkUnknown && (l.LagLower != nil || l.LagUpper != nil || l.Reason == ""):
		tb.Errorf("%s: unknown with a figure or without a reason: %s", l.Link, l.Sentence)
	case l.State == core.LinkDown && l.LagUpper != nil:
		tb.Errorf("%s: nothing bounds the lag of a link that is down: %s", l.Link, l.Sentence)
	case l.LagLower != nil && l.LagUpper != nil && *l.LagLower > *l.LagUpper:
		tb.Errorf("%s: the bounds exclude each other: %s", l.Link, l.Sentence)
	case (l.CompleteTo == nil) != (l.Exposure == nil) || (l.Exposure != nil && *l.Exposure < 0):
		tb.Errorf("%s: exposure and what it is complete to contradict each other: %s", l.Link, l.Sentence)
	}
}
