package deadman

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/remediations/pagerduty"
)

// pseudoSite stands for the servers where a site is expected, as in their own metrics.
const pseudoSite = "_server"

// lateFrom is how late a page must be to say so.
const lateFrom = 30 * time.Second

// dedupKey is the same for all agents of one installation: they share the cluster, or at least the list of servers.
func dedupKey(kind Kind, cluster string, lines []*line) string {
	if cluster == "" {
		sum := sha256.New()
		for _, l := range lines { // sorted
			_, _ = fmt.Fprintln(sum, l.url)
		}
		cluster = "servers-" + hex.EncodeToString(sum.Sum(nil))[:20]
	}
	return pagerduty.DedupKey(pseudoSite, kind.String(), cluster)
}

// words is the event that tells of the trouble.
func (s *Switch) words(a *alarm, action pagerduty.Action, at time.Time) pagerduty.Event {
	e := pagerduty.Event{
		Action: action, DedupKey: a.key, Severity: pagerduty.Critical, Timestamp: at,
		Source: "evenkeel servers", Component: "evenkeel-server", Group: s.who.Site, Class: a.kind.String(),
		Client: "evenkeel-agent",
	}
	since := a.since
	if a.cleared.After(since) {
		since = a.cleared // the alert is older than the present stretch
	}
	switch a.kind {
	case LockedOut:
		e.Severity = pagerduty.Error
		e.Summary = fmt.Sprintf("Evenkeel lives but refuses the agent at %s since %s: %s",
			s.who.Site, clock(since), s.refusal())
	case NoServer, KindUnknown:
		who := fmt.Sprintf("None of the %d Evenkeel servers answers", len(s.lines))
		if len(s.lines) == 1 {
			who = "The Evenkeel server does not answer"
		}
		e.Summary = fmt.Sprintf("%s since %s, seen from %s: nothing judges the sites, nothing is drained by itself",
			who, clock(since), s.who.Site)
	}
	detail := func(name, format string, args ...any) {
		e.Details = append(e.Details, pagerduty.Detail{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	detail("seen_by", "agent %s on %s at site %s", s.who.Agent, s.who.Host, s.who.Site)
	detail("since", "%s, %s ago; asked in vain for at least %s", clock(since), age(since, at), s.rules.After)
	if late := wall(a.due, at); action == pagerduty.Trigger && late >= lateFrom {
		detail("late", "this page was due at %s; PagerDuty could not be told before", clock(a.due))
		e.Summary += fmt.Sprintf(" (told %s late)", late.Round(time.Second))
	}
	for _, l := range s.lines {
		detail(l.url, "%s", l.story(s.start, at))
	}
	if a.kind == LockedOut {
		detail("what_to_do", "put the token file of the agents at %s right: evenkeel-server token create --kind site --name %s",
			s.who.Site, s.who.Site)
		return e
	}
	detail("what_to_do", "bring a server back, or its network; until then evenkeel-server break-glass commands an executor directly")
	return e
}

// refusal is what the server that refused last said.
func (s *Switch) refusal() string {
	var last *line
	for _, l := range s.lines {
		if !l.refused.IsZero() && (last == nil || l.refused.After(last.refused)) {
			last = l
		}
	}
	if last == nil {
		return "no reason was given"
	}
	return last.url + ": " + last.why
}

// story is one server as this agent knows it.
func (l *line) story(start, at time.Time) string {
	text := fmt.Sprintf("has not answered since this agent started %s ago", age(start, at))
	if !l.answered.IsZero() {
		text = fmt.Sprintf("last answered %s ago, at %s", age(l.answered, at), clock(l.answered))
	}
	if l.why != "" {
		text += "; last error: " + l.why
	}
	return text
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// age is for people, so it is wall time: it goes on while a machine sleeps.
func age(from, to time.Time) time.Duration { return wall(from, to).Round(time.Second) }

func wall(from, to time.Time) time.Duration { return max(to.Round(0).Sub(from.Round(0)), 0) }
