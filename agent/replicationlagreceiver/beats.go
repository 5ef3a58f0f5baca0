package replicationlagreceiver

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Writing is what the writer of a heartbeat does. The number is the wire value.
type Writing uint8

// What a writer does.
const (
	WritingUnknown Writing = iota // it has not tried yet
	WritingOn                     // the last beat was written
	WritingPaused                 // the server takes no writes
	WritingRefused                // another writer of the same origin is alive
	WritingFailed                 // the server did not take it; the log says why
)

func (w Writing) String() string {
	names := [...]string{"unknown", "writing", "paused", "refused", "failing"}
	if int(w) < len(names) {
		return names[w]
	}
	return names[WritingUnknown]
}

// beats reads, and where it was told so writes, the heartbeats of one server. turn lets one goroutine in at a time: the one that
// writes and the one that looks; all else is theirs while they have it.
type beats struct {
	turn    chan struct{}
	set     Heartbeat
	store   heartbeat.Store
	timeout time.Duration
	hold    time.Duration // for how long two writers are told after they were seen: three looks, ten beats
	epochs  *epochs
	wall    func() time.Time // the agent's wall clock

	lacking map[string]time.Time // since when a link is alive without a beat of its source, by the key of its end

	rows   heartbeat.Rows
	looked heartbeat.Rows // as an engine had them for its latest look
	// held is what is echoed of a peer since its beats were first seen to overtake what was committed before them: the beat of
	// the latest look that proves something. Absent: whatever came last.
	held    map[string]replica.Opt[heartbeat.Beat]
	failed  *heartbeat.Failure // why rows could not be read
	read    bool               // rows were read at least once
	seen    map[string]*heartbeat.Seen
	pen     heartbeat.Pen
	sent    heartbeat.Sent
	echoed  map[string]echoed // by observer
	writing Writing
	why     *heartbeat.Failure // why it is not WritingOn
	clashed time.Time          // when another writer was last met

	written, skipped, conflicts int64
}

// echoed is what is known of one observer.
type echoed struct {
	echo heartbeat.Echo
	seen time.Time // first
	rtt  replica.Opt[time.Duration]
}

func newBeats(s *Server, store heartbeat.Store, e *epochs) *beats {
	h := *s.Heartbeat
	b := &beats{
		turn: make(chan struct{}, 1), set: h, store: store, timeout: s.Timeout, epochs: e, wall: time.Now,
		hold:    max(3*s.Interval, 10*h.Interval),
		lacking: map[string]time.Time{}, seen: map[string]*heartbeat.Seen{}, echoed: map[string]echoed{}, held: map[string]replica.Opt[heartbeat.Beat]{}, pen: heartbeat.Pen{Origin: h.Origin, Interval: h.Interval},
	}
	for _, site := range append(slices.Clone(h.Peers), h.Origin) {
		b.seen[site] = &heartbeat.Seen{}
	}
	return b
}

// enter waits for the turn, no longer than ctx.
func (b *beats) enter(ctx context.Context) bool {
	select {
	case b.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *beats) leave() { <-b.turn }

// look reads what is there, for a look that is under way.
func (b *beats) look(ctx context.Context) (heartbeat.Rows, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if !b.enter(ctx) {
		return heartbeat.Rows{}, &heartbeat.Failure{Reason: replica.ReasonTimeout, Detail: "a write of the heartbeat is under way"}
	}
	defer b.leave()
	b.reading(ctx)
	if b.failed != nil {
		return heartbeat.Rows{}, b.failed
	}
	b.looked = b.rows
	return b.rows, nil
}

// reading reads and takes in what is there. It reports whether it could.
func (b *beats) reading(ctx context.Context) bool {
	own := b.set.Origin
	rows, err := b.store.Rows(ctx, heartbeat.Names{Own: own, Peers: b.set.Peers})
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return false
	}
	at := time.Now()
	if b.failed = nil; err != nil {
		b.failed = failure(err)
		return false
	}
	b.rows, b.read = rows, true
	for site, seen := range b.seen {
		seen.Note(rows.Beat(site), rows, at)
	}
	for _, peer := range b.set.Peers {
		echo := rows.Echo(peer, own)
		if before := b.echoed[peer]; !echo.OK || (before.echo.Epoch == echo.V.Epoch && before.echo.Seq == echo.V.Seq) {
			continue
		}
		e := echoed{echo: echo.V, seen: at}
		if wrote := b.sent.Exactly(echo.V); wrote.OK {
			e.rtt = replica.Some(at.Sub(wrote.V))
		}
		b.echoed[peer] = e
	}
	return true
}

