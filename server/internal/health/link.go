package health

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// forgetLink is how long an end that is silent is still named, and a channel of which nothing is heard still counts.
const forgetLink = 10 * time.Minute

// channelKey names one channel of a replication link.
type channelKey struct{ link, channel string }

// channel is what is kept of one channel of a link.
type channel struct {
	voices []*voice // by end, writer and agent
	// completeTo is until when all that the source committed is proven to be at the target, in unix nanoseconds of our
	// clock; 0: nothing is proven. It only grows: what has arrived stays, unless the target is copied anew.
	completeTo int64
	apart      int64 // since when its two ends contradict each other, 0: they do not
}

// voice is the last word of one agent about one end of a channel.
type voice struct {
	end, writer, agent string

	at, ivl, err int64
	state        core.LinkState
	reason       string
	lower, upper int64 // -1: not known
}

func (v *voice) until() int64         { return v.at + VoteIntervals*v.ivl + v.err }
func (v *voice) fresh(now int64) bool { return now <= v.until() }

// link takes one fact of a link's end in. Only the two sites that a link joins can speak of it.
func (t *Tracker) link(f core.Fact, at, ivl int64) {
	_, from, to, ok := core.SplitLinkName(f.Target)
	_, known := t.vIndex[f.Site]
	if !ok || !known || (f.Site != from && f.Site != to) {
		t.counts.Unknown++
		return
	}
	state := core.LinkState(f.State)
	if f.Link == nil || (f.Link.End != endSource && f.Link.End != endTarget) || state > core.LinkNoPrimary {
		t.counts.Malformed++
		return
	}
	k := channelKey{f.Target, f.Link.Channel}
	c := t.channels[k]
	if c == nil {
		if len(t.channels) >= maxLinks {
			t.counts.Dropped++
			return
		}
		k = channelKey{strings.Clone(k.link), strings.Clone(k.channel)}
		c = &channel{}
		t.channels[k] = c
	}
	v := c.voice(f.Link.End, f.Site, f.Agent)
	switch {
	case v == nil:
		t.counts.Dropped++
		return
	case at <= v.at:
		t.counts.Duplicate++
		return
	}
	v.at, v.ivl, v.err, v.state, v.reason = at, ivl, int64(f.ClockErr), state, strings.Clone(f.Reason)
	v.lower, v.upper = nanoseconds(f.Link.Lower), nanoseconds(f.Link.Upper)
	switch exposure := nanoseconds(f.Link.Exposure); {
	case state == core.LinkResyncing || f.Reason == reasonSplitBrain:
		c.completeTo = 0
	case exposure >= 0 && f.ClockKnown: // else nobody knows what time it is complete to
		c.completeTo = max(c.completeTo, at-exposure-v.err)
	}
}

// Ends of a link, and reasons that agents give which mean something here.
const (
	endSource = "source"
	endTarget = "target"

	reasonSplitBrain = "split_brain"
)

// Reasons of an unknown link that are found here.
const (
	linkNever    = "never_seen" // no agent has ever spoken of it
	linkSilent   = "silent"     // no agent speaks of it now
	linkDisagree = "disagree"   // its two ends contradict each other
)

// maxVoices bounds the agents that speak of one channel.
const maxVoices = 8

// voice finds the agent's voice, a new one when there is room. A silent one makes room.
func (c *channel) voice(end, writer, agent string) *voice {
	i, ok := slices.BinarySearchFunc(c.voices, voice{end: end, writer: writer, agent: agent}, func(a *voice, b voice) int {
		return cmp.Or(strings.Compare(a.end, b.end), strings.Compare(a.writer, b.writer), strings.Compare(a.agent, b.agent))
	})
	if ok {
		return c.voices[i]
	}
	if len(c.voices) >= maxVoices {
		return nil
	}
	v := &voice{end: strings.Clone(end), writer: strings.Clone(writer), agent: strings.Clone(agent)}
	c.voices = slices.Insert(c.voices, i, v)
	return v
}

// nanoseconds of a figure; -1 when it is not known or none.
func nanoseconds(s *float64) int64 {
	if s == nil || !(*s >= 0) || *s > math.MaxInt64/4/float64(time.Second) {
		return -1
	}
	return int64(*s * float64(time.Second))
}

// verdict is what the voices of one channel say together.
type verdict struct {
	state        core.LinkState
	reason       string
	lower, upper int64 // of now; -1: not known
	completeTo   int64
}

// judge joins the voices of a channel: the state is the worse of what is known, the bounds are those that all agree on, and two
// ends that contradict each other for longer than three intervals are believed no more.
func (c *channel) judge(now int64) verdict {
	out := verdict{lower: -1, upper: -1, completeTo: c.completeTo, reason: linkSilent}
	var known []*voice
	ivl := int64(0)
	for _, v := range c.voices {
		if !v.fresh(now) {
			continue
		}
		ivl = max(ivl, v.ivl)
		switch {
		case v.reason == reasonSplitBrain:
			c.apart = 0
			return verdict{reason: reasonSplitBrain, lower: -1, upper: -1}
		case v.state != core.LinkUnknown:
			known = append(known, v)
		case out.reason == linkSilent || v.end == endTarget: // the target's word is the nearer one
			out.reason = v.reason
		}
	}
	if len(known) == 0 {
		c.apart = 0
		return out
	}
	if !contradict(known) {
		c.apart = 0
	} else if c.apart == 0 {
		c.apart = now
	}
	if c.apart != 0 && now-c.apart > VoteIntervals*ivl {
		out.reason = linkDisagree
		return out
	}
	out.reason = ""
	bounded := slices.ContainsFunc(known, func(v *voice) bool { return v.state.Flows() && v.upper >= 0 })
	worst := -1
	for _, v := range known {
		if bounded && v.state == core.LinkCatchingUp && v.lower < 0 && v.upper < 0 {
			continue // it is behind and cannot say by how much: the other end can
		}
		if r := rank(v.state); r > worst {
			worst, out.state, out.lower = r, v.state, -1
		}
		if v.state == out.state {
			out.lower = max(out.lower, v.lower)
		}
	}
	if out.state == core.LinkDown || out.state == core.LinkNoPrimary || out.state == core.LinkResyncing {
		return out
	}
	for _, v := range known { // a lag grows by no more than the time that goes by
		if aged := v.upper + max(now-v.at, 0) + v.err; v.upper >= 0 && (out.upper < 0 || aged < out.upper) {
			out.upper = aged
		}
	}
	if out.upper >= 0 {
		out.lower = min(out.lower, out.upper)
	}
	return out
}

// rank orders the states from good to bad.
func rank(s core.LinkState) int {
	order := [...]core.LinkState{
		core.LinkIdleOK, core.LinkCaughtUp, core.LinkDelayedByDesign, core.LinkCatchingUp, core.LinkUnknown, core.LinkResyncing,
		core.LinkApplierStopped, core.LinkDown, core.LinkNoPrimary,
	}
	return slices.Index(order[:], s)
}

// contradict reports whether the ends cannot both be right: one carries what is written, the other hears nothing; or one is
// further behind than the other one's bound allows.
func contradict(known []*voice) bool {
	for _, a := range known {
		for _, b := range known {
			if a.end == b.end || !a.state.Flows() {
				continue
			}
			if b.state == core.LinkDown {
				return true
			}
			if since := b.at - a.at; b.state.Flows() && since >= 0 && a.upper >= 0 && b.lower > a.upper+since+a.err+b.err {
				return true
			}
		}
	}
	return false
}
