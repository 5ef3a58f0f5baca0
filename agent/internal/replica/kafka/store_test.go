package kafka

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

const (
	own    = "evenkeel-heartbeat"
	copied = "b." + own
)

// kept is a store of site a in a cluster, with its account.
type kept struct {
	*cluster
	store *Store
	names heartbeat.Names
}

func newKept(t *testing.T) *kept {
	t.Helper()
	k := &kept{cluster: startCluster(t), names: heartbeat.Names{Own: "a", Peers: []string{"b"}}}
	k.may(kmsg.ACLOperationRead, own, copied)
	k.may(kmsg.ACLOperationWrite, own)
	var err error
	if k.store, err = NewStore(k.as("evenkeel", canary), 10*time.Second, own, map[string]string{"b": copied}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.store.Close)
	return k
}

func (k *kept) may(operation kmsg.ACLOperation, topics ...string) {
	k.t.Helper()
	b := kadm.NewACLs().Allow("User:evenkeel").AllowHosts("*").Topics(topics...).Operations(operation).ResourcePatternType(kmsg.ACLResourcePatternTypeLiteral)
	if _, err := k.admin.CreateACLs(k.t.Context(), b); err != nil {
		k.t.Fatal(err)
	}
}

func (k *kept) put(topic string, records ...string) {
	k.t.Helper()
	var all []*kgo.Record
	for i := 0; i < len(records); i += 2 {
		r := &kgo.Record{Topic: topic, Key: []byte(records[i])}
		if records[i+1] != "" {
			r.Value = []byte(records[i+1])
		}
		all = append(all, r)
	}
	if err := k.kafka.ProduceSync(k.t.Context(), all...).FirstErr(); err != nil {
		k.t.Fatal(err)
	}
}

// rows reads until that works.
func (k *kept) rows() heartbeat.Rows {
	k.t.Helper()
	var rows heartbeat.Rows
	replicatest.Until(k.t, "the topics are read", func() bool {
		var err error
		rows, err = k.read()
		return err == nil
	})
	return rows
}

func (k *kept) read() (heartbeat.Rows, error) {
	ctx, cancel := context.WithTimeout(context.Background(), replicatest.Patience)
	defer cancel()
	return k.store.Rows(ctx, k.names)
}

// refuses waits until a read, or a write, fails so.
func (k *kept) refuses(what string, reason replica.Reason, detail string, f func() error) {
	k.t.Helper()
	var err error
	replicatest.Until(k.t, what, func() bool {
		err = f()
		failure, ok := errors.AsType[*heartbeat.Failure](err)
		return ok && failure.Reason == reason
	})
	if !strings.Contains(err.Error(), detail) || strings.Contains(err.Error(), canary) {
		k.t.Errorf("%s: %v, want %q", what, err, detail)
	}
}

func (k *kept) cannotRead() error {
	_, err := k.read()
	return err
}

func (k *kept) write(seq int64, echoes ...heartbeat.Echo) error {
	ctx, cancel := context.WithTimeout(context.Background(), replicatest.Patience)
	defer cancel()
	return k.store.Put(ctx, beatOf("a", seq), echoes)
}

// beatOf is a beat of epoch 1, whole to what is kept of it.
func beatOf(origin string, seq int64) heartbeat.Beat {
	return heartbeat.Beat{Origin: origin, Epoch: 1, Seq: seq, At: time.UnixMicro(1_700_000_000_000_000 + seq), Interval: time.Second}
}

