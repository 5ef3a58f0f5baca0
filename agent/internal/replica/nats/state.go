package nats

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// View is what one look gathered of a link.
type View struct {
	Copy    replica.Opt[StreamRow]
	CopyWhy *Failure // why Copy is absent
	// Position is the origin's sequence up to which the copy has everything; absent: not known.
	Position replica.Opt[uint64]

	// Origin was asked after Copy was first seen and before Position was read.
	Origin    replica.Opt[StreamRow]
	OriginWhy *Failure // why Origin is absent; nil: it is not asked
	// Head is the origin's newest sequence of the subjects that are copied.
	Head replica.Opt[uint64]
	// Missing is the origin's first message that was not in the copy at Position.
	Missing replica.Opt[MessageRow]
	// After is as Position, read after Missing.
	After replica.Opt[uint64]
	// Ahead says that the copy was further than its origin, also when the origin was asked again.
	Ahead bool

	// Beat is the origin's newest heartbeat in the copy.
	Beat replica.Opt[heartbeat.Beat]
	Now  time.Time // the agent's wall clock, before the look
}

// Judge says what a look shows of a link. It reads no clock; memory is changed. silence is how long a copy may not hear its
// origin before the link is down. bounded says that the bounds hold with the link down too.
func Judge(l LinkSpec, v View, silence time.Duration, m *Memory) (s replica.Sighting, bounded bool) {
	s = l.sighting()
	s.Extra = append(raft(v.Origin, "origin"), raft(v.Copy, "copy")...)
	if v.Origin.OK {
		m.history.noteOrigin(v.Origin.V.Made)
		if v.Head.OK {
			s.Written = strconv.FormatInt(v.Origin.V.Made.UnixNano(), 10) + ":" + strconv.FormatUint(v.Head.V, 10)
		}
	}
	if l.End == replica.Source && v.OriginWhy != nil {
		return failed(s, v.OriginWhy), false
	}
	if !v.Copy.OK {
		if v.CopyWhy == nil {
			return failed(s, &Failure{replica.ReasonNotMeasured, "an origin is not told who copies it, and the copy is not asked"}), false
		}
		return failed(s, v.CopyWhy), false
	}
	if v.OriginWhy != nil && v.OriginWhy.Reason == replica.ReasonMisconfigured {
		return failed(s, v.OriginWhy), false
	}
	for _, row := range []replica.Opt[StreamRow]{v.Origin, v.Copy} {
		if row.OK && row.V.Clustered && row.V.Leader == "" {
			return failed(s, &Failure{replica.ReasonIncomplete, fmt.Sprintf("stream %s has no leader", row.V.Name)}), false
		}
	}
	up, why := l.find(v.Copy.V) // only a leader tells what the stream copies
	if why != nil {
		return failed(s, why), false
	}
	return judge(s, up, v, silence, m)
}

// judge goes on where both streams are what was declared.
func judge(s replica.Sighting, up upstream, v View, silence time.Duration, m *Memory) (replica.Sighting, bool) {
	alive := m.hearing.note(up.Active, v.Copy.V.Now, v.Copy.V.Last, silence)
	s.LinkAge = m.hearing.age(v.Copy.V.Now)
	if v.Position.OK {
		m.history.noteCopy(v.Copy.V.Made, v.Position.V)
		s.Position = strconv.FormatInt(v.Copy.V.Made.UnixNano(), 10) + ":" + strconv.FormatUint(v.Position.V, 10)
	}
	if v.Ahead || m.history.foreign {
		return failed(s, &Failure{replica.ReasonDisagree, "the copy holds messages that are not its origin's: the origin was made anew"}), false
	}
	compared := v.Origin.OK && v.Position.OK && v.Head.OK
	complete := false
	if compared {
		s, complete = compare(s, v)
	}
	lost := int64(0)
	if compared {
		lost = gone(up, v)
		s.Extra = append(s.Extra, replica.Measure{Name: "nats.messages.lost", Unit: "{message}", Value: float64(lost)})
	}
	switch {
	case !alive:
		s.State = replica.LinkDown
		switch {
		case up.Error.OK:
			s.Reason, s.Detail = replica.ReasonError, fmt.Sprintf("the copy does not get its messages: JetStream error %d", up.Error.V)
		case !up.Active.OK:
			s.Detail = "the copy has not heard its origin yet"
		default:
			s.Reason, s.Detail = replica.ReasonStale, fmt.Sprintf("the copy has not heard its origin for %s", s.LinkAge.V.Round(time.Millisecond))
		}
	case complete:
		s.State = replica.CaughtUp
	case !compared:
		s.State, s.Reason, s.Detail = replica.CatchingUp, replica.ReasonNotMeasured, uncompared(v)
	default:
		s.State = replica.CatchingUp
	}
	bounded := s.Upper.OK
	if !compared && v.Beat.OK {
		s, bounded = v.Beat.V.Merge(s, false, v.Now, 0)
		complete = s.State == replica.CaughtUp
	}
	if complete {
		m.history.refilled = false
	}
	if alive && m.history.refilled {
		s.State, s.Reason, s.Detail = replica.Resyncing, "", "the copy lost what it had and is filled anew"
		s.Lower, s.Upper, bounded = replica.Opt[time.Duration]{}, replica.Opt[time.Duration]{}, false
	}
	if lost > 0 {
		s.Reason = replica.ReasonLost
		s.Detail = fmt.Sprintf("the origin removed %d messages before they were copied", lost)
	}
	return s, bounded
}

