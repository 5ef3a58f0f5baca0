package nats

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// HeartbeatDDL is what has to be set up for heartbeats: the subject of each stream's own site in that stream (it is copied
// with the rest), and the account's right to write it and to read it back. fra is the site, ORDERS the stream.
const HeartbeatDDL = `nats stream edit ORDERS --subjects='orders.>,evenkeel.hb.fra,evenkeel.echo.fra.*'
permissions: {
  publish: ["$JS.API.STREAM.MSG.GET.ORDERS", "evenkeel.hb.fra", "evenkeel.echo.fra.*"]
  subscribe: ["_INBOX_evenkeel.>"]
}`

// Beat is a heartbeat: what the writer of an origin site wrote last, as far as the stream asked has it.
type Beat struct {
	Origin   string
	Epoch    int64         // grows with each start and change of the writer
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

func beatSubject(origin string) string           { return "evenkeel.hb." + origin }
func echoSubject(observer, origin string) string { return "evenkeel.echo." + observer + "." + origin }

// site reports whether a name can be one token of a subject.
func site(name string) bool { return name != "" && !strings.ContainsAny(name, ".*> \t\r\n\x00") }

func (b Beat) text() string {
	return fmt.Sprintf("%d %d %d %d", b.Seq, b.At.UnixMicro(), b.Epoch, b.Interval.Milliseconds())
}

func (e Echo) text() string { return fmt.Sprintf("%d %d %d", e.Seq, e.Epoch, e.At.UnixMicro()) }

// longest is the longest interval between beats that is believed.
const longest = 24 * time.Hour

// ParseBeat reads "<seq> <time in us> <epoch> <interval in ms>".
func ParseBeat(origin, text string) (Beat, bool) {
	n, ok := fields(text, 4)
	if !ok || n[3] == 0 || n[3] > longest.Milliseconds() {
		return Beat{}, false
	}
	return Beat{Origin: origin, Seq: n[0], At: time.UnixMicro(n[1]), Epoch: n[2], Interval: time.Duration(n[3]) * time.Millisecond}, true
}

// ParseEcho reads "<seq> <epoch> <time in us>".
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
		n, err := strconv.ParseUint(part, 10, 63)
		if err != nil || n > math.MaxInt64 || strconv.FormatUint(n, 10) != part {
			return nil, false
		}
		out = append(out, int64(n))
	}
	return out, true
}

// Bounds of a lag by a heartbeat. They compare two clocks: SourceClock of the sighting has to be set.
type Bounds struct {
	Lower, Upper replica.Opt[time.Duration]
	Resolution   time.Duration
}

// Bounds encloses the lag of the stream in which the beat was read when the reader's wall clock showed now. Everything that
// was stored before the beat was written is there; the next one, an interval later, is not. Lower holds only while the
// writer writes: whoever uses it has to know that it does. A negative Upper says that the clocks contradict each other.
func (b Beat) Bounds(now time.Time) Bounds {
	// Wall clocks of two hosts: without the monotonic reading of this one.
	lag := now.Round(0).Sub(b.At)
	return Bounds{
		Lower: replica.Some(max(lag-b.Interval, 0)), Upper: replica.Some(lag), Resolution: time.Microsecond,
	}
}

// writer remembers what one writer found and wrote, to notice another one.
type writer struct {
	displaced, wrote replica.Opt[Beat]
}

// conflict reports whether the beat that is stored was written by another writer that is alive, or by one that has taken
// over, when next is to be written.
func (w writer) conflict(stored, next Beat) bool {
	own := w.wrote
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
	d := w.displaced
	return !d.OK || stored.Epoch > d.V.Epoch || (stored.Epoch == d.V.Epoch && stored.Seq > d.V.Seq)
}
