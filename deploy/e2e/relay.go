package e2e

import (
	"context"
	"net"
	"sync"
	"time"
)

// Relay carries connections to an address of its place, late: each byte by the delay of its direction. What is under
// way at the same time is late together, as on a long line.
type Relay struct {
	network  *Network
	place    string
	to       string
	delay    func(from, to string) time.Duration
	listener net.Listener
	ctx      context.Context //nolint:containedctx // that of all connections; Close ends it
	stop     context.CancelFunc
	all      sync.WaitGroup
}

// StartRelay listens at addr of a place and carries to the address to, which it calls from that place.
func StartRelay(n *Network, place, addr, to string, delay func(from, to string) time.Duration) (*Relay, error) {
	l, err := n.Listen(place, addr)
	if err != nil {
		return nil, err
	}
	r := &Relay{network: n, place: place, to: to, delay: delay, listener: l}
	r.ctx, r.stop = context.WithCancel(context.Background())
	r.all.Go(r.accept)
	return r, nil
}

// Close ends all connections.
func (r *Relay) Close() {
	r.stop()
	_ = r.listener.Close() // nobody is accepted any more
	r.all.Wait()
}

func (r *Relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.all.Go(func() { r.carry(c) })
	}
}

func (r *Relay) carry(caller net.Conn) {
	defer caller.Close() //nolint:errcheck // both directions have ended
	from := r.network.Place(caller.RemoteAddr().String())
	called, err := r.network.Dial(r.place)(r.ctx, "tcp", r.to)
	if err != nil {
		return
	}
	defer called.Close() //nolint:errcheck // both directions have ended
	end := context.AfterFunc(r.ctx, func() { _, _ = caller.Close(), called.Close() })
	defer end()
	var both sync.WaitGroup
	both.Go(func() { lag(called, caller, r.delay(from, r.place)) })
	both.Go(func() { lag(caller, called, r.delay(r.place, from)) })
	both.Wait()
}

// parcel is what was read at one time, and when it is due.
type parcel struct {
	due  time.Time
	data []byte
}

// lag copies from src to dst, late, and ends both at the end of src.
func lag(dst, src net.Conn, delay time.Duration) {
	line := make(chan parcel, 4096)
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.due))
			if _, err := dst.Write(p.data); err != nil {
				_ = src.Close() // the reader stops, too
			}
		}
		_ = dst.Close()
	})
	buf := make([]byte, 32<<10)
	for {
		m, err := src.Read(buf)
		if m > 0 {
			line <- parcel{time.Now().Add(delay), append([]byte(nil), buf[:m]...)}
		}
		if err != nil {
			break
		}
	}
	close(line)
	writer.Wait()
}
