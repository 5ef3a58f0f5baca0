package replicationlagreceiver

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// never is how long a link must have been looked at, alive and without a beat of its source, until the beats count as left out
// of the replication; at least so many intervals of the heartbeat.
const (
	never          = 15 * time.Second
	neverIntervals = 10
)

// Measures that are told one by one.
const (
	measureAge  = "heartbeat.age"
	measureTrip = "echo.rtt"
)

// tell puts what the heartbeats prove into the sightings of the links of one look, which has just ended.
func (b *beats) tell(ctx context.Context, links []Link, engine string, all []sight, clockErr time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if !b.enter(ctx) {
		return
	}
	defer b.leave()
	at, wall := time.Now(), b.wall()
	known := slices.ContainsFunc(links, func(l Link) bool { return l.End == string(replica.Source) && l.From == b.set.Origin })
	for i, l := range links {
		s := &all[i]
		if l.End == string(replica.Target) {
			b.arrived(s, l, engine, at, wall, clockErr)
		}
		begins := l.End == string(replica.Source) && l.From == b.set.Origin
		if begins {
			s.Extra = append(s.Extra, b.canaries(b.set.Origin)...)
			b.exposed(s, l, engine, at)
		}
		if b.set.Write && (begins || !known) {
			s.Extra = append(s.Extra, b.measures()...)
		}
		if begins && !b.clashed.IsZero() && at.Sub(b.clashed) < b.hold {
			s.torn("two writers write the heartbeat of " + b.set.Origin)
		}
	}
}

// arrived is what the beats of a link's source prove at its target.
func (b *beats) arrived(s *sight, l Link, engine string, at, wall time.Time, clockErr time.Duration) {
	seen := b.seen[l.From]
	if seen == nil || l.From == b.set.Origin {
		return
	}
	beat := b.rows.Beat(l.From)
	if !b.set.carries(l, engine) || (beat.OK && engine == "nats" && b.rows.In[l.From] != l.copied()) {
		return // it comes by way of another link
	}
	s.Extra = append(s.Extra, b.canaries(l.From)...)
	switch _, held := b.held[l.From]; {
	case s.Overtaken && !held:
		b.held[l.From] = replica.Opt[heartbeat.Beat]{}
	case held && !s.Overtaken && s.State != replica.Unknown:
		b.held[l.From] = b.looked.Beat(l.From)
	}
	unread := b.rows.Unread[l.From]
	lacks := b.lacks(s, l, beat.OK || (unread != nil && seen.Ever()), at)
	switch {
	case seen.Torn(at, b.hold):
		s.torn("the heartbeat of " + l.From + " went back: two writers write it, or the copy was set back")
	case !b.read || b.failed != nil:
		if b.failed != nil && s.Detail == "" {
			s.Detail = "the heartbeats cannot be read: " + b.failed.Detail
		}
	case beat.OK:
		s.Extra = append(s.Extra, replica.Measure{Name: measureAge, Unit: "s", Value: wall.Round(0).Sub(beat.V.At).Seconds()})
		if engine != "mysql" { // it has weighed them against positions of the same moment
			s.Sighting, s.beat = beat.V.Merge(s.Sighting, s.beat, wall, clockErr)
		}
	case lacks > max(never, neverIntervals*b.set.Interval):
		reason, why := replica.ReasonMisconfigured, "it does not write one, or the replication leaves it out"
		if unread != nil {
			reason, why = unread.Reason, unread.Detail
		}
		s.unknown(reason, fmt.Sprintf("no heartbeat of %s has ever come here: %s", l.From, why))
	case s.Detail == "" && unread != nil:
		s.Detail = fmt.Sprintf("the heartbeats of %s cannot be read: %s", l.From, unread.Detail)
	case s.Detail == "":
		s.Detail = "there is no heartbeat of " + l.From + " here"
	}
}

// lacks is for how long a link has been alive without a beat of its source.
func (b *beats) lacks(s *sight, l Link, there bool, at time.Time) time.Duration {
	since, ok := b.lacking[l.key()]
	switch {
	case there || !b.read || b.failed != nil || (s.State != replica.CaughtUp && s.State != replica.CatchingUp):
		delete(b.lacking, l.key())
		return 0
	case !ok:
		b.lacking[l.key()] = at
		return 0
	}
	return at.Sub(since)
}

// canaries are the figures of an origin's canaries, where they were compared.
func (b *beats) canaries(origin string) []replica.Measure {
	seen := b.seen[origin]
	if seen == nil || seen.Checked == 0 {
		return nil
	}
	labels := map[string]string{"origin": origin}
	return []replica.Measure{
		{Name: "canary.checked", Unit: "{row}", Value: float64(seen.Checked), Counter: true, Labels: labels},
		{Name: "canary.diverged", Unit: "{row}", Value: float64(seen.Diverged), Counter: true, Labels: labels},
	}
}

// fresh is for how long a round trip is told after it was measured: an old one says nothing of now.
const fresh = 10 * time.Second

// exposed is what the echo of a link's target proves at its source, by the source's clock alone.
func (b *beats) exposed(s *sight, l Link, engine string, at time.Time) {
	e, ok := b.echoed[l.To]
	if !ok || !b.set.carries(l, engine) {
		return
	}
	if e.rtt.OK && at.Sub(e.seen) < fresh {
		s.Extra = append(s.Extra, replica.Measure{Name: measureTrip, Unit: "s", Value: e.rtt.V.Seconds()})
	}
	before := b.sent.Before(e.echo)
	if !before.OK {
		return
	}
	if d := at.Sub(before.V); !s.Exposure.OK || d < s.Exposure.V {
		s.Exposure = replica.Some(d)
	}
}

// measures are the figures of the writer.
func (b *beats) measures() []replica.Measure {
	labels := map[string]string{"origin": b.set.Origin}
	count := func(name, unit string, n int64) replica.Measure {
		return replica.Measure{Name: name, Unit: unit, Value: float64(n), Counter: true, Labels: labels}
	}
	return []replica.Measure{
		{Name: "writer.state", Unit: "1", Value: float64(b.writing), Labels: labels},
		count("writer.beats", "{beat}", b.written),
		count("writer.skipped", "{beat}", b.skipped),
		count("writer.conflicts", "{conflict}", b.conflicts),
	}
}

// torn says that two writers write one origin: no figure that hangs on it is true.
func (s *sight) torn(detail string) {
	s.unknown(replica.ReasonSplitBrain, detail)
	s.Exposure = replica.Opt[time.Duration]{}
}

func (s *sight) unknown(reason replica.Reason, detail string) {
	s.State, s.Reason, s.Detail = replica.Unknown, reason, detail
	s.Lower, s.Upper = replica.Opt[time.Duration]{}, replica.Opt[time.Duration]{}
}
