package sitetest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// Kafka is a cluster of one broker, imitated in this process behind a real port. Its users are evenkeel and evenkeel_beat, by
// SCRAM, who may do nothing before Run lets them.
type Kafka struct {
	Admin *kadm.Client
	t     *testing.T
	port  int
	dir   string
	fake  *kfake.Cluster
	kafka *kgo.Client
}

// StartKafka starts a cluster.
func StartKafka(t *testing.T) *Kafka {
	t.Helper()
	k := &Kafka{t: t, port: replicatest.FreePort(t), dir: t.TempDir()}
	k.Start()
	t.Cleanup(k.Stop)
	return k
}

// Start starts the cluster again, with what it had.
func (k *Kafka) Start() {
	k.t.Helper()
	var err error
	k.fake, err = kfake.NewCluster(
		kfake.NumBrokers(1), kfake.Ports(k.port), kfake.EnableSASL(), kfake.EnableACLs(), kfake.DataDir(k.dir), kfake.Superuser("PLAIN", "admin", AdminWord),
		kfake.User("SCRAM-SHA-512", "evenkeel", Word), kfake.User("SCRAM-SHA-512", "evenkeel_beat", Word))
	if err != nil {
		k.t.Fatal(err)
	}
	k.kafka = k.As("", k.Address())
	k.Admin = kadm.NewClient(k.kafka)
}

// Stop kills the cluster.
func (k *Kafka) Stop() {
	if k.fake == nil {
		return
	}
	k.kafka.CloseAllowingRebalance()
	k.fake.Close()
	k.fake = nil
}

// Address is where the broker listens.
func (k *Kafka) Address() string { return fmt.Sprintf("127.0.0.1:%d", k.port) }

// As makes a client of a user whose password is Word, empty: of the administrator, that connects to an address whatever the cluster says.
func (k *Kafka) As(user, address string, more ...kgo.Opt) *kgo.Client {
	k.t.Helper()
	auth := kgo.SASL(plain.Auth{User: "admin", Pass: AdminWord}.AsMechanism())
	if user != "" {
		auth = kgo.SASL(scram.Auth{User: user, Pass: Word}.AsSha512Mechanism())
	}
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(address), auth, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.DisableIdempotentWrite(),
		kgo.MetadataMinAge(100 * time.Millisecond), kgo.MetadataMaxAge(time.Second), kgo.RetryBackoffFn(func(int) time.Duration { return 200 * time.Millisecond }),
		kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, address)
		}),
	}, more...)...)
	if err != nil {
		k.t.Fatal(err)
	}
	return c
}

// Run does what the lines of a text say that begin with kafka-topics --create or kafka-acls --add or --remove, and nothing else.
func (k *Kafka) Run(text string) {
	k.t.Helper()
	one := regexp.MustCompile(`--(\S+) ([^-\s]\S*)`)
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		command, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		given := map[string][]string{}
		for _, m := range one.FindAllStringSubmatch(rest, -1) {
			given[m[1]] = append(given[m[1]], m[2])
		}
		var err error
		switch {
		case command == "kafka-topics" && strings.HasPrefix(rest, "--create"):
			var partitions int
			if partitions, err = strconv.Atoi(given["partitions"][0]); err == nil {
				configs := map[string]*string{}
				for _, c := range given["config"] {
					if name, value, _ := strings.Cut(c, "="); name != "min.insync.replicas" { // there is one broker
						configs[name] = &value
					}
				}
				_, err = k.Admin.CreateTopic(k.t.Context(), int32(partitions), 1, configs, given["topic"][0]) //nolint:gosec // a small number
			}
		case command == "kafka-acls":
			b := kadm.NewACLs().Allow(given["allow-principal"]...).AllowHosts("*").Topics(given["topic"]...).ResourcePatternType(kmsg.ACLResourcePatternTypeLiteral)
			var all []kadm.ACLOperation
			for _, name := range given["operation"] {
				operation, bad := kmsg.ParseACLOperation(name)
				if bad != nil {
					k.t.Fatal(bad)
				}
				all = append(all, operation)
			}
			b.Operations(all...)
			if strings.HasPrefix(rest, "--remove") {
				_, err = k.Admin.DeleteACLs(k.t.Context(), b)
			} else {
				_, err = k.Admin.CreateACLs(k.t.Context(), b)
			}
		}
		if err != nil {
			k.t.Fatalf("%s: %v", line, err)
		}
	}
}

// Produce writes a record as the administrator.
func (k *Kafka) Produce(topic, key, value string) {
	k.t.Helper()
	if err := k.kafka.ProduceSync(k.t.Context(), &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}).FirstErr(); err != nil {
		k.t.Fatal(err)
	}
}

// Denied reports whether a user with Word as its password may not write into a topic.
func (k *Kafka) Denied(user, topic string) bool {
	k.t.Helper()
	c := k.As(user, k.Address(), kgo.RecordRetries(1))
	defer c.Close()
	return errors.Is(c.ProduceSync(k.t.Context(), &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(), kerr.TopicAuthorizationFailed)
}

// Mirror does what MirrorMaker does, from another cluster to this one: it writes the topic heartbeats there each second and copies
// it and the other topics to alias.topic, with their partitions. wire is on the way to the other cluster.
func (k *Kafka) Mirror(alias string, wire *replicatest.Wire, topics ...string) {
	k.t.Helper()
	from := k.As("", fmt.Sprintf("127.0.0.1:%d", wire.Port()), kgo.ConsumeTopics(append(topics, "heartbeats")...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for ctx.Err() == nil {
			beat, stop := context.WithTimeout(ctx, time.Second)
			_, _ = kadm.NewClient(from).CreateTopic(beat, 1, 1, nil, "heartbeats")
			_ = from.ProduceSync(beat, mirrorBeat(alias)).FirstErr()
			stop()
			replicatest.Sleep(ctx, time.Second)
		}
	})
	running.Go(func() {
		to := k.As("", k.Address())
		defer to.Close()
		for ctx.Err() == nil {
			from.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				for !copies(ctx, to, alias, r) && ctx.Err() == nil {
					replicatest.Sleep(ctx, 100*time.Millisecond)
				}
			})
		}
	})
	k.t.Cleanup(func() {
		cancel()
		from.CloseAllowingRebalance()
		running.Wait()
	})
}

// copies copies a record, into a topic that is made where it is not there.
func copies(ctx context.Context, to *kgo.Client, alias string, r *kgo.Record) bool {
	ctx, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	copied := &kgo.Record{Topic: alias + "." + r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value}
	_, _ = kadm.NewClient(to).CreateTopic(ctx, 1, 1, nil, copied.Topic)
	return to.ProduceSync(ctx, copied).FirstErr() == nil
}

// mirrorBeat is a heartbeat of MirrorMaker: two strings in the key, a version and a time in the value.
func mirrorBeat(source string) *kgo.Record {
	var key []byte
	for _, s := range []string{source, "here"} {
		key = append(binary.BigEndian.AppendUint16(key, uint16(len(s))), s...) //nolint:gosec // a short name
	}
	value := binary.BigEndian.AppendUint64([]byte{0, 0}, uint64(time.Now().UnixMilli())) //nolint:gosec // after 1970
	return &kgo.Record{Topic: "heartbeats", Key: key, Value: value}
}
