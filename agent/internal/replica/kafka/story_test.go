package kafka

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	adminPassword = "admin-word"
	canary        = "canary-2f9a71"
	topic         = "orders"
	beats         = "a.heartbeats"
)

// cluster is an imitated cluster in this process: one broker on a loopback port, with users and permissions.
type cluster struct {
	t     testing.TB
	port  int
	fake  *kfake.Cluster
	kafka *kgo.Client
	admin *kadm.Client
}

// startCluster starts a cluster in which the agent may do what the documentation asks for.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, port: replicatest.FreePort(t)}
	c.start()
	t.Cleanup(c.stop)
	return c
}

func (c *cluster) start() {
	c.t.Helper()
	may := func(resource kmsg.ACLResourceType, name string, operation kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: operation, Allow: true}
	}
	fake, err := kfake.NewCluster(
		kfake.NumBrokers(1), kfake.Ports(c.port), kfake.EnableSASL(), kfake.EnableACLs(),
		kfake.Superuser("PLAIN", "admin", adminPassword),
		kfake.User("PLAIN", "evenkeel", canary,
			may(kmsg.ACLResourceTypeGroup, "copier", kmsg.ACLOperationDescribe),
			may(kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationDescribe), may(kmsg.ACLResourceTypeTopic, topic, kmsg.ACLOperationRead),
			may(kmsg.ACLResourceTypeTopic, beats, kmsg.ACLOperationDescribe), may(kmsg.ACLResourceTypeTopic, beats, kmsg.ACLOperationRead)),
		kfake.BrokerConfigs(map[string]string{"log.message.timestamp.type": "LogAppendTime"}),
	)
	if err != nil {
		c.t.Fatal(err)
	}
	c.fake = fake
	c.kafka = c.connect()
	c.admin = kadm.NewClient(c.kafka)
}

// connect makes a client of the admin.
func (c *cluster) connect(options ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	k, err := kgo.NewClient(append(options, kgo.SeedBrokers(c.address()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0), kgo.MetadataMinAge(100*time.Millisecond),
		kgo.SASL(plain.Auth{User: "admin", Pass: adminPassword}.AsMechanism()))...)
	if err != nil {
		c.t.Fatal(err)
	}
	return k
}

func (c *cluster) stop() {
	if c.fake == nil {
		return
	}
	c.kafka.CloseAllowingRebalance()
	c.fake.Close()
	c.fake = nil
}

func (c *cluster) address() string { return fmt.Sprintf("127.0.0.1:%d", c.port) }

