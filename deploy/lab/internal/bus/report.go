package bus

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/push"
)

// metrics are the links as the side that applies sees them. Evenkeel has no engine for this replicator: it reports the
// state and the bounds by itself, by the names that agents use, as any store may that knows its own copies.
func (b *Bus) metrics(start time.Time) func(time.Time) pmetric.Metrics {
	return func(at time.Time) pmetric.Metrics {
		batch := push.NewBatch(at, start, push.Attr{Name: "service.name", Value: "nats"})
		for _, s := range b.Status().Links {
			attrs := []push.Attr{{Name: "link", Value: s.Link}, {Name: "end", Value: "target"}}
			batch.Gauge("lab.replication.applied", "{message}", float64(s.Applied), attrs...)
			batch.Gauge("evenkeel.link.state", "", s.number(), attrs...)
			figure := func(name, unit string, value float64, known bool) {
				if known { // what is not known is not zero
					batch.Gauge("evenkeel.replication."+name, unit, value, attrs...)
				}
			}
			alive := s.State == CaughtUp || s.State == CatchingUp
			lacks, complete := since(at, s.CompleteNS)
			silent, heard := since(at, s.HeardNS)
			lower, upper := 0.0, complete && alive
			if s.State == LinkDown {
				lower = silent // a source that goes on writing has written since
			} else if held, known := since(at, s.waiting); known {
				lower = held // an order that was written then is not in the copy
			}
			figure("lag.lower", "s", lower, alive || (heard && s.State == LinkDown))
			figure("lag.upper", "s", lacks, upper)
			figure("lag.messages", "{message}", float64(s.Behind), alive)
			figure("exposure", "s", lacks, complete)
		}
		return batch.Metrics
	}
}

// since is the time from a moment in unix nanoseconds to at, in seconds; false when there was no such moment.
func since(at time.Time, ns int64) (float64, bool) {
	if ns == 0 {
		return 0, false
	}
	return max(at.Sub(time.Unix(0, ns)), 0).Seconds(), true
}

// number is the state's value on the wire.
func (s LinkStatus) number() float64 {
	switch s.State {
	case CaughtUp:
		return 1
	case CatchingUp:
		return 2
	case LinkDown:
		return 4
	case Stopped:
		return 5
	}
	return 0
}
