package heartbeat

import (
	"math/rand/v2"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Pen decides what the writer of one origin writes next. It reads no clock.
//
// Within an epoch each seq is written once and none is left out: after a write of which it is not known whether it happened,
// and where an older copy came back, a new epoch begins. An epoch is no count but a name that grows: newEpoch says how.
type Pen struct {
	Origin   string
	Interval time.Duration
	// Kept is the highest epoch that was ever used here, as far as that is known; the caller keeps it before it writes a beat.
	Kept int64

	memory Writer
	first  int64 // of the epochs that are this pen's
	anew   bool  // the next beat begins an epoch
	rival  replica.Opt[Beat]
	since  time.Time // rival has not moved since
	before attempt
}

// deadAfter is for how many intervals another writer must have been still to be replaced.
const deadAfter = 10

// takeover is how long that is at least.
const takeover = 5 * time.Second

// Next is the beat to write over the stored one at a time of the writer's clock, wall its wall clock. It is absent when another
// writer of the origin is alive: then nothing may be written. A writer that starts replaces who was there before; one that
// was replaced waits until the other is still.
func (p *Pen) Next(stored replica.Opt[Beat], at, wall time.Time) replica.Opt[Beat] {
	own := p.memory.Wrote
	next := Beat{Origin: p.Origin, Epoch: newEpoch(max(p.Kept, stored.V.Epoch), wall), Seq: 1, At: wall, Interval: p.Interval}
	switch {
	case !own.OK:
		p.begin(next, stored)
	case stored.OK && stored.V.Same(own.V) && !p.anew:
		next.Epoch, next.Seq = own.V.Epoch, own.V.Seq+1
	case stored.OK && p.other(stored.V):
		if !p.rival.OK || !p.rival.V.Same(stored.V) {
			p.rival, p.since = stored, at
		}
		if at.Sub(p.since) < max(deadAfter*p.Interval, takeover) {
			return replica.Opt[Beat]{}
		}
		p.begin(next, stored)
	default:
		// Nothing is there, or an older beat of our own, or of whom we replaced.
	}
	p.rival = replica.Opt[Beat]{}
	return replica.Some(next)
}

// epochsPerSecond is of how many epochs one is drawn.
const epochsPerSecond = 1 << 20

// newEpoch is an epoch above another one that nobody else uses, even where what was kept and what is stored are both lost or set
// back: it has the second of the wall clock, above which a number is drawn, so that two writers that know no better have the same one
// only by a chance of one in a million, and only when they begin in the same second. Where the clock is behind the other epoch
// the number is drawn above that.
func newEpoch(above int64, wall time.Time) int64 {
	return max(above, wall.Unix()*epochsPerSecond) + 1 + rand.Int64N(epochsPerSecond)
}

// begin replaces the writer of what is stored.
func (p *Pen) begin(next Beat, stored replica.Opt[Beat]) {
	p.first, p.memory.Displaced = next.Epoch, stored
}

// other reports whether a beat was written by another writer that may be alive.
func (p *Pen) other(stored Beat) bool {
	own := p.memory.Wrote.V
	if stored.Epoch >= p.first && stored.Epoch < own.Epoch {
		return false // an attempt of our own that was thought lost
	}
	return p.memory.Conflict(stored, Beat{Epoch: own.Epoch + 1, Seq: 1})
}

// Try remembers a beat that is about to be written: an answer that is lost must not make it look like another's.
func (p *Pen) Try(b Beat) {
	p.before = attempt{p.memory.Wrote, p.Kept, p.anew}
	p.memory.Wrote, p.Kept, p.anew = replica.Some(b), max(p.Kept, b.Epoch), true
}

// Done says that the beat that was tried was written.
func (p *Pen) Done() { p.anew = false }

// Refused says that the beat that was tried is known not to have been written.
func (p *Pen) Refused() {
	p.memory.Wrote, p.Kept, p.anew = p.before.wrote, p.before.kept, p.before.anew
}

// attempt is what was known before a beat was tried.
type attempt struct {
	wrote replica.Opt[Beat]
	kept  int64
	anew  bool
}
