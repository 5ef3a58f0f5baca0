package decide

import (
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// newEpisode makes the episode of a subject that has none.
func (s *step) newEpisode(a core.Assessment, onset time.Time) *core.Episode {
	id := core.EpisodeID(a.Subject, onset)
	for n := 1; s.e.episodes[id] != nil; n++ { // the same onset has had its episode: this is another trouble
		onset = s.at.Add(time.Duration(n-1) * time.Millisecond)
		id = core.EpisodeID(a.Subject, onset)
	}
	ep := &core.Episode{
		ID: id, Subject: a.Subject, Onset: onset, OpenedAt: s.at,
		Condition: a.Condition, Worst: a.Condition, Kind: a.Kind,
		Routing: s.e.routingOf(a.Subject).State, Sentence: conditionText(s.e.topo, a),
		Standing: core.Standing{KindSince: s.at},
	}
	ep.Demand = s.demand(ep, ep.Onset)
	return ep
}

// enter makes a new episode one of the open ones.
func (s *step) enter(ep *core.Episode) {
	s.e.episodes[ep.ID], s.e.open[ep.Subject] = ep, ep
	s.line(lineCondition, ep.ID, ep.Subject, ep.Sentence)
	s.touch(ep)
}

func firstEvidence(a core.Assessment, at time.Time) time.Time {
	if a.Onset != nil {
		return *a.Onset
	}
	for _, ev := range a.Evidence {
		if !ev.Onset.IsZero() && ev.Onset.Before(at) {
			at = ev.Onset
		}
	}
	return at
}

// closeIfOver closes an episode once its subject has been healthy for long enough and users are sent to it
// again. A drained subject keeps its episode until it is restored.
func (s *step) closeIfOver(ep *core.Episode) {
	if s.e.routingOf(ep.Subject).State != core.RoutingActive || s.runningOn(ep) != nil {
		return
	}
	if !s.configured(ep.Subject) {
		s.closeEpisode(ep, "closed: no longer configured")
		return
	}
	if ep.Subject.Unit != "" {
		s.closeEpisode(ep, "closed: health does not speak of units")
		return
	}
	a, ok := s.e.assessment(ep.Subject)
	if !ok || a.Condition != core.Healthy || a.HealthySince == nil || s.e.obs.Tilt.On {
		return
	}
	calm := *a.HealthySince
	if since := ep.Standing.KindSince; ep.Worst > core.Healthy && since.After(calm) { // a suspicion about someone else does not end its health
		calm = since
	}
	over := calm.Add(s.lim.CloseAfter)
	if s.at.Before(over) {
		s.wakeAt(over)
		return
	}
	if len(ep.ActionIDs) == 0 {
		s.closeQuietly(ep)
		return
	}
	var did []string
	for _, id := range ep.ActionIDs {
		if act := s.e.actions[id]; act != nil {
			did = append(did, fmt.Sprintf("%s %s", act.Plan, stateText(act.State)))
		}
	}
	s.closeEpisode(ep, fmt.Sprintf("closed after %s: %s; longest continuous failure %s",
		plural(len(ep.ActionIDs), "action", "actions"), listText(did), elapsedText(longest(ep, s.e.obs))))
}

// closeQuietly closes an episode without an action; its last record says with final numbers why there was none.
func (s *step) closeQuietly(ep *core.Episode) {
	sentence := fmt.Sprintf("closed without action: longest continuous failure %s of %s",
		elapsedText(longest(ep, s.e.obs)), spanText(ep.Standing.Need))
	if ep.Standing.Need <= 0 {
		sentence = fmt.Sprintf("closed without action: longest continuous failure %s", elapsedText(longest(ep, s.e.obs)))
	}
	if a := s.e.drainedWithSite(ep); a != nil {
		sentence = fmt.Sprintf("closed: %s of its whole site %s; longest continuous failure %s", a.Plan, stateText(a.State), elapsedText(longest(ep, s.e.obs)))
	}
	s.finalRecord(ep, sentence)
	s.closeEpisode(ep, sentence)
}

func (s *step) closeEpisode(ep *core.Episode, sentence string) {
	s.refresh(ep)
	ep.ClosedAt, ep.HeldUntil = cloneTime(&s.at), nil
	ep.Sentence = ep.Subject.String() + ": " + sentence
	ep.Standing.Stretch, ep.Standing.TiltSince = nil, nil
	s.line(lineCondition, ep.ID, ep.Subject, ep.Sentence)
	if ep.Paged {
		s.notice(ep, noticeResolve, severityInfo, ep.Sentence)
		ep.Paged = false
	}
	s.touch(ep)
	delete(s.e.open, ep.Subject)
}

// configured reports whether the subject still exists in the configuration.
func (s *step) configured(sub core.Subject) bool {
	if _, ok := s.e.topo.Site(sub.Site); !ok {
		return false
	}
	return sub.WholeSite() || slices.Contains(s.e.topo.Serving(sub.Service), sub.Site)
}
