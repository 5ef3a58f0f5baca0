package bus

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/proxy"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// nats-server keeps these for the life of the process.
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.init.0.func1"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*ocspReadCache).Stop"),
	)
}

// ports walks through those of this package from anywhere on: no two of its tests have the same.
var ports = func() *atomic.Uint32 {
	var p atomic.Uint32
	p.Store(rand.Uint32())
	return &p
}()

// freePort is a port that neither a connection (from 32768 on) nor a lab under test (from 20000 on) takes meanwhile.
func freePort(t *testing.T) string {
	t.Helper()
	for range 200 {
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(3000+int(ports.Add(1)%2000)))
		if err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

// run starts a bus; stop ends it and can be called twice.
func run(t *testing.T, o Options) (b *Bus, stop func()) {
	t.Helper()
	o.Log = slog.New(slog.DiscardHandler)
	b, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-done; b.Close() }) }
	t.Cleanup(stop)
	return b, stop
}

func order(t *testing.T, b *Bus, n int) {
	t.Helper()
	for i := range n {
		if _, err := b.js.Publish(t.Context(), Subject(b.o.Site), fmt.Appendf(nil, "order %d", i)); err != nil {
			t.Fatal(err)
		}
	}
}

func count(t *testing.T, b *Bus, site string) uint64 {
	t.Helper()
	s, err := b.js.Stream(t.Context(), Stream(site))
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}

func cable(t *testing.T, upstream string) *proxy.Proxy {
	t.Helper()
	p, err := proxy.Start("127.0.0.1:0", upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func TestOrdersReachTheOtherSiteOverCutsPausesAndRestarts(t *testing.T) {
	fraPort, amsPort := freePort(t), freePort(t)
	toAms, toFra := cable(t, amsPort), cable(t, fraPort)
	dir := t.TempDir()
	knobFile := filepath.Join(dir, "bus-ams.json")
	fraOptions := Options{Site: "fra", Listen: fraPort, Dir: filepath.Join(dir, "fra"), Peers: map[string]string{"ams": toAms.Addr()}}
	fra, stopFra := run(t, fraOptions)
	ams, _ := run(t, Options{
		Site: "ams", Listen: amsPort, Dir: filepath.Join(dir, "ams"), Knob: knobFile,
		Peers: map[string]string{"fra": toFra.Addr()},
	})

	order(t, fra, 300)
	order(t, ams, 20)
	until(t, "both have all", func() bool { return count(t, ams, "fra") == 300 && count(t, fra, "ams") == 20 })

	toFra.Set(proxy.Mode{Kind: proxy.Cut})
	order(t, fra, 50)
	until(t, "the cut is seen", func() bool { return ams.Status().Links[0].State == LinkDown })
	if got := count(t, ams, "fra"); got != 300 {
		t.Fatalf("%d orders came over a cut cable", got)
	}
	toFra.Set(proxy.Mode{})
	until(t, "caught up after the cut", func() bool { return count(t, ams, "fra") == 350 })

	if err := knob.Write(knobFile, knob.Bus{Paused: true}); err != nil {
		t.Fatal(err)
	}
	until(t, "the pause is seen", func() bool { return ams.Status().Links[0].State == Stopped })
	order(t, fra, 400)
	if got := count(t, ams, "fra"); got != 350 {
		t.Fatalf("%d orders were applied by a stopped applier", got)
	}
	if err := knob.Write(knobFile, knob.Bus{}); err != nil {
		t.Fatal(err)
	}
	until(t, "caught up after the pause", func() bool { return count(t, ams, "fra") == 750 })

	stopFra()
	until(t, "the source's end is seen", func() bool { return ams.Status().Links[0].State == LinkDown })
	fra, _ = run(t, fraOptions)
	order(t, fra, 7)
	until(t, "caught up after the restart", func() bool { return count(t, ams, "fra") == 757 && count(t, fra, "ams") == 20 })
	sameOrder(t, fra, ams)
}

// TestASlowReplicatorFallsBehindAndSaysByHowMuch: it applies so many a second, is behind by as much as it says, and is
// as fast as ever once nothing holds it.
func TestASlowReplicatorFallsBehindAndSaysByHowMuch(t *testing.T) {
	fraPort, amsPort := freePort(t), freePort(t)
	dir := t.TempDir()
	knobFile := filepath.Join(dir, "bus-ams.json")
	fra, _ := run(t, Options{Site: "fra", Listen: fraPort, Dir: filepath.Join(dir, "fra"), Peers: map[string]string{"ams": amsPort}})
	ams, _ := run(t, Options{
		Site: "ams", Listen: amsPort, Dir: filepath.Join(dir, "ams"), Knob: knobFile, Peers: map[string]string{"fra": fraPort},
	})
	order(t, fra, 10)
	until(t, "the copy has all", func() bool { return count(t, ams, "fra") == 10 })

	if err := knob.Write(knobFile, knob.Bus{PerSecond: 5}); err != nil {
		t.Fatal(err)
	}
	var link LinkStatus
	until(t, "a batch is asked for slowly", func() bool { return ams.Status().Links[0].limit == 5 }) // one of before is let through
	written := time.Now()
	order(t, fra, 200)
	until(t, "some are applied", func() bool { link = ams.Status().Links[0]; return link.Applied >= 30 })
	if got, most := count(t, ams, "fra"), 11+uint64(5*time.Since(written).Seconds()); got > most {
		t.Errorf("%d orders are in the copy: 10, and 5 a second make %d", got, most)
	}
	if link.State != CatchingUp || link.Behind < 100 {
		t.Errorf("%+v", link)
	}
	until(t, "an order is held", func() bool { link = ams.Status().Links[0]; return link.waiting != 0 }) // between two none is
	if lower, _ := since(time.Now(), link.waiting); lower < 2 || lower > time.Since(written).Seconds()+0.5 {
		t.Errorf("at least %.1f s behind, and the orders were written %s ago", lower, time.Since(written))
	}

	if err := knob.Write(knobFile, knob.Bus{}); err != nil {
		t.Fatal(err)
	}
	until(t, "caught up", func() bool { return count(t, ams, "fra") == 210 && ams.Status().Links[0].State == CaughtUp })
	sameOrder(t, fra, ams)
}

// sameOrder compares the copy with the original, message by message.
func sameOrder(t *testing.T, home, copied *Bus) {
	t.Helper()
	read := func(b *Bus) []string {
		s, err := b.js.Stream(t.Context(), Stream(home.o.Site))
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		batch, err := c.Fetch(int(s.CachedInfo().State.Msgs), jetstream.FetchMaxWait(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		for m := range batch.Messages() {
			out = append(out, string(m.Data()))
		}
		return out
	}
	a, b := read(home), read(copied)
	if strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Errorf("the copy (%d) differs from the original (%d)", len(b), len(a))
	}
}
