package health

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// phrase is what the sentence of a healthy subject depends on.
type phrase struct {
	up, eligible int
	inside       core.ProbeState
	state        core.RoutingState
}

// sentence says the assessment in plain words, with its numbers.
func (b *bench) sentence(i, ups, downs int) string {
	c := &b.cases[i]
	if c.condition == core.Healthy && c.down == 0 && b.odd(i) == 0 {
		p := phrase{c.up, b.t.subjects[i].eligible, c.inside, b.routes[i].state}
		text, ok := b.t.phrases[p]
		if !ok {
			text = b.votesText(i) + b.routeText(i)
			if len(b.t.phrases) < maxSignals {
				b.t.phrases[p] = text
			}
		}
		return text
	}
	text := b.trouble(i, ups, downs) + b.frontText(i) + b.routeText(i)
	if names := b.oddNames(i); len(names) > 0 && c.kind != core.KindAnomaly {
		text += "; odd by statistics: " + strings.Join(names, ", ")
		if !b.t.subjects[i].statistics.accuses() {
			text += ", which does not say enough to accuse it"
		}
	}
	if len(c.global) > 0 {
		text += "; global: " + strings.Join(c.global, " and ") + " show " + c.signal + " together"
	}
	return text
}

func (b *bench) trouble(i, ups, downs int) string {
	t, s, c := b.t, b.t.subjects[i], &b.cases[i]
	who := t.vantages[c.accuser].name
	site := s.subject.Site
	votes := b.votesText(i)
	switch c.condition {
	case core.Failing:
		text := votes + "; no success for " + seconds(b.now-c.failing)
		if c.silentFor > 0 {
			text += "; its agent silent for " + seconds(c.silentFor)
		}
		if c.symptom {
			text += "; " + b.usersText(i)
		}
		return text
	case core.Degraded:
		switch c.kind {
		case core.KindErrors:
			return b.usersText(i) + "; " + votes
		case core.KindSlow:
			return fmt.Sprintf("slower than %s from %d/%d; %s", millis(s.objective), c.slow, s.eligible, votes)
		}
		return fmt.Sprintf("%s of %d outside probes fail over %s, seen from %d/%d; %s", percent(ratio(downs, ups+downs)),
			ups+downs, seconds(t.window), c.gray, s.eligible, votes)
	case core.Suspect:
		switch c.kind {
		case core.KindLink:
			return "only " + who + " cannot reach it (" + c.signal + "): the link " + who + ">" + site + "; " + votes
		case core.KindOneWay:
			return who + " cannot reach " + site + " (" + c.signal + "), " + site + " reaches " + who + ": cut one way, " +
				who + ">" + site + "; " + votes
		case core.KindVantage:
			return "the vantage " + who + " is in trouble itself and is not believed (" + c.signal + "); " + votes
		case core.KindGray:
			return fmt.Sprintf("%s of %d outside probes fail over %s, seen from %d/%d: no quorum; %s",
				percent(ratio(downs, ups+downs)), ups+downs, seconds(t.window), c.gray, s.eligible, votes)
		case core.KindSilent:
			return "its agent is silent for " + seconds(c.silentFor) + "; " + votes
		case core.KindAnomaly:
			return "statistics only: " + b.oddText(i) + "; " + votes
		}
		text := votes + "; no quorum"
		switch {
		case c.down == 0:
			text = votes + "; only its own agent objects"
		case c.down >= quorum(s.eligible):
			text = votes + "; a success is too fresh"
		}
		if c.failing != 0 {
			text += "; no success for " + seconds(b.now-c.failing)
		}
		if c.silentFor > 0 {
			text += "; its agent silent for " + seconds(c.silentFor)
		}
		return text
	case core.Healthy:
		if c.down == 0 {
			return votes
		}
		return votes + ": one lost probe is no suspicion"
	case core.ConditionUnknown:
	}
	if c.inside != core.ProbeUnknown {
		return votes + "; what only its own agent says is not known to be so for users"
	}
	text := "nothing is known yet"
	if run := s.run(); run.lastUp != 0 || run.last != 0 {
		text = "nothing fresh is known; last result " + seconds(b.now-max(run.lastUp, run.last)) + " ago"
	}
	if b.fresh == 0 {
		text += "; no agent is heard"
	} else if c.silentFor > 0 {
		text += "; its agent silent for " + seconds(c.silentFor)
	}
	return text
}

// votesText is "outside 2/3 down (refused), 1 unknown, inside up".
func (b *bench) votesText(i int) string {
	s, c := b.t.subjects[i], &b.cases[i]
	of := "/" + strconv.Itoa(s.eligible)
	text := "outside "
	switch {
	case c.down > 0:
		text += strconv.Itoa(c.down) + of + " down (" + b.downSignal(i) + ")"
	case c.up > 0:
		text += strconv.Itoa(c.up) + of + " up"
	default:
		text += "0" + of + " known"
	}
	if c.unknown > 0 && (c.down > 0 || c.up > 0) {
		text += ", " + strconv.Itoa(c.unknown) + " unknown"
	}
	text += ", inside "
	if c.inside == core.ProbeUp && c.failing != 0 && b.t.seen[i*len(b.t.vantages)+s.site].at < c.failing {
		text += "last " // it has not answered since the failure began
	}
	return text + c.inside.String()
}

func (b *bench) usersText(i int) string {
	c := &b.cases[i]
	return fmt.Sprintf("%s of %.0f user requests fail at the edge (elsewhere %s)", percent(c.failed), c.requests, percent(c.elsewhere))
}

// frontText names the probe that the subject is judged by, where there are several and it is in trouble.
func (b *bench) frontText(i int) string {
	s, c := b.t.subjects[i], &b.cases[i]
	if len(s.fronts) < 2 || (c.down == 0 && c.gray == 0 && c.slow == 0 && c.inside != core.ProbeDown) {
		return ""
	}
	return "; judged by its worst probe, " + s.fronts[s.judged].target
}

// oddities are what detectors hold against the subject while that does not say enough to be evidence.
func (b *bench) oddities(i int) []core.Evidence {
	s := b.t.subjects[i]
	if b.signals == nil || s.statistics.accuses() {
		return nil
	}
	var out []core.Evidence
	for _, st := range b.signals[i] {
		if st.signal.Class == core.ClassSymptom {
			out = append(out, st.evidence(s.subject))
		}
	}
	return out
}

// oddNames are the detectors that hold a symptom against the subject, sorted.
func (b *bench) oddNames(i int) []string {
	if b.signals == nil {
		return nil
	}
	var names []string
	for _, st := range b.signals[i] {
		if st.signal.Class == core.ClassSymptom {
			names = append(names, st.signal.Detector)
		}
	}
	return names
}

// oddText names the detectors that object to the subject, and how much that says.
func (b *bench) oddText(i int) string {
	who := strings.Join(b.oddNames(i), ", ")
	if who == "" {
		who = "no detector at present"
	}
	return who + "; " + b.t.subjects[i].statistics.text()
}

func (b *bench) routeText(i int) string {
	if !b.routes[i].away {
		return ""
	}
	return "; " + b.routes[i].state.String() + ": judged by probes only"
}

func ratio(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func seconds(ns int64) string { return strconv.FormatFloat(secs(ns), 'f', 1, 64) + " s" }
func percent(r float64) string {
	return strconv.FormatFloat(100*r, 'f', 0, 64) + " %"
}
func millis(s float64) string { return strconv.FormatFloat(1000*s, 'f', 0, 64) + " ms" }