// compare sets the figures of a copy whose origin is in sight.
func compare(s replica.Sighting, v View) (_ replica.Sighting, complete bool) {
	at := v.Position.V
	if v.After.OK && v.After.V > at {
		at = v.After.V
	}
	if at >= v.Head.V || !v.Missing.OK || v.Missing.V.Seq > v.Head.V {
		// What was removed at the origin is not missing at the copy.
		s.Messages, s.Exposure = replica.Some(int64(0)), replica.Some(time.Duration(0))
		return s, true
	}
	s.Messages = replica.Some(count(v.Head.V - at))
	// The age of the first missing message, by the clock of the origin's server alone.
	age := v.Origin.V.Now.Sub(v.Missing.V.Time)
	s.Upper, s.Exposure = replica.Some(age), replica.Some(max(age, 0))
	s.Lower = replica.Some(time.Duration(0))
	if at < v.Missing.V.Seq {
		s.Lower = replica.Some(max(age, 0))
	}
	return s, false
}

// gone is how many messages the origin removed before a copy that already had some could get them.
func gone(up upstream, v View) int64 {
	if up.filters() != nil || v.Position.V == 0 || v.Origin.V.First <= v.Position.V+1 {
		return 0
	}
	return count(v.Origin.V.First - v.Position.V - 1)
}

func uncompared(v View) string {
	switch {
	case v.OriginWhy != nil:
		return "the origin is not in sight: " + v.OriginWhy.Detail
	case !v.Origin.OK:
		return "the link is alive; a copy alone does not know what its origin has"
	}
	return "which of the origin's messages the copy has last is not known"
}

// failed is a sighting of which nothing is known.
func failed(s replica.Sighting, why *Failure) replica.Sighting {
	s.State, s.Reason, s.Detail = replica.Unknown, why.Reason, why.Detail
	s.Lower, s.Upper, s.Exposure = replica.Opt[time.Duration]{}, replica.Opt[time.Duration]{}, replica.Opt[time.Duration]{}
	return s
}

// raft is the state of the followers of a stream in its own cluster: what a failover there would lose.
func raft(row replica.Opt[StreamRow], which string) []replica.Measure {
	if !row.OK || !row.V.Clustered || len(row.V.Replicas) == 0 {
		return nil
	}
	current, lag := 0, uint64(0)
	for _, r := range row.V.Replicas {
		if r.Current && !r.Offline {
			current++
		}
		lag = max(lag, r.Lag)
	}
	measure := func(name, unit string, value float64) replica.Measure {
		return replica.Measure{Name: name, Unit: unit, Value: value, Labels: map[string]string{"stream": which}}
	}
	return []replica.Measure{
		measure("nats.followers", "{follower}", float64(len(row.V.Replicas))),
		measure("nats.followers.current", "{follower}", float64(current)),
		measure("nats.followers.lag", "{operation}", float64(lag)),
	}
}

// count is a number of messages that fits.
func count(n uint64) int64 { return int64(min(n, math.MaxInt64)) }
