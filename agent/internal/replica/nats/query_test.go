package nats

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
	"github.com/evenkeel/evenkeel/agent/internal/replica/sitetest"
)

func TestNewRefuses(t *testing.T) {
	link := LinkSpec{Store: "s", From: "a", To: "b", Channel: "ORDERS", End: replica.Target}
	f := func(o Options, want string) {
		t.Helper()
		if e, err := New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%+v: %v, %v", o, e, err)
		}
	}
	good := Server{Address: "127.0.0.1:1"}
	f(Options{Server: Server{Address: "nats://u:" + canary + "@h"}}, "host:port")
	f(Options{Server: Server{Address: "u:" + canary + "@h:1"}}, "host:port")
	f(Options{Server: good, Peer: &Server{}}, "host:port")
	f(Options{Server: Server{Address: "h:1", Domain: "a.b"}}, "domain")
	f(Options{Server: good, Links: []LinkSpec{link, link}}, "twice")
	f(Options{Server: good, Links: []LinkSpec{{Store: "s", From: "a", To: "b", Channel: "X"}}}, "an end")
	f(Options{Server: good, Links: []LinkSpec{{Store: "s", From: "a", To: "b", End: replica.Target}}}, "channel")
	f(Options{Server: good, Timeout: -1}, "below 0")
}

