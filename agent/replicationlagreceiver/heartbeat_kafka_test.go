package replicationlagreceiver

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

const beatTopic = "evenkeel-heartbeat"

// TestHeartbeatKafka: two clusters whose topics are mirrored at the other one. Neither agent sees the other's cluster.
func TestHeartbeatKafka(t *testing.T) {
	t.Parallel()
	word := secret(t)
	clusterA, clusterB := sitetest.StartKafka(t), sitetest.StartKafka(t)
	wireA, wireB := replicatest.NewWire(t, clusterA.Address()), replicatest.NewWire(t, clusterB.Address())
	clusterB.Mirror("a", wireA, beatTopic)
	clusterA.Mirror("b", wireB, beatTopic)
	looks := "kafka-acls --add --allow-principal User:evenkeel --operation Read --operation Describe --topic "
	clusterA.Run(looks + "b.heartbeats")
	clusterB.Run(looks + "a.heartbeats")
	clusterB.Run(setUp(t, SetUp{Engine: "kafka", Origin: "b", Peers: []string{"a"}}))
	server := func(k *sitetest.Kafka, site, other string) map[string]any {
		return map[string]any{
			"engine": "kafka", "address": k.Address(), "user": "evenkeel", "password_file": word, "interval": "1s", "timeout": "900ms", "silence": "3s",
			"links": []any{
				map[string]any{"store": "orders", "from": site, "to": other, "end": "source"},
				map[string]any{"store": "orders", "from": other, "to": site, "end": "target"},
			},
			"heartbeat": map[string]any{"write": true, "interval": "250ms", "user": "evenkeel_beat", "password_file": word, "topic": beatTopic},
		}
	}
	a, b := newAgent(t, "a", 0, server(clusterA, "a", "b")), newAgent(t, "b", 0, server(clusterB, "b", "a"))
	writer := func(state Writing) func(told) bool {
		return func(v told) bool { n, ok := v.of("writer.state"); return ok && Writing(n) == state }
	}
	says := func(a *agent, what string) {
		t.Helper()
		replicatest.Until(t, "the log says "+what, func() bool { return strings.Contains(a.said(), what) })
	}

	// What is not set up is said, and how it is.
	says(a, "the account may not read the topic evenkeel-heartbeat: it needs the operation Read")
	_, acls, _ := strings.Cut(setUp(t, SetUp{Engine: "kafka", Origin: "a", Peers: []string{"b"}}), "kafka-configs")
	clusterA.Run(acls)
	says(a, "there is no topic evenkeel-heartbeat: create it, as with kafka-topics --create --topic evenkeel-heartbeat --partitions 1 --config cleanup.policy=compact")
	clusterA.Run("kafka-topics --create --topic evenkeel-heartbeat --partitions 1 --config cleanup.policy=compact")

	bounded := func(v told) bool {
		upper, ok := v.of("lag.upper")
		age, aged := v.of("heartbeat.age")
		return alive(v) && ok && upper < 3 && aged && age < 3
	}
	b.until("the beats bound the link", atoB, "target", bounded)
	a.until("the other way too", btoA, "target", bounded)
	exposedFor(a, atoB, 5)
	exposedFor(b, btoA, 5)
	if v := a.last(atoB, "source"); v.state() != replica.Unknown || v.reason != string(replica.ReasonNotMeasured) {
		t.Errorf("the source's end is %s %q", v.state(), v.reason)
	}

	wireA.Cut(true)
	cut := time.Now()
	a.exposesSince(cut)
	v := b.until("the bounds hold the silence", atoB, "target", func(v told) bool {
		upper, ok := v.of("lag.upper")
		return v.state() == replica.LinkDown && ok && upper > 6
	})
	holds(t, v, cut)
	wireA.Cut(false)
	b.until("the link is well", atoB, "target", bounded)
	exposedFor(a, atoB, 5)

	other := newAgent(t, "a", 0, server(clusterA, "a", "b"))
	torn(a, atoB, "source")
	a.until("it does not write", atoB, "source", writer(WritingRefused))
	if n, _ := a.last(atoB, "source").of("writer.conflicts"); n < 1 {
		t.Errorf("%v conflicts", n)
	}
	other.stop()
	a.until("it takes over when the other one is still", atoB, "source", writer(WritingOn))
	b.until("the link is well", atoB, "target", bounded)

	// A cluster dies, and comes back with what it had.
	clusterA.Stop()
	died := time.Now()
	a.until("its agent knows nothing", atoB, "source", func(v told) bool {
		return v.state() == replica.Unknown && v.reason == string(replica.ReasonConnect) && writer(WritingFailed)(v)
	})
	v = b.until("the other one's bounds hold", atoB, "target", func(v told) bool {
		upper, ok := v.of("lag.upper")
		return v.state() == replica.LinkDown && ok && upper > 6
	})
	holds(t, v, died)
	clusterA.Start()
	b.until("the link is well", atoB, "target", bounded)
	exposedFor(a, atoB, 5)

	mayNothingElse(t, clusterA)

	// A permission that is taken away is named, on either way.
	clusterA.Run("kafka-acls --remove --allow-principal User:evenkeel_beat --operation Write --topic evenkeel-heartbeat")
	a.until("the writer fails", atoB, "source", writer(WritingFailed))
	says(a, "the account may not write into the topic evenkeel-heartbeat: it needs the operation Write")
	clusterA.Run("kafka-acls --add --allow-principal User:evenkeel_beat --operation Write --topic evenkeel-heartbeat")
	a.until("it writes again", atoB, "source", writer(WritingOn))

	// Nothing is written into a topic that holds something else.
	clusterA.Produce(beatTopic, "order-7", "x")
	a.until("the writer fails", atoB, "source", writer(WritingFailed))
	says(a, "holds something else than heartbeats at offset")
	a.quiet()
	b.quiet()
}

// mayNothingElse tries what the account of the heartbeat must not be able to do.
func mayNothingElse(t *testing.T, k *sitetest.Kafka) {
	t.Helper()
	k.Run("kafka-topics --create --topic orders --partitions 1")
	k.Produce("orders", "1", "x")
	for _, topic := range []string{"orders", "b." + beatTopic, "heartbeats"} {
		if !k.Denied("evenkeel_beat", topic) {
			t.Errorf("the account may write into %s", topic)
		}
	}
}
