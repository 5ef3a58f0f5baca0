package kafka

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// span of time in which something happened.
type happened struct{ before, after time.Time }

// carried is how many records were committed by the group, and when.
type carried struct {
	happened
	n int
}

// The harness knows when each record was stored and when the group committed it. The bounds that are reported at a moment
// enclose the true lag at that moment: the age of the oldest record that the group has not committed.
func TestTruth(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.make(topic, 1)
	ctx, stop := context.WithCancel(t.Context())
	var stalled atomic.Bool
	var writes []happened
	var commits []carried
	var group sync.WaitGroup
	group.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			began := time.Now()
			if err := c.kafka.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: fmt.Append(nil, i)}).FirstErr(); err != nil {
				t.Error(err)
				return
			}
			writes = append(writes, happened{began, time.Now()})
			// Bursts, a steady load, and pauses of more than a second.
			switch i / 200 % 4 {
			case 0:
			case 1, 2:
				time.Sleep(time.Duration(1+i%9) * time.Millisecond)
			case 3:
				if i%50 == 0 {
					time.Sleep(1200 * time.Millisecond)
				}
			}
		}
	})
	member := c.connect(kgo.ConsumerGroup("copier"), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	group.Go(func() {
		defer member.CloseAllowingRebalance()
		for n := 0; ctx.Err() == nil; {
			polled := member.PollRecords(ctx, 100)
			for stalled.Load() && ctx.Err() == nil {
				time.Sleep(5 * time.Millisecond)
			}
			if n += polled.NumRecords(); polled.NumRecords() == 0 {
				continue
			}
			began := time.Now()
			if err := member.CommitUncommittedOffsets(context.Background()); err != nil {
				t.Error(err)
				return
			}
			commits = append(commits, carried{happened{began, time.Now()}, n})
		}
	})
	w := newWatcher(t, "group", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{{Store: "log", From: "a", To: "b", Channel: "copier", End: replica.Source, Peer: topic}}})
	var verdicts []replica.Status
	// The group is there once it has committed; a quick one may never be seen behind.
	for end := time.Now().Add(time.Minute); !w.look().Lower.OK; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no figure within a minute: %s", w.show())
		}
	}
	for begun := time.Now(); time.Since(begun) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		at := time.Since(begun)
		stalled.Store(at > 4*time.Second && at < 10*time.Second || at > 16*time.Second && at < 17*time.Second)
		verdicts = append(verdicts, w.look())
	}
	stop()
	group.Wait()

	var all, held, bounded, doubtful int
	var width, worst time.Duration
	states := map[replica.State]int{}
	age := func(n int, at time.Time, when func(happened) time.Time) time.Duration {
		if n >= len(writes) {
			return 0
		}
		return max(at.Sub(when(writes[n])), 0)
	}
	for _, st := range verdicts {
		states[st.State]++
		if !st.Lower.OK {
			t.Logf("%v %s: %s", st.State, st.Reason, st.Detail)
			continue
		}
		sure, possible := 0, 0 // records of which a commit was acknowledged, or under way
		for _, k := range commits {
			if k.after.Before(st.At) {
				sure = k.n
			}
			if k.before.Before(st.At) {
				possible = k.n
			}
		}
		longest := age(sure, st.At, func(h happened) time.Time { return h.before })
		shortest := age(possible, st.At, func(h happened) time.Time { return h.after })
		all++
		worst = max(worst, longest)
		if st.Upper.OK {
			bounded++
			width += st.Upper.V - st.Lower.V
		}
		if longest > shortest+100*time.Millisecond {
			doubtful++
		}
		if st.Lower.V <= longest && (!st.Upper.OK || st.Upper.V >= shortest) {
			held++
			continue
		}
		t.Logf("%v %v..%v does not hold %v..%v", st.State, st.Lower, st.Upper, shortest, longest)
	}
	if all < 200 || bounded < all*9/10 || worst < 2*time.Second || len(verdicts)-all > all/100 {
		t.Fatalf("the test tests too little: %d of %d samples, %d bounded, worst lag %s", all, len(verdicts), bounded, worst)
	}
	coverage := float64(held) / float64(all)
	t.Logf("%d samples, %.3f %% hold the true lag, mean width %s, %d with an upper bound, %d where the harness itself is not sure within 100 ms; worst lag %s; %v",
		all, 100*coverage, (width / time.Duration(max(bounded, 1))).Round(10*time.Microsecond), bounded, doubtful, worst.Round(time.Millisecond), states)
	if coverage < 0.999 {
		t.Errorf("coverage %.4f", coverage)
	}
}
