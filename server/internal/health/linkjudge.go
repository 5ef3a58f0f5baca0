package health

import (
	"slices"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

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
	ivl, heard := int64(0), false
	for _, v := range c.voices {
		if !v.fresh(now) {
			continue
		}
		ivl = max(ivl, v.ivl)
		heard = heard || v.end == c.voidBy
		switch {
		case v.reason == reasonSplitBrain:
			return verdict{reason: reasonSplitBrain, lower: -1, upper: -1}
		case v.state != core.LinkUnknown:
			known = append(known, v)
		case out.reason == linkSilent || v.end == endTarget: // the target's word is the nearer one
			out.reason = v.reason
		}
	}
	if c.void != "" && !heard && len(known) > 0 { // whoever said so is silent: the other end cannot take it back
		out.reason = c.void
		return out
	}
	c.compare(known, now, ivl)
	if len(known) == 0 {
		return out
	}
	if c.apart != 0 && now-c.apart > VoteIntervals*ivl {
		out.reason = linkDisagree
		return out
	}
	out.reason = ""
	worst := -1
	for _, v := range known {
		if r := rank(v.state); r > worst {
			worst, out.state, out.lower = r, v.state, -1
		}
	}
	for _, v := range known {
		if v.state == out.state || (measures(v.state) && measures(out.state)) {
			out.lower = max(out.lower, v.lower)
		}
	}
	if !measures(out.state) {
		return out
	}
	for _, v := range known { // a lag grows by no more than the time that goes by
		if aged := v.upper + max(now-v.at, 0) + v.err + v.unsure; v.upper >= 0 && (out.upper < 0 || aged < out.upper) {
			out.upper = aged
		}
	}
	if c.apart != 0 || out.lower > out.upper {
		out.upper = -1 // one of them is wrong, or it changed between their looks: the worse one stands
	}
	return out
}

// measures reports whether an end in the state measures its lag, rather than supposes it.
func measures(s core.LinkState) bool { return s.Flows() || s == core.LinkApplierStopped }

// compare notes since when the ends contradict each other. They look at different times, so that one which was compared with an
// older look seems right until the next: a contradiction stands until a whole interval has passed without.
func (c *channel) compare(known []*voice, now, ivl int64) {
	switch {
	case contradict(known):
		if c.apart == 0 {
			c.apart = now
		}
		c.apartAt = now
	case c.apart != 0 && (len(known) < 2 || now-c.apartAt > 2*ivl):
		c.apart = 0
	}
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
			since := b.at - a.at
			if measures(b.state) && since >= 0 && a.upper >= 0 && b.lower > a.upper+since+a.err+b.err+a.unsure+b.unsure {
				return true
			}
		}
	}
	return false
}
