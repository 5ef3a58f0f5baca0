package kafka

import (
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// LinkSpec declares one end of a replication link.
type LinkSpec struct {
	Store, From, To string
	// Channel is the consumer group that carries the records. Empty: MirrorMaker 2.
	Channel string
	End     replica.End
	// Peer is, of a group, the topics that it has to read, with commas between; empty: those of which it committed an
	// offset, so that one which it does not read at all is not noticed. Of MirrorMaker 2 it is the alias of the other
	// cluster; empty: the other site.
	Peer string
}

func (l LinkSpec) sighting() replica.Sighting {
	return replica.Sighting{
		Link: replica.Link{Store: l.Store, From: l.From, To: l.To, Channel: l.Channel}, End: l.End,
	}
}

// topics are those that the group has to read.
func (l LinkSpec) topics() []string {
	var out []string
	for topic := range strings.SplitSeq(l.Peer, ",") {
		if topic = strings.TrimSpace(topic); topic != "" && !slices.Contains(out, topic) {
			out = append(out, topic)
		}
	}
	return out
}

func (l LinkSpec) alias() string {
	if l.Peer == "" {
		return l.From
	}
	return l.Peer
}

// Memory is what is remembered of one link between looks. The zero value remembers nothing.
type Memory struct {
	partitions map[Place]*window
	beat       arrival
}

// failed is a sighting of which nothing is known.
func failed(s replica.Sighting, why *Failure) replica.Sighting {
	s.State, s.Reason, s.Detail = replica.Unknown, why.Reason, why.Detail
	return s
}

// arrival remembers when the newest heartbeat was first seen.
type arrival struct {
	offset int64
	seen   time.Time
	moved  bool // a newer one came while it was looked at
}
