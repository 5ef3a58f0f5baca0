package mysql

import (
	"errors"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// HeartbeatDDL makes the tables of the heartbeat, in the database that Options.HeartbeatDatabase names. It is run once, at
// the source; replication brings it to the others. No server function is in it and none in what is written, so that
// statement-based replication gives the same rows everywhere.
const HeartbeatDDL = `CREATE TABLE IF NOT EXISTS evenkeel_heartbeat (
  origin_site  VARCHAR(64) NOT NULL PRIMARY KEY,
  writer_epoch BIGINT NOT NULL,
  seq          BIGINT NOT NULL,
  ts_us        BIGINT NOT NULL,
  interval_ms  INT NOT NULL
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS evenkeel_echo (
  observer_site  VARCHAR(64) NOT NULL,
  origin_site    VARCHAR(64) NOT NULL,
  origin_epoch   BIGINT NOT NULL,
  origin_seq     BIGINT NOT NULL,
  observer_ts_us BIGINT NOT NULL,
  PRIMARY KEY (observer_site, origin_site)
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS evenkeel_canary (
  origin_site  VARCHAR(64) NOT NULL,
  slot         INT NOT NULL,
  writer_epoch BIGINT NOT NULL,
  seq          BIGINT NOT NULL,
  value        VARCHAR(32) NOT NULL,
  PRIMARY KEY (origin_site, slot)
) ENGINE=InnoDB;`

// ErrReadOnly says that the server takes no writes: it is a replica, or was made read-only.
var ErrReadOnly = errors.New("the server is read-only")

// ErrSplitBrain says that another writer claims the same origin. The reason of such a link is replica.ReasonSplitBrain.
var ErrSplitBrain = errors.New("another writer claims the heartbeat of this origin")

const splitBrain = "two writers claim the heartbeat of the same origin"

// Beat is the newest heartbeat of one origin, as one server has it.
type Beat struct {
	Origin   string
	Epoch    int64
	Seq      int64
	At       time.Time // by the writing agent's clock, to the microsecond
	Interval time.Duration
}

// Echo says which heartbeat of an origin its observer has applied.
type Echo struct {
	Observer, Origin string
	Epoch, Seq       int64
	At               time.Time // by the observer's clock
}

// Bounds enclose the lag of the origin's data at a server that has this heartbeat, when it was read at a time of the
// reading agent's clock. All that was committed before the heartbeat is there, so that upper holds always; below zero it
// says that the clocks contradict each other. lower takes for granted that the origin has written the next heartbeat.
func (b Beat) Bounds(read time.Time) (lower, upper time.Duration) {
	upper = read.Round(0).Sub(b.At.Round(0))
	return max(upper-b.Interval, 0), upper
}

// beatKept is what is remembered of an origin's heartbeats.
type beatKept struct {
	known      bool
	epoch, seq int64
}

// judgeBeat gives the bounds of a heartbeat, and tells when it went back: then two writers overwrite each other.
func judgeBeat(beat replica.Opt[Beat], k beatKept, read time.Time) (interval, beatKept, bool) {
	if !beat.OK {
		return interval{}, k, false
	}
	b := beat.V
	back := k.known && (b.Epoch < k.epoch || b.Epoch == k.epoch && b.Seq < k.seq)
	lower, upper := b.Bounds(read)
	lower = max(lower-b.Interval, 0) // a writer may be late
	// A beat that is half an interval late is not worth a word.
	i := interval{lower: replica.Some(lower), upper: replica.Some(upper), clocks: true, calm: b.Interval + b.Interval/2}
	return i, beatKept{true, b.Epoch, b.Seq}, back
}

// write is one heartbeat of the own origin, by the time it was stamped.
type write struct {
	epoch, seq int64
	at         time.Time
}

// exposed is an upper bound for the age of what the observer of an echo has not applied, by the clock of the origin alone:
// all that was committed before the echoed heartbeat was stamped is there. Without a fitting write it is absent.
func exposed(e Echo, writes []write, at time.Time) replica.Opt[time.Duration] {
	ours := false
	for _, w := range slices.Backward(writes) {
		if w.epoch != e.Epoch {
			continue
		}
		if ours = ours || w.seq >= e.Seq; !ours {
			break // it answers a heartbeat that this writer has not written
		}
		if w.seq <= e.Seq {
			return replica.Some(max(at.Sub(w.at), 0))
		}
	}
	return replica.Opt[time.Duration]{}
}
