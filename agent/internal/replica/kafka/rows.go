package kafka

import (
	"encoding/binary"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Place is one partition of a topic.
type Place struct {
	Topic     string
	Partition int32
}

// PartitionRow is what is known of one partition and of what a group has read of it.
type PartitionRow struct {
	Place
	// Committed is the offset that the group reads next. Absent: it never committed one.
	Committed replica.Opt[int64]
	// Start and End are the offsets of the first record and of the next one to come; read after Committed.
	Start, End int64
	// First is the first unread record below End. Absent: there is none, only marks of transactions or holes.
	First replica.Opt[RecordRow]
	// After is as Committed, fetched after First where there was one.
	After replica.Opt[int64]
	// Unread says that First is not known: it could not be read in time.
	Unread bool
}

// RecordRow is a record.
type RecordRow struct {
	Offset   int64
	At       time.Time // milliseconds
	Appended bool      // At is of the broker that stored it, not of its producer
}

// GroupRow is a group and its partitions.
type GroupRow struct {
	// Members is how many there are. Absent: not known, or the group has none of its own and takes offsets from anybody.
	Members    replica.Opt[int]
	Partitions []PartitionRow
	Now        time.Time // the agent's clock when the ends had been read
}

// MirrorRow is the newest heartbeat that MirrorMaker 2 has brought.
type MirrorRow struct {
	Beat   replica.Opt[HeartbeatRow]
	Offset int64 // where the topic ends: it grows with each heartbeat
	Now    time.Time
}

// HeartbeatRow is a heartbeat of MirrorMaker 2.
type HeartbeatRow struct {
	Source, Target string    // aliases of clusters
	At             time.Time // the clock of the host that wrote it; milliseconds
}

// ParseHeartbeat reads a record of a heartbeats topic: two strings in the key, a version and a time in the value, as the
// Kafka protocol writes them.
func ParseHeartbeat(key, value []byte) (HeartbeatRow, bool) {
	source, rest, ok := text(key)
	if !ok {
		return HeartbeatRow{}, false
	}
	target, rest, ok := text(rest)
	// Version 0 is a time and no more; later ones may add to it.
	if !ok || len(rest) != 0 || len(value) < 10 {
		return HeartbeatRow{}, false
	}
	ms := int64(binary.BigEndian.Uint64(value[2:])) //nolint:gosec // a negative one is refused below
	if ms <= 0 || ms > maxMilli {
		return HeartbeatRow{}, false
	}
	return HeartbeatRow{Source: source, Target: target, At: time.UnixMilli(ms)}, true
}

// maxMilli is in the year 5138; beyond it a difference of two times would overflow.
const maxMilli = 100_000_000_000_000

// text reads a string of the protocol: two bytes of length and so many bytes.
func text(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if n > len(b)-2 || n > 1<<15-1 {
		return "", nil, false
	}
	return string(b[2 : 2+n]), b[2+n:], true
}
