package redis

import (
	"net"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// LinkSpec declares one end of a replication link.
type LinkSpec struct {
	Store, From, To, Channel string
	End                      replica.End
	// Peer is the other end as the server names it, host or host:port: at the source the replica's address (its
	// replica-announce-ip where set), at the target what REPLICAOF was told. Empty: whoever it is, as long as there is one.
	Peer string
}

func (l LinkSpec) sighting() replica.Sighting {
	return replica.Sighting{
		Link: replica.Link{Store: l.Store, From: l.From, To: l.To, Channel: l.Channel}, End: l.End,
	}
}

// matches reports whether the peer is at this address.
func (l LinkSpec) matches(host string, port replica.Opt[int64]) bool {
	if l.Peer == "" || l.Peer == host {
		return true
	}
	return port.OK && l.Peer == net.JoinHostPort(host, strconv.FormatInt(port.V, 10))
}

// Memory is what is remembered of one link between looks. The zero value remembers nothing.
type Memory struct {
	stream timeline
	heard  time.Time // when the peer was last heard
	gone   gone
}

// gone says where the source was when its replica was first missing, and how many synchronisations it had served.
type gone struct {
	offset, served replica.Opt[int64]
}

// failed is a sighting of which nothing is known.
func failed(s replica.Sighting, reason replica.Reason, detail string) replica.Sighting {
	s.State, s.Reason, s.Detail = replica.Unknown, reason, detail
	return s
}

// age remembers that the peer was heard some whole seconds before at, and says how long ago it was heard last.
func (m *Memory) age(seconds replica.Opt[int64], at time.Time) replica.Opt[time.Duration] {
	if seconds.OK && seconds.V >= 0 {
		m.heard = at.Add(-time.Duration(min(seconds.V, maxSeconds)) * time.Second)
	}
	if m.heard.IsZero() {
		return replica.Opt[time.Duration]{}
	}
	return replica.Some(max(at.Sub(m.heard), 0))
}

// maxSeconds is ten years: beyond it a foreign figure would overflow a time.Duration.
const maxSeconds = 10 * 365 * 24 * 3600

// size appends a number of bytes that is known.
func size(to []replica.Measure, name string, value replica.Opt[int64]) []replica.Measure {
	if !value.OK {
		return to
	}
	return append(to, replica.Measure{Name: name, Unit: "By", Value: float64(value.V)})
}

// syncs appends a number of synchronisations that is known and only grows.
func syncs(to []replica.Measure, name string, value replica.Opt[int64]) []replica.Measure {
	if !value.OK {
		return to
	}
	return append(to, replica.Measure{Name: name, Unit: "{sync}", Value: float64(value.V), Counter: true})
}

// flag appends a yes or no that is known, as 1 or 0.
func flag(to []replica.Measure, name string, value replica.Opt[bool]) []replica.Measure {
	if !value.OK {
		return to
	}
	m := replica.Measure{Name: name, Unit: "1"}
	if value.V {
		m.Value = 1
	}
	return append(to, m)
}

// headroom is how much more the source may write before a replica that has applied so much needs a full copy. Negative:
// it needs one.
func headroom(source Info, applied int64) replica.Opt[int64] {
	if !source.Backlog.Size.OK || !source.Offset.OK || !source.Backlog.Active.OK || !source.Backlog.Active.V {
		return replica.Opt[int64]{}
	}
	return replica.Some(source.Backlog.Size.V - (source.Offset.V - applied))
}
