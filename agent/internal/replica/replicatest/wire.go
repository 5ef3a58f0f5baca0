package replicatest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Wire is a TCP link to a server that can be cut (both ends notice), held (bytes wait, and nobody notices) and slowed.
type Wire struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu    sync.Mutex
	free  *sync.Cond // of held
	cut   bool
	held  bool
	rate  int // bytes a second; 0: all
	conns map[net.Conn]bool
}

// NewWire makes a wire to an address, on a free loopback port, that lives as long as the test.
func NewWire(t testing.TB, to string) *Wire {
	t.Helper()
	return NewWireAt(t, "127.0.0.1:0", to)
}

// NewWireAt makes a wire that listens at an address.
func NewWireAt(t testing.TB, at, to string) *Wire {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	w := &Wire{listener: l, to: to, conns: map[net.Conn]bool{}}
	w.free = sync.NewCond(&w.mu)
	w.all.Go(w.accept)
	t.Cleanup(func() {
		_ = l.Close()
		w.Cut(true)
		w.all.Wait()
	})
	return w
}

// Port is where the wire begins.
func (w *Wire) Port() int { return w.listener.Addr().(*net.TCPAddr).Port }

// Cut closes and refuses connections, or allows new ones.
func (w *Wire) Cut(cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = cut
	if cut {
		for c := range w.conns {
			_ = c.Close()
		}
		clear(w.conns)
	}
	w.free.Broadcast()
}

// Hold lets nothing through, in either direction, while connections stay open; or lets through what has waited.
func (w *Wire) Hold(held bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = held
	w.free.Broadcast()
}

// Slow lets through so many bytes a second; 0: all.
func (w *Wire) Slow(rate int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rate = rate
}

func (w *Wire) accept() {
	for {
		in, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.all.Go(func() { w.join(in) })
	}
}

func (w *Wire) join(in net.Conn) {
	defer func() { _ = in.Close() }()
	w.mu.Lock()
	refused := w.cut
	w.mu.Unlock()
	if refused {
		return
	}
	out, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.conns[in], w.conns[out] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { w.copy(out, in) })
	both.Go(func() { w.copy(in, out) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, in)
	delete(w.conns, out)
	w.mu.Unlock()
}

func (w *Wire) copy(to, from net.Conn) {
	defer func() { _ = to.Close() }()
	defer func() { _ = from.Close() }()
	buffer := make([]byte, 4<<10) // small, so that a slow wire is smooth
	for {
		n, err := from.Read(buffer)
		if n == 0 && err != nil || !w.pass(from, n) {
			return
		}
		if _, werr := to.Write(buffer[:n]); err != nil || werr != nil {
			return
		}
	}
}

// pass waits until bytes may go on; false: the connection was cut.
func (w *Wire) pass(from net.Conn, n int) bool {
	w.mu.Lock()
	for w.held && w.conns[from] {
		w.free.Wait()
	}
	open, rate := w.conns[from], w.rate
	w.mu.Unlock()
	if open && rate > 0 {
		time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
	}
	return open
}
