package decide

import (
	"math"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// reading is one known figure of a service's demand at a site.
type reading struct {
	at       time.Time
	requests float64
}

// How far around an onset a reading may stand for the demand just before it. Before the onset is the rule; a
// reading shortly after it serves only where nothing older is known, as after a restart. What was frozen at an onset
// longer ago than demandStands says nothing of a failure that begins now.
const (
	demandBefore = time.Minute
	demandAfter  = 30 * time.Second
	historyKept  = 3 * time.Minute
	demandStands = 15 * time.Minute
)

// observe takes an observation in; one that is older than the last is dropped.
func (s *step) observe(in core.Observation) {
	if s.e.obs != nil && in.At.Before(s.e.obs.At) {
		return
	}
	o := cleanObservation(in)
	s.e.obs = &o
	s.remember(o.Traffic)
	switch why := blindText(o); {
	case why == "":
		s.e.blind = time.Time{}
	case s.e.blind.IsZero():
		s.e.blind = s.at
	}
	s.joinSites()
	for _, a := range s.e.obs.Assessments {
		s.see(a)
	}
}

// remember keeps the last minutes of known demand per site and service.
func (s *step) remember(traffic []core.Traffic) {
	for _, t := range traffic {
		if !t.Known {
			continue
		}
		k := core.Subject{Site: t.Site, Service: t.Service}
		h := s.e.history[k]
		if n := len(h); n > 0 && !t.At.After(h[n-1].at) {
			continue
		}
		h = append(h, reading{at: t.At, requests: t.Requests})
		h = slices.DeleteFunc(h, func(r reading) bool { return t.At.Sub(r.at) > historyKept })
		s.e.history[k] = h
	}
}

// see compares one assessment with the episode of its subject and opens one at the first evidence.
func (s *step) see(a core.Assessment) {
	ep := s.e.open[a.Subject]
	if ep == nil {
		if !trouble(a) {
			return
		}
		ep = s.newEpisode(a, firstEvidence(a, s.at))
		s.enter(ep)
	}
	if ep.Condition < core.Degraded && a.Condition >= core.Degraded && a.FailingSince == nil {
		s.freezeDemand(ep, s.at)
	}
	if ep.Condition != a.Condition || (a.Kind != core.KindNone && ep.Kind != a.Kind) {
		s.rankKind(ep)
		ep.Condition = a.Condition
		if a.Kind != core.KindNone {
			ep.Kind = a.Kind
		}
		ep.Sentence = conditionText(s.e.topo, a)
		s.line(lineCondition, ep.ID, ep.Subject, ep.Sentence)
		s.touch(ep)
	}
	if a.Condition > ep.Worst {
		ep.Worst, ep.Standing.WorstKind, ep.Standing.WorstFor = a.Condition, "", 0
	}
	s.stretch(ep, a)
	if slices.ContainsFunc(a.Evidence, func(ev core.Evidence) bool { return evidenceIndex(ep.Evidence, ev) < 0 }) {
		s.touch(ep)
	}
	if ep.Demand == nil {
		s.demandAgain(ep)
	}
}

// demandAgain looks for the demand shortly after the onset, or after the start of the present stretch.
func (s *step) demandAgain(ep *core.Episode) {
	from := ep.Onset
	if st := ep.Standing.Stretch; st != nil {
		from = later(from, *st)
	}
	if s.at.Sub(from) > demandAfter {
		return
	}
	if ep.Demand = s.demand(ep, from); ep.Demand != nil {
		s.touch(ep)
	}
}

// freezeDemand takes the demand at the time when the subject begins to fail, when its onset was long before. What
// the subject itself had shortly before stays when it was more: in a failure that comes and goes users leave.
func (s *step) freezeDemand(ep *core.Episode, at time.Time) {
	age := at.Sub(ep.Onset)
	if age <= demandBefore {
		return
	}
	now := s.demand(ep, at)
	if age <= demandStands {
		if now == nil {
			return
		}
		for _, svc := range s.e.services(ep.Subject) {
			k := demandKey(ep.Subject, ep.Subject.Site, svc)
			if was, ok := ep.Demand[k]; ok {
				now[k] = max(now[k], was)
			}
		}
	}
	ep.Demand = now
	s.touch(ep)
}

// rankKind ends the time of the present condition and kind, and remembers the kind when none stood longer at the
// worst condition. A cut that heals in one direction first is not called one-way for its last moment.
func (s *step) rankKind(ep *core.Episode) {
	st := &ep.Standing
	stood := s.at.Sub(st.KindSince)
	if !st.KindSince.IsZero() && ep.Condition == ep.Worst && stood > st.WorstFor {
		st.WorstKind, st.WorstFor = ep.Kind, stood
	}
	st.KindSince = s.at
}

// trouble reports whether an assessment is first evidence: suspect or worse, or unknown because something that
// spoke before fell silent.
func trouble(a core.Assessment) bool {
	return a.Condition >= core.Suspect || a.Condition == core.ConditionUnknown && a.Has(core.ClassSilence)
}

func conditionText(t core.Topology, a core.Assessment) string {
	out := a.Subject.String() + ": " + a.Condition.String()
	if a.Kind != core.KindNone {
		out += " (" + a.Kind + ")"
	}
	if ev := evidenceText(t, a); ev != "" {
		out += " - " + ev
	}
	return out
}

// demand is the requests/s of every site for the subject's services just before a time, nil when the subject's
// own is not known. Keys are sites; for a whole site they are site/service.
func (s *step) demand(ep *core.Episode, before time.Time) map[string]float64 {
	out := map[string]float64{}
	own := false
	for _, svc := range s.e.services(ep.Subject) {
		for _, site := range s.e.topo.Serving(svc) {
			if v, ok := s.e.demandAt(site, svc, before); ok {
				out[demandKey(ep.Subject, site, svc)] = v
				own = own || site == ep.Subject.Site
			}
		}
	}
	if !own {
		return nil
	}
	return out
}

func demandKey(sub core.Subject, site, service string) string {
	if sub.WholeSite() {
		return site + "/" + service
	}
	return site
}

func (e *Engine) demandAt(site, service string, onset time.Time) (float64, bool) {
	h := e.history[core.Subject{Site: site, Service: service}]
	for _, r := range slices.Backward(h) {
		if !r.at.After(onset) {
			return r.requests, onset.Sub(r.at) <= demandBefore
		}
	}
	if len(h) > 0 && h[0].at.Sub(onset) <= demandAfter {
		return h[0].requests, true
	}
	return 0, false
}

// stretch follows the continuous failure under way: where it began, how long the longest was, and how much of
// it passed in tilt. Tilt pauses the hold and does not reset it, so a stretch is not ended by what is seen
// while tilted.
func (s *step) stretch(ep *core.Episode, a core.Assessment) {
	st := &ep.Standing
	tilt := s.e.obs.Tilt
	switch {
	case a.FailingSince == nil && st.Stretch != nil && !tilt.On:
		end := s.at
		if h := a.HealthySince; h != nil && h.After(*st.Stretch) && h.Before(end) {
			end = *h
		}
		s.endStretch(ep, end)
	case a.FailingSince != nil && (st.Stretch == nil || !st.Stretch.Equal(*a.FailingSince)):
		if st.Stretch != nil && a.FailingSince.After(*st.Stretch) {
			s.endStretch(ep, *a.FailingSince)
		}
		st.Stretch, st.Paused, st.TiltSince = cloneTime(a.FailingSince), 0, nil
		s.freezeDemand(ep, *a.FailingSince)
		s.touch(ep)
	}
	switch {
	case st.Stretch != nil && tilt.On && st.TiltSince == nil:
		since := s.at
		if tilt.Since.After(*st.Stretch) && tilt.Since.Before(since) {
			since = tilt.Since
		}
		st.TiltSince = &since
		s.touch(ep)
	case st.TiltSince != nil && !tilt.On:
		st.Paused += max(0, s.at.Sub(*st.TiltSince))
		st.TiltSince = nil
		s.touch(ep)
	}
}

func (s *step) endStretch(ep *core.Episode, end time.Time) {
	st := &ep.Standing
	ep.LongestFailure = max(ep.LongestFailure, core.ToSeconds(end.Sub(*st.Stretch)))
	st.Stretch, st.Paused, st.TiltSince = nil, 0, nil
	s.touch(ep)
}

// longest is the longest continuous failure so far, the one under way included.
func longest(ep *core.Episode, obs *core.Observation) time.Duration {
	out := ep.LongestFailure.Duration()
	if st := ep.Standing.Stretch; st != nil && obs != nil {
		out = max(out, obs.At.Sub(*st))
	}
	return out
}

// refresh brings the parts of an episode up to date that are not worth a record of their own.
func (s *step) refresh(ep *core.Episode) {
	ep.LongestFailure = max(ep.LongestFailure, core.ToSeconds(longest(ep, s.e.obs)))
	a, ok := s.e.assessment(ep.Subject)
	if !ok || ep.ClosedAt != nil {
		return
	}
	for _, ev := range cloneEvidence(a.Evidence) {
		if i := evidenceIndex(ep.Evidence, ev); i >= 0 {
			ep.Evidence[i] = ev
		} else {
			ep.Evidence = append(ep.Evidence, ev)
		}
	}
}

// evidenceIndex finds evidence of the same class, source and signal.
func evidenceIndex(list []core.Evidence, ev core.Evidence) int {
	return slices.IndexFunc(list, func(o core.Evidence) bool {
		return o.Class == ev.Class && o.Source == ev.Source && o.Signal == ev.Signal
	})
}

// topology takes a new configuration in; an older one than the present is dropped.
func (s *step) topology(t core.Topology) {
	if t.Revision < s.e.topo.Revision {
		return
	}
	s.e.topo = t
	s.lim = limits(t.Guards)
}

func ceilInt(f float64) int { return int(math.Ceil(f - 1e-9)) }