func TestStore(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.refuses("no topic", replica.ReasonMisconfigured, "there is no topic evenkeel-heartbeat: create it, as with kafka-topics --create", k.cannotRead)
	k.make(own, 1)
	rows := k.rows()
	if len(rows.Beats) > 0 || len(rows.Echoes) > 0 || !strings.Contains(rows.Unread["b"].Detail, "there is no topic b.evenkeel-heartbeat") {
		t.Errorf("an empty topic has %+v", rows)
	}
	echo := heartbeat.Echo{Observer: "a", Origin: "b", Epoch: 3, Seq: 4, At: time.UnixMicro(1_700_000_000_000_000)}
	for seq := range int64(3) {
		if err := k.write(seq+1, echo); err != nil {
			t.Fatal(err)
		}
	}
	k.make(copied, 1)
	back := heartbeat.Echo{Observer: "b", Origin: "a", Epoch: 1, Seq: 2, At: time.UnixMicro(1_700_000_000_000_009)}
	// Those of c pass through b's cluster: nothing of theirs was asked for.
	replicatest.Until(t, "the copy is seen", func() bool { return len(k.rows().Unread) == 0 })
	k.put(copied, "hb.b", beatOf("b", 7).Text(), "hb.c", beatOf("c", 9).Text(), "echo.b.a", back.Text(), "echo.c.b", "1 1 1", "hb.b", beatOf("b", 8).Text())
	rows = k.rows()
	if got := rows.Beat("a"); !got.OK || got.V != beatOf("a", 3) {
		t.Errorf("the own beat is %+v", got)
	}
	if got := rows.Beat("b"); !got.OK || got.V != beatOf("b", 8) {
		t.Errorf("the beat of b is %+v", got)
	}
	if got := rows.Echo("b", "a"); !got.OK || got.V != back || len(rows.Echoes) != 1 || len(rows.Beats) != 2 || rows.Whole || len(rows.Unread) > 0 {
		t.Errorf("the rows are %+v", rows)
	}
	// A key that is deleted is gone, also for one that reads from the start.
	k.put(copied, "hb.b", "")
	if got := k.rows().Beat("b"); got.OK {
		t.Errorf("a deleted beat is %+v", got)
	}
	k.store.Close()
	if got := k.rows(); got.Beat("a").V != beatOf("a", 3) || got.Beat("b").OK {
		t.Errorf("after a new connection: %+v", got)
	}
	// Made anew, it begins anew.
	if _, err := k.admin.DeleteTopics(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	k.refuses("a topic that was deleted", replica.ReasonMisconfigured, "create it", k.cannotRead)
	k.make(own, 1)
	if got := k.rows().Beat("a"); got.OK {
		t.Errorf("a topic made anew has %+v", got)
	}
	replicatest.Until(t, "it is written anew", func() bool { return k.write(4) == nil })
	if got := k.rows().Beat("a"); !got.OK || got.V != beatOf("a", 4) {
		t.Errorf("a topic made anew has %+v", got)
	}
}

// Two writers begin to write at the same moment: the older one finds the newer one, though its own beat came after that one's.
func TestStoreFindsAnotherWriter(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.make(own, 1)
	k.make(copied, 1)
	other := beatOf("a", 1)
	other.Epoch = 2
	k.put(own, "hb.a", beatOf("a", 1).Text(), "hb.a", other.Text(), "hb.a", beatOf("a", 2).Text())
	if got := k.rows().Beat("a"); !got.OK || got.V != other {
		t.Errorf("the beat to write over is %+v", got)
	}
	// What a copy holds last is what its site wrote last: going back is how two writers are seen from afar.
	other.Origin = "b"
	k.put(copied, "hb.b", other.Text(), "hb.b", beatOf("b", 2).Text())
	if got := k.rows().Beat("b"); !got.OK || got.V != beatOf("b", 2) {
		t.Errorf("the beat of b is %+v", got)
	}
}

// What was written in a transaction that was given up never arrived; one that is open hides what comes after it.
func TestStoreReadsWhatIsCommitted(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.make(own, 1)
	k.make(copied, 1)
	writer := k.connect(kgo.TransactionalID("connect"))
	t.Cleanup(writer.Close)
	mirrored := func(seq int64, end kgo.TransactionEndTry) {
		t.Helper()
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: copied, Key: []byte("hb.b"), Value: []byte(beatOf("b", seq).Text())}
		if err := writer.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if got := k.rows().Beat("b").V.Seq; got >= seq {
			t.Errorf("beat %d is there before it is committed", got)
		}
		if err := writer.EndTransaction(t.Context(), end); err != nil {
			t.Fatal(err)
		}
	}
	mirrored(1, kgo.TryCommit)
	replicatest.Until(t, "the committed beat is read", func() bool { return k.rows().Beat("b").V.Seq == 1 })
	mirrored(2, kgo.TryAbort)
	mirrored(3, kgo.TryCommit)
	replicatest.Until(t, "the next one is read", func() bool { return k.rows().Beat("b").V.Seq == 3 })
}

