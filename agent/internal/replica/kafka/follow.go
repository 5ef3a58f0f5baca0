package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// log is what was read of a topic with heartbeats, which has one partition. It is read once from its start, and then followed.
type log struct {
	next    int64 // the offset to read next
	driven  bool  // the driver fetches it
	own     bool  // it is written here
	beats   map[string]heartbeat.Beat
	echoes  map[string]heartbeat.Echo
	foreign replica.Opt[int64] // the offset of a record that is no heartbeat: nothing after it is read
	waited  int                // reads since it was found
}

// again is after how many reads a topic that held something else is tried again.
const again = 60

func (l *log) beat(rows *heartbeat.Rows, origin string) {
	if b, ok := l.beats[beatKey(origin)]; ok {
		rows.Beats = append(rows.Beats, b)
	}
}

func (l *log) echo(rows *heartbeat.Rows, observer, origin string) {
	if e, ok := l.echoes[echoKey(observer, origin)]; ok {
		rows.Echoes = append(rows.Echoes, e)
	}
}

// take takes in the next record.
func (l *log) take(r *kgo.Record) {
	if l.foreign.OK || r.Offset < l.next {
		return
	}
	if !r.Attrs.IsControl() && !l.note(string(r.Key), r.Value) {
		l.foreign, l.waited = replica.Some(r.Offset), 0
		return
	}
	l.next = r.Offset + 1
}

// note remembers what a record says; false: it is no heartbeat. One without a value says that the key is deleted.
func (l *log) note(key string, value []byte) bool {
	kind, names, _ := strings.Cut(key, ".")
	switch observer, origin, two := strings.Cut(names, "."); {
	case kind == "hb" && names != "" && !two:
		if value == nil {
			delete(l.beats, key)
			return true
		}
		b, ok := heartbeat.ParseBeat(names, string(value))
		// Nobody is asked before a record is written: of two writers the one that wrote its beat without having seen the other's
		// newer one must find that, though its own came last.
		if before, had := l.beats[key]; ok && (!l.own || !had || !before.After(b)) {
			l.beats[key] = b
		}
		return ok
	case kind == "echo" && two && observer != "" && origin != "":
		if value == nil {
			delete(l.echoes, key)
			return true
		}
		e, ok := heartbeat.ParseEcho(observer, origin, string(value))
		if ok {
			l.echoes[key] = e
		}
		return ok
	}
	return false
}

// open opens the client, which fetches nothing when it is new.
func (s *Store) open(ctx context.Context) error {
	if s.client.kafka == nil {
		for _, l := range s.logs {
			l.driven = false
		}
	}
	return s.client.open(ctx)
}

// follow reads what has come into the topics by now. It tells by topic why one could not be read; an error is of all.
func (s *Store) follow(ctx context.Context, topics []string) (map[string]*Failure, error) {
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	failed, want := map[string]*Failure{}, map[string]span{}
	for _, topic := range topics {
		is, err := s.client.extent(ctx, topic)
		l := s.logs[topic]
		switch {
		case l != nil && (errors.Is(err, kerr.UnknownTopicOrPartition) || (err == nil && l.next > is.to)):
			// Deleted, or made anew. The driver may hold on to what was there; a new one does not.
			delete(s.logs, topic)
			s.client.close()
			if err := s.open(ctx); err != nil {
				return nil, err
			}
		case err != nil && ctx.Err() != nil:
			return nil, err
		default:
		}
		if err != nil {
			failed[topic] = s.lacks(topic, err)
			continue
		}
		want[topic] = is
	}
	s.drive(want, failed)
	s.fetch(ctx, want, failed)
	return failed, nil
}