// as is the cluster for the agent's user.
func (c *cluster) as(user, password string) Server {
	c.t.Helper()
	file := filepath.Join(c.t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return Server{Address: c.address(), User: user, PasswordFile: file, Mechanism: "PLAIN"}
}

func (c *cluster) make(name string, partitions int32) {
	c.t.Helper()
	if _, err := c.admin.CreateTopic(c.t.Context(), partitions, 1, nil, name); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) produce(partition int32, values ...string) {
	c.t.Helper()
	for _, v := range values {
		r := &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)}
		if err := c.kafka.ProduceSync(context.Background(), r).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// commit commits offsets of the group, by partition.
func (c *cluster) commit(offsets ...int64) {
	c.t.Helper()
	var all kadm.Offsets
	for partition, at := range offsets {
		all.AddOffset(topic, int32(partition), at, -1)
	}
	// The client may still have the id of a topic that was deleted.
	replicatest.Until(c.t, "offsets are committed", func() bool {
		return c.admin.CommitAllOffsets(context.Background(), "copier", all) == nil
	})
}

func newWatcher(t *testing.T, name string, o Options) *replicatest.Watcher {
	t.Helper()
	o.Timeout, o.Silence, o.Interval = 5*time.Second, 3*time.Second, 100*time.Millisecond
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return replicatest.NewWatcher(t, name, func(ctx context.Context) replicatest.Glance {
		r := engine.Look(ctx)
		return replicatest.Glance{Began: r.Began, Ended: r.Ended, Sightings: r.Sightings, Beat: r.Beats[0]}
	}, canary)
}

func TestStory(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	group := LinkSpec{Store: "log", From: "a", To: "b", Channel: "copier", End: replica.Source}
	declared := group
	declared.Peer = topic + ", " + topic
	found := newWatcher(t, "what the group has", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{group}})
	w := newWatcher(t, "what is declared", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{declared}})

	says := func(w *replicatest.Watcher, want string) {
		t.Helper()
		if w.Becomes(replica.Unknown, replica.ReasonMisconfigured); !strings.Contains(w.Last.Detail, want) {
			t.Errorf("%q is not said: %s", want, w.Show())
		}
	}
	says(found, "peer names them")
	says(w, "there is no topic \""+topic+"\"")
	mirrored := newWatcher(t, "no heartbeats", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{{Store: "log", From: "a", To: "b", End: replica.Target}}})
	says(mirrored, "there is no topic \""+beats+"\", to which MirrorMaker 2 copies its heartbeats")
	c.make(topic, 2)
	c.produce(0, "1", "2", "3")
	w.Becomes(replica.CatchingUp, replica.ReasonNotMeasured)
	if w.Last.Messages.V != 3 || w.Last.Upper.OK || !w.Last.LastCaughtUp.IsZero() {
		t.Errorf("nothing committed: %s", w.Show())
	}

	// A group that works.
	member := c.connect(kgo.ConsumerGroup("copier"), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	left := false
	leave := func() {
		if !left {
			left = true
			member.CloseAllowingRebalance()
		}
	}
	t.Cleanup(leave)
	consume := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), replicatest.Patience)
		defer cancel()
		for got := 0; got == 0 && ctx.Err() == nil; { // a poll may end without a record
			got = member.PollFetches(ctx).NumRecords()
		}
		if err := member.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
	}
	consume()
	found.Complete()
	w.Complete()
	if members := measure(w.Seen, "kafka.group.members"); members != 1 {
		t.Errorf("%v members", members)
	}
	for i := range 20 {
		c.produce(0, fmt.Sprint(i))
		consume()
		if st := w.Look(); st.State != replica.CaughtUp || st.Upper.V > 5*time.Second {
			t.Errorf("steady: %s", w.Show())
		}
	}

	// Idle for a while, and then a write: no spike. It is not read: the lag grows, and after ten looks the group stands.
	idle := time.Now()
	replicatest.Until(t, "idle", func() bool { return w.Look().State == replica.IdleLinkOK && time.Since(idle) > 10500*time.Millisecond })
	before := time.Now()
	c.produce(0, "unread")
	after := time.Now()
	st := w.Look()
	if st.State != replica.CatchingUp || st.Messages.V != 1 || st.Upper.V > 5*time.Second {
		t.Errorf("one record: %s", w.Show())
	}
	w.Becomes(replica.ApplierStopped, replica.ReasonStale)
	replicatest.Until(t, "the lag grows", func() bool { return w.Look().Lower.V > 300*time.Millisecond })
	if w.Last.Lower.V > time.Since(before)+time.Millisecond || w.Last.Upper.V < w.Last.At.Sub(after) {
		t.Errorf("lag between %s and %s: %s", w.Last.At.Sub(after), time.Since(before), w.Show())
	}
	consume()
	w.Complete()

	// The group leaves.
	leave()
	w.Becomes(replica.ApplierStopped, "")
	c.produce(0, "nobody")
	w.Becomes(replica.ApplierStopped, "")
	replicatest.Until(t, "the lag grows", func() bool { return w.Look().Lower.V > 300*time.Millisecond && w.Last.Messages.V == 1 })

	// What is deleted unread is lost; going back is seen; a topic that is made anew makes offsets meaningless.
	var cut kadm.Offsets
	cut.AddOffset(topic, 0, 24, -1)
	c.commit(20, 0)
	if _, err := c.admin.DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	w.Becomes(replica.ApplierStopped, replica.ReasonLost)
	if lost := measure(w.Seen, "kafka.messages.lost"); lost != 4 {
		t.Errorf("%v messages lost", lost)
	}
	if _, err := c.admin.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	w.Becomes(replica.Unknown, replica.ReasonMisconfigured)
	c.make(topic, 2)
	c.commit(20, 0)
	w.Becomes(replica.Unknown, replica.ReasonDisagree)

	// The cluster dies, and is there again.
	c.stop()
	w.Becomes(replica.Unknown, replica.ReasonConnect)
	c.start()
	c.make(topic, 2)
	c.produce(1, "x")
	w.Becomes(replica.CatchingUp, replica.ReasonNotMeasured)
	c.commit(0, 1)
	w.Complete()
}