// The account loses what it needs and gets it back; the engine tells why each time, keeps no secret in its words, and
// recovers by itself.
func TestAccess(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n", 0)
	n.make(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	n.make(jetstream.StreamConfig{Name: "COPY", Mirror: &jetstream.StreamSource{Name: "ORDERS"}})
	n.publish("orders.x", 1)
	link := []LinkSpec{{Store: "s", From: "a", To: "b", Channel: "ORDERS", Peer: "COPY", End: replica.Target}}
	here := n.as(canary)
	w := newWatcher(t, "target", Options{Server: here, Peer: &here, Links: link})
	w.Complete()
	connections, err := n.Server().Connz(nil)
	named := 0
	for _, c := range connections.Conns {
		if c.Name == "evenkeel" {
			named++
		}
	}
	if err != nil || named != 2 {
		t.Errorf("%d of 2 connections have a name: %v", named, err)
	}
	// One connection is kept, however often is looked.
	before := connections.Total
	w.Look()
	if connections, err = n.Server().Connz(nil); err != nil || connections.Total != before {
		t.Errorf("connections %v, before %v: %v", connections.Total, before, err)
	}

	n.allow(`"$JS.API.STREAM.INFO.ORDERS"`)
	w.Becomes(replica.Unknown, replica.ReasonPrivilege) // and not that nobody answered in time
	n.allow(`"$JS.API.STREAM.INFO.COPY"`)
	w.Becomes(replica.CatchingUp, replica.ReasonNotMeasured)
	n.allow(everything)
	w.Complete()

	wrong, open := n.as("wrong-"+canary), Server{Address: here.Address}
	gone := Server{Address: here.Address, User: "evenkeel", PasswordFile: filepath.Join(t.TempDir(), "no")}
	for name, s := range map[string]Server{"a wrong password": wrong, "without a password": open, "without its file": gone} {
		newWatcher(t, name, Options{Server: s, Links: link}).Becomes(replica.Unknown, replica.ReasonAuth)
		newWatcher(t, "to the origin "+name, Options{Server: here, Peer: &s, Links: link}).Becomes(replica.CatchingUp, replica.ReasonNotMeasured)
	}
	none := []LinkSpec{{Store: "s", From: "a", To: "b", Channel: "NONE", Peer: "COPY", End: replica.Source}}
	newWatcher(t, "no such stream", Options{Server: here, Links: none}).Becomes(replica.Unknown, replica.ReasonMisconfigured)
	far := here
	far.Domain = "nowhere"
	n.allow(`"$JS.>"`)
	newWatcher(t, "no such domain", Options{Server: far, Links: link}).Becomes(replica.Unknown, replica.ReasonQuery)
	near := here
	near.Domain = "n"
	newWatcher(t, "by its domain", Options{Server: near, Peer: &near, Links: link}).Complete()
}

// A server that takes connections and says nothing, then nobody at all, then a real one on the same address.
func TestReconnects(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	links := []LinkSpec{{Store: "s", From: "a", To: "b", Channel: "ORDERS", Peer: "COPY", End: replica.Target}}
	n := &node{NATS: sitetest.NewNATS(t, "n", 0, agent(everything)), t: t}
	n.Port = mute.Addr().(*net.TCPAddr).Port
	w := newWatcher(t, "target", Options{Server: n.as(canary), Links: links})
	began := time.Now()
	w.Becomes(replica.Unknown, replica.ReasonTimeout)
	if took := time.Since(began); took > replicatest.Patience/2 {
		t.Errorf("a look took %s with a timeout of %s", took, lookTimeout)
	}
	mute.Close()
	for range 3 {
		if st := w.Look(); st.State != replica.Unknown || st.Reason != replica.ReasonConnect {
			t.Errorf("nobody listens: %s", w.Show())
		}
	}
	n.start()
	if st := w.Look(); st.Reason != replica.ReasonMisconfigured {
		t.Errorf("the first look after the server came back: %s", w.Show())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := w.engine.Look(ctx); len(r.Sightings) != 1 || r.Sightings[0].State != replica.Unknown {
		t.Errorf("cancelled: %+v", r)
	}
}

// Filters, transforms, and servers that do not tell the sequence of their source.
func TestPositions(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n", 0)
	n.make(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.*", "evenkeel.hb.a"}})
	n.make(jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"other"}})
	other := &jetstream.StreamSource{Name: "OTHER"}
	plain := &jetstream.StreamSource{Name: "ORDERS"}
	eu := &jetstream.StreamSource{Name: "ORDERS", FilterSubject: "orders.eu"}
	moved := &jetstream.StreamSource{Name: "ORDERS", SubjectTransforms: []jetstream.SubjectTransformConfig{{Source: "orders.*", Destination: "moved.{{wildcard(1)}}"}}}
	n.make(jetstream.StreamConfig{Name: "MIRROR-EU", Mirror: eu})
	n.make(jetstream.StreamConfig{Name: "ALL", Sources: []*jetstream.StreamSource{other, plain}})
	n.make(jetstream.StreamConfig{Name: "EU", Sources: []*jetstream.StreamSource{eu}})
	n.make(jetstream.StreamConfig{Name: "MOVED", Sources: []*jetstream.StreamSource{moved}})
	here := n.as(canary)
	var all []*watcher
	names := []string{"MIRROR-EU", "ALL", "EU", "MOVED"}
	for _, name := range names {
		w := newWatcher(t, name, Options{Server: here, Peer: &here, Links: []LinkSpec{{Store: "s", From: "a", To: "b", Channel: "ORDERS", Peer: name, End: replica.Target}}})
		all = append(all, w)
	}
	n.publish("orders.eu", 1)
	n.publish("orders.us", 1) // 2
	n.publish("orders.eu", 1) // 3
	n.publish("orders.us", 1) // 4
	n.publish("other", 1)
	for _, w := range all {
		w.Complete()
	}
	want := map[string]uint64{"MIRROR-EU": 3, "ALL": 4, "EU": 3, "MOVED": 4}
	for i, w := range all {
		w.positions(want[names[i]])
	}
}

// positions checks where the copy is by what the server tells, and by what a server before 2.15 tells.
func (w *watcher) positions(want uint64) {
	w.t.Helper()
	l := w.engine.links[0]
	row, err := w.engine.self.stream(w.t.Context(), l.copied())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, told := range []bool{true, false} {
		if !told {
			for i := range row.Sources {
				row.Sources[i].Seq = replica.Opt[uint64]{}
			}
		}
		v := View{Origin: replica.Some(StreamRow{Subjects: []string{"orders.>", "evenkeel.hb.a"}})}
		at, err := position(w.t.Context(), w.engine.self, l, row, &v)
		if err != nil || !at.OK || at.V != want {
			w.t.Errorf("%s: position %+v, want %d; sequence told: %v: %v", w.Name, at, want, told, err)
		}
	}
}

// A stream of three servers, of which first one fails and then two.
func TestCluster(t *testing.T) {
	t.Parallel()
	ports := []int{replicatest.FreePort(t), replicatest.FreePort(t), replicatest.FreePort(t)}
	var nodes []*node
	for i, port := range ports {
		n := &node{NATS: sitetest.NewNATS(t, fmt.Sprintf("n%d", i), 0, agent(everything)), t: t}
		n.Domain = "n"
		n.Routes = fmt.Sprintf(`cluster: {name: c, listen: "127.0.0.1:%d", routes: ["nats://127.0.0.1:%d", "nats://127.0.0.1:%d", "nats://127.0.0.1:%d"]}`, port, ports[0], ports[1], ports[2])
		n.start()
		nodes = append(nodes, n)
	}
	first := nodes[0]
	replicatest.Until(t, "the stream is made", func() bool {
		_, err := first.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}, Replicas: 3})
		return err == nil
	})
	replicatest.Until(t, "the copy is made", func() bool {
		_, err := first.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "COPY", Mirror: &jetstream.StreamSource{Name: "ORDERS"}, Replicas: 3})
		return err == nil
	})
	here := first.as(canary)
	w := newWatcher(t, "cluster", Options{Server: here, Peer: &here, Links: []LinkSpec{{Store: "s", From: "a", To: "b", Channel: "ORDERS", Peer: "COPY", End: replica.Target}}})
	first.publish("orders.x", 1)
	replicatest.Until(t, "all followers are current", func() bool {
		w.Look()
		n, ok := w.Measure("nats.followers.current")
		return ok && n == 2 && w.Last.State == replica.CaughtUp
	})
	nodes[2].stop()
	replicatest.Until(t, "one follower is not current", func() bool {
		w.Look()
		n, ok := w.Measure("nats.followers.current")
		return ok && n == 1
	})
	nodes[1].stop()
	// One that leads no more tells for a moment that it copies nothing, and still names itself the leader.
	replicatest.Until(t, "no leader", func() bool { st := w.Look(); return st.State == replica.Unknown && st.Reason != replica.ReasonRole })
	for range 5 {
		if st := w.Look(); st.State != replica.Unknown || st.Reason == replica.ReasonRole {
			t.Errorf("without a leader: %s", w.Show())
		}
	}
	t.Logf("without a leader: %s", w.Show())
}

