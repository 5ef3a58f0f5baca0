package kafka

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Mirror says what a look shows of MirrorMaker 2. interval is between its heartbeats, silence is how long none may come before
// the link is down. It reads no clock; memory is changed. bounded says that the bounds hold with the link down too.
func Mirror(l LinkSpec, row MirrorRow, interval, silence time.Duration, m *Memory) (s replica.Sighting, bounded bool) {
	s = l.sighting()
	if !row.Beat.OK {
		s.State, s.Detail = replica.LinkDown, "no heartbeat of the source has come yet"
		return s, false
	}
	beat := row.Beat.V
	if beat.Source != l.alias() {
		return failed(s, &Failure{replica.ReasonMisconfigured, fmt.Sprintf("the heartbeats are of cluster %s, not of the declared source", beat.Source)}), false
	}
	first := m.beat.seen.IsZero()
	if first || row.Offset != m.beat.offset {
		m.beat = arrival{offset: row.Offset, seen: row.Now, moved: !first}
	}
	// Wall clocks of two hosts: without the monotonic reading of this one.
	age := row.Now.Round(0).Sub(beat.At)
	quiet := max(row.Now.Sub(m.beat.seen), 0)
	if !m.beat.moved {
		// It may have come long before it was first seen.
		quiet = max(quiet, age)
	}
	s.LinkAge = replica.Some(quiet)
	s.Position = fmt.Sprint(row.Offset)
	s.Lower, s.Upper = replica.Some(max(age-interval, 0)), replica.Some(age)
	s.SourceClock, s.Resolution = true, time.Millisecond
	s.State = replica.CatchingUp
	if quiet > silence {
		s.State, s.Reason = replica.LinkDown, replica.ReasonStale
		s.Detail = fmt.Sprintf("no heartbeat of the source has come for %s", quiet.Round(time.Millisecond))
	}
	return s, true
}
