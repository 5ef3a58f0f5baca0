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

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// startCluster starts a cluster in which the agent may do what the documentation asks for.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t, port: freePort(t)}
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
	until(c.t, "offsets are committed", 10*time.Second, func() bool {
		return c.admin.CommitAllOffsets(context.Background(), "copier", all) == nil
	})
}

// until polls a condition.
func until(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", limit, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// watcher looks through one engine and settles what it sees.
type watcher struct {
	t      *testing.T
	name   string
	engine *Engine
	memory replica.Memory
	last   replica.Status
	seen   replica.Sighting
}

func newWatcher(t *testing.T, name string, o Options) *watcher {
	t.Helper()
	o.Timeout, o.Silence, o.Interval = time.Second, 1500*time.Millisecond, 100*time.Millisecond
	engine, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engine.Close)
	return &watcher{t: t, name: name, engine: engine}
}

func (w *watcher) look() replica.Status {
	w.t.Helper()
	r := w.engine.Look(w.t.Context())
	if len(r.Sightings) != 1 || len(r.Beats) != 1 {
		w.t.Fatalf("%s: %d sightings", w.name, len(r.Sightings))
	}
	w.seen = r.Sightings[0]
	w.last, w.memory = replica.Settle(w.seen, w.memory, replica.Look{
		Began: r.Began, Ended: r.Ended, Interval: 100 * time.Millisecond, ClockKnown: true, Heartbeat: r.Beats[0],
	})
	if strings.Contains(fmt.Sprintf("%+v", r), canary) {
		w.t.Fatalf("%s: the password is shown: %+v", w.name, r)
	}
	if w.last.State == replica.Unknown && (w.last.Lower.OK || w.last.Upper.OK || w.last.Reason == "") {
		w.t.Errorf("%s: unknown with a figure or without a reason: %+v", w.name, w.last)
	}
	if w.last.State == replica.LinkDown && w.last.Lower.V <= 0 {
		w.t.Errorf("%s: down and not behind: %+v", w.name, w.last)
	}
	return w.last
}

func (w *watcher) show() string {
	return fmt.Sprintf("%s: %v %s %q lag %v..%v messages %v age %v", w.name, w.last.State, w.last.Reason, w.last.Detail,
		w.last.Lower, w.last.Upper, w.last.Messages, w.last.LinkAge)
}

// becomes looks until it sees the state.
func (w *watcher) becomes(limit time.Duration, state replica.State, reason replica.Reason) {
	w.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if st := w.look(); st.State == state && st.Reason == reason {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("not %v %s within %s: %s", state, reason, limit, w.show())
		}
	}
}

func TestStory(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	group := LinkSpec{Store: "log", From: "a", To: "b", Channel: "copier", End: replica.Source}
	declared := group
	declared.Peer = topic + ", " + topic
	found := newWatcher(t, "what the group has", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{group}})
	w := newWatcher(t, "what is declared", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{declared}})

	found.becomes(2*time.Second, replica.Unknown, replica.ReasonMisconfigured)
	w.becomes(2*time.Second, replica.Unknown, replica.ReasonMisconfigured)
	c.make(topic, 2)
	c.produce(0, "1", "2", "3")
	w.becomes(3*time.Second, replica.CatchingUp, replica.ReasonNotMeasured)
	if w.last.Messages.V != 3 || w.last.Upper.OK || !w.last.LastCaughtUp.IsZero() {
		t.Errorf("nothing committed: %s", w.show())
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
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		member.PollFetches(ctx)
		if err := member.CommitUncommittedOffsets(ctx); err != nil {
			t.Fatal(err)
		}
	}
	consume()
	found.becomes(3*time.Second, replica.CaughtUp, "")
	w.becomes(3*time.Second, replica.CaughtUp, "")
	if members := measure(w.seen, "kafka.group.members"); members != 1 {
		t.Errorf("%v members", members)
	}
	for i := range 20 {
		c.produce(0, fmt.Sprint(i))
		consume()
		if st := w.look(); st.State != replica.CaughtUp || st.Upper.V > 500*time.Millisecond {
			t.Errorf("steady: %s", w.show())
		}
	}

	// Idle for a while, and then a write: no spike. It is not read: the lag grows, and after ten looks the group stands.
	idle := time.Now()
	until(t, "idle", 15*time.Second, func() bool { return w.look().State == replica.IdleLinkOK && time.Since(idle) > 10500*time.Millisecond })
	before := time.Now()
	c.produce(0, "unread")
	after := time.Now()
	st := w.look()
	if st.State != replica.CatchingUp || st.Messages.V != 1 || st.Upper.V > time.Second {
		t.Errorf("one record: %s", w.show())
	}
	w.becomes(3*time.Second, replica.ApplierStopped, replica.ReasonStale)
	until(t, "the lag grows", 3*time.Second, func() bool { return w.look().Lower.V > 300*time.Millisecond })
	if w.last.Lower.V > time.Since(before)+time.Millisecond || w.last.Upper.V < w.last.At.Sub(after) {
		t.Errorf("lag between %s and %s: %s", w.last.At.Sub(after), time.Since(before), w.show())
	}
	consume()
	w.becomes(3*time.Second, replica.CaughtUp, "")

	// The group leaves.
	leave()
	w.becomes(5*time.Second, replica.ApplierStopped, "")
	c.produce(0, "nobody")
	w.becomes(3*time.Second, replica.ApplierStopped, "")
	until(t, "the lag grows", 3*time.Second, func() bool { return w.look().Lower.V > 300*time.Millisecond && w.last.Messages.V == 1 })

	// What is deleted unread is lost; going back is seen; a topic that is made anew makes offsets meaningless.
	var cut kadm.Offsets
	cut.AddOffset(topic, 0, 24, -1)
	c.commit(20, 0)
	if _, err := c.admin.DeleteRecords(t.Context(), cut); err != nil {
		t.Fatal(err)
	}
	w.becomes(3*time.Second, replica.ApplierStopped, replica.ReasonLost)
	if lost := measure(w.seen, "kafka.messages.lost"); lost != 4 {
		t.Errorf("%v messages lost", lost)
	}
	if _, err := c.admin.DeleteTopics(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	w.becomes(5*time.Second, replica.Unknown, replica.ReasonMisconfigured)
	c.make(topic, 2)
	c.commit(20, 0)
	w.becomes(5*time.Second, replica.Unknown, replica.ReasonDisagree)

	// The cluster dies, and is there again.
	c.stop()
	w.becomes(5*time.Second, replica.Unknown, replica.ReasonConnect)
	c.start()
	c.make(topic, 2)
	c.produce(1, "x")
	w.becomes(10*time.Second, replica.CatchingUp, replica.ReasonNotMeasured)
	c.commit(0, 1)
	w.becomes(3*time.Second, replica.CaughtUp, "")
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
	all.becomes(3*time.Second, replica.CatchingUp, "")
	stable.becomes(3*time.Second, replica.CaughtUp, "")
	if err := writer.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	stable.becomes(3*time.Second, replica.CatchingUp, "")
	c.commit(2) // the mark is left
	all.becomes(3*time.Second, replica.CaughtUp, "")
	stable.becomes(3*time.Second, replica.CaughtUp, "")
}

