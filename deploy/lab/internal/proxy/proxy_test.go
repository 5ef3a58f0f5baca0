package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a busy machine may take for what must come.
const patience = time.Minute

// echo is an upstream that answers each line with itself.
func echo(t *testing.T, addr string) net.Listener {
	t.Helper()
	var ln net.Listener
	var err error
	for range 50 {
		if ln, err = net.Listen("tcp", addr); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return ln
}

func start(t *testing.T, upstream string) *Proxy {
	t.Helper()
	p, err := Start("127.0.0.1:0", upstream)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say sends a line and returns what comes back within d.
func say(c net.Conn, line string, d time.Duration) (string, error) {
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		return "", err
	}
	return hear(c, d)
}

func hear(c net.Conn, d time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(d))
	s, err := bufio.NewReader(c).ReadString('\n')
	return strings.TrimSpace(s), err
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}

func TestCutHoldsBytesAndHealsStandingConnections(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	defer up.Close()
	p := start(t, up.Addr().String())
	c := dial(t, p.Addr())
	if got, err := say(c, "before", patience); got != "before" {
		t.Fatal(got, err)
	}
	p.Set(Mode{Kind: Cut})
	if got, err := say(c, "during", 150*time.Millisecond); !isTimeout(err) {
		t.Fatalf("a cut cable answered %q, %v", got, err)
	}
	p.Set(Mode{})
	if got, err := hear(c, patience); got != "during" {
		t.Fatalf("after the cut: %q, %v", got, err)
	}
}

func TestCutIsABlackHoleForNewConnections(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	defer up.Close()
	p := start(t, up.Addr().String())
	p.Set(Mode{Kind: Cut})
	eventually(t, "full queue", func() bool { // it is filled in the background
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.fillers) > 0
	})
	c, err := net.DialTimeout("tcp", p.Addr(), 200*time.Millisecond)
	if err == nil {
		_ = c.Close()
		t.Fatal("a cut cable accepted a connection")
	}
	if !isTimeout(err) {
		t.Fatalf("a connect over a cut cable must time out, got %v", err)
	}
	p.Set(Mode{})
	for range 5 {
		if got, err := say(dial(t, p.Addr()), "healed", patience); got != "healed" {
			t.Fatal(got, err)
		}
	}
}

func TestOneWayLetsAnswersThrough(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	p := start(t, ln.Addr().String())
	c := dial(t, p.Addr())
	up, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	p.Set(Mode{Kind: OneWay})
	if got, err := say(up, "down", 50*time.Millisecond); !isTimeout(err) {
		t.Fatalf("%q, %v", got, err)
	}
	if got, err := hear(c, patience); got != "down" {
		t.Fatalf("the answer did not come through: %q, %v", got, err)
	}
	if _, err := io.WriteString(c, "up\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := hear(up, 100*time.Millisecond); !isTimeout(err) {
		t.Fatalf("one-way let %q through, %v", got, err)
	}
	p.Set(Mode{})
	if got, err := hear(up, patience); got != "up" {
		t.Fatal(got, err)
	}
}

func TestRefusedUpstreamIsARefusal(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	addr := up.Addr().String()
	p := start(t, addr)
	_ = up.Close()
	first, err := net.DialTimeout("tcp", p.Addr(), time.Second)
	if err == nil { // the connection that finds it out is reset
		_, rerr := hear(first, patience)
		_ = first.Close()
		if !errors.Is(rerr, syscall.ECONNRESET) && !errors.Is(rerr, io.EOF) {
			t.Fatalf("want a reset, got %v", rerr)
		}
	}
	eventually(t, "a refusal", func() bool {
		c, err := net.DialTimeout("tcp", p.Addr(), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	up = echo(t, addr)
	defer up.Close()
	eventually(t, "service after the upstream's return", func() bool {
		c, err := net.DialTimeout("tcp", p.Addr(), time.Second)
		if err != nil {
			return false
		}
		defer c.Close()
		got, _ := say(c, "back", time.Second)
		return got == "back"
	})
}

func TestRefuseResetsAndClosesThePort(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	defer up.Close()
	p := start(t, up.Addr().String())
	c := dial(t, p.Addr())
	if got, err := say(c, "before", patience); got != "before" {
		t.Fatal(got, err)
	}
	p.Set(Mode{Kind: Refuse})
	if _, err := hear(c, patience); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("want a reset, got %v", err)
	}
	eventually(t, "a closed port", func() bool {
		c, err := net.DialTimeout("tcp", p.Addr(), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	p.Set(Mode{})
	eventually(t, "an open port", func() bool {
		c, err := net.DialTimeout("tcp", p.Addr(), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

func TestDelayAndLossHoldChunksBack(t *testing.T) {
	up := echo(t, "127.0.0.1:0")
	defer up.Close()
	p := start(t, up.Addr().String())
	c := dial(t, p.Addr())
	p.Set(Mode{Delay: 60 * time.Millisecond})
	began := time.Now()
	if got, err := say(c, "slow", patience); got != "slow" {
		t.Fatal(got, err)
	}
	if d := time.Since(began); d < 120*time.Millisecond {
		t.Fatalf("two delays of 60 ms took %s", d)
	}
	p.Set(Mode{Loss: 0.5})
	held := false
	for i := 0; i < 50 && !held; i++ { // three of four exchanges lose a chunk
		began := time.Now()
		if got, err := say(c, "lossy", patience); got != "lossy" {
			t.Fatal(got, err)
		}
		held = time.Since(began) >= dataTimeout
	}
	if !held {
		t.Fatal("half of the chunks lost, and none was late")
	}
}

func TestPenaltyDoubles(t *testing.T) {
	f := func(rolls []float64, want time.Duration) {
		t.Helper()
		i := 0
		got := penalty(0.1, 200*time.Millisecond, func() float64 { i++; return rolls[i-1] })
		if got != want {
			t.Errorf("%v: got %s, want %s", rolls, got, want)
		}
	}
	f([]float64{0.5}, 0)
	f([]float64{0.05, 0.5}, 200*time.Millisecond)
	f([]float64{0.05, 0.05, 0.5}, 600*time.Millisecond)
	f([]float64{0, 0, 0, 0, 0, 0}, 12600*time.Millisecond)
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("no %s within %s", what, patience)
}
