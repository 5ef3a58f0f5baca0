package shop

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/bus"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
)

// patience is how long a busy machine may take for what must come.
const patience = time.Minute

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
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(5000+int(ports.Add(1)%2000)))
		if err == nil {
			defer ln.Close()
			return ln.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

type bench struct {
	t      *testing.T
	shop   *Shop
	bus    *bus.Bus
	knob   string
	reload chan struct{}
}

// newBench is a shop that gives a busy machine time to write, unless a test asks for the deadlines that a site has.
func newBench(t *testing.T, deadlines ...time.Duration) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	dir := t.TempDir()
	port := freePort(t)
	nats, err := bus.Start(t.Context(), bus.Options{Site: "fra", Listen: port, Dir: dir, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, bus: nats, knob: filepath.Join(dir, "shop.json"), reload: make(chan struct{})}
	if b.shop, err = New(Options{Site: "fra", Listen: freePort(t), Bus: port, Knob: b.knob, Log: log}); err != nil {
		t.Fatal(err)
	}
	if len(deadlines) == 0 {
		deadlines = []time.Duration{patience, patience}
	}
	b.shop.healthWithin, b.shop.orderWithin = deadlines[0], deadlines[1]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.shop.Run(ctx, b.reload) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		b.shop.Close()
		nats.Close()
	})
	b.until("healthy", func() bool { status, _, _ := b.ask(http.MethodGet, "/healthz"); return status == 200 })
	return b
}

func (b *bench) ask(method, path string) (status int, body string, took time.Duration) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.shop.o.Listen+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	began := time.Now()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error(), time.Since(began)
	}
	defer resp.Body.Close()
	raw, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), time.Since(began)
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.t.Fatalf("not within %s: %s", patience, what)
}

func TestAnOrderIsWritten(t *testing.T) {
	b := newBench(t)
	for _, want := range []string{`"order":1`, `"order":2`} {
		if status, body, _ := b.ask(http.MethodPost, "/checkout"); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%d %s", status, body)
		}
	}
}

func TestHealthFailsWithTheData(t *testing.T) {
	b := newBench(t, healthDeadline, orderDeadline)
	b.bus.Close()
	if status, body, took := b.ask(http.MethodGet, "/healthz"); status != 503 || took > 20*healthDeadline { // a client waits longer
		t.Errorf("%d %s after %s", status, body, took)
	}
	if status, _, _ := b.ask(http.MethodPost, "/checkout"); status != 503 {
		t.Errorf("an order without data: %d", status)
	}
}

func TestSlowIsSlowAndNotDead(t *testing.T) {
	b := newBench(t)
	if err := knob.Write(b.knob, knob.Shop{SlowSeconds: 2}); err != nil {
		t.Fatal(err)
	}
	ordered := make(chan struct{})
	go func() {
		defer close(ordered)
		if status, body, took := b.ask(http.MethodPost, "/checkout"); status != 200 || took < 2*time.Second {
			t.Errorf("%d %s after %s", status, body, took)
		}
	}()
	if status, body, took := b.ask(http.MethodGet, "/healthz"); status != 200 || took < 1250*time.Millisecond {
		t.Errorf("health: %d %s after %s", status, body, took)
	}
	select {
	case <-ordered:
		t.Error("the health check is as slow as an order")
	default:
	}
	<-ordered
}

func TestErrorsAreForUsersOnly(t *testing.T) {
	b := newBench(t)
	if err := knob.Write(b.knob, knob.Shop{Errors: 1}); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := b.ask(http.MethodPost, "/checkout"); status != 500 {
		t.Errorf("an order: %d", status)
	}
	if status, _, _ := b.ask(http.MethodGet, "/healthz"); status != 200 {
		t.Errorf("health: %d", status)
	}
	if n := b.shop.metrics(time.Now()).DataPointCount(); n != 7 {
		t.Errorf("%d points", n)
	}
}

func TestReloadFinishesWhatIsUnderWay(t *testing.T) {
	b := newBench(t)
	if err := syscall.Mkfifo(b.knob, 0o600); err != nil {
		t.Fatal(err)
	}
	answer := make(chan int, 1)
	go func() {
		status, _, _ := b.ask(http.MethodPost, "/checkout")
		answer <- status
	}()
	faults, err := os.OpenFile(b.knob, os.O_WRONLY, 0) // once the shop reads it: the request is under way
	if err != nil {
		t.Fatal(err)
	}
	b.reload <- struct{}{}
	b.until("no new requests", func() bool {
		c, err := net.Dial("tcp", b.shop.o.Listen)
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if err := os.Remove(b.knob); err != nil {
		t.Fatal(err)
	}
	if _, err := faults.WriteString("{}"); err != nil {
		t.Fatal(err)
	}
	if err := faults.Close(); err != nil {
		t.Fatal(err)
	}
	if status := <-answer; status != 200 {
		t.Errorf("the request under way got %d", status)
	}
	b.until("serving again", func() bool { status, _, _ := b.ask(http.MethodGet, "/healthz"); return status == 200 })
}