// What a reader of committed transactions has to read ends where an open one begins; marks of transactions are no records.
func TestTransactions(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.make(topic, 1)
	link := []LinkSpec{{Store: "log", From: "a", To: "b", Channel: "copier", End: replica.Source, Peer: topic}}
	all := newWatcher(t, "all", Options{Server: c.as("evenkeel", canary), Links: link})
	stable := newWatcher(t, "committed", Options{Server: c.as("evenkeel", canary), Links: link, ReadCommitted: true})
	writer := c.connect(kgo.TransactionalID("t"))
	t.Cleanup(writer.Close)
	c.produce(0, "plain")
	c.commit(1)
	if err := writer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := writer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	all.Becomes(replica.CatchingUp, "")
	stable.Complete()
	if err := writer.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	stable.Becomes(replica.CatchingUp, "")
	c.commit(2) // the mark is left
	all.Complete()
	stable.Complete()
}

func TestMirrorMaker(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	w := newWatcher(t, "mm2", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{{Store: "log", From: "a", To: "b", End: replica.Target}}})
	w.Becomes(replica.Unknown, replica.ReasonMisconfigured)
	c.make(beats, 1)
	w.Becomes(replica.LinkDown, "")
	beat := func(at time.Time) {
		t.Helper()
		key, value := mirrorBeat("a", "b", at)
		if err := c.kafka.ProduceSync(t.Context(), &kgo.Record{Topic: beats, Key: key, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	steady := func(late time.Duration) {
		t.Helper()
		for range 10 {
			began := time.Now()
			beat(began.Add(-late))
			most := late + time.Since(began) // it is appended while it is produced
			st := w.Look()
			took := st.At.Sub(w.Began)
			if st.State != replica.CatchingUp || st.Upper.V < late-5*time.Millisecond || st.Upper.V > late+st.At.Sub(began)+took+200*time.Millisecond || st.Lower.V > most {
				t.Errorf("%s late: %s", late, w.Show())
			}
		}
	}
	steady(0)
	// Cut: no heartbeats, and the lag grows, bounded by the age of the last.
	cut := time.Now()
	w.Becomes(replica.LinkDown, replica.ReasonStale)
	replicatest.Until(t, "the lag grows", func() bool { st := w.Look(); return st.State == replica.LinkDown && st.Lower.V > 2*time.Second })
	if since := w.Last.At.Sub(cut); !w.Last.Upper.OK || w.Last.Upper.V < since {
		t.Errorf("cut since %s: %s", since, w.Show())
	}
	// It comes back and catches up.
	for i := range 10 {
		stamp := cut.Add(time.Duration(i) * time.Millisecond)
		beat(stamp)
		late := time.Since(stamp)
		st := w.Look()
		if took := st.At.Sub(w.Began); st.State != replica.CatchingUp || st.Upper.V < late || st.Upper.V > st.At.Sub(stamp)+took+200*time.Millisecond || st.Lower.V > late {
			t.Errorf("%s late: %s", late, w.Show())
		}
	}
	steady(0)
	// Clocks that contradict each other.
	beat(time.Now().Add(5 * time.Second))
	w.Becomes(replica.Unknown, replica.ReasonClockSkew)
	key, _ := mirrorBeat("a", "b", time.Now())
	other := newWatcher(t, "foreign", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{{Store: "log", From: "x", To: "b", End: replica.Target, Peer: "a"}}})
	for range tail {
		if err := c.kafka.ProduceSync(t.Context(), &kgo.Record{Topic: beats, Key: key, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	other.Becomes(replica.Unknown, replica.ReasonIncomplete)
}

func TestNewRefuses(t *testing.T) {
	link := LinkSpec{Store: "s", From: "a", To: "b", Channel: "g", End: replica.Source}
	f := func(o Options, want string) {
		t.Helper()
		if e, err := New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%+v: %v, %v", o, e, err)
		}
	}
	good := Server{Address: "127.0.0.1:1"}
	f(Options{Server: Server{Address: "u:" + canary + "@h:1"}}, "host:port")
	f(Options{Server: Server{Address: "127.0.0.1:1,h"}}, "host:port")
	f(Options{Server: Server{Address: "127.0.0.1:1", User: "u", Mechanism: canary}}, "mechanism")
	f(Options{Server: good, Links: []LinkSpec{link, link}}, "twice")
	f(Options{Server: good, Links: []LinkSpec{{Store: "s", From: "a", To: "b", Channel: "g"}}}, "an end")
	f(Options{Server: good, Timeout: -1}, "below 0")
	f(Options{Server: good, Timeout: time.Millisecond}, "at least")
}

func TestAccess(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	c.make(topic, 1)
	c.make("secret", 1)
	c.produce(0, "x")
	c.commit(1)
	link := LinkSpec{Store: "log", From: "a", To: "b", Channel: "copier", End: replica.Source}
	look := func(name string, s Server, state replica.State, reason replica.Reason, change func(*LinkSpec)) {
		t.Helper()
		l := link
		if change != nil {
			change(&l)
		}
		newWatcher(t, name, Options{Server: s, Links: []LinkSpec{l}}).Becomes(state, reason)
	}
	good := c.as("evenkeel", canary)
	look("allowed", good, replica.CaughtUp, "", nil)
	look("another group", good, replica.Unknown, replica.ReasonPrivilege, func(l *LinkSpec) { l.Channel = "other" })
	look("another topic", good, replica.Unknown, replica.ReasonPrivilege, func(l *LinkSpec) { l.Peer = "secret" })
	// A broker answers with an error where the imitation hangs up.
	c.fake.ControlKey(int16(kmsg.SASLAuthenticate), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.KeepControl()
		request := r.(*kmsg.SASLAuthenticateRequest)
		if !strings.Contains(string(request.SASLAuthBytes), "wrong-") {
			return nil, nil, false
		}
		answer := request.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		text := "refused: " + canary
		answer.ErrorCode, answer.ErrorMessage = kerr.SaslAuthenticationFailed.Code, &text
		return answer, nil, true
	})
	look("a wrong password", c.as("evenkeel", "wrong-"+canary), replica.Unknown, replica.ReasonAuth, nil)
	gone := good
	gone.PasswordFile = filepath.Join(t.TempDir(), "no")
	look("without its file", gone, replica.Unknown, replica.ReasonAuth, nil)

	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	silent := good
	silent.Address = mute.Addr().String()
	began := time.Now()
	look("nobody answers", silent, replica.Unknown, replica.ReasonTimeout, nil)
	if took := time.Since(began); took > replicatest.Patience/2 {
		t.Errorf("a look took %s with a timeout of 5 s", took)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, err := New(Options{Server: good, Links: []LinkSpec{link}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if r := e.Look(ctx); len(r.Sightings) != 1 || r.Sightings[0].State != replica.Unknown {
		t.Errorf("cancelled: %+v", r)
	}
}