func TestMirrorMaker(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	w := newWatcher(t, "mm2", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{{Store: "log", From: "a", To: "b", End: replica.Target}}})
	w.becomes(2*time.Second, replica.Unknown, replica.ReasonMisconfigured)
	c.make(beats, 1)
	w.becomes(2*time.Second, replica.LinkDown, "")
	beat := func(at time.Time) {
		t.Helper()
		key, value := heartbeat("a", "b", at)
		if err := c.kafka.ProduceSync(t.Context(), &kgo.Record{Topic: beats, Key: key, Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	steady := func(late time.Duration) {
		t.Helper()
		for range 10 {
			beat(time.Now().Add(-late))
			st := w.look()
			if st.State != replica.CatchingUp || st.Upper.V < late-5*time.Millisecond || st.Upper.V > late+700*time.Millisecond || st.Lower.V > late {
				t.Errorf("%s late: %s", late, w.show())
			}
		}
	}
	steady(0)
	// Cut: no heartbeats, and the lag grows, bounded by the age of the last.
	cut := time.Now()
	w.becomes(4*time.Second, replica.LinkDown, replica.ReasonStale)
	until(t, "the lag grows", 4*time.Second, func() bool { st := w.look(); return st.State == replica.LinkDown && st.Lower.V > 2*time.Second })
	if !w.last.Upper.OK || w.last.Upper.V < time.Since(cut)-100*time.Millisecond {
		t.Errorf("cut since %s: %s", time.Since(cut), w.show())
	}
	// It comes back and catches up.
	for i := range 10 {
		stamp := cut.Add(time.Duration(i) * time.Millisecond)
		beat(stamp)
		late := time.Since(stamp)
		if st := w.look(); st.State != replica.CatchingUp || st.Upper.V < late || st.Upper.V > late+700*time.Millisecond || st.Lower.V > late {
			t.Errorf("%s late: %s", late, w.show())
		}
	}
	steady(0)
	// Clocks that contradict each other.
	beat(time.Now().Add(5 * time.Second))
	w.becomes(2*time.Second, replica.Unknown, replica.ReasonClockSkew)
	key, _ := heartbeat("a", "b", time.Now())
	other := newWatcher(t, "foreign", Options{Server: c.as("evenkeel", canary), Links: []LinkSpec{{Store: "log", From: "x", To: "b", End: replica.Target, Peer: "a"}}})
	for range tail {
		if err := c.kafka.ProduceSync(t.Context(), &kgo.Record{Topic: beats, Key: key, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	other.becomes(2*time.Second, replica.Unknown, replica.ReasonIncomplete)
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
	f(Options{Server: good, Links: []LinkSpec{{Store: "s", From: "a", To: "b", End: replica.Source}}}, "MirrorMaker")
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
		newWatcher(t, name, Options{Server: s, Links: []LinkSpec{l}}).becomes(0, state, reason)
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
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a look took %s with a timeout of 1 s", took)
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
