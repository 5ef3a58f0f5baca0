package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// carry is one connection from its handshake to its end.
func (p *Proxy) carry(client net.Conn) {
	if !p.track(client) {
		abort(client)
		return
	}
	defer p.untrack(client)
	defer client.Close() //nolint:errcheck // both directions have ended

	mode, _, _ := p.state()
	if !p.sleep(mode.hold(synTimeout)) || !p.pass(true) {
		return
	}
	up, err := net.DialTimeout("tcp", p.upstream, 2*time.Second)
	if err != nil {
		if refused(err) {
			p.setDead(true)
		}
		abort(client)
		return
	}
	if !p.track(up) {
		abort(up)
		return
	}
	defer p.untrack(up)
	defer up.Close() //nolint:errcheck // both directions have ended

	var both sync.WaitGroup
	both.Go(func() { p.pump(up, client, true) })
	both.Go(func() { p.pump(client, up, false) })
	both.Wait()
}

// pump carries one direction. The end of a stream travels as its bytes do: held while the cable is cut.
func (p *Proxy) pump(dst, src net.Conn, toUpstream bool) {
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			mode, _, _ := p.state()
			if !p.sleep(mode.hold(dataTimeout)) || !p.pass(toUpstream) {
				return
			}
			if _, werr := dst.Write(buf[:n]); werr != nil {
				abort(src)
				return
			}
		}
		if err == nil {
			continue
		}
		if !p.pass(toUpstream) {
			return
		}
		if half, ok := dst.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
			_ = half.CloseWrite() // the other pump sees what became of it
			return
		}
		abort(dst)
		abort(src)
		return
	}
}

// pass waits until the direction is not blocked; false says that the proxy closes.
func (p *Proxy) pass(toUpstream bool) bool {
	for p.ctx.Err() == nil {
		mode, _, changed := p.state()
		if !mode.blocks(toUpstream) {
			return true
		}
		p.wait(changed, 0)
	}
	return false
}

// sleep waits d; false says that the proxy closes.
func (p *Proxy) sleep(d time.Duration) bool {
	if d <= 0 {
		return p.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}
