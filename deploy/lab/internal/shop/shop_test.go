package shop

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/bus"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
)

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

type bench struct {
	t      *testing.T
	shop   *Shop
	bus    *bus.Bus
	knob   string
	reload chan struct{}
}

func newBench(t *testing.T) *bench {
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
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
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
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.t.Fatalf("not within 5 s: %s", what)
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
	b := newBench(t)
	b.bus.Close()
	if status, body, took := b.ask(http.MethodGet, "/healthz"); status != 503 || took > 700*time.Millisecond {
		t.Errorf("%d %s after %s", status, body, took)
	}
	if status, _, _ := b.ask(http.MethodPost, "/checkout"); status != 503 {
		t.Errorf("an order without data: %d", status)
	}
}

func TestSlowIsSlowAndNotDead(t *testing.T) {
	b := newBench(t)
	if err := knob.Write(b.knob, knob.Shop{SlowSeconds: 0.4}); err != nil {
		t.Fatal(err)
	}
	if status, body, took := b.ask(http.MethodPost, "/checkout"); status != 200 || took < 400*time.Millisecond {
		t.Errorf("%d %s after %s", status, body, took)
	}
	if status, body, took := b.ask(http.MethodGet, "/healthz"); status != 200 || took < 250*time.Millisecond || took > 390*time.Millisecond {
		t.Errorf("health: %d %s after %s", status, body, took)
	}
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
	if err := knob.Write(b.knob, knob.Shop{SlowSeconds: 0.3}); err != nil {
		t.Fatal(err)
	}
	answer := make(chan int, 1)
	go func() {
		status, _, _ := b.ask(http.MethodPost, "/checkout")
		answer <- status
	}()
	time.Sleep(100 * time.Millisecond) // the request is under way
	b.reload <- struct{}{}
	if status := <-answer; status != 200 {
		t.Errorf("the request under way got %d", status)
	}
	b.until("serving again", func() bool { status, _, _ := b.ask(http.MethodGet, "/healthz"); return status == 200 })
}
