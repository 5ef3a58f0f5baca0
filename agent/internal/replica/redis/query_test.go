package redis

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

func TestNewRefuses(t *testing.T) {
	link := LinkSpec{Store: "s", From: "a", To: "b", End: replica.Target}
	f := func(o Options, want string) {
		t.Helper()
		if e, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, %v", o, e, err)
		}
	}
	good := Server{Address: "127.0.0.1:1"}
	f(Options{Server: Server{Address: "redis://u:p@h"}}, "host:port")
	f(Options{Server: good, Source: &Server{}, Links: []LinkSpec{link}}, "host:port")
	f(Options{Server: good, Links: []LinkSpec{link, link}}, "twice")
	f(Options{Server: good, Links: []LinkSpec{{Store: "s", From: "a", To: "b"}}}, "an end")
	f(Options{Server: good, Timeout: -1}, "negative")
}

// The account loses what it needs and gets it back; the engine tells why each time, keeps no secret in its words, and
// recovers by itself.
func TestAccess(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	link := []LinkSpec{{Store: "s", From: "a", To: "b", End: replica.Source}}
	w := newWatcher(t, "source", Options{Server: s.as(t, canary), Links: link})
	w.Becomes(replica.LinkDown, replica.ReasonLost)
	clients, err := s.admin.ClientList(t.Context()).Result()
	if err != nil || !strings.Contains(clients, "name=evenkeel") {
		t.Errorf("the connection has no name: %v\n%s", err, clients)
	}

	s.do(t, "ACL", "SETUSER", "evenkeel", "-info")
	w.Becomes(replica.Unknown, replica.ReasonPrivilege)
	s.do(t, "ACL", "SETUSER", "evenkeel", "+info")
	w.Becomes(replica.LinkDown, replica.ReasonLost)

	s.do(t, "ACL", "SETUSER", "evenkeel", "resetpass", ">other")
	s.do(t, "CLIENT", "KILL", "USER", "evenkeel")
	w.Becomes(replica.Unknown, replica.ReasonAuth)
	s.do(t, "ACL", "SETUSER", "evenkeel", ">"+canary)
	w.Becomes(replica.LinkDown, replica.ReasonLost)

	open := newWatcher(t, "without a password", Options{Server: Server{Address: s.address()}, Links: link})
	open.Becomes(replica.Unknown, replica.ReasonAuth)
	file := newWatcher(t, "without its file", Options{Server: Server{Address: s.address(), PasswordFile: filepath.Join(t.TempDir(), "no")}, Links: link})
	file.Becomes(replica.Unknown, replica.ReasonAuth)
}

// A server that takes connections and says nothing, then nobody at all, then a real one on the same address.
func TestReconnects(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWatcher(t, "target", Options{
		Server: Server{Address: mute.Addr().String()}, Links: []LinkSpec{{Store: "s", From: "a", To: "b", End: replica.Target}},
	})
	began := time.Now()
	w.Becomes(replica.Unknown, replica.ReasonTimeout)
	if took := time.Since(began); took > replicatest.Patience/2 {
		t.Errorf("a look took %s with a timeout of 5 s", took)
	}
	mute.Close()
	for range 4 {
		if st := w.Look(); st.State != replica.Unknown || st.Reason != replica.ReasonConnect {
			t.Errorf("nobody listens: %s", w.Show())
		}
	}
	s := startServer(t)
	replicatest.NewWireAt(t, mute.Addr().String(), s.address())
	if st := w.Look(); st.Reason != replica.ReasonAuth {
		t.Errorf("the first look after the server came back: %s", w.Show())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r := w.engine.Look(ctx); len(r.Sightings) != 1 || r.Sightings[0].State != replica.Unknown {
		t.Errorf("cancelled: %+v", r)
	}
}

func TestStore(t *testing.T) {
	t.Parallel()
	p := newPair(t)
	p.follow(t)
	p.complete()
	open := func(s *server, password string) *Store {
		h, err := NewStore(s.as(t, password), 10*time.Second)
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
	ctx := t.Context()
	writer, reader := open(p.primary, canary), open(p.copy, canary)
	names := heartbeat.Names{Own: "a", Peers: []string{"b", "c"}}
	if got, err := reader.Rows(ctx, names); err != nil || len(got.Beats) > 0 || len(got.Echoes) > 0 || len(got.Canaries) > 0 {
		t.Errorf("nothing was written: %+v %v", got, err)
	}
	beat := heartbeat.Beat{Origin: "a", Epoch: 2, Seq: 1, At: time.UnixMicro(time.Now().UnixMicro()), Interval: time.Second}
	echo := heartbeat.Echo{Observer: "b", Origin: "a", Epoch: 2, Seq: 1, At: time.UnixMicro(5)}
	if err := writer.Put(ctx, beat, []heartbeat.Echo{echo}); err != nil {
		t.Fatal(err)
	}
	var rows heartbeat.Rows
	replicatest.Until(t, "the beat arrives", func() bool {
		var err error
		rows, err = reader.Rows(ctx, names)
		return err == nil && rows.Beat("a").OK
	})
	if got := rows.Echo("b", "a"); rows.Beat("a").V != beat || !got.OK || got.V != echo || rows.Echo("c", "a").OK || len(rows.Canaries) != 1 || rows.Canaries[0] != beat.Canary() {
		t.Errorf("the rows are %+v", rows)
	}
	if b := beat.Bounds(time.Now()); b.Upper.V < 0 || b.Upper.V > 10*time.Second || b.Lower.V > b.Upper.V {
		t.Errorf("bounds %+v", b)
	}
	refuses("a replica", reader.Put(ctx, beat, nil), replica.ReasonRole)

	p.primary.do(t, "SET", "evenkeel:hb:odd", "1 2")
	_, err := writer.Rows(ctx, heartbeat.Names{Own: "a", Peers: []string{"odd"}})
	refuses("a foreign value", err, replica.ReasonIncomplete)
	p.primary.do(t, "ACL", "SETUSER", "evenkeel", "-mset")
	refuses("without MSET", writer.Put(ctx, beat, nil), replica.ReasonPrivilege)
	_, err = open(p.primary, "wrong-"+canary).Rows(ctx, names)
	refuses("a wrong password", err, replica.ReasonAuth)
}