// extent is where the only partition of a topic begins and ends. Topics are asked for one by one: where the account may not see
// one, the answer is about that one alone.
func (c *client) extent(ctx context.Context, topic string) (span, error) {
	ends, err := c.admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return span{}, fmt.Errorf("list end offsets: %w", err)
	}
	starts, err := c.admin.ListStartOffsets(ctx, topic)
	if err != nil {
		return span{}, fmt.Errorf("list start offsets: %w", err)
	}
	for _, listed := range []kadm.ListedOffsets{ends, starts} {
		for _, p := range listed[topic] {
			if p.Err != nil {
				return span{}, p.Err
			}
		}
	}
	switch n := len(ends[topic]); {
	case n == 0:
		return span{}, kerr.UnknownTopicOrPartition
	case n > 1:
		return span{}, &Failure{replica.ReasonMisconfigured, fmt.Sprintf("the topic %s has %d partitions: heartbeats need a topic with one", topic, n)}
	}
	first, ok := starts.Lookup(topic, 0)
	last, ok2 := ends.Lookup(topic, 0)
	if !ok || !ok2 {
		return span{}, &Failure{replica.ReasonIncomplete, "an answer lacks a partition"}
	}
	return span{min(first.Offset, last.Offset), last.Offset}, nil
}

// lacks says what is to be done about a topic that cannot be read.
func (s *Store) lacks(topic string, err error) *Failure {
	switch {
	case !errors.Is(err, kerr.UnknownTopicOrPartition):
		return blame(topic, err, "read", "Read")
	case topic == s.topic:
		return &Failure{replica.ReasonMisconfigured, fmt.Sprintf("there is no topic %[1]s: create it, as with "+
			"kafka-topics --create --topic %[1]s --partitions 1 --config cleanup.policy=compact; evenkeel-agent heartbeat-sql --engine kafka prints all that is needed", topic)}
	}
	return &Failure{replica.ReasonMisconfigured, fmt.Sprintf("there is no topic %s: MirrorMaker has not copied it yet, does not copy it, or names the cluster otherwise (peer)", topic)}
}

// drive makes the driver fetch the topics from where they were read.
func (s *Store) drive(want map[string]span, failed map[string]*Failure) {
	fetch := map[string]map[int32]kgo.Offset{}
	for topic, is := range want {
		l := s.logs[topic]
		if l == nil {
			l = &log{own: topic == s.topic, beats: map[string]heartbeat.Beat{}, echoes: map[string]heartbeat.Echo{}}
			s.logs[topic] = l
		}
		if l.foreign.OK {
			if l.waited++; l.foreign.V >= is.from && l.waited < again {
				failed[topic] = foreign(topic, l)
				continue
			}
			l.foreign = replica.Opt[int64]{}
		}
		if !l.driven {
			l.driven, l.next = true, max(l.next, is.from)
			fetch[topic] = map[int32]kgo.Offset{0: kgo.NewOffset().At(l.next)}
		}
	}
	if len(fetch) > 0 {
		s.client.kafka.AddConsumePartitions(fetch)
	}
}

func foreign(topic string, l *log) *Failure {
	return &Failure{replica.ReasonMisconfigured, fmt.Sprintf("the topic %s holds something else than heartbeats at offset %d: give them a topic of their own", topic, l.foreign.V)}
}

// fetch takes in what the driver brings until it has come to the ends.
func (s *Store) fetch(ctx context.Context, want map[string]span, failed map[string]*Failure) {
	behind := func() bool {
		for topic, is := range want {
			if failed[topic] == nil && s.logs[topic].next < is.to {
				return true
			}
		}
		return false
	}
	moved := false
	for behind() {
		fetches := s.client.kafka.PollFetches(ctx)
		fetches.EachRecord(func(r *kgo.Record) {
			moved = true
			if l := s.logs[r.Topic]; l != nil {
				l.take(r)
			}
		})
		broken := ctx.Err()
		for _, e := range fetches.Errors() {
			if l := s.logs[e.Topic]; l != nil && ctx.Err() == nil {
				failed[e.Topic], l.driven = blame(e.Topic, e.Err, "read", "Read"), false
				s.client.kafka.RemoveConsumePartitions(map[string][]int32{e.Topic: {0}})
			} else if broken == nil {
				broken = e.Err
			}
		}
		for topic, is := range want {
			l := s.logs[topic]
			switch {
			case failed[topic] != nil:
			case l.foreign.OK:
				failed[topic], l.driven = foreign(topic, l), false
				s.client.kafka.RemoveConsumePartitions(map[string][]int32{topic: {0}})
			case broken != nil && l.next < is.to:
				failed[topic] = blame(topic, broken, "read", "Read")
			}
		}
		if broken != nil && !moved {
			s.client.close() // it is stuck, or gone; a new one goes on where this one was
			return
		}
	}
}
