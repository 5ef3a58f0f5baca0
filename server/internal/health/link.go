package health

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// How long an end that is silent is still named, and a channel of which nothing is heard still counts: one that was well, and
// one that was not.
const (
	forgetWell  = 10 * time.Minute
	forgetWorse = 24 * time.Hour
)

// channelKey names one channel of a replication link.
type channelKey struct{ link, channel string }

// channel is what is kept of one channel of a link.
type channel struct {
	voices []*voice // by end, writer and agent
	// completeTo is until when all that the source committed is proven to be at the target, in unix nanoseconds of our
	// clock; 0: nothing is proven. It only grows: what has arrived stays, unless the target is copied anew.
	completeTo int64
	apart      int64 // since when its two ends contradict each other, 0: they do not
	apartAt    int64 // when they did so last
	// void is why nothing is proven complete: an end copies anew or is written by two. It ends when that end flows again.
	void, voidBy string
}

// voice is the last word of one agent about one end of a channel.
type voice struct {
	end, writer, agent string

	at, ivl, err int64
	said         int64 // by the agent's own clock
	unsure       int64 // how much older the word may be than at says, where the agent's clock is not known
	state        core.LinkState
	reason       string
	lower, upper int64 // -1: not known
}

func (v *voice) until() int64 { return v.at + VoteIntervals*v.ivl + v.err }

// kept is how long the word counts as the last one.
func (v *voice) kept() time.Duration {
	if v.state.Flows() {
		return forgetWell
	}
	return forgetWorse
}

func (v *voice) fresh(now int64) bool { return now <= v.until() }

// link takes one fact of a link's end in. Only the two sites that a link joins can speak of it.
func (t *Tracker) link(f core.Fact, at, id, ivl int64) {
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
		if !t.roomFor(k.link) {
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
	case id <= v.said:
		t.counts.Duplicate++
		return
	}
	v.at, v.ivl, v.err, v.state, v.reason = at, ivl, int64(f.ClockErr), state, strings.Clone(f.Reason)
	v.said, v.unsure = id, 0
	if !f.ClockKnown {
		v.unsure = int64(f.ReceivedAt.Sub(f.AgentAt).Abs() + core.ClockAllowance)
	}
	v.lower, v.upper = nanoseconds(f.Link.Lower), nanoseconds(f.Link.Upper)
	c.prove(v, nanoseconds(f.Link.Exposure), f.ClockKnown)
}

// prove takes in what a word says of the time to which the target is complete.
func (c *channel) prove(v *voice, exposure int64, clock bool) {
	switch {
	case v.state == core.LinkResyncing:
		c.void, c.voidBy = core.LinkResyncing.String(), v.end
	case v.reason == reasonSplitBrain:
		c.void, c.voidBy = reasonSplitBrain, v.end
	case c.voidBy == v.end && v.state.Flows():
		c.void, c.voidBy = "", ""
	}
	switch {
	case c.void != "":
		c.completeTo = 0
	case c.apart != 0 || exposure < 0 || !clock: // who of two is wrong is not known, nor the time of a clock that nobody knows
	default:
		c.completeTo = max(c.completeTo, v.at-exposure-v.err)
	}
}

// roomFor reports whether a channel of the link can be kept. A configured one takes the place of one that is not.
func (t *Tracker) roomFor(link string) bool {
	if len(t.channels) < maxLinks {
		return true
	}
	if _, declared := t.declared[link]; !declared {
		return false
	}
	var victim channelKey
	found := false
	for k := range t.channels {
		if _, declared := t.declared[k.link]; !declared && (!found || k.link > victim.link) {
			victim, found = k, true
		}
	}
	delete(t.channels, victim)
	return found
}

// rewindLinks forgets what was said after now: the clock went back, and newer words would look older.
func (t *Tracker) rewindLinks(now int64) {
	for _, c := range t.channels {
		c.voices = slices.DeleteFunc(c.voices, func(v *voice) bool { return v.at > now })
		if c.completeTo > now {
			c.completeTo = 0
		}
		c.apart, c.apartAt = min(c.apart, now), min(c.apartAt, now)
	}
	for name, s := range t.linkSince {
		s.at = min(s.at, now)
		t.linkSince[name] = s
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

// maxVoices bounds the agents that speak of one end of a channel at one site.
const maxVoices = 4

// voice finds the agent's voice, a new one when its site has room.
func (c *channel) voice(end, writer, agent string) *voice {
	i, ok := slices.BinarySearchFunc(c.voices, voice{end: end, writer: writer, agent: agent}, func(a *voice, b voice) int {
		return cmp.Or(strings.Compare(a.end, b.end), strings.Compare(a.writer, b.writer), strings.Compare(a.agent, b.agent))
	})
	if ok {
		return c.voices[i]
	}
	of := 0
	for _, v := range c.voices {
		if v.end == end && v.writer == writer {
			of++
		}
	}
	if of >= maxVoices {
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
