package mysql

import (
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// mysqlTarget says what a replica of MySQL 8 tells of one link. at is when the look began and read when its rows were
// there, by the agent's clock; beat is the newest heartbeat row of the link's origin.
func mysqlTarget(link LinkSpec, rows []channelRow, server serverRow, beat replica.Opt[Beat], k kept[gtidSet], at, read time.Time,
) (replica.Sighting, kept[gtidSet]) {
	s := link.sighting()
	i := slices.IndexFunc(rows, func(r channelRow) bool { return strings.EqualFold(r.Channel, link.connection()) })
	if i < 0 {
		return absent(s, len(rows), server), k
	}
	row := rows[i]
	s.Extra = row.extra()
	if row.Cloning || row.MemberState.V == "RECOVERING" {
		return because(s, replica.Resyncing, "", "the server is being copied anew"), k.forget()
	}
	if member := row.MemberState; member.Valid && member.V != "ONLINE" {
		return because(s, replica.LinkDown, replica.ReasonError, "the server is no member of its group that is online"), k
	}
	if server.GTIDMode.V != "ON" {
		return because(s, replica.Unknown, replica.ReasonMisconfigured, "gtid_mode is not ON: positions cannot be compared"), k
	}
	received, err := parseGTIDSet(row.Received)
	executed, err2 := parseGTIDSet(server.Executed)
	if err != nil || err2 != nil || row.Now <= 0 {
		return because(s, replica.Unknown, replica.ReasonIncomplete, "the server's answer lacks a clock or a GTID set"), k
	}
	if n := len(k.seen); n > 0 && received.missing(k.seen[n-1].pos) > 0 {
		k = k.forget()
	}
	if newest, ok := parseGTID(row.Queued); ok {
		received = received.with(newest) // it may have come while the row was read
	}
	s.Position, s.Written = server.Executed, row.Received
	s.Transactions = replica.Some(executed.missing(received))
	limit := 3 * seconds(row.HeartbeatPeriod)
	if !k.looked.IsZero() {
		limit += at.Sub(k.looked)
	}
	k = k.hear(at, read, received, row.Received, row.Heartbeats)
	own, k := k.bounds(at, func(p gtidSet) bool { return executed.missing(p) == 0 })
	own = own.less(committing)
	beats, kb, torn := judgeBeat(beat, k.beat, read)
	if k.beat = kb; torn {
		return because(s, replica.Unknown, replica.ReasonSplitBrain, splitBrain), k
	}
	if s.Overtaken = executed.holes(received); s.Overtaken {
		beats = interval{}
	}
	io := receiver{strings.ToUpper(row.IOState), row.IOErrno, row.IOError}
	if _, is := io.down(s); is {
		k = k.fall(at)
	}
	if heard := max(row.HeartbeatAt, row.QueuedEnd); heard > 0 {
		// The server stamps what it hears: the proof needs no look before, and no clock but the server's.
		age := max(seconds(row.Now-heard), 0)
		s.LinkAge = replica.Some(age)
		if k.alive = at.Add(-age); k.alive.Before(k.down) {
			k.alive = time.Time{}
		}
	}
	behind := s.Transactions.V > 0
	stamps := row.stamps(executed, received, limit).less(committing)
	v := view{
		receiver: io, alive: k.alive, since: k.since(), fell: !k.down.IsZero(), heartbeats: row.HeartbeatPeriod > 0, limit: limit,
		behind: behind, delay: seconds(float64(row.Delay)), waits: row.RemainingDelay.Valid,
		own: own, clocked: stamps.narrower(beats.above(own)), clockedAtLinks: stamps.narrower(beats),
	}
	v.applies, v.applierErrno = row.applier()
	if row.Channel == groupApplier && v.receiver.state == "ON" {
		// Members of a group hear each other by the group's own protocol, which expels those that are not heard.
		v.alive = at
	}
	return overtaken(v.state(s, at), beat.OK), k
}

// committing is for how long a transaction may be seen by readers before the server counts it as executed: it commits in groups,
// and counts when the last one of a group is done. Some 45 ms are common on a machine with ten times more work than
// processors.
const committing = 50 * time.Millisecond

// less is the interval with a lower bound that much lower.
func (i interval) less(d time.Duration) interval {
	if i.lower.OK {
		i.lower.V = max(i.lower.V-d, 0)
	}
	return i
}

// groupApplier is the channel by which Group Replication applies.
const groupApplier = "group_replication_applier"

// applier tells whether all threads of the applier run, and the error of one that does not. A worker may hang inside a
// transaction after the others stopped: the threads' states count before what they do.
func (r channelRow) applier() (running bool, errno int64) {
	running = r.ApplierState == "ON" && (!r.CoordState.Valid || r.CoordState.V == "ON") && len(r.Workers) > 0
	errno = r.CoordErrno.V
	for _, w := range r.Workers {
		running = running && w.State == "ON"
		if w.Errno != 0 && (errno == 0 || follows(errno)) {
			errno = w.Errno
		}
	}
	return running, errno
}

// follows tells the errors of threads that stopped because another one did from the one that is the cause.
func follows(errno int64) bool { return errno == 1756 || errno == 3030 }

// stamps are the bounds by the commit times that the source wrote into the transactions. calm is as in interval.
func (r channelRow) stamps(executed, received gtidSet, calm time.Duration) interval {
	age := func(at float64) replica.Opt[time.Duration] { return replica.Some(seconds(r.Now - at)) }
	missing := executed.lacks(received)
	i := interval{clocks: true, calm: calm}
	if len(missing) == 0 {
		// All that was committed before the newest transaction that came is there.
		if at := either(r.QueuedImmediate, r.QueuedOriginal); at > 0 {
			i.upper = age(at)
			return i
		}
		return interval{}
	}
	for _, w := range r.Workers {
		at := either(w.ApplyingImmediate, w.ApplyingOriginal)
		if one, ok := parseGTID(w.Applying); ok && at > 0 && !executed.has(one) {
			i.lower = replica.Some(max(i.lower.Or(0), age(at).V))
		}
	}
	for _, first := range missing {
		at := r.before(first)
		if at <= 0 {
			i.upper = replica.Opt[time.Duration]{}
			break
		}
		if old := age(at); !i.upper.OK || old.V > i.upper.V {
			i.upper = old
		}
	}
	if !i.lower.OK && !i.upper.OK {
		return interval{}
	}
	return i
}

// before is when the first transaction that is missing was committed at the earliest. A worker may be in a later one while it
// waits for another worker, or for the coordinator. So it is only known where a worker is in it; else it came after the newest
// applied one before it. 0: not known.
func (r channelRow) before(first transaction) (at float64) {
	for _, w := range r.Workers {
		if one, ok := parseGTID(w.Applying); ok && one == first && either(w.ApplyingImmediate, w.ApplyingOriginal) > 0 {
			return either(w.ApplyingImmediate, w.ApplyingOriginal)
		}
		if one, ok := parseGTID(w.Applied); ok && one.key == first.key && one.n < first.n {
			at = max(at, either(w.AppliedImmediate, w.AppliedOriginal))
		}
	}
	return at
}

// either is the time of commit at the next server up, or at the first one where that is not told.
func either(immediate, original float64) float64 {
	if immediate > 0 {
		return immediate
	}
	return original
}

func (r channelRow) extra() []replica.Measure {
	_, errno := r.applier()
	return []replica.Measure{
		{Name: "receiver.error", Unit: "1", Value: float64(r.IOErrno)},
		{Name: "applier.error", Unit: "1", Value: float64(errno)},
		{Name: "applier.workers", Unit: "1", Value: float64(len(r.Workers))},
	}
}
