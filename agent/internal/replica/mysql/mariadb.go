package mysql

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// mariaPos is a position by coordinates, and by GTIDs where the connection uses them.
type mariaPos struct {
	byGTID bool
	gtids  gtidPos
	file   uint64 // number of the binary log file
	offset int64
}

// covers: all that other names is in p. own is this server's id.
func (p mariaPos) covers(other mariaPos, own uint32) bool {
	if p.byGTID && other.byGTID {
		return p.gtids.behind(other.gtids, own) == 0
	}
	return p.file > other.file || p.file == other.file && p.offset >= other.offset
}

// positions reads what was received and what was applied.
func (r mariaRow) positions() (received, applied mariaPos, err error) {
	if !r.UsingGTID.Valid || !r.LogFile.Valid || !r.LogPos.Valid || !r.ExecFile.Valid || !r.ExecPos.Valid {
		return received, applied, fmt.Errorf("replica status lacks a position")
	}
	received = mariaPos{file: fileNumber(r.LogFile.V), offset: r.LogPos.V}
	applied = mariaPos{file: fileNumber(r.ExecFile.V), offset: r.ExecPos.V}
	if strings.EqualFold(r.UsingGTID.V, "no") || !r.IOPos.Valid || !r.AppliedPos.Valid {
		return received, applied, nil
	}
	received.byGTID, applied.byGTID = true, true
	if received.gtids, err = parseGTIDPos(r.IOPos.V); err != nil {
		return received, applied, fmt.Errorf("read the received position: %w", err)
	}
	if applied.gtids, err = parseGTIDPos(r.AppliedPos.V); err != nil {
		return received, applied, fmt.Errorf("read the applied position: %w", err)
	}
	return received, applied, nil
}

// fileNumber is the number at the end of a binary log's name, 0 without one.
func fileNumber(name string) uint64 {
	n, err := strconv.ParseUint(name[strings.LastIndexByte(name, '.')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// mariaTarget says what a replica tells of one link. at is when the look began and read when its rows were there, by the
// agent's clock; beat is the newest heartbeat row of the link's origin.
func mariaTarget(link LinkSpec, rows []mariaRow, server serverRow, beat replica.Opt[Beat], k kept[mariaPos], at, read time.Time,
) (replica.Sighting, kept[mariaPos]) {
	s := link.sighting()
	i := slices.IndexFunc(rows, func(r mariaRow) bool { return strings.EqualFold(r.Connection, link.connection()) })
	if i < 0 {
		return absent(s, len(rows), server), k
	}
	row := rows[i]
	s.Extra = row.extra()
	received, applied, err := row.positions()
	if err != nil || !row.IORunning.Valid || !row.SQLRunning.Valid || !row.Heartbeats.Valid || !row.HeartbeatPeriod.Valid {
		return because(s, replica.Unknown, replica.ReasonIncomplete, "the replica status lacks columns that it must have"), k
	}
	reached := func(p mariaPos) bool { return applied.covers(p, server.ServerID) }
	if n := len(k.seen); n > 0 && !received.covers(k.seen[n-1].pos, server.ServerID) {
		k = k.forget()
	}
	s.Written = fmt.Sprintf("%s:%d %s", row.LogFile.V, row.LogPos.V, row.IOPos.V)
	s.Position = fmt.Sprintf("%s:%d %s", row.ExecFile.V, row.ExecPos.V, row.AppliedPos.V)
	limit := 3 * seconds(row.HeartbeatPeriod.V)
	if !k.looked.IsZero() {
		limit += at.Sub(k.looked)
	}
	k = k.hear(at, read, received, s.Written, row.Heartbeats.V)
	own, k := k.bounds(at, reached)
	beats, kb, torn := judgeBeat(beat, k.beat, read)
	if k.beat = kb; torn {
		return because(s, replica.Unknown, replica.ReasonSplitBrain, splitBrain), k
	}
	behind := !applied.covers(received, server.ServerID)
	if s.Overtaken = behind && row.overtakes(server); s.Overtaken {
		beats = interval{}
	}
	io := receiver{strings.ToUpper(row.IORunning.V), row.IOErrno.V, row.IOError.V}
	if _, is := io.down(s); is {
		k = k.fall(at)
	}
	s = row.figures(s, received, applied, server.ServerID)
	if !k.alive.IsZero() {
		s.LinkAge = replica.Some(max(at.Sub(k.alive), 0))
	}
	v := view{
		receiver: io, applies: strings.EqualFold(row.SQLRunning.V, "yes"), applierErrno: row.SQLErrno.V,
		alive: k.alive, since: k.since(), fell: !k.down.IsZero(), heartbeats: row.HeartbeatPeriod.V > 0, limit: limit,
		behind: behind, delay: seconds(float64(row.Delay.V)), waits: row.RemainingDelay.Valid,
		own: own, clocked: beats.above(own), clockedAtLinks: beats,
	}
	return overtaken(v.state(s, at), beat.OK), k
}

// overtakes tells that transactions of one domain may be applied before earlier ones of another one: the source writes in
// several, and several threads apply them. Within a domain all is committed in order.
func (r mariaRow) overtakes(server serverRow) bool {
	if server.Threads < 1 || strings.EqualFold(r.Parallel.V, "none") || !r.SourceID.Valid {
		return false
	}
	received, _, err := r.positions()
	return err == nil && received.gtids.of(uint32(r.SourceID.V)) > 1
}

// figures puts the counts of what was received and is not applied.
func (r mariaRow) figures(s replica.Sighting, received, applied mariaPos, own uint32) replica.Sighting {
	if received.byGTID {
		s.Transactions = replica.Some(applied.gtids.behind(received.gtids, own))
	}
	if received.file != 0 && received.file == applied.file {
		s.Bytes = replica.Some(max(received.offset-applied.offset, 0))
	}
	return s
}

func (r mariaRow) extra() []replica.Measure {
	var out []replica.Measure
	if r.IOErrno.Valid {
		out = append(out, replica.Measure{Name: "receiver.error", Unit: "1", Value: float64(r.IOErrno.V)})
	}
	if r.SQLErrno.Valid {
		out = append(out, replica.Measure{Name: "applier.error", Unit: "1", Value: float64(r.SQLErrno.V)})
	}
	if r.RelaySpace.Valid {
		out = append(out, replica.Measure{Name: "relay_log.size", Unit: "By", Value: float64(r.RelaySpace.V)})
	}
	if r.Retried.Valid {
		out = append(out, replica.Measure{Name: "transactions.retried", Unit: "1", Value: float64(r.Retried.V), Counter: true})
	}
	if r.SecondsBehind.Valid {
		// A hint for people only: it freezes, jumps, and is 0 while the receiver is behind.
		out = append(out, replica.Measure{Name: "seconds_behind_hint", Unit: "s", Value: float64(r.SecondsBehind.V)})
	}
	return out
}
