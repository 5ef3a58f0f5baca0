package postgresql

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// sourceKept is what is remembered of one peer of a source between looks. The zero value remembers nothing.
type sourceKept struct {
	timeline int64
	written  marks     // by the agent's clock
	replayed LSN       // the newest position that the peer reported as replayed; 0: none
	slot     string    // of the peer, to find it when the peer is gone
	pid      int64     // of the sender
	reply    time.Time // stamp of the newest reply, only compared for being another one
	heard    time.Time // look before the one that saw it first, by the agent's clock; zero: not known
	looked   time.Time // the look before
}

// source tells the source end of a link, physical or logical. It is a pure function; at is the agent's time before the rows
// were read.
//
// One clock measures it: the source's position is remembered look by look with the agent's time, and what the peer has not
// replayed was committed after the newest look whose position it has.
func source(link LinkSpec, rows []sourceRow, slots []slotRow, kept sourceKept, silence time.Duration, at time.Time) (replica.Sighting, sourceKept) {
	s := link.sighting()
	if len(rows) == 0 || !rows[0].Newest.Valid {
		return because(s, replica.Unknown, replica.ReasonIncomplete, "the server does not tell its newest position"), kept
	}
	server := rows[0]
	if server.Timeline.V != kept.timeline {
		kept = sourceKept{timeline: server.Timeline.V, slot: kept.slot}
	}
	newest := server.Newest.V
	kept.written = kept.written.add(at, at, uint64(newest))
	s.Written = newest.String()
	found := match(link, rows, slots)
	slot, hasSlot := slotOf(link, found.row, slots, kept.slot)
	if hasSlot {
		kept.slot = slot.Name
		s.Extra = slot.measures()
	}
	if kept.replayed > 0 {
		s = exposed(s, kept, newest, at)
	}
	switch {
	case hasSlot && (slot.WALStatus.V == "lost" || slot.Invalid.Valid):
		return because(s, replica.LinkDown, replica.ReasonLost, fmt.Sprintf("slot %q is lost: the target needs a full copy", slot.Name)), kept.gone()
	case found.live:
	case found.backup:
		// The copy that was there is being replaced: what it had protects nothing.
		s.Exposure = replica.Opt[time.Duration]{}
		kept.replayed = 0
		return because(s, replica.Resyncing, "", "a base backup is being taken for it"), kept.gone()
	case found.hidden:
		return because(s, replica.Unknown, replica.ReasonPrivilege, "the account may not see who replicates: it needs pg_monitor"), kept
	case server.InRecovery:
		return because(s, replica.Unknown, replica.ReasonRole, "the server is a standby, and the target does not receive from it"), kept.gone()
	case hasSlot:
		return because(s, replica.LinkDown, "", fmt.Sprintf("slot %q is not in use", slot.Name)), kept.gone()
	default:
		return because(s, replica.LinkDown, "", "nobody of that name receives"), kept.gone()
	}
	peer := found.row
	s.Extra = append(s.Extra, peer.measures()...)
	if peer.ReplayLSN.Valid {
		kept.replayed = peer.ReplayLSN.V
		s.Position = peer.ReplayLSN.V.String()
		s.Bytes = replica.Some(behind(peer.ReplayLSN.V, newest))
		s = exposed(s, kept, newest, at)
	}
	kept = kept.hear(peer, at)
	s.LinkAge = since(at, kept.heard)
	if silence == 0 {
		silence = server.Silence
	}
	switch {
	case silence == 0:
		return because(s, replica.Unknown, replica.ReasonIncomplete,
			"wal_sender_timeout is 0, so silence cannot be told from a dead link: set it, or declare how long silence may last"), kept
	case s.LinkAge.V > silence:
		return because(s, replica.LinkDown, replica.ReasonStale,
			fmt.Sprintf("the target reported nothing for %s", s.LinkAge.V.Round(time.Millisecond))), kept
	case !peer.ReplayLSN.Valid:
		return because(s, replica.CatchingUp, replica.ReasonNotMeasured, "the target has not reported what it replayed"), kept
	case s.Bytes.V == 0:
		s.State, s.Upper = replica.CaughtUp, replica.Some(time.Duration(0))
		return s, kept
	}
	s.Upper = s.Exposure
	if !s.Upper.OK {
		return because(s, replica.CatchingUp, replica.ReasonNotMeasured, "the target has not reached what was written when it was seen first"), kept
	}
	s.State = replica.CatchingUp
	return s, kept
}

