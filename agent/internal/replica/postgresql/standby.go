package postgresql

import (
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// The log that is missing need not hold a commit. It is taken to hold one when there is enough of it, as less may be the
// log's own housekeeping, and commitWithin after it was written, as it may belong to one transaction that was still at work.
// A transaction that writes for longer makes Lower too high by its length; all that is committed meanwhile waits behind it
// as long as Lower says.
const (
	commitWithin = time.Second
	pausedGap    = 64 << 10 // enough while replay is paused
	movingGap    = 16 << 20 // enough while it moves: more than it replays before the look is over
)

// delayGrace is how far a delayed standby may be over its delay before it is called late.
const delayGrace = time.Second

// standbyKept is what is remembered of a standby between looks. The zero value remembers nothing.
type standbyKept struct {
	timeline int64
	heard    time.Time // receipt of the newest message, by the standby's clock
	sent     marks     // by the source's clock, as its messages are stamped
}

// standby tells the target end of a physical link. It is a pure function.
//
// A message of the source says what its newest position was when it sent it. So what is missing at a copy that has replayed
// that position was committed after the message was sent: Upper of a copy that is caught up is the age of the newest
// message, not 0. With wal_receiver_timeout at 60 s an idle link is silent for up to 30 s; a heartbeat makes it 1 s.
func standby(link LinkSpec, row standbyRow, kept standbyKept, silence time.Duration) (replica.Sighting, standbyKept) {
	s := link.sighting()
	if !row.InRecovery {
		return because(s, replica.Unknown, replica.ReasonRole, "the server is no standby: it takes writes itself"), standbyKept{}
	}
	if row.Timeline.Valid && row.Timeline.V != kept.timeline {
		kept = standbyKept{timeline: row.Timeline.V, heard: kept.heard}
	}
	if row.ReplayLSN.Valid {
		s.Position = row.ReplayLSN.V.String()
	}
	if !row.ReceiverPID.Valid || !row.Status.Valid || row.Status.V != "streaming" {
		s.LinkAge = since(row.Now, kept.heard)
		return standbyDown(s, row), kept
	}
	if link.Peer != "" && link.Peer != row.SlotName.V && link.Peer != row.SenderHost.V {
		return because(s, replica.Unknown, replica.ReasonMisconfigured,
			fmt.Sprintf("the standby receives from %q with slot %q, not from %q", row.SenderHost.V, row.SlotName.V, link.Peer)), kept
	}
	if !row.MsgReceived.Valid || !row.MsgSent.Valid || !row.LatestEnd.Valid || !row.LatestEndTime.Valid || !row.ReplayLSN.Valid {
		return because(s, replica.Unknown, replica.ReasonIncomplete, "the receiver does not tell its positions and times"), kept
	}
	if row.MsgSent.V.Equal(row.MsgReceived.V) && row.MsgSent.V.Equal(row.LatestEndTime.V) {
		// A new receiver sets all three to its own start and keeps the position of the one before it.
		s.LinkAge = since(row.Now, kept.heard)
		return because(s, replica.LinkDown, replica.ReasonStale, "the receiver is connected and has heard nothing yet"), kept
	}
	kept.heard = row.MsgReceived.V
	kept.sent = kept.sent.add(row.LatestEndTime.V, row.MsgSent.V, uint64(row.LatestEnd.V))
	s.LinkAge = since(row.Now, kept.heard)
	s.Written = row.LatestEnd.V.String()
	if silence == 0 {
		silence = row.Silence
	}
	if silence == 0 {
		return because(s, replica.Unknown, replica.ReasonIncomplete,
			"wal_receiver_timeout is 0, so silence cannot be told from a dead link: set it, or declare how long silence may last"), kept
	}
	if s.LinkAge.V > silence {
		return because(s, replica.LinkDown, replica.ReasonStale,
			fmt.Sprintf("nothing was heard for %s", s.LinkAge.V.Round(time.Millisecond))), kept
	}
	return applying(s, row, kept), kept
}

// standbyDown tells a standby without a live stream.
func standbyDown(s replica.Sighting, row standbyRow) replica.Sighting {
	switch {
	case row.ReceiverPID.Valid && !row.Status.Valid:
		return because(s, replica.Unknown, replica.ReasonPrivilege, "the account may not see the receiver: it needs pg_monitor")
	case row.Archive:
		return because(s, replica.LinkDown, replica.ReasonArchive, "no stream: the standby restores from its archive")
	case row.ReceiverPID.Valid:
		return because(s, replica.LinkDown, "", fmt.Sprintf("the receiver is %s", row.Status.V))
	}
	return because(s, replica.LinkDown, "", "the standby has no receiver")
}

// applying tells a standby whose stream is alive.
func applying(s replica.Sighting, row standbyRow, kept standbyKept) replica.Sighting {
	replayed := row.ReplayLSN.V
	s.SourceClock = true
	s.Resolution = time.Microsecond
	s.Bytes = replica.Some(behind(replayed, row.LatestEnd.V))
	if at, ok := kept.sent.complete(uint64(replayed)); ok {
		s.Upper = replica.Some(row.Now.Sub(at))
	}
	missing := s.Bytes.V > 0
	if missing {
		// What is missing was committed after the newest transaction that was applied.
		if last := since(row.Now, row.LastXact.V); row.LastXact.Valid && (!s.Upper.OK || last.V < s.Upper.V) {
			s.Upper = last
		}
		gap := uint64(movingGap)
		if row.Paused.V {
			gap = pausedGap
		}
		if at, ok := kept.sent.missing(uint64(replayed) + gap); ok {
			s.Lower = replica.Some(max(row.Now.Sub(at)-commitWithin, 0))
		}
	}
	switch {
	case row.Paused.V:
		return because(s, replica.ApplierStopped, replica.ReasonPaused, "replay is paused")
	case !missing:
		s.State = replica.CaughtUp
		return s
	case onTime(row):
		if row.ApplierWaits.V == "RecoveryApplyDelay" && (!s.Upper.OK || row.ApplyDelay < s.Upper.V) {
			// The applier waits until the oldest missing commit is as old as the delay.
			s.Upper = replica.Some(row.ApplyDelay)
			s.Lower = replica.Opt[time.Duration]{}
		}
		return because(s, replica.DelayedByDesign, "", fmt.Sprintf("recovery_min_apply_delay is %s", row.ApplyDelay))
	case !s.Upper.OK:
		return because(s, replica.CatchingUp, replica.ReasonNotMeasured, "nothing was replayed since the standby started")
	}
	s.State = replica.CatchingUp
	if strings.HasPrefix(row.ApplierWaits.V, "RecoveryConflict") {
		s.Detail = fmt.Sprintf("replay waits for queries on the standby (%s)", row.ApplierWaits.V)
	}
	return s
}

// onTime says whether a standby is behind because it was told to be.
func onTime(row standbyRow) bool {
	if row.ApplyDelay <= 0 {
		return false
	}
	if row.ApplierWaits.V == "RecoveryApplyDelay" {
		return true
	}
	return row.LastXact.Valid && row.Now.Sub(row.LastXact.V) <= row.ApplyDelay+delayGrace
}

// because sets a state with its reason and a sentence for people.
func because(s replica.Sighting, state replica.State, reason replica.Reason, detail string) replica.Sighting {
	s.State, s.Reason, s.Detail = state, reason, detail
	return s
}

// since is the time from then to now; absent when then is not known.
func since(now, then time.Time) replica.Opt[time.Duration] {
	if then.IsZero() {
		return replica.Opt[time.Duration]{}
	}
	return replica.Some(now.Sub(then))
}
