package replicationlagreceiver

import (
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/replicatest"
)

// TestAHostThatStoodStill: while a host is suspended its monotonic clock stands still, and a copy whose source went away before was
// complete so much earlier than that clock says.
func TestAHostThatStoodStill(t *testing.T) {
	t.Parallel()
	source := redisServer(t)
	target := redisServer(t, "--replicaof", "127.0.0.1 "+source.port)
	w, err := NewWatcher(t.Context(), Server{
		Engine: "redis", Address: target.address(), Interval: 10 * time.Second, Timeout: 9 * time.Second, ClockError: 100 * time.Millisecond,
		OtherEnd: &OtherEnd{Address: source.address()}, Links: []Link{{Store: "cart", From: "fra", To: "ams", End: "target"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	until := func(what string, is func(replica.Status) bool) replica.Status {
		t.Helper()
		for end := time.Now().Add(replicatest.Patience); ; time.Sleep(50 * time.Millisecond) {
			st := w.Look(t.Context())[0]
			if is(st) {
				return st
			}
			if time.Now().After(end) {
				t.Fatalf("not within %s: %s; %+v", replicatest.Patience, what, st)
			}
		}
	}
	down := func(st replica.Status) bool { return st.State == replica.LinkDown }
	caught := until("caught up", func(st replica.Status) bool { return st.State == replica.CaughtUp || st.State == replica.IdleLinkOK })
	source.kill()
	if st := until("down", down); !st.Exposure.OK || st.Exposure.V > time.Minute {
		t.Fatalf("before: %+v", st)
	}
	began := time.Now()
	shown := func(ahead time.Duration) { w.wall = func() time.Time { return time.Now().Round(0).Add(ahead) } }
	shown(-time.Hour)
	if st := w.Look(t.Context())[0]; !down(st) || st.Exposure.V > time.Minute {
		t.Errorf("with the wall clock set back: %+v", st)
	}
	shown(time.Hour)
	if st := w.Look(t.Context())[0]; st.State != replica.Unknown || st.Reason != replica.ReasonClockSkew || st.Exposure.V < 2*time.Hour || st.LinkAge.OK {
		t.Errorf("at once: %+v", st)
	}
	st := until("down again", down)
	if st.Exposure.V < 2*time.Hour || st.Lower.V > time.Since(began)+time.Minute || !st.LastCaughtUp.After(caught.LastCaughtUp.Add(-time.Minute)) {
		t.Errorf("afterwards: %+v", st)
	}
}
