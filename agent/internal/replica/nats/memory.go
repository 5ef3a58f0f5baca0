package nats

import (
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Memory is what is remembered of one link between looks. The zero value remembers nothing.
type Memory struct {
	hearing hearing
	history history
}

const (
	// resetPeriod is less than what lies between two attempts of a server to make its consumer anew, which is 10 s and
	// more. Each attempt that succeeds looks as if the origin had been heard, once.
	resetPeriod = 7 * time.Second
	// enough hearings in a row are taken for a link that works, however far apart the looks are.
	enough = 3
)

// hearing tells a link that is heard again and again (idle heartbeats come each second) from one of which only the making
// of a consumer is seen. Times are of the clock of the copy's server.
type hearing struct {
	proven time.Time // the last proof of life
	down   bool
	doubt  time.Time // heard while down, and not yet believed
	good   int       // how often in a row
	last   uint64    // the copy's last sequence then
}

// note takes in when the origin was heard last as the copy says, and reports whether the link is alive.
func (h *hearing) note(active replica.Opt[time.Duration], now time.Time, last uint64, silence time.Duration) bool {
	arrived := h.last > 0 && last > h.last
	h.last = last
	if !active.OK || active.V > silence {
		if active.OK && !h.down {
			h.proven = now.Add(-active.V)
		}
		h.down, h.doubt, h.good = true, time.Time{}, 0
		return false
	}
	heard := now.Add(-active.V)
	if !h.down {
		h.proven = heard
		return true
	}
	if gap := heard.Sub(h.doubt); h.doubt.IsZero() || gap > repeat {
		h.good++
		if !arrived && (h.doubt.IsZero() || gap > resetPeriod) && h.good < enough {
			h.doubt = heard
			return false
		}
		h.down, h.proven, h.doubt, h.good = false, heard, time.Time{}, 0
		return true
	}
	return false
}

// repeat is less than what lies between two idle heartbeats, and more than the same one seen twice may seem apart.
const repeat = 500 * time.Millisecond

// age is since the last proof of life.
func (h *hearing) age(now time.Time) replica.Opt[time.Duration] {
	if h.proven.IsZero() {
		return replica.Opt[time.Duration]{}
	}
	return replica.Some(max(now.Sub(h.proven), 0))
}

// history notices streams that were made anew: sequences of two streams of the same name mean nothing to each other.
type history struct {
	origin, copied time.Time // when they were made
	position       uint64
	foreign        bool // the origin was made anew and the copy was not
	refilled       bool // the copy lost what it had and is not complete yet
}

func (h *history) noteOrigin(made time.Time) {
	if !h.origin.IsZero() && !made.Equal(h.origin) {
		h.foreign = true
	}
	h.origin = made
}

func (h *history) noteCopy(made time.Time, position uint64) {
	anew := !h.copied.IsZero() && !made.Equal(h.copied)
	if anew {
		h.foreign = false
	}
	if anew || position < h.position {
		h.refilled = true
	}
	h.copied, h.position = made, position
}
