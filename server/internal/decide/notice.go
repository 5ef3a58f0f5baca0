package decide

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Kinds, states and severities of notices.
const (
	noticeTrigger = "trigger"
	noticeUpdate  = "update"
	noticeResolve = "resolve"

	noticePending = "pending"

	severityCritical = "critical"
	severityError    = "error"
	severityInfo     = "info"
)

// maxSummary is what PagerDuty takes.
const maxSummary = 1024

// page tells people: the first time as a trigger, then as updates of the same key.
func (s *step) page(ep *core.Episode, severity, summary string) {
	if ep.ClosedAt != nil {
		return
	}
	kind := noticeUpdate
	if !ep.Paged {
		kind, ep.Paged = noticeTrigger, true
	}
	s.notice(ep, kind, severity, summary)
}

func (s *step) notice(ep *core.Episode, kind, severity, summary string) {
	if ep.Standing.PageKind == "" {
		ep.Standing.PageKind = ep.Kind
	}
	ep.Notices++
	n := core.Notice{
		ID: core.NoticeID(ep.ID, ep.Notices), EpisodeID: ep.ID, N: ep.Notices, Kind: kind, DedupKey: dedupKey(ep),
		Severity: severity, Summary: cut(summary, maxSummary), Source: ep.Subject.Site, At: s.at, State: noticePending,
		Details: []core.Detail{
			{Name: "subject", Value: ep.Subject.String()},
			{Name: "condition", Value: ep.Condition.String()},
			{Name: "kind", Value: ep.Kind},
			{Name: "onset", Value: ep.Onset.UTC().Format("2006-01-02T15:04:05.000Z")},
			{Name: "routing", Value: ep.Routing.String()},
			{Name: "decision_id", Value: ep.DecisionID},
		},
	}
	if len(ep.ActionIDs) > 0 {
		n.Details = append(n.Details, core.Detail{Name: "action_id", Value: ep.ActionIDs[len(ep.ActionIDs)-1]})
	}
	c := cloneNotice(n)
	s.e.notices[n.ID] = &c
	s.notices[n.ID] = true
	s.out.Notices = append(s.out.Notices, n)
	s.line(lineNotice, ep.ID, ep.Subject, fmt.Sprintf("%s (%s): %s", kind, severity, n.Summary))
	s.touch(ep)
}

// dedupKey is the same for all notices of an episode and at most 255 characters.
func dedupKey(ep *core.Episode) string {
	key := "evenkeel:" + ep.Subject.Site + ":" + ep.Standing.PageKind + ":" + ep.ID
	if len(key) > 255 {
		sum := sha256.Sum256([]byte(key))
		key = key[:200] + "-" + hex.EncodeToString(sum[:])[:32]
	}
	return key
}

// noticeOutcome keeps what became of a notice; of one that is settled or unknown nothing more is kept.
func (s *step) noticeOutcome(o core.NoticeOutcome) {
	n := s.e.notices[o.NoticeID]
	if n == nil {
		return
	}
	if o.Attempt != nil && !slices.ContainsFunc(n.Attempts, func(x core.Attempt) bool { return x.N == o.Attempt.N }) {
		at := *o.Attempt
		if !finite(at.LatencyMS) {
			at.LatencyMS = 0
		}
		n.Attempts = append(n.Attempts, at)
		s.notices[n.ID] = true
	}
	if o.State != "" && o.State != n.State {
		n.State = o.State
		s.notices[n.ID] = true
	}
}

// once reports whether people have not been told of this in the episode yet, and notes that they are now.
func once(ep *core.Episode, key string) bool {
	if slices.Contains(ep.Standing.Told, key) {
		return false
	}
	ep.Standing.Told = append(ep.Standing.Told, key)
	return true
}

// heldKept is how many stretches of trouble an episode remembers having paged about.
const heldKept = 16

// heldPrefix and the start of a stretch are what people are told of once.
const heldPrefix = "held:"

// onceHeld is once for the present stretch of trouble: a subject that fails again after it was restored is news.
func onceHeld(ep *core.Episode, a core.Assessment) bool {
	since := troubleSince(ep, a)
	if !once(ep, heldPrefix+since.UTC().Format(time.RFC3339Nano)) {
		return false
	}
	isHeld := func(key string) bool { return strings.HasPrefix(key, heldPrefix) }
	n := 0
	for _, key := range ep.Standing.Told {
		if isHeld(key) {
			n++
		}
	}
	if n > heldKept {
		i := slices.IndexFunc(ep.Standing.Told, isHeld)
		ep.Standing.Told = slices.Delete(ep.Standing.Told, i, i+1)
	}
	return true
}