func TestStore(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	open := func(n *node, password, stream string, copies map[string][]string) *Store {
		t.Helper()
		h, err := NewStore(n.as(password), stream, copies)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		return h
	}
	refuses := func(what string, err error, reason replica.Reason) {
		t.Helper()
		f, ok := errors.AsType[*heartbeat.Failure](err)
		if !ok || f.Reason != reason || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v, want reason %s", what, err, reason)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), replicatest.Patience)
	defer cancel()
	p.complete()
	writer, reader := open(p.origin, canary, "ORDERS", nil), open(p.copied, canary, "", map[string][]string{"a": {"ORDERS"}})
	here, there := heartbeat.Names{Own: "a"}, heartbeat.Names{Own: "b", Peers: []string{"a"}}
	if rows, err := reader.Rows(ctx, there); err != nil || len(rows.Beats) > 0 || len(rows.Unread) > 0 {
		t.Errorf("nothing was written: %+v %v", rows, err)
	}
	put := func(s *Store, names heartbeat.Names, b heartbeat.Beat, echoes ...heartbeat.Echo) error {
		t.Helper()
		if _, err := s.Rows(ctx, names); err != nil {
			t.Fatal(err)
		}
		return s.Put(ctx, b, echoes)
	}
	beat := heartbeat.Beat{Origin: "a", Epoch: 2, Seq: 1, At: time.UnixMicro(time.Now().UnixMicro()), Interval: time.Second}
	if err := put(writer, here, beat); err != nil {
		t.Fatal(err)
	}
	replicatest.Until(t, "the beat arrives", func() bool {
		rows, err := reader.Rows(ctx, there)
		got := rows.Beat("a")
		return err == nil && got.OK && got.V == beat && rows.In["a"] == "ORDERS"
	})
	// With it a copy alone has bounds, and they show a clock that is 5 s off.
	if st := p.alone.Look(); (st.State != replica.CaughtUp && st.State != replica.CatchingUp) || st.Reason != "" || !st.Upper.OK || st.Upper.V > 10*time.Second {
		t.Errorf("with a heartbeat: %s", p.alone.Show())
	}
	beat.Seq, beat.At = 2, time.UnixMicro(time.Now().Add(5*time.Second).UnixMicro())
	if err := put(writer, here, beat); err != nil {
		t.Fatal(err)
	}
	p.alone.Becomes(replica.Unknown, replica.ReasonClockSkew)
	p.both.Complete() // one clock is enough for it
	at := func(origin string) heartbeat.Beat {
		return heartbeat.Beat{Origin: origin, Epoch: 1, Seq: 1, At: beat.At, Interval: time.Second}
	}
	inCopy := open(p.copied, canary, "ORDERS", nil)
	refuses("a copy", put(inCopy, heartbeat.Names{Own: "b"}, at("b")), replica.ReasonRole)
	refuses("a beat without an origin", writer.Put(ctx, at(""), nil), replica.ReasonMisconfigured)
	refuses("an origin of another stream", put(inCopy, heartbeat.Names{Own: "c"}, at("c")), replica.ReasonRole)

	stream, err := p.origin.js.Stream(ctx, "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.Subjects = append(config.Subjects, "evenkeel.echo.a.*", "evenkeel.hb.odd")
	if _, err := p.origin.js.UpdateStream(ctx, config); err != nil {
		t.Fatal(err)
	}
	echo := heartbeat.Echo{Observer: "a", Origin: "b", Epoch: 2, Seq: 1, At: time.UnixMicro(5)}
	beat.Seq++
	if err := put(writer, here, beat, echo); err != nil {
		t.Fatal(err)
	}
	replicatest.Until(t, "the echo arrives", func() bool {
		rows, err := reader.Rows(ctx, there)
		got := rows.Echo("a", "b")
		return err == nil && got.OK && got.V == echo && !rows.Echo("a", "c").OK
	})

	// Two that write at the same moment: the server takes one.
	other := open(p.origin, canary, "ORDERS", nil)
	if _, err := other.Rows(ctx, here); err != nil {
		t.Fatal(err)
	}
	beat.Seq++
	if err := put(writer, here, beat); err != nil {
		t.Fatal(err)
	}
	newer := beat
	newer.Epoch, newer.Seq = 3, 1
	refuses("written over another beat", other.Put(ctx, newer, nil), replica.ReasonSplitBrain)
	if rows, err := writer.Rows(ctx, here); err != nil || rows.Beat("a").V != beat {
		t.Errorf("the one that was too late wrote: %+v %v", rows, err)
	}
	p.origin.publish("evenkeel.hb.odd", 3)
	_, err = writer.Rows(ctx, heartbeat.Names{Own: "odd"})
	refuses("a foreign value", err, replica.ReasonIncomplete)
	if _, err := writer.Rows(ctx, here); err != nil {
		t.Fatal(err)
	}
	p.origin.allow(`"$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.INFO.*"`)
	beat.Seq++
	refuses("without a permission", writer.Put(ctx, beat, nil), replica.ReasonPrivilege)
	p.copied.allow(`"$JS.API.STREAM.INFO.*"`)
	if rows, err := reader.Rows(ctx, there); err != nil || rows.Unread["a"] == nil || rows.Unread["a"].Reason != replica.ReasonPrivilege {
		t.Errorf("a copy that must not be read: %+v %v", rows, err)
	}
	_, err = open(p.origin, "wrong-"+canary, "ORDERS", nil).Rows(ctx, here)
	refuses("a wrong password", err, replica.ReasonAuth)
}
