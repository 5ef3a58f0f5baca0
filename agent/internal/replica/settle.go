package replica

import (
	"fmt"
	"time"
)

// Memory is what is kept of one end of a link between looks, and over restarts of the agent.
type Memory struct {
	LastCaughtUp time.Time `json:"last_caught_up,omitzero"` // agent's clock, begin of the look that saw it
	CompleteTo   time.Time `json:"complete_to,omitzero"`    // the copy is known to have had all that was committed until then
	LastAlive    time.Time `json:"last_alive,omitzero"`     // newest proof that the link was alive, no earlier than it came
	DownSince    time.Time `json:"down_since,omitzero"`     // the link was silent from then on, as far as the looks after LastAlive know
	Written      string    `json:"written,omitempty"`
	Since        time.Time `json:"since,omitzero"`     // Written has not changed since
	Crossed      string    `json:"crossed,omitempty"`  // the position at which the bounds of the look before contradicted each other
	Lacks        time.Time `json:"lacks,omitzero"`     // something that was committed by then is missing
	LacksAt      string    `json:"lacks_at,omitempty"` // as long as the position is this one
}

// Look says when and how well was looked.
type Look struct {
	Began, Ended time.Time     // agent's clock, with monotonic reading
	Interval     time.Duration // between looks
	ClockErr     time.Duration // how far the clocks of both ends may be apart, together
	ClockKnown   bool          // false: the error is not known
	Heartbeat    bool          // bounds of a heartbeat: they hold with the link down too
}

// idleAfter is how long nothing must have been written for a link to be called idle.
const idleAfter = 10 * time.Second

// Settle turns a sighting into a status and what is to be remembered. It is a pure function.
//
// What it promises: a state always; no bound where the state is unknown; link_down has a growing Lower and no Upper unless a
// heartbeat gives one; CaughtUp refreshes LastCaughtUp and nothing else does; every bound is widened by the duration of the
// look and, where two clocks are compared, by their error; a lag that is negative beyond the error, or below what is proven to be
// missing, is unknown(clock_skew).
func Settle(s Sighting, m Memory, look Look) (Status, Memory) {
	st := Status{
		Link: s.Link, End: s.End, At: look.Ended, State: s.State, Reason: s.Reason, Detail: s.Detail,
		Bytes: s.Bytes, Transactions: s.Transactions, Messages: s.Messages, LinkAge: s.LinkAge, Extra: s.Extra,
	}
	took := max(look.Ended.Sub(look.Began), 0)
	slack := took + s.Resolution
	if s.SourceClock {
		slack += look.ClockErr
	}
	m.alive(s, look)
	if s.State == Resyncing {
		m.CompleteTo, m.LacksAt = time.Time{}, "" // what it had is thrown away
	}
	if s.Written != "" && s.Written != m.Written {
		m.Written, m.Since = s.Written, look.Began
	}
	switch s.State {
	case CaughtUp:
		st = caughtUp(st, s, look, slack)
		if st.State == Unknown {
			break
		}
		m.LastCaughtUp, m.LacksAt = look.Began, ""
		if st.Upper.OK {
			m.complete(look.Ended.Add(-st.Upper.V))
		}
		if !m.Since.IsZero() && look.Began.Sub(m.Since) >= idleAfter {
			st.State = IdleLinkOK
		}
	case CatchingUp, ApplierStopped, DelayedByDesign:
		if s.Lower.OK && (!s.SourceClock || look.ClockKnown) && look.Ended.Sub(m.CompleteTo) < s.Lower.V-2*slack {
			m.CompleteTo = time.Time{} // the copy lacks what it had: it was set back
		}
		s = m.uncross(s, slack)
		st = bounded(st, s, m, look, slack)
		if st.Upper.OK {
			m.complete(look.Ended.Add(-st.Upper.V))
		}
		m.lack(s.Position, st, look)
	case LinkDown, Resyncing:
		// Nothing proves that the copy is complete, and a stopped one has no upper bound of its own.
		if m.DownSince.IsZero() {
			m.DownSince = look.Ended
		}
		st.Lower = Some(silent(m, look, slack))
		if s.State == LinkDown && s.Position != "" && s.Position == m.LacksAt {
			st.Lower.V = max(st.Lower.V, look.Ended.Sub(m.Lacks)) // nothing was applied since
		}
		if look.Heartbeat && s.Upper.OK && (look.ClockKnown || !s.SourceClock) {
			st.Upper = Some(max(s.Upper.V, 0) + slack)
			if s.Lower.OK {
				st.Lower.V = max(s.Lower.V-slack, 0) // measured, which is better than supposed
			}
			st.Lower.V = min(st.Lower.V, st.Upper.V)
		}
	case Unknown, NoPrimary, IdleLinkOK:
		// no figure is better than a wrong one
	}
	st.LastCaughtUp = m.LastCaughtUp
	st.Exposure = exposure(s, m, st, look, slack)
	return st, m
}

// complete notes that all which was committed until then is in the copy.
func (m *Memory) complete(to time.Time) {
	if to.After(m.CompleteTo) {
		m.CompleteTo = to
	}
}