// troubleSince is when the present stretch of trouble began.
func troubleSince(ep *core.Episode, a core.Assessment) time.Time {
	switch {
	case ep.Standing.Stretch != nil:
		return *ep.Standing.Stretch
	case a.FailingSince != nil:
		return *a.FailingSince
	case a.Onset != nil:
		return *a.Onset
	}
	return ep.Onset
}

// toldOfEnd reports whether an action of the episode has ended without success in the present stretch: its end
// has been paged, and why nothing follows with it.
func (s *step) toldOfEnd(ep *core.Episode, a core.Assessment) bool {
	since := troubleSince(ep, a)
	return slices.ContainsFunc(ep.ActionIDs, func(id string) bool {
		act := s.e.actions[id]
		return act != nil && act.EndedAt != nil && act.State != core.ActionSucceeded && !act.EndedAt.Before(since)
	})
}

// pageHeld tells people once in a stretch of trouble that users of a subject have been in it beyond its hold and
// nothing acts.
func (s *step) pageHeld(ep *core.Episode, j judged) {
	if j.v.a.Condition < core.Degraded || j.v.p.restores() || j.verdict == core.VerdictAwaitApproval || s.e.asOne(ep.Subject) {
		return
	}
	if s.runningOn(ep) != nil || s.e.routingOf(ep.Subject).State == core.RoutingDrained || s.toldOfEnd(ep, j.v.a) {
		return
	}
	if v := ep.Standing.Veto; ep.HeldUntil != nil || (v != nil && v.Kind == ep.Kind) || s.e.topo.Maintenance(ep.Subject, s.at) != nil {
		return // a person knows
	}
	elapsed, need, _, known := held(j.v)
	if !known && j.v.a.Onset != nil { // some users are still served: there is no continuous failure to measure
		elapsed, need, known = max(0, trusted(s.e.obs, s.at).Sub(*j.v.a.Onset)), floorErrors, true
		s.wakeAt(j.v.a.Onset.Add(need))
	}
	if j.v.p.none {
		need = max(need, floorTimeout)
		if trusted(s.e.obs, s.at).Equal(s.at) {
			s.wakeAt(s.at.Add(need - elapsed))
		}
	}
	if !known || elapsed < need || !onceHeld(ep, j.v.a) {
		return
	}
	is := "fails"
	if j.v.a.Condition != core.Failing {
		is = "is " + j.v.a.Condition.String()
	}
	s.page(ep, severityCritical, fmt.Sprintf("%s %s for %s and nothing acts: %s", ep.Subject, is, elapsedText(elapsed), objectionText(j)))
}

// pageBlind tells people once in an episode that nothing can be judged any more: without it an episode that began
// before would stand silently, whatever becomes of its subject. Of a subject in trouble pageHeld tells as much.
func (s *step) pageBlind() {
	if s.e.blind.IsZero() {
		return
	}
	if limit := s.e.blind.Add(floorTimeout); s.at.Before(limit) {
		s.wakeAt(limit)
		return
	}
	for _, ep := range s.e.openEpisodes() {
		if ep.Condition < core.Degraded && once(ep, "blind") {
			s.page(ep, severityCritical, fmt.Sprintf("%s: nothing can be judged, for %s: %s", ep.Subject,
				elapsedText(s.at.Sub(s.e.blind)), blindText(*s.e.obs)))
		}
	}
}

// tripBrake pulls the brake when the one thing against an automatic action is the budget: something keeps
// asking for more than anyone planned for.
func (s *step) tripBrake(ep *core.Episode, j judged) {
	if s.e.brake.On || noBudget(s.lim) || j.verdict != core.VerdictHold || j.v.p.policy.Mode != core.ModeAutomatic ||
		!slices.Equal(notPassed(withoutBounds(j.rulings)), []string{guardBudget}) || !once(ep, "tripped") {
		return // once in an episode: after a person's release the budget alone holds it
	}
	onceHeld(ep, j.v.a)
	s.e.brake = core.Brake{On: true, By: "evenkeel", Reason: "the budget of automatic actions is spent and one more was asked for", At: s.at}
	s.brake = true
	text := "the brake tripped: " + s.e.brake.Reason + "; a person releases it with a reason"
	s.line(lineAction, ep.ID, ep.Subject, text)
	s.page(ep, severityCritical, text)
}

func withoutBounds(rs []ruled) []ruled {
	return slices.DeleteFunc(slices.Clone(rs), func(r ruled) bool { return r.Answer == core.Bound })
}
