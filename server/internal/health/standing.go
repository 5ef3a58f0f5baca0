package health

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// forgetLinks lets go of what nobody has spoken of for long: of an end that was well it is taken that nobody looks at it any
// more, of another one only after a day. A channel without a voice still knows what it is complete to, as long as its link is
// configured and has no other channel that is spoken of.
func (t *Tracker) forgetLinks(now int64) {
	spoken := map[string]bool{}
	for k, c := range t.channels {
		c.voices = slices.DeleteFunc(c.voices, func(v *voice) bool { return now-v.at > int64(v.kept()) })
		spoken[k.link] = spoken[k.link] || len(c.voices) > 0
	}
	for k, c := range t.channels {
		if _, declared := t.declared[k.link]; len(c.voices) == 0 && (spoken[k.link] || !declared) {
			delete(t.channels, k)
		}
	}
}

// standings says what is known of every link that is configured or heard of, sorted by name.
func (t *Tracker) standings(now int64) []core.LinkStanding {
	t.forgetLinks(now)
	keys := slices.SortedFunc(maps.Keys(t.channels), func(a, b channelKey) int {
		return cmp.Or(strings.Compare(a.link, b.link), strings.Compare(a.channel, b.channel))
	})
	names := slices.Collect(maps.Keys(t.declared))
	for _, k := range keys {
		names = append(names, k.link)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	maps.DeleteFunc(t.linkSince, func(name string, _ stateSince) bool {
		_, known := slices.BinarySearch(names, name)
		return !known
	})
	var out []core.LinkStanding
	for _, name := range names {
		n := 0
		for n < len(keys) && keys[n].link == name {
			n++
		}
		out = append(out, t.standing(name, keys[:n], now))
		keys = keys[n:]
	}
	return out
}

// stateSince is the state of a link and since when it is.
type stateSince struct {
	state  core.LinkState
	reason string
	at     int64
}

// standing joins the channels of a link: the worst of them is the link.
func (t *Tracker) standing(name string, channels []channelKey, now int64) core.LinkStanding {
	store, from, to, _ := core.SplitLinkName(name)
	rpo, declared := t.declared[name]
	s := core.LinkStanding{Link: name, Store: store, From: from, To: to, Declared: declared, RPO: rpo.Seconds()}
	all := verdict{lower: -1, upper: -1, reason: linkNever}
	for i, k := range channels {
		c := t.channels[k]
		v := c.judge(now)
		for _, w := range c.voices {
			s.Ends = append(s.Ends, core.LinkEnd{
				Channel: k.channel, End: w.end, Writer: w.writer, State: w.state, Reason: w.reason, At: stamp(w.at), Fresh: w.fresh(now),
			})
		}
		if i == 0 {
			all = v
			continue
		}
		if rank(v.state) > rank(all.state) {
			all.state, all.reason = v.state, v.reason
		}
		all.lower = max(all.lower, v.lower)
		all.completeTo = min(all.completeTo, v.completeTo)
		if all.upper = max(all.upper, v.upper); v.upper < 0 {
			all.upper = -1
		}
	}
	if all.state == core.LinkUnknown {
		all.lower, all.upper = -1, -1
	}
	if all.lower > max(now-all.completeTo, 0) {
		all.completeTo = 0 // what is measured now contradicts what was proven
	}
	s.State, s.Reason = all.state, all.reason
	s.LagLower, s.LagUpper = figure(all.lower), figure(all.upper)
	if all.completeTo != 0 {
		s.CompleteTo = stampOf(all.completeTo)
		s.Exposure = figure(max(now-all.completeTo, 0))
	}
	if last, ok := t.linkSince[name]; !ok || last.state != s.State || last.reason != s.Reason {
		t.linkSince[name] = stateSince{s.State, s.Reason, now}
	}
	s.Since = stampOf(t.linkSince[name].at)
	s.Sentence = linkSentence(s)
	return s
}

func figure(ns int64) *float64 {
	if ns < 0 {
		return nil
	}
	s := secs(ns)
	return &s
}

// linkSentence says in plain words what is known of the link.
func linkSentence(s core.LinkStanding) string {
	text := s.Store + " from " + s.From + " to " + s.To + ": " + s.State.String()
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	switch {
	case s.LagLower != nil && s.LagUpper != nil:
		text += fmt.Sprintf(", %.1f to %.1f s behind", *s.LagLower, *s.LagUpper)
	case s.LagUpper != nil:
		text += fmt.Sprintf(", at most %.1f s behind", *s.LagUpper)
	case s.LagLower != nil:
		text += fmt.Sprintf(", %.1f s or more behind", *s.LagLower)
	}
	if s.Exposure == nil {
		text += "; what would be lost with " + s.From + " is not known"
	} else {
		text += fmt.Sprintf("; with %s up to %.1f s would be lost", s.From, *s.Exposure)
	}
	if s.RPO > 0 {
		text += fmt.Sprintf(" (objective %.1f s)", s.RPO)
	}
	return text
}

// stale reports whether the copy is further behind than it may be, for certain.
func stale(s core.LinkStanding) bool { return s.RPO > 0 && s.LagLower != nil && *s.LagLower > s.RPO }

// dataClaim is how many of the site's links carry what is written, of those that are known.
func dataClaim(site string, links []core.LinkStanding) core.Claim {
	good, bad := 0, 0
	for _, l := range links {
		switch {
		case (l.From != site && l.To != site) || l.State == core.LinkUnknown:
		case l.State.Flows() && !stale(l):
			good++
		default:
			bad++
		}
	}
	return claim("data", good, bad)
}

// linkEvidence is what the links of the subject's site explain. A link that is down is a matter of both its sites; what is not
// applied, one of the site where it should be. It never accuses.
func (b *bench) linkEvidence(out []core.Evidence, s core.Subject) []core.Evidence {
	for _, l := range b.links {
		class, at := core.ClassCause, l.To
		switch {
		case l.State == core.LinkDown && (l.From == s.Site || l.To == s.Site):
			class, at = core.ClassLink, s.Site
		case l.State == core.LinkNoPrimary:
			at = l.From
		case l.State == core.LinkApplierStopped, l.State == core.LinkResyncing, l.State.Flows() && stale(l):
		default:
			continue
		}
		if at != s.Site {
			continue
		}
		e := core.Evidence{
			Class: class, Subject: s, Signal: core.SignalBehind, Source: l.Link, Path: "replication:" + l.Link,
			Onset: *l.Since, Last: stamp(b.now), Sentence: l.Sentence,
		}
		for _, n := range []struct {
			name  string
			value *float64
		}{{"lag_lower", l.LagLower}, {"lag_upper", l.LagUpper}, {"exposure", l.Exposure}} {
			if n.value != nil {
				e.Numbers = append(e.Numbers, core.Number{Name: n.name, Value: *n.value, Unit: "s"})
			}
		}
		out = append(out, e)
	}
	return out
}

// wakeLinks tells when what is known of links changes without a fact.
func (t *Tracker) wakeLinks(wake func(until int64)) {
	for _, c := range t.channels {
		ivl := int64(0)
		for _, v := range c.voices {
			wake(v.until())
			wake(v.at + int64(v.kept()))
			ivl = max(ivl, v.ivl)
		}
		if c.apart != 0 {
			wake(c.apart + VoteIntervals*ivl)
			wake(c.apartAt + 2*ivl)
		}
	}
}
