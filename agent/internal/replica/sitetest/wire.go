package sitetest

import (
	"io"
	"net"
	"sync"
	"testing"
)

// Wire is a way to a server that can be cut.
type Wire struct {
	listener net.Listener
	to       string
	group    sync.WaitGroup

	mu    sync.Mutex
	gone  bool
	conns map[net.Conn]bool
}

// NewWire makes a wire to an address that lives as long as the test.
func NewWire(t *testing.T, to string) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: l, to: to, conns: map[net.Conn]bool{}}
	w.group.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			w.group.Go(func() { w.join(in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		w.Cut(true)
		w.group.Wait()
	})
	return w
}

// Port is where the wire begins.
func (w *Wire) Port() int { return w.listener.Addr().(*net.TCPAddr).Port }

func (w *Wire) join(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	w.mu.Lock()
	if w.gone {
		w.mu.Unlock()
		return
	}
	w.conns[in], w.conns[out] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	pump := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // however it ends, both end
		_ = to.Close()
		_ = from.Close()
	}
	both.Go(func() { pump(in, out) })
	both.Go(func() { pump(out, in) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, in)
	delete(w.conns, out)
	w.mu.Unlock()
}

// Cut closes what goes by the wire and refuses what comes, or lets it through again.
func (w *Wire) Cut(gone bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone = gone; gone {
		for c := range w.conns {
			_ = c.Close()
		}
	}
}
