package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
	"github.com/evenkeel/evenkeel/server/internal/store"
)

// A leader whose own store breaks says so to the others and hands over; when the store is well again it says nothing any
// more and may lead as before.
func TestAReplicaWhoseStoreBreaks(t *testing.T) {
	t.Parallel()
	first, peer := openReplica(t, ledger.Replicas{Name: "r1", Peer: freePeer(t), Bootstrap: true}), freePeer(t)
	var bundle []byte
	until(t, "a bundle for r2", func() (err error) {
		bundle, err = first.ledger.AddReplica(t.Context(), "r2", peer, false)
		return err
	})
	second := openReplica(t, ledger.Replicas{Name: "r2", Peer: peer, Join: bundle})
	until(t, "r1 leads, and both are well", func() error {
		return says(!first.ledger.Leading() || second.told("r1") != "" || first.told("r2") != "", first, second)
	})

	first.ill.Store(true)
	until(t, "r1 says what is broken, and r2 leads", func() error {
		return says(!strings.HasPrefix(second.told("r1"), "its store is broken: ") || !second.ledger.Leading(), first, second)
	})
	first.ill.Store(false)
	until(t, "r1 is well again, and r2 leads", func() error {
		return says(second.told("r1") != "" || !second.ledger.Leading(), first, second)
	})
	second.ill.Store(true)
	until(t, "r2 says what is broken, and r1 leads", func() error {
		return says(!strings.HasPrefix(first.told("r2"), "its store is broken: ") || !first.ledger.Leading(), first, second)
	})
}

// sick is a replica that does nothing but watch its store and publish what it sees, which is that all sites are well.
type sick struct {
	*Server
	ill atomic.Bool // the store does not work
}

func openReplica(t *testing.T, r ledger.Replicas) *sick {
	t.Helper()
	x := &sick{}
	disk := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if x.ill.Load() {
			http.Error(w, "no space left on device", http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(disk.Close)
	// The configuration names no store, so this one counts as the replica's own.
	kept, err := store.Open(t.Context(), store.Options{URL: disk.URL})
	if err != nil {
		t.Fatal(err)
	}
	r.Pattern = "same-city"
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	l, err := ledger.Open(ctx, ledger.Options{Dir: filepath.Join(t.TempDir(), "ledger"), Replicas: &r})
	if err != nil {
		t.Fatal(err)
	}
	x.Server = &Server{
		opts:   Options{Replica: r.Name, Log: slog.New(slog.DiscardHandler)},
		ledger: l, store: kept, urgent: make(chan struct{}, 1), world: newWorld(testTopology()),
	}
	x.eyes = newEyes(r.Name, testTopology(), time.Now)
	seen := testObservation()
	seen.Replica = r.Name
	x.eyes.latest.Store(&seen)
	serving, stop := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() { x.watchStore(serving) })
	wait.Go(func() { x.publish(serving) })
	t.Cleanup(func() {
		stop()
		wait.Wait()
		_ = l.Close()
		_ = kept.Close()
	})
	return x
}

// ports walks through those of this package from anywhere on: no two of its tests have the same.
var ports = func() *atomic.Uint32 {
	var p atomic.Uint32
	p.Store(rand.Uint32())
	return &p
}()

// freePeer is an address for the ledger of a replica, whose port neither a connection (from 32768 on) nor a lab under test
// (from 20000 on) takes meanwhile.
func freePeer(t *testing.T) string {
	t.Helper()
	for range 200 {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(7000+int(ports.Add(1)%1000)))
		if err == nil {
			defer func() { _ = l.Close() }()
			return "https://" + l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// told is why the vote of a replica does not count, as it told this one.
func (x *sick) told(name string) string {
	views := x.ledger.Views()
	i := slices.IndexFunc(views, func(v core.ReplicaView) bool { return v.Replica == name })
	if i < 0 {
		return "nothing was heard of it"
	}
	return views[i].Doubt()
}

// says is an error that tells how the replicas are, unless all is as it should be.
func says(wrong bool, replicas ...*sick) error {
	if !wrong {
		return nil
	}
	var b strings.Builder
	for _, x := range replicas {
		fmt.Fprintf(&b, "%s leads: %t, r1: %q, r2: %q; ", x.opts.Replica, x.ledger.Leading(), x.told("r1"), x.told("r2"))
	}
	return errors.New(b.String())
}

// until asks again and again, for two minutes at the most, and tells what was wrong the last time.
func until(t *testing.T, what string, f func() error) {
	t.Helper()
	end := time.Now().Add(2 * time.Minute)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
