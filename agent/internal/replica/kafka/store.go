package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Store is the heartbeats of one cluster as the agent keeps them: those of the own site are written into one topic, those of
// the others are read from MirrorMaker's copies of theirs. There are no canaries: a record does not change, and one that is
// missing would be a canary only by chance.
type Store struct {
	client client
	topic  string            // where the own beats are written; empty: nowhere
	copies map[string]string // topics here that copy a site's, by site
	logs   map[string]*log   // what was read, by topic
}

var _ heartbeat.Store = (*Store)(nil)

// NewStore makes a Store; it does not connect. The caller bounds each call by its context; timeout is of a connect.
func NewStore(s Server, timeout time.Duration, topic string, copies map[string]string) (*Store, error) {
	if timeout < shortestTimeout {
		return nil, fmt.Errorf("kafka: the timeout must be at least %s", shortestTimeout)
	}
	c, err := newClient(s, timeout,
		kgo.FetchMaxPartitionBytes(1<<20), kgo.FetchMaxWait(5*time.Second), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// What was not taken in time is not sent later, when a newer beat has been written. Idempotent writes would hold on to
		// it, and before Kafka 3.0 they need a permission for the whole cluster.
		kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.RecordRetries(1), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return nil, err
	}
	return &Store{client: c, topic: topic, copies: copies, logs: map[string]*log{}}, nil
}

// Close closes the connections.
func (s *Store) Close() { s.client.close() }

func beatKey(origin string) string           { return "hb." + origin }
func echoKey(observer, origin string) string { return "echo." + observer + "." + origin }

// Rows reads the newest beats and echoes of the names. A copy that is not there, or must not be read, does not keep the own
// beat from being written.
func (s *Store) Rows(ctx context.Context, names heartbeat.Names) (heartbeat.Rows, error) {
	rows := heartbeat.Rows{Unread: map[string]*heartbeat.Failure{}}
	var topics []string
	if s.topic != "" && names.Own != "" {
		topics = append(topics, s.topic)
	}
	for _, peer := range names.Peers {
		if copied := s.copies[peer]; copied != "" {
			topics = append(topics, copied)
		}
	}
	if len(topics) == 0 {
		return rows, nil
	}
	failed, err := s.follow(ctx, topics)
	if err != nil {
		return rows, told(classify(err))
	}
	if s.topic != "" && names.Own != "" {
		if why := failed[s.topic]; why != nil {
			return rows, told(why)
		}
		s.logs[s.topic].beat(&rows, names.Own)
	}
	for _, peer := range names.Peers {
		copied := s.copies[peer]
		switch why := failed[copied]; {
		case copied == "":
		case why != nil:
			rows.Unread[peer] = told(why)
		default:
			s.logs[copied].beat(&rows, peer)
			s.logs[copied].echo(&rows, peer, names.Own)
		}
	}
	return rows, nil
}

// Put writes the beat and then the echoes, and waits until all replicas in sync have the beat. Two writers that write at the
// same moment find each other when they read.
func (s *Store) Put(ctx context.Context, b heartbeat.Beat, echoes []heartbeat.Echo) error {
	if s.topic == "" {
		return &heartbeat.Failure{Reason: replica.ReasonMisconfigured, Detail: "no topic is named to write into"}
	}
	if err := s.open(ctx); err != nil {
		return told(classify(err))
	}
	record := func(key, text string) *kgo.Record {
		return &kgo.Record{Topic: s.topic, Key: []byte(key), Value: []byte(text)}
	}
	beat := record(beatKey(b.Origin), b.Text())
	all := []*kgo.Record{beat}
	for _, e := range echoes {
		all = append(all, record(echoKey(e.Observer, e.Origin), e.Text()))
	}
	results := s.client.kafka.ProduceSync(ctx, all...)
	if results.FirstErr() != nil {
		s.client.close() // with what it still wants to send
	}
	for _, r := range results {
		// An echo that is not written is an old one.
		if r.Record == beat && r.Err != nil {
			return told(blame(s.topic, r.Err, "write into", "Write"))
		}
	}
	return nil
}

// told is a failure as all stores have it.
func told(f *Failure) *heartbeat.Failure {
	return &heartbeat.Failure{Reason: f.Reason, Detail: f.Detail}
}

// blame names the topic of a failure, and the permission that it takes.
func blame(topic string, err error, verb, operation string) *Failure {
	f := *classify(err)
	switch f.Reason {
	case replica.ReasonPrivilege:
		f.Detail = fmt.Sprintf("the account may not %s the topic %s: it needs the operation %s", verb, topic, operation)
	case replica.ReasonQuery:
		f.Detail = fmt.Sprintf("topic %s: %s", topic, f.Detail)
	default:
	}
	return &f
}
