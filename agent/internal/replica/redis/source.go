package redis

import (
	"fmt"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// ackLimit is how old an acknowledgement may be; a replica sends one each second.
const ackLimit = 5 * time.Second

// Source says what a source shows of its link to one replica. It reads no clock; memory is changed.
func Source(link LinkSpec, source Row, m *Memory) replica.Sighting {
	s := link.sighting()
	m.stream.note(source)
	s.Extra = sourceExtra(source.Info)
	if w := m.stream.written(); w.OK {
		s.Written = source.ReplID + ":" + strconv.FormatInt(w.V, 10)
	}
	var found []Replica
	for _, r := range source.Replicas {
		// A full copy over two connections shows both; the main one tells the state.
		if r.Type != "rdb-channel" && link.matches(r.IP, r.Port) {
			found = append(found, r)
		}
	}
	switch {
	case source.Role == "":
		return failed(s, replica.ReasonIncomplete, "the server does not tell its role")
	case len(found) > 1:
		return failed(s, replica.ReasonMisconfigured, fmt.Sprintf("%d replicas match the declared peer", len(found)))
	case len(found) == 1:
		m.gone = gone{}
		return connected(s, source, found[0], m)
	case source.Role != "master":
		return failed(s, replica.ReasonRole, "the server is itself a replica and has not the declared one")
	}
	return missingReplica(s, source, m)
}

// connected is the state of a replica that its source lists.
func connected(s replica.Sighting, source Row, r Replica, m *Memory) replica.Sighting {
	switch {
	case r.State == "":
		return failed(s, replica.ReasonIncomplete, "the source does not tell the state of the replica")
	case r.State != "online":
		s.State, s.Detail = replica.Resyncing, "the replica is sent a full copy"
		return s
	case !r.Lag.OK || !r.Offset.OK || !source.Offset.OK:
		return failed(s, replica.ReasonIncomplete, "the source does not tell what the replica has acknowledged")
	}
	acked := r.Offset.V
	if acked == 0 {
		// A replica is called online as soon as the copy is sent; it may load it for long.
		s.State, s.Detail = replica.Resyncing, "the replica has acknowledged nothing since it connected"
		return s
	}
	s.LinkAge = m.age(r.Lag, source.Ended)
	s.Position = source.ReplID + ":" + strconv.FormatInt(acked, 10)
	s.Bytes = replica.Some(max(source.Offset.V-acked, 0))
	s.Exposure = exposed(m, acked, source.Began, source.Ended)
	s.Extra = flag(s.Extra, "redis.resync.needed", needsCopy(source.Backlog, acked))
	s.Extra = size(s.Extra, "redis.backlog.headroom", headroom(source.Info, acked))
	_, upper, behind := m.stream.missing(acked, source.Ended)
	quiet := time.Duration(min(max(r.Lag.V, 0), maxSeconds)) * time.Second
	switch {
	case quiet > ackLimit:
		s.State, s.Reason = replica.LinkDown, replica.ReasonStale
		s.Detail = fmt.Sprintf("connected, but the last acknowledgement is %s old", quiet)
	case behind:
		// What was not acknowledged may be there by now: no lower bound.
		s.State, s.Upper = replica.CatchingUp, upper
		if !upper.OK {
			s.Reason, s.Detail = replica.ReasonNotMeasured, "behind since before the source was first seen"
		}
	default:
		s.State = replica.CaughtUp
	}
	return s
}

// missingReplica is the state of a replica that its source does not list. It can have received nothing from after the
// look at which it was first missing, unless it was here in between, which the counters of syncs show.
func missingReplica(s replica.Sighting, source Row, m *Memory) replica.Sighting {
	s.LinkAge = m.age(replica.Opt[int64]{}, source.Ended)
	s.State, s.Detail = replica.LinkDown, "the replica is not connected"
	served := replica.Opt[int64]{}
	if source.SyncFull.OK && source.SyncPartialOK.OK {
		served = replica.Some(source.SyncFull.V + source.SyncPartialOK.V)
	}
	if !m.gone.offset.OK || m.gone.served != served {
		m.gone = gone{offset: source.Offset, served: served}
	}
	if !m.gone.offset.OK {
		return s
	}
	b := source.Backlog
	// Only that the backlog begins too late is certain: what the replica has is at most what was there.
	if (b.Active.OK && !b.Active.V) || (b.Active.OK && b.First.OK && b.First.V > m.gone.offset.V+1) {
		s.Reason, s.Detail = replica.ReasonLost, "the replica is not connected, and what it lacks is no longer kept: it will need a full resync"
		s.Extra = flag(s.Extra, "redis.resync.needed", replica.Some(true))
	}
	return s
}

// sourceExtra is what only a Redis source has.
func sourceExtra(source Info) []replica.Measure {
	var extra []replica.Measure
	extra = syncs(extra, "redis.sync.full", source.SyncFull)
	extra = syncs(extra, "redis.sync.partial", source.SyncPartialOK)
	return syncs(extra, "redis.sync.partial_refused", source.SyncPartialErr)
}