// A topic that holds anything else is not written, and a copy that does is not believed.
func TestStoreRefusesForeignTopics(t *testing.T) {
	t.Parallel()
	for i, r := range [][2]string{
		{"", "x"},
		{"order-7", "x"},
		{"hb.a", "x"},
		{"hb.a", "1 1 1 0"},
		{"hb.", beatOf("a", 1).Text()},
		{"hb.a.b", beatOf("a", 1).Text()},
		{"echo.b", "1 1 1"},
		{"echo..a", "1 1 1"},
		{"echo.a.b", "1 1"},
	} {
		l := &log{beats: map[string]heartbeat.Beat{}, echoes: map[string]heartbeat.Echo{}}
		if l.note(r[0], []byte(r[1])) {
			t.Errorf("record %d is taken for a heartbeat", i)
		}
	}
	k := newKept(t)
	k.make(own, 1)
	k.make(copied, 1)
	k.put(own, "hb.a", beatOf("a", 1).Text())
	k.put(copied, "hb.b", beatOf("b", 1).Text())
	if got := k.rows(); len(got.Beats) != 2 {
		t.Errorf("the rows are %+v", got)
	}
	k.put(copied, "order", "x", "hb.b", beatOf("b", 2).Text())
	rows := k.rows()
	if why := rows.Unread["b"]; why == nil || why.Reason != replica.ReasonMisconfigured || !strings.Contains(why.Detail, "something else than heartbeats at offset 1") || rows.Beat("b").OK || !rows.Beat("a").OK {
		t.Errorf("a foreign record in the copy: %+v", rows)
	}
	k.put(own, "order", "x")
	k.refuses("a foreign record", replica.ReasonMisconfigured, "the topic evenkeel-heartbeat holds something else than heartbeats at offset 1", k.cannotRead)
	// It is believed again when they are deleted.
	var cut kadm.Offsets
	cut.AddOffset(own, 0, 2, -1)
	cut.AddOffset(copied, 0, 2, -1)
	if _, err := k.admin.DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	k.put(own, "hb.a", beatOf("a", 2).Text())
	if got := k.rows(); got.Beat("a").V != beatOf("a", 2) || got.Beat("b").V != beatOf("b", 2) {
		t.Errorf("without the foreign records: %+v", got)
	}
}

func TestStoreAccess(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.make(own, 1)
	k.make(copied, 1)
	k.rows()
	take := func(operation kmsg.ACLOperation, topic string) {
		t.Helper()
		b := kadm.NewACLs().Allow("User:evenkeel").AllowHosts("*").Topics(topic).Operations(operation).ResourcePatternType(kmsg.ACLResourcePatternTypeLiteral)
		if _, err := k.admin.DeleteACLs(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	// The copy must not be read: the own beat is written all the same.
	take(kmsg.ACLOperationRead, copied)
	k.put(copied, "hb.b", beatOf("b", 1).Text())
	replicatest.Until(t, "the copy is refused", func() bool { return k.rows().Unread["b"] != nil })
	if why := k.rows().Unread["b"]; why.Reason != replica.ReasonPrivilege || why.Detail != "the account may not read the topic b.evenkeel-heartbeat: it needs the operation Read" {
		t.Errorf("the copy: %+v", why)
	}
	if err := k.write(1); err != nil {
		t.Error(err)
	}
	take(kmsg.ACLOperationWrite, own)
	k.refuses("no Write", replica.ReasonPrivilege, "the account may not write into the topic evenkeel-heartbeat: it needs the operation Write", func() error { return k.write(2) })
	k.may(kmsg.ACLOperationRead, copied)
	replicatest.Until(t, "the copy is read again", func() bool { return k.rows().Beat("b").OK })
	take(kmsg.ACLOperationRead, own)
	k.refuses("no Read", replica.ReasonPrivilege, "the account may not read the topic evenkeel-heartbeat", k.cannotRead)

	several := newKept(t)
	several.make(own, 2)
	several.refuses("two partitions", replica.ReasonMisconfigured, "has 2 partitions: heartbeats need a topic with one", several.cannotRead)
	several.stop()
	several.refuses("nobody there", replica.ReasonConnect, "cannot be reached", several.cannotRead)
}

// A topic that was not compacted for long is read over several reads, and nothing of it is told before its end was seen.
func TestStoreReadsALongTopic(t *testing.T) {
	t.Parallel()
	k := newKept(t)
	k.make(own, 1)
	k.make(copied, 1)
	const beats = 20_000
	var all []string
	for seq := range int64(beats) {
		all = append(all, "hb.b", beatOf("b", seq+1).Text())
	}
	k.put(copied, all...)
	for reads := 1; ; reads++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(reads)*20*time.Millisecond)
		rows, err := k.store.Rows(ctx, k.names)
		cancel()
		if b := rows.Beat("b"); err == nil && b.OK {
			if b.V.Seq != beats {
				t.Errorf("beat %d of %d is told after %d reads", b.V.Seq, beats, reads)
			}
			return
		}
		if reads > 100 {
			t.Fatalf("the topic is not read to its end: %+v, %v", rows, err)
		}
	}
}
