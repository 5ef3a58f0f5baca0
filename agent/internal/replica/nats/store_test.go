package nats

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
)

// Heartbeats never take the place of what users keep in a stream.
func TestBeatsDisplaceNothing(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n", 0)
	f := func(what string, c jetstream.StreamConfig, fits bool) {
		t.Helper()
		c.Name, c.Subjects = what, []string{what + ".>", "evenkeel.hb." + what}
		n.make(c)
		store, err := NewStore(n.as(canary), what, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		err = store.Put(ctx, heartbeat.Beat{Origin: what, Epoch: 1, Seq: 1, At: time.Now(), Interval: time.Second}, nil)
		if fits != (err == nil) || (!fits && failureOf(err) != replica.ReasonMisconfigured) {
			t.Errorf("%s: %v", what, err)
		}
	}
	f("endless", jetstream.StreamConfig{}, true)
	f("messages", jetstream.StreamConfig{MaxMsgs: 100}, false)
	f("bytes", jetstream.StreamConfig{MaxBytes: 1 << 20}, false)
	f("few", jetstream.StreamConfig{MaxMsgs: 100, MaxMsgsPerSubject: 10}, true)
	f("many", jetstream.StreamConfig{MaxMsgs: 100, MaxMsgsPerSubject: 11}, false)
	f("large", jetstream.StreamConfig{MaxBytes: 1 << 20, MaxMsgsPerSubject: 1000}, false)
	f("queue", jetstream.StreamConfig{Retention: jetstream.WorkQueuePolicy}, false)
}

// A copy whose origin is out of sight is complete as long as the origin's beats come, and only so long.
func TestAloneByHeartbeat(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.alone.Becomes(replica.CatchingUp, replica.ReasonNotMeasured)
	store, err := NewStore(p.origin.as(canary), "ORDERS", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	seq := int64(0)
	beat := func() {
		t.Helper()
		seq++
		if _, err := store.Rows(t.Context(), heartbeat.Names{Own: "a"}); err != nil {
			t.Fatal(err)
		}
		if err := store.Put(t.Context(), heartbeat.Beat{Origin: "a", Epoch: 1, Seq: seq, At: time.Now(), Interval: 10 * time.Second}, nil); err != nil {
			t.Fatal(err)
		}
	}
	beat()
	p.alone.Complete()
	beat()
	p.alone.Stays(300*time.Millisecond, 10*time.Second)
	p.alone.Complete()
	p.relay.Cut(true)
	p.alone.Becomes(replica.LinkDown, replica.ReasonStale)
	if !p.alone.Last.Upper.OK {
		t.Errorf("the last beat bounds a link that is down: %s", p.alone.Show())
	}
}

func failureOf(err error) replica.Reason {
	f, ok := err.(*heartbeat.Failure) //nolint:errorlint // the store gives nothing else
	if !ok {
		return ""
	}
	return f.Reason
}
