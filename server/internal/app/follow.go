package app

import (
	"context"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// leads reports whether this replica may decide now: it leads, and nothing stands against what it would say.
func (l *loop) leads() bool {
	return l.ledger.Leading() && (l.pending == nil || l.pending() == "")
}

// watch is what a replica does that does not lead: it judges, so that its view can be published and it knows the minutes
// before should it lead next. It decides nothing, and what it was doing is left to whoever leads now.
func (l *loop) watch(ctx context.Context, tick <-chan time.Time) {
	if l.engine != nil {
		l.engine = nil
		l.log.Info("this replica does not lead any more, acting is left to the one that does")
	}
	l.hand.Abandon()
	l.static.Store(nil)
	l.metrics.static.Set(0)
	l.metrics.decisions.clear()
	l.answered = nil
	for ctx.Err() == nil && !l.leads() {
		select {
		case <-ctx.Done():
		case in := <-l.inputs:
			l.step(ctx, in) // which declines it, unless this replica leads since a moment ago
		case <-l.lead:
		case <-l.changed:
			l.see()
		case <-tick:
			l.see()
		}
	}
}

func (l *loop) see() {
	var routing []core.Routing
	if l.follow != nil {
		routing = l.follow()
	}
	l.look(routing)
}

// codeInDoubt is the code of a reply to an order of which nobody knows whether it is on record.
const codeInDoubt = "in_doubt"

// decline answers an order that has come to a replica which does not lead by now. An outcome needs no answer: the leader
// performs the intent again, with the same id.
func (l *loop) decline(in input, doubt bool) {
	if in.reply == nil {
		return
	}
	r := core.Reply{
		Code:     core.CodeUnavailable,
		Sentence: "this replica does not lead any more; the order was not carried out, give it again",
	}
	if doubt {
		r = core.Reply{
			Code:     codeInDoubt,
			Sentence: "this replica lost the lead while it recorded the order; it is not known whether it is carried out",
		}
	}
	in.reply <- r
}

// memory is the demand of the last minutes, which a new leader must know: the demand before a failure began is what the
// survivors have to take.
type memory struct {
	traffic []core.Traffic
	last    time.Time
}

const (
	memoryFor   = 3 * time.Minute
	memoryEvery = time.Second
)

// add keeps one reading of every site and service a second.
func (m *memory) add(traffic []core.Traffic, at time.Time) {
	if at.Sub(m.last) < memoryEvery {
		return
	}
	m.last = at
	drop := 0
	for drop < len(m.traffic) && at.Sub(m.traffic[drop].At) > memoryFor {
		drop++
	}
	m.traffic = m.traffic[drop:]
	for _, t := range traffic {
		if t.Known {
			m.traffic = append(m.traffic, t)
		}
	}
}

func (m *memory) all() []core.Traffic { return m.traffic }
