package mysql

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// The numbers of the error "fatal error reading the binary log": of MariaDB, and of MySQL from 8.0 on, whose receiver wraps
// what its source says.
const (
	fatalRead  = 1236
	fatalRead8 = 13114
)

// firstLook is why nothing can be said at the first look where liveness is only seen as a change between two.
const firstLook = "it takes two looks, with a change or a heartbeat of the source (HEARTBEAT_PERIOD, 30 s by default) between them, to know whether the link is alive"

// interval is what is known of a lag. Clocks tells that a time of the source was compared with one of the target.
type interval struct {
	lower, upper replica.Opt[time.Duration]
	clocks       bool
	calm         time.Duration // an upper bound up to this is no delay worth a word
}

// width is how much the interval leaves open; one without an end leaves everything open.
func (i interval) width() time.Duration {
	if !i.upper.OK {
		return 1<<63 - 1
	}
	return i.upper.V - i.lower.Or(0)
}

// narrower is the interval that says more. They are not cut with each other: one of them may need the error of the clocks
// and would lend it to the other.
func (i interval) narrower(other interval) interval {
	if other.width() < i.width() {
		return other
	}
	return i
}

// above is the interval with the lower bound of one clock. From below, a heartbeat row only says something while its
// origin goes on writing it; what was received and is not applied yet says it always.
func (i interval) above(own interval) interval {
	i.lower = own.lower
	return i
}

// fresh tells that the interval alone makes the target complete, as far as clocks can tell.
func (i interval) fresh() bool { return i.upper.OK && i.upper.V <= i.calm && i.upper.V >= -i.calm }

func (i interval) put(s replica.Sighting) replica.Sighting {
	s.Lower, s.Upper, s.SourceClock = i.lower, i.upper, i.clocks
	return s
}

// because is a sighting with its state and why.
func because(s replica.Sighting, state replica.State, reason replica.Reason, detail string) replica.Sighting {
	s.State, s.Reason, s.Detail = state, reason, detail
	return s
}

// overtaken adds why a heartbeat that is there was not used, where nothing else is to be said.
func overtaken(s replica.Sighting, beaten bool) replica.Sighting {
	if s.Overtaken && beaten && s.Detail == "" {
		s.Detail = "several threads apply, and what came later may be applied first: the heartbeat proves nothing"
	}
	return s
}

// receiver is what both flavors tell of the thread that hears the source.
type receiver struct {
	state string // upper case: ON or YES is running
	errno int64
	text  string
}

// down tells a link whose receiver does not run, and why.
func (r receiver) down(s replica.Sighting) (replica.Sighting, bool) {
	switch r.state {
	case "ON", "YES":
		return s, false
	case "CONNECTING", "PREPARING":
		if r.errno == 0 {
			return because(s, replica.LinkDown, "", "the receiver is connecting to the source"), true
		}
	}
	switch {
	case (r.errno == fatalRead || r.errno == fatalRead8) && lost(r.text):
		return because(s, replica.LinkDown, replica.ReasonLost,
			"the source no longer has what the replica needs: it must be copied anew"), true
	case r.errno != 0:
		return because(s, replica.LinkDown, replica.ReasonError, fmt.Sprintf("the receiver reports error %d", r.errno)), true
	}
	return because(s, replica.LinkDown, replica.ReasonPaused, "the receiver was stopped"), true
}