// lack notes since when at least something is missing at a position of the copy.
func (m *Memory) lack(position string, st Status, look Look) {
	since := look.Ended.Add(-st.Lower.V)
	if position == "" || st.Lower.V <= 0 || position == m.LacksAt && !since.Before(m.Lacks) {
		return
	}
	m.Lacks, m.LacksAt = since, position
}

// alive notes the newest proof of life that a sighting brings. An age is worth nothing for what was heard after the latest proof that
// is known already: a server that tells none of a link that is gone leaves the engine the age by its own memory, and what
// came between two looks is not in it. A proof that is newer was told, and from it on the link is silent.
func (m *Memory) alive(s Sighting, look Look) {
	switch {
	case s.State == CaughtUp || s.State == CatchingUp || s.State == DelayedByDesign:
		m.LastAlive, m.DownSince = look.Ended, time.Time{}
	case s.LinkAge.OK && look.Began.Add(-s.LinkAge.V).After(m.LastAlive):
		m.LastAlive, m.DownSince = look.Ended.Add(-s.LinkAge.V), time.Time{}
		if s.State == LinkDown {
			m.DownSince = m.LastAlive
		}
	}
}

// caughtUp is a link on which nothing is known to be missing. That may be old news: what is committed since the newest
// word of the source is missing too, and Upper says how old that word may be. A look takes its time besides.
func caughtUp(st Status, s Sighting, look Look, slack time.Duration) Status {
	if s.SourceClock && s.Upper.OK && s.Upper.V < -slack {
		return skewed(st, s, slack)
	}
	st.Lower = Some(time.Duration(0))
	if !s.SourceClock || look.ClockKnown {
		st.Upper = Some(max(s.Upper.Or(0), 0) + slack)
	}
	return st
}

func skewed(st Status, s Sighting, slack time.Duration) Status {
	st.State, st.Reason = Unknown, ReasonClockSkew
	st.Detail = fmt.Sprintf("the lag by the clocks is %s, which their error of %s does not explain", s.Upper.V, slack)
	return st
}

// uncross takes away bounds that contradict each other where the applier may explain it: it takes a second off the lag in no time when it
// passes a second in which its source wrote nothing, and the bounds of a sighting come from one question after the other. An
// applier that stands where it stood at the look before explains nothing: then it is the clocks.
func (m *Memory) uncross(s Sighting, slack time.Duration) Sighting {
	before := m.Crossed
	m.Crossed = ""
	if !s.Lower.OK || !s.Upper.OK || s.Lower.V <= s.Upper.V+2*slack || s.Upper.V < -slack {
		return s
	}
	if m.Crossed = s.Position; s.Position != before {
		s.Lower, s.Upper = Opt[time.Duration]{}, Opt[time.Duration]{}
	}
	return s
}

// bounded widens the bounds of a link that is behind, and refuses those that the clocks contradict.
func bounded(st Status, s Sighting, m Memory, look Look, slack time.Duration) Status {
	if s.SourceClock && !look.ClockKnown {
		// Without the clocks' error a difference of two clocks bounds nothing.
		s.Lower, s.Upper = Opt[time.Duration]{}, Opt[time.Duration]{}
	}
	if (s.Upper.OK && s.Upper.V < -slack) || (s.Lower.OK && s.Upper.OK && s.Lower.V > s.Upper.V+2*slack) {
		return skewed(st, s, slack)
	}
	st.Lower = Some(time.Duration(0))
	if s.Lower.OK {
		st.Lower.V = max(s.Lower.V-slack, 0)
	}
	if s.Upper.OK {
		st.Upper = Some(max(s.Upper.V, 0) + slack)
	}
	// What is missing was committed after that until which the copy is complete.
	if !m.CompleteTo.IsZero() {
		if all := max(look.Ended.Sub(m.CompleteTo), 0); !st.Upper.OK || all < st.Upper.V {
			st.Upper = Some(all)
		}
		st.Lower.V = min(st.Lower.V, st.Upper.V)
	}
	return st
}

// silent is the lower bound of a link that is not heard: all since it was last alive, less the time in which it may have been
// alive unseen: an interval, and where looks were late and do not tell since when it is silent, until the first one that found it
// down. Never 0: the link is down now.
func silent(m Memory, look Look, slack time.Duration) time.Duration {
	floor := time.Millisecond
	if m.LastAlive.IsZero() {
		return floor
	}
	unseen := max(look.Interval, m.DownSince.Sub(m.LastAlive))
	return max(look.Ended.Sub(m.LastAlive)-unseen-slack, floor)
}

// exposure is the upper bound of the age of what would be lost now.
func exposure(s Sighting, m Memory, st Status, look Look, slack time.Duration) Opt[time.Duration] {
	var out Opt[time.Duration]
	if st.State == Resyncing {
		return out // half a copy protects nothing
	}
	consider := func(d time.Duration) {
		if d = max(d, 0); !out.OK || d < out.V {
			out = Some(d)
		}
	}
	if s.Exposure.OK {
		consider(s.Exposure.V + slack)
	}
	if st.Upper.OK {
		consider(st.Upper.V)
	}
	if !m.CompleteTo.IsZero() {
		consider(look.Ended.Sub(m.CompleteTo))
	}
	return out
}
