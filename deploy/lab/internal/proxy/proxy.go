package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"
)

// backlog is the accept queue of a cable that is not cut.
const backlog = 128

// Proxy is one cable. It is safe for concurrent use.
type Proxy struct {
	listen   string
	upstream string
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu       sync.Mutex
	mode     Mode
	dead     bool          // the upstream refused the last connection
	changed  chan struct{} // closed and replaced whenever mode or dead changes
	listener *net.TCPListener
	conns    map[net.Conn]struct{}
	fillers  map[string]net.Conn // our own connections that fill the queue of a cut cable, by local address
}

// Start listens on listen (port 0 chooses one) and carries connections to upstream until Close. The error says
// which port could not be had.
func Start(listen, upstream string) (*Proxy, error) {
	ln, err := listenTCP(listen)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		listen: ln.Addr().String(), upstream: upstream, ctx: ctx, cancel: cancel, listener: ln,
		changed: make(chan struct{}), conns: map[net.Conn]struct{}{}, fillers: map[string]net.Conn{},
	}
	p.wg.Go(p.serve)
	return p, nil
}

func listenTCP(addr string) (*net.TCPListener, error) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: not a TCP listener", addr), ln.Close())
	}
	return tcp, nil
}

// Addr is where the cable begins, host:port.
func (p *Proxy) Addr() string { return p.listen }

// Mode is what the cable does now.
func (p *Proxy) Mode() Mode {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode
}

// Set changes what the cable does, from now on and for standing connections as well.
func (p *Proxy) Set(m Mode) {
	p.mu.Lock()
	if p.mode == m {
		p.mu.Unlock()
		return
	}
	p.mode = m
	p.broadcast()
	var reset []net.Conn
	if m.Kind == Refuse {
		for c := range p.conns {
			reset = append(reset, c)
		}
	}
	p.mu.Unlock()
	for _, c := range reset {
		abort(c)
	}
}

// setDead notes whether the upstream refuses.
func (p *Proxy) setDead(dead bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead != dead {
		p.dead = dead
		p.broadcast()
	}
}

// broadcast wakes everyone who waits for a change and gets serve out of Accept. The lock is held.
func (p *Proxy) broadcast() {
	close(p.changed)
	p.changed = make(chan struct{})
	if p.listener != nil {
		_ = p.listener.SetDeadline(time.Unix(1, 0)) // a closed listener needs no kick
	}
}

func (p *Proxy) state() (m Mode, dead bool, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.dead, p.changed
}

// Close resets all connections, frees the port and returns when nothing of the proxy runs any more.
func (p *Proxy) Close() {
	p.cancel()
	p.mu.Lock()
	p.broadcast()
	for c := range p.conns {
		_ = c.Close() // both pumps end by it
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// serve owns the listener: open, filled up, or closed, as mode and upstream ask.
func (p *Proxy) serve() {
	defer p.shut()
	for p.ctx.Err() == nil {
		mode, dead, changed := p.state()
		switch {
		case mode.Kind == Refuse:
			p.shut()
			p.wait(changed, 0)
		case mode.Kind == Cut || mode.Kind == OneWay:
			if p.open() {
				p.fill()
			}
			p.wait(changed, 0)
		case dead:
			p.shut()
			if p.wait(changed, 100*time.Millisecond) {
				p.setDead(!p.answers())
			}
		default:
			if p.open() {
				p.accept()
			}
		}
	}
}

// wait returns on a change, on Close, or after d (zero is for ever); true says that the time is up.
func (p *Proxy) wait(changed <-chan struct{}, d time.Duration) bool {
	var due <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		due = t.C
	}
	select {
	case <-changed:
	case <-p.ctx.Done():
	case <-due:
		return true
	}
	return false
}

// answers asks whether the upstream listens again.
func (p *Proxy) answers() bool {
	c, err := net.DialTimeout("tcp", p.upstream, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close() // it was a question, nothing is lost
	return true
}

// open makes sure that there is a listener. Its port may be held by a dying connection for a moment.
func (p *Proxy) open() bool {
	p.mu.Lock()
	has := p.listener != nil
	p.mu.Unlock()
	if has {
		return true
	}
	ln, err := listenTCP(p.listen)
	if err != nil {
		p.wait(nil, 50*time.Millisecond)
		return false
	}
	p.mu.Lock()
	p.listener = ln
	p.mu.Unlock()
	return true
}

func (p *Proxy) shut() {
	p.empty()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close() // a port that is not ours any more is what we want
		p.listener = nil
	}
}

// fill makes the kernel ignore new connections: an accept queue of one, which we take ourselves. On a machine that stands
// still one dial gets no answer in time though the queue has room: only two in a row say that it is full.
func (p *Proxy) fill() {
	p.mu.Lock()
	ln := p.listener
	p.mu.Unlock()
	if err := setBacklog(ln, 0); err != nil {
		return // connections are completed and then held, which the package comment says
	}
	for dials, unanswered := 0, 0; dials < 6 && unanswered < 2; dials++ {
		c, err := net.DialTimeout("tcp", p.listen, 50*time.Millisecond)
		if err != nil {
			unanswered++
			continue
		}
		unanswered = 0
		p.mu.Lock()
		p.fillers[c.LocalAddr().String()] = c
		p.mu.Unlock()
	}
}

// empty undoes fill. The addresses stay known until accept has met them.
func (p *Proxy) empty() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.fillers {
		_ = c.Close() // it never carried a byte
	}
	if p.listener != nil && len(p.fillers) > 0 {
		_ = setBacklog(p.listener, backlog) // it worked when it was lowered
	}
}

// accept takes connections until something changes.
func (p *Proxy) accept() {
	p.empty()
	p.mu.Lock()
	ln := p.listener
	if p.mode.blocks(false) || p.dead || p.ctx.Err() != nil {
		p.mu.Unlock()
		return
	}
	_ = ln.SetDeadline(time.Time{}) // undoes the kick of a change that is already seen
	p.mu.Unlock()
	for {
		c, err := ln.Accept()
		if err != nil {
			return // a kick, a Close, or a reason to look again
		}
		p.mu.Lock()
		_, ours := p.fillers[c.RemoteAddr().String()]
		delete(p.fillers, c.RemoteAddr().String())
		p.mu.Unlock()
		if ours {
			_ = c.Close() // the other end is closed already
			continue
		}
		p.wg.Go(func() { p.carry(c) })
	}
}

// track remembers a connection so that Close and Refuse reach it.
func (p *Proxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) untrack(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// abort ends a connection with a reset.
func abort(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a connection that is gone cannot be reset
	}
	_ = c.Close() // it is ended either way
}

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
