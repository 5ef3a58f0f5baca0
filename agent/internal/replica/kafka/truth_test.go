package kafka

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// The harness knows when each record was stored and when the group committed it. The bounds that are reported at a moment
// enclose the true lag at that moment: the age of the oldest record that the group has not committed.
func TestTruth(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.make(topic, 1)
	var stalled atomic.Bool
	member := c.connect(kgo.ConsumerGroup("copier"), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	tr := replicatest.NewTruth(t, func(i int) error {
		return c.kafka.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: fmt.Append(nil, i)}).FirstErr()
	})
	group := tr.Group(func(ctx context.Context, at *replicatest.Copy) error {
		defer member.CloseAllowingRebalance()
		for n := 0; ctx.Err() == nil; {
			polled := member.PollRecords(ctx, 100)
			for stalled.Load() && ctx.Err() == nil {
				replicatest.Sleep(ctx, 5*time.Millisecond)
			}
			if n += polled.NumRecords(); polled.NumRecords() == 0 {
				continue
			}
			began := time.Now()
			if err := member.CommitUncommittedOffsets(context.Background()); err != nil {
				return err
			}
			at.Applied(n, began, time.Now())
		}
		return nil
	})
	w := newWatcher(t, "group", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{{Store: "log", From: "a", To: "b", Channel: "copier", End: replica.Source, Peer: topic}}})
	tr.Watch("kafka group", w.At, group)
	stall := func(on bool) func() { return func() { stalled.Store(on) } }
	tr.Run(
		replicatest.Step{For: 4 * time.Second},
		replicatest.Step{For: 6 * time.Second, Do: stall(true)},
		replicatest.Step{For: 6 * time.Second, Do: stall(false)},
		replicatest.Step{For: time.Second, Do: stall(true)},
		replicatest.Step{For: 3 * time.Second, Do: stall(false)},
	)
}