// write keeps writing until ctx ends. A write that takes longer than the interval leaves out those that were due meanwhile.
func (b *beats) write(ctx context.Context, log *zap.Logger) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := time.Now()
	var told string
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if !b.enter(ctx) {
			return
		}
		b.beat(ctx)
		due = due.Add(b.set.Interval)
		if late := time.Since(due); late > 0 {
			n := late/b.set.Interval + 1
			b.skipped += int64(n)
			due = due.Add(n * b.set.Interval)
		}
		fields := []zap.Field{zap.String("origin", b.set.Origin), zap.Stringer("writing", b.writing)}
		now := b.writing.String()
		if b.why != nil {
			fields = append(fields, zap.String("reason", string(b.why.Reason)), zap.String("detail", b.why.Detail))
			now += string(b.why.Reason)
		}
		b.leave()
		if now != told && ctx.Err() == nil {
			told = now
			log.Info("heartbeat", fields...)
		}
		timer.Reset(time.Until(due))
	}
}

// beat reads once and writes once.
func (b *beats) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if !b.reading(ctx) {
		if b.failed != nil {
			b.writing, b.why = WritingFailed, b.failed
		}
		return
	}
	if b.rows.ReadOnly {
		b.writing, b.why = WritingPaused, &heartbeat.Failure{Reason: replica.ReasonRole, Detail: "the server takes no writes"}
		return
	}
	b.pen.Kept = max(b.pen.Kept, b.epochs.last())
	wall := b.wall()
	at := time.Now()
	next := b.pen.Next(b.rows.Beat(b.set.Origin), at, wall)
	if !next.OK {
		b.clash(at)
		return
	}
	b.epochs.keep(next.V.Epoch)
	b.pen.Try(next.V)
	err := b.store.Put(ctx, next.V, b.echoes(wall))
	if err == nil {
		b.pen.Done()
		b.sent.Note(next.V, at)
		b.written++
		b.writing, b.why = WritingOn, nil
		return
	}
	f := failure(err)
	if f.Harmless() {
		b.pen.Refused()
	}
	switch b.why = f; f.Reason {
	case replica.ReasonRole:
		b.writing = WritingPaused
	case replica.ReasonSplitBrain:
		b.clash(at)
	default:
		b.writing = WritingFailed
	}
}

func (b *beats) clash(at time.Time) {
	b.conflicts++
	b.clashed = at
	b.writing, b.why = WritingRefused, &heartbeat.Failure{
		Reason: replica.ReasonSplitBrain, Detail: "another writer of the heartbeat of " + b.set.Origin + " is alive",
	}
}

// echoes tell the peers what has arrived of theirs.
func (b *beats) echoes(wall time.Time) []heartbeat.Echo {
	var out []heartbeat.Echo
	for _, peer := range b.set.Peers {
		beat, ok := b.held[peer]
		if !ok {
			beat = b.rows.Beat(peer)
		}
		if beat.OK {
			out = append(out, heartbeat.Echo{Observer: b.set.Origin, Origin: peer, Epoch: beat.V.Epoch, Seq: beat.V.Seq, At: wall})
		}
	}
	return out
}

func failure(err error) *heartbeat.Failure {
	if f, ok := errors.AsType[*heartbeat.Failure](err); ok {
		return f
	}
	return &heartbeat.Failure{Reason: replica.ReasonQuery, Detail: "the heartbeat failed"}
}
