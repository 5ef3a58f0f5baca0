package redis

import (
	"fmt"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Target says what a replica shows of its link. The source, where it is given, was asked before the target. pingPeriod is
// the source's repl-ping-replica-period. It reads no clock; memory is changed.
func Target(link LinkSpec, target Row, source *Row, pingPeriod time.Duration, m *Memory) replica.Sighting {
	s := link.sighting()
	if source != nil {
		m.stream.note(*source)
	}
	switch {
	case target.Role == "":
		return failed(s, replica.ReasonIncomplete, "the server does not tell its role")
	case target.Role != "slave":
		return failed(s, replica.ReasonRole, "the server is a primary: it was promoted or never told to replicate")
	case !link.matches(target.SourceHost, target.SourcePort):
		return failed(s, replica.ReasonMisconfigured, fmt.Sprintf("the replica follows %s port %d, which is not the declared source",
			target.SourceHost, target.SourcePort.Or(0)))
	}
	s.LinkAge = m.age(target.LastIO, target.Ended)
	s.Extra = targetExtra(target, source)
	if target.AppliedOffset.OK && target.ReplID != "" {
		s.Position = target.ReplID + ":" + strconv.FormatInt(target.AppliedOffset.V, 10)
	}
	if w := m.stream.written(); source != nil && w.OK {
		s.Written = source.ReplID + ":" + strconv.FormatInt(w.V, 10)
	}
	seen := source != nil && source.Offset.OK && sameHistory(source.Info, target.Info)
	if seen {
		s.Bytes = replica.Some(max(source.Offset.V-target.AppliedOffset.V, 0))
		s.Exposure = exposed(m, target.AppliedOffset.V, source.Began, target.Ended)
	}
	switch {
	case target.Loading || target.SyncInProgress:
		s.State, s.Detail = replica.Resyncing, "the replica loads a full copy"
	case target.LinkStatus == "up" && target.LastIO.OK:
		s = alive(s, target, source, seen, pingPeriod, m)
	case target.LinkStatus == "":
		return failed(s, replica.ReasonIncomplete, "the replica does not tell the state of its link")
	case target.LinkStatus == "up":
		return failed(s, replica.ReasonIncomplete, "the replica does not tell when it last heard its source")
	default:
		s.State, s.Detail = replica.LinkDown, "the replica is not connected to its source"
		if source != nil && target.AppliedOffset.OK && copyNeeded(source.Info, target.Info).Or(false) {
			s.Reason, s.Detail = replica.ReasonLost, "the replica is not connected, and what it lacks is no longer kept: it will need a full resync"
		}
	}
	return s
}

// alive is the state of a link that the replica says is up.
func alive(s replica.Sighting, target Row, source *Row, seen bool, pingPeriod time.Duration, m *Memory) replica.Sighting {
	quiet := time.Duration(min(target.LastIO.V, maxSeconds)) * time.Second
	switch {
	case quiet < 0:
		s.State, s.Detail = replica.LinkDown, "the replica is not connected to its source"
	case quiet > pingPeriod+pingMargin:
		s.State, s.Reason = replica.LinkDown, replica.ReasonStale
		s.Detail = fmt.Sprintf("connected, but nothing was heard for %s", quiet)
	case !target.AppliedOffset.OK:
		return failed(s, replica.ReasonIncomplete, "the replica does not tell its offset")
	case source == nil:
		// All that arrived is applied, which is nothing known of what is on its way.
		s.State, s.Reason = replica.CatchingUp, replica.ReasonNotMeasured
		s.Detail = "the link is alive; a replica alone does not know what its source has written"
	case !source.Offset.OK || source.ReplID == "":
		return failed(s, replica.ReasonIncomplete, "the source does not tell its offset")
	case !seen:
		return failed(s, replica.ReasonDisagree, "the replica is connected, but its history is not that of the declared source")
	default:
		lower, upper, behind := m.stream.missing(target.AppliedOffset.V, target.Ended)
		s.State = replica.CaughtUp
		if behind {
			s.State, s.Lower, s.Upper = replica.CatchingUp, lower, upper
			if !upper.OK {
				s.Reason, s.Detail = replica.ReasonNotMeasured, "behind since before the source was first seen"
			}
		}
	}
	return s
}

// pingMargin is how much later than promised a PING may come.
const pingMargin = 5 * time.Second

// exposed is an upper bound for the age of what a target lacks which has applied so much. The source was asked at began.
func exposed(m *Memory, applied int64, began, at time.Time) replica.Opt[time.Duration] {
	_, upper, behind := m.stream.missing(applied, at)
	if !behind {
		return replica.Some(max(at.Sub(began), 0))
	}
	return upper
}

// copyNeeded reports whether the target needs a full copy to go on.
func copyNeeded(source, target Info) replica.Opt[bool] {
	switch {
	case source.ReplID == "" || !target.AppliedOffset.OK:
		return replica.Opt[bool]{}
	case !sameHistory(source, target):
		return replica.Some(true)
	}
	return needsCopy(source.Backlog, target.AppliedOffset.V)
}

// targetExtra is what only a Redis replica has.
func targetExtra(target Row, source *Row) []replica.Measure {
	var extra []replica.Measure
	if target.ReadOffset.OK && target.AppliedOffset.OK {
		pending := replica.Some(max(target.ReadOffset.V-target.AppliedOffset.V, 0))
		extra = size(extra, "redis.replica.pending", pending)
	}
	if target.SyncInProgress && target.SyncLeft.Or(-1) >= 0 {
		extra = size(extra, "redis.sync.left", target.SyncLeft)
	}
	if target.ReadOnly.OK {
		extra = flag(extra, "redis.replica.writable", replica.Some(!target.ReadOnly.V))
	}
	if source == nil {
		return extra
	}
	extra = flag(extra, "redis.resync.needed", copyNeeded(source.Info, target.Info))
	if sameHistory(source.Info, target.Info) {
		extra = size(extra, "redis.backlog.headroom", headroom(source.Info, target.AppliedOffset.V))
	}
	return extra
}