// exposed sets the upper bound for the age of what the peer may not have.
func exposed(s replica.Sighting, kept sourceKept, newest LSN, at time.Time) replica.Sighting {
	if kept.replayed >= newest {
		s.Exposure = replica.Some(time.Duration(0))
	} else if then, ok := kept.written.complete(uint64(kept.replayed)); ok {
		s.Exposure = replica.Some(at.Sub(then))
	}
	return s
}

// hear remembers when the peer was heard. A reply that was not there at the look before came after it.
func (k sourceKept) hear(peer sourceRow, at time.Time) sourceKept {
	switch {
	case k.pid != peer.PID.V:
		k.heard = k.looked
		if k.heard.IsZero() {
			k.heard = at // silence is counted from the first look on
		}
	case peer.ReplyTime.Valid && !peer.ReplyTime.V.Equal(k.reply):
		k.heard = k.looked
	case !peer.ReplyTime.Valid && peer.State.Valid:
		// Before version 12 only the server itself knows, and it drops a silent peer.
		k.heard = time.Time{}
	}
	k.pid, k.reply, k.looked = peer.PID.V, peer.ReplyTime.V, at
	return k
}

// gone forgets the connection but not what the peer had.
func (k sourceKept) gone() sourceKept {
	k.pid, k.reply, k.heard, k.looked = 0, time.Time{}, time.Time{}, time.Time{}
	return k
}

// found is what the list of peers says of one link.
type found struct {
	row    sourceRow
	live   bool // row receives the log and is no base backup
	backup bool // only a base backup is running
	hidden bool // a peer is there whose name may not be seen
}

// match finds the peer of a link. A peer that reports what it replayed wins over one that only stores the log.
func match(link LinkSpec, rows []sourceRow, slots []slotRow) found {
	var out found
	for _, r := range rows {
		if !r.PID.Valid {
			continue
		}
		if !r.AppName.Valid || !r.State.Valid {
			out.hidden = true
			continue
		}
		if !link.names(r, slots) {
			continue
		}
		if r.State.V == "backup" {
			out.backup = true
			continue
		}
		if !out.live || !out.row.ReplayLSN.Valid {
			out.row, out.live = r, true
		}
	}
	if out.backup && !out.row.ReplayLSN.Valid {
		out.row, out.live = sourceRow{}, false // the log that belongs to the backup
	}
	return out
}

// names says whether a peer is the one that was declared: by its slot, its application name or its address.
func (l LinkSpec) names(r sourceRow, slots []slotRow) bool {
	want := l.peer()
	if r.AppName.V == want || r.ClientAddr.V == want {
		return true
	}
	for _, slot := range slots {
		if slot.ActivePID.Valid && slot.ActivePID.V == r.PID.V && slot.Name == want {
			return true
		}
	}
	return false
}

// slotOf is the slot of a link: the one its peer uses, or the one it used, or the one of its name.
func slotOf(link LinkSpec, peer sourceRow, slots []slotRow, before string) (slotRow, bool) {
	for _, slot := range slots {
		if peer.PID.Valid && slot.ActivePID.Valid && slot.ActivePID.V == peer.PID.V {
			return slot, true
		}
	}
	for _, slot := range slots {
		if slot.Name == before || slot.Name == link.peer() {
			return slot, true
		}
	}
	return slotRow{}, false
}
