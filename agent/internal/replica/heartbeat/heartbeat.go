// Package heartbeat is what the heartbeats of all engines have in common: what a writer writes next, what a reader learns, and
// how either notices a second writer. Engines are a Store: they say where beats, echoes and canaries are kept.
//
// A beat that has arrived proves that all which was committed at its origin before it was written is there too, as far as both
// travel by the same link, in order (Sighting.Overtaken says where they do not). Its age is an upper bound of the lag, by the clocks of two hosts. It proves nothing from
// below: a beat that does not come may be missing because nobody writes it.
//
// An echo is what an observer writes back. With the time at which the origin wrote the beat, which it remembers, it bounds what
// the origin exposes, by the origin's clock alone.
//
// A canary is a row that is written with each beat and whose value follows from origin, epoch and seq: what a copy has of it is
// right or wrong by itself.
package heartbeat

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Beat is a heartbeat: what the writer of an origin site wrote last, as far as the server asked has it.
type Beat struct {
	Origin   string
	Epoch    int64         // of one writer alone; grows with each start and change of the writer
	Seq      int64         // one more with each write
	At       time.Time     // the writer's wall clock before it wrote; microseconds
	Interval time.Duration // between writes; milliseconds
}

// Echo is how far an observer site has seen an origin's heartbeats.
type Echo struct {
	Observer, Origin string
	Epoch, Seq       int64
	At               time.Time // the observer's wall clock; microseconds
}

// Text is "<seq> <time in us> <epoch> <interval in ms>".
func (b Beat) Text() string {
	return fmt.Sprintf("%d %d %d %d", b.Seq, b.At.UnixMicro(), b.Epoch, b.Interval.Milliseconds())
}

// Text is "<seq> <epoch> <time in us>".
func (e Echo) Text() string { return fmt.Sprintf("%d %d %d", e.Seq, e.Epoch, e.At.UnixMicro()) }

// Longest is the longest interval between beats that is believed.
const Longest = 24 * time.Hour

// largest is the largest number that is believed: with it can still be reckoned.
const largest = math.MaxInt64 / 4

// ParseBeat reads what Text writes, and nothing else.
func ParseBeat(origin, text string) (Beat, bool) {
	n, ok := fields(text, 4)
	if !ok || n[3] == 0 || n[3] > Longest.Milliseconds() {
		return Beat{}, false
	}
	return Beat{Origin: origin, Seq: n[0], At: time.UnixMicro(n[1]), Epoch: n[2], Interval: time.Duration(n[3]) * time.Millisecond}, true
}

// ParseEcho reads what Text writes, and nothing else.
func ParseEcho(observer, origin, text string) (Echo, bool) {
	n, ok := fields(text, 3)
	if !ok {
		return Echo{}, false
	}
	return Echo{Observer: observer, Origin: origin, Seq: n[0], Epoch: n[1], At: time.UnixMicro(n[2])}, true
}

// fields reads so many numbers that are not negative, as they are written here.
func fields(text string, want int) ([]int64, bool) {
	parts := strings.Split(text, " ")
	if len(parts) != want {
		return nil, false
	}
	out := make([]int64, 0, want)
	for _, part := range parts {
		n, err := strconv.ParseInt(part, 10, 64)
		if err != nil || n < 0 || n > largest || strconv.FormatInt(n, 10) != part {
			return nil, false
		}
		out = append(out, n)
	}
	return out, true
}

// Bounds of a lag by a heartbeat. They compare two clocks: SourceClock of the sighting has to be set.
type Bounds struct {
	Lower, Upper replica.Opt[time.Duration]
	Resolution   time.Duration
}

// Bounds encloses the lag of the server on which the beat was read when the reader's wall clock showed now. Everything that
// was committed before the beat was written is there; the next one, an interval later and at most another one late, is not. Lower
// holds only while the writer writes: whoever uses it has to know that it does. A negative Upper says that the clocks contradict each other.
func (b Beat) Bounds(now time.Time) Bounds {
	// Wall clocks of two hosts: without the monotonic reading of this one.
	lag := now.Round(0).Sub(b.At)
	return Bounds{
		Lower: replica.Some(max(lag-2*b.Interval, 0)), Upper: replica.Some(lag), Resolution: time.Microsecond,
	}
}

// Writer remembers what one writer found and wrote, to notice another one.
type Writer struct {
	Displaced, Wrote replica.Opt[Beat]
}

// Conflict reports whether the beat that is stored was written by another writer that is alive, or by one that has taken
// over, when next is to be written.
func (w Writer) Conflict(stored, next Beat) bool {
	own := w.Wrote
	switch {
	case own.OK && stored.Epoch == own.V.Epoch:
		// Fewer is what a failover to an older copy leaves.
		return stored.Seq > own.V.Seq || (stored.Seq == own.V.Seq && stored.At.UnixMicro() != own.V.At.UnixMicro())
	case stored.Epoch >= next.Epoch:
		return true
	case !own.OK:
		return false // an older writer, which this one follows
	}
	// An older writer's beat after this one wrote: it lives, unless a failover to an older copy brought it back.
	d := w.Displaced
	return !d.OK || stored.Epoch > d.V.Epoch || (stored.Epoch == d.V.Epoch && stored.Seq > d.V.Seq)
}