// lost tells from the text of that error that the binary log the replica needs is gone, or is that of another history.
// The same number also stands for faults that a retry may heal.
func lost(text string) bool {
	text = strings.ToLower(text)
	for _, sign := range []string{
		"could not find first log file", "purged", "could not find gtid state requested", "not in the master's binlog",
		"not in the source's binlog", "more gtids than",
	} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// kept is what is remembered of one target between looks, with positions of kind P.
type kept[P any] struct {
	looked   time.Time // begin of the look before, zero before the first
	first    time.Time
	alive    time.Time // begin of the look that saw the latest proof that the link is alive
	proven   time.Time // begin of the look before that one: the proof came after it
	down     time.Time // begin of the latest look that saw the receiver not run
	received string
	beats    int64
	beat     beatKept
	// seen: by that time the position was received. complete: all that the source committed before that time is in the
	// position. The first gives a lower bound of the lag, the second an upper bound, both by one clock.
	seen, complete marks[P]
}

// hear moves what is remembered of a link on by one look that began at a time, and whose rows were there at another: what was received
// so far, also as text, and how many heartbeats of the protocol came. What was received may have come when the rows were read.
//
// A source sends a heartbeat only when it has nothing else to send. One that came since the look before was sent after
// what was heard before it; so what is received now holds all that was committed when that was heard. It may have waited
// on the way: that is why the look before is not taken instead.
func (k kept[P]) hear(at, read time.Time, pos P, text string, beats int64) kept[P] {
	begun := !k.looked.IsZero()
	moved := begun && text != k.received
	beaten := begun && beats > k.beats // fewer: the count began anew
	if beaten && !k.proven.IsZero() {
		k.complete = k.complete.add(k.proven, pos)
	}
	if moved || beaten {
		k.alive, k.proven = at, k.looked
	}
	if !begun {
		k.first = at
	}
	if moved || !begun || len(k.seen) == 0 {
		k.seen = k.seen.add(read, pos)
	}
	k.looked, k.received, k.beats = at, text, beats
	return k
}

// bounds are those of one clock, for a target that has applied what reached says.
func (k kept[P]) bounds(at time.Time, reached func(P) bool) (interval, kept[P]) {
	var out interval
	whole, rest, ok := k.complete.last(reached)
	if k.complete = rest; ok {
		out.upper = replica.Some(max(at.Sub(whole), 0))
	}
	_, rest, ok = k.seen.last(reached)
	switch k.seen = rest; {
	case ok && len(rest) > 1:
		out.lower = replica.Some(max(at.Sub(rest[1].at), 0))
	case !ok && len(rest) > 0:
		out.lower = replica.Some(max(at.Sub(rest[0].at), 0))
	}
	return out, k
}

// fall notes that the receiver does not run: what was heard before proves nothing for what comes after.
func (k kept[P]) fall(at time.Time) kept[P] {
	k.down, k.alive, k.proven = at, time.Time{}, time.Time{}
	return k
}

// since is from when on what is heard counts.
func (k kept[P]) since() time.Time {
	if k.down.After(k.first) {
		return k.down
	}
	return k.first
}

// forget drops positions that are no longer comparable: the source's history began anew, or the relay log was dropped.
func (k kept[P]) forget() kept[P] {
	k.seen, k.complete = nil, nil
	return k
}

func stopped(s replica.Sighting, errno int64) replica.Sighting {
	if errno != 0 {
		return because(s, replica.ApplierStopped, replica.ReasonError, fmt.Sprintf("the applier stopped with error %d", errno))
	}
	return because(s, replica.ApplierStopped, replica.ReasonPaused, "the applier was stopped")
}

// silent tells a running receiver that nothing proves to be alive.
func (v view) silent(s replica.Sighting, at time.Time) (replica.Sighting, bool) {
	known := v.alive
	if known.IsZero() {
		known = v.since
	}
	switch old := at.Sub(known); {
	case v.heartbeats && old > v.limit:
		return because(s, replica.LinkDown, replica.ReasonStale, "the receiver is connected and has heard nothing for too long"), true
	case v.alive.IsZero() && v.fell:
		return because(s, replica.LinkDown, replica.ReasonStale, "the receiver is connected again and has heard nothing yet"), true
	case v.alive.IsZero() && v.heartbeats:
		return because(s, replica.Unknown, replica.ReasonNotMeasured, firstLook), true
	case !v.heartbeats && (v.alive.IsZero() || old > 0):
		return because(s, replica.Unknown, replica.ReasonMisconfigured,
			"nothing moves, and heartbeats of the replication protocol are off: nothing can prove that the link is alive"), true
	}
	return s, false
}

// view is what one look saw of a target, the same for both flavors.
type view struct {
	receiver       receiver
	applies        bool
	applierErrno   int64
	alive          time.Time // the latest proof that the link is alive, zero for none since
	since          time.Time // the agent began to look, or saw the receiver not run
	fell           bool      // since is the latter
	heartbeats     bool      // of the protocol; off: an idle link proves nothing
	limit          time.Duration
	behind         bool          // something was received and is not applied
	delay          time.Duration // by design
	waits          bool          // the applier waits for the delay
	own            interval      // by one clock
	clocked        interval      // by two
	clockedAtLinks interval      // by two, where the link may be down
}

// state is the first of these that holds: the receiver does not run, the applier does not run, nothing was heard for too
// long, something is not applied, all is there.
func (v view) state(s replica.Sighting, at time.Time) replica.Sighting {
	best := v.own.narrower(v.clocked)
	down := v.own.narrower(v.clockedAtLinks)
	if d, is := v.receiver.down(s); is {
		return down.put(d)
	}
	if !v.applies {
		return best.put(stopped(s, v.applierErrno))
	}
	if quiet, is := v.silent(s, at); is {
		if quiet.State == replica.LinkDown {
			quiet = down.put(quiet)
		}
		return quiet
	}
	if v.behind {
		// The server counts the delay in whole seconds, and from when a statement began.
		if v.delay > 0 && (v.waits || best.lower.Or(0) <= v.delay+2*time.Second) {
			return best.put(because(s, replica.DelayedByDesign, "", fmt.Sprintf("told to be %s behind", v.delay)))
		}
		return best.put(because(s, replica.CatchingUp, unmeasured(best), ""))
	}
	// All that was received is applied. What may be missing was committed since the source last had nothing to send, or
	// since the newest commit that came.
	proven := v.own.upper.OK && v.own.upper.V <= v.limit && v.own.upper.V <= at.Sub(v.since)
	if v.clocked.fresh() && (!proven || v.clocked.upper.V < v.own.upper.V) {
		return v.clocked.put(because(s, replica.CaughtUp, "", ""))
	}
	if proven {
		return v.own.put(because(s, replica.CaughtUp, "", ""))
	}
	return best.put(because(s, replica.CatchingUp, unmeasured(best),
		"all that was received is applied; whether all was received is not known"))
}

func unmeasured(i interval) replica.Reason {
	if i.upper.OK {
		return ""
	}
	return replica.ReasonNotMeasured
}

// absent tells a server that has not the link. One that takes writes was promoted, or was never a replica.
func absent(s replica.Sighting, others int, server serverRow) replica.Sighting {
	if others == 0 && !server.ReadOnly {
		return because(s, replica.Unknown, replica.ReasonRole, "the server takes writes and replicates from nobody")
	}
	return because(s, replica.Unknown, replica.ReasonMisconfigured, "the server has no replication connection of that name")
}
