package nats

import (
	"context"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// asker asks one server during one look. Once it could not be reached it is not asked again.
type asker struct {
	conn *conn
	end  time.Time
	gone *Failure
}

// try runs f within the server's share of the look.
func (a *asker) try(ctx context.Context, f func(context.Context) error) *Failure {
	if a.gone != nil {
		return a.gone
	}
	ctx, cancel := context.WithDeadline(ctx, a.end)
	defer cancel()
	err := f(ctx)
	if err == nil {
		return nil
	}
	why := classify(err)
	switch why.Reason {
	case replica.ReasonConnect, replica.ReasonTimeout, replica.ReasonAuth:
		a.gone = why
	default:
	}
	return why
}

// gather asks both ends of a link, in the order that makes their answers comparable: what the copy is, how far the origin
// is, how far the copy is, what it lacks, and how far it is now. An asker that is nil is not asked.
func gather(ctx context.Context, l LinkSpec, origin, copied *asker, v *View) {
	if copied == nil {
		if v.OriginWhy = origin.try(ctx, func(ctx context.Context) error { return originHead(ctx, origin.conn, l, nil, v) }); v.OriginWhy != nil {
			v.Origin = replica.Opt[StreamRow]{}
		}
		return
	}
	if v.CopyWhy = copied.try(ctx, func(ctx context.Context) error { return copyState(ctx, copied.conn, l, v) }); v.CopyWhy != nil {
		if origin != nil && l.End == replica.Source {
			v.OriginWhy = origin.try(ctx, func(ctx context.Context) error { return originHead(ctx, origin.conn, l, nil, v) })
		}
		return
	}
	up, why := l.find(v.Copy.V)
	if why != nil {
		return
	}
	if origin != nil {
		if v.OriginWhy = origin.try(ctx, func(ctx context.Context) error { return originHead(ctx, origin.conn, l, up.filters(), v) }); v.OriginWhy != nil {
			v.Origin, v.Head = replica.Opt[StreamRow]{}, replica.Opt[uint64]{}
		}
	}
	if !v.Origin.OK {
		if v.CopyWhy = copied.try(ctx, func(ctx context.Context) error { return alone(ctx, copied.conn, l, up, v) }); v.CopyWhy != nil {
			v.Copy = replica.Opt[StreamRow]{}
		}
		return
	}
	if v.CopyWhy = copied.try(ctx, func(ctx context.Context) error { return await(ctx, copied.conn, l, v) }); v.CopyWhy != nil {
		v.Copy = replica.Opt[StreamRow]{}
		return
	}
	lacking(ctx, l, up, origin, copied, v)
}

// lacking asks for the first message that the copy lacks, or whether it can have what it has.
func lacking(ctx context.Context, l LinkSpec, up upstream, origin, copied *asker, v *View) {
	var why *Failure
	switch {
	case !v.Position.OK:
		return
	case v.Position.V > v.Origin.V.Last:
		why = origin.try(ctx, func(ctx context.Context) error {
			again, err := origin.conn.stream(ctx, l.Channel)
			v.Ahead = err == nil && v.Position.V > again.Last
			return err
		})
	case v.Position.V < v.Head.V:
		why = origin.try(ctx, func(ctx context.Context) error { return missing(ctx, origin.conn, l, up.filters(), v) })
	default:
		return
	}
	if why != nil {
		v.Origin, v.Head, v.OriginWhy = replica.Opt[StreamRow]{}, replica.Opt[uint64]{}, why
		return
	}
	if !v.Missing.OK {
		return
	}
	v.CopyWhy = copied.try(ctx, func(ctx context.Context) error {
		row, err := copied.conn.stream(ctx, l.copied())
		if err != nil {
			return err
		}
		v.After, err = position(ctx, copied.conn, l, row, v)
		return err
	})
	if v.CopyWhy != nil {
		v.Copy = replica.Opt[StreamRow]{}
	}
}

func copyState(ctx context.Context, c *conn, l LinkSpec, v *View) error {
	row, err := c.stream(ctx, l.copied())
	if err == nil {
		v.Copy = replica.Some(row)
	}
	return err
}

// originHead asks how far the origin is in the subjects that are copied; nil: all.
func originHead(ctx context.Context, c *conn, l LinkSpec, filters []string, v *View) error {
	row, err := c.stream(ctx, l.Channel)
	if err != nil {
		return err
	}
	head := row.Last
	if filters != nil {
		head = 0
		for _, f := range filters {
			m, err := c.message(ctx, l.Channel, get{Last: f})
			if err != nil {
				return err
			}
			head = max(head, m.V.Seq)
		}
	}
	v.Origin, v.Head = replica.Some(row), replica.Some(head)
	return nil
}

// await reads how far the copy is, again and again while it may be about to reach where the origin was.
func await(ctx context.Context, c *conn, l LinkSpec, v *View) error {
	for begun := time.Now(); ; {
		row, err := c.stream(ctx, l.copied())
		if err != nil {
			return err
		}
		at, err := position(ctx, c, l, row, v)
		if err != nil {
			return err
		}
		v.Copy, v.Position = replica.Some(row), at
		if !at.OK || at.V >= v.Head.V || time.Since(begun) >= arrival {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(arrivalStep):
		}
	}
}

// alone asks a copy whose origin is not in sight what it has.
func alone(ctx context.Context, c *conn, l LinkSpec, up upstream, v *View) error {
	if up.mirror {
		v.Position = replica.Some(v.Copy.V.Last)
	} else {
		v.Position = up.Seq
	}
	if !site(l.From) {
		return nil
	}
	m, err := c.message(ctx, l.copied(), get{Last: beatSubject(l.From)})
	if err != nil {
		if classify(err).Reason == replica.ReasonPrivilege {
			return nil // heartbeats are an offer
		}
		return err
	}
	if b, ok := heartbeat.ParseBeat(l.From, string(m.V.Data)); m.OK && ok {
		v.Beat = replica.Some(b)
	}
	return nil
}

// position is up to which of the origin's sequences the copy has everything.
func position(ctx context.Context, c *conn, l LinkSpec, row StreamRow, v *View) (replica.Opt[uint64], error) {
	up, why := l.find(row)
	switch {
	case why != nil:
		return replica.Opt[uint64]{}, why
	case up.mirror:
		return replica.Some(row.Last), nil // a mirror keeps the sequences
	case up.Seq.OK:
		return up.Seq, nil
	case row.Last == 0:
		return replica.Some(uint64(0)), nil
	}
	// Sources keep the order of their origin, so the newest message that names it tells.
	var at replica.Opt[uint64]
	subjects := up.landing(v.Origin.V.Subjects)
	if site(l.From) {
		subjects = append(slices.Clip(subjects), beatSubject(l.From))
	}
	for _, subject := range subjects {
		m, err := c.message(ctx, l.copied(), get{Last: subject})
		if err != nil {
			return at, err
		}
		if seq := up.origin(m.V.Source); seq.OK && seq.V > at.V {
			at = seq
		}
	}
	return at, nil
}

// missing asks for the origin's first message after where the copy is.
func missing(ctx context.Context, c *conn, l LinkSpec, filters []string, v *View) error {
	if filters == nil {
		filters = []string{">"}
	}
	for _, f := range filters {
		m, err := c.message(ctx, l.Channel, get{Seq: v.Position.V + 1, Next: f})
		if err != nil {
			return err
		}
		if m.OK && (!v.Missing.OK || m.V.Seq < v.Missing.V.Seq) {
			v.Missing = m
		}
	}
	return nil
}
