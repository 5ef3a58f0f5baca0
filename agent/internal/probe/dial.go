package probe

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// wire is one fresh connection. It counts the bytes of the answer, and dies with its context.
type wire struct {
	net.Conn
	read atomic.Int64
	stop func() bool
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.read.Add(int64(max(n, 0)))
	return n, err
}

func (w *wire) Close() error {
	w.stop()
	return w.Conn.Close()
}

// dialTimes notes where a dial spends its time. Dialling races two address families, so callbacks may come
// from several goroutines and after the dial has returned.
type dialTimes struct {
	mu               sync.Mutex
	start, dnsDone   time.Time
	hadDNS, finished bool
}

func (d *dialTimes) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSDone: func(httptrace.DNSDoneInfo) {
			d.mu.Lock()
			defer d.mu.Unlock()
			if !d.finished {
				d.hadDNS, d.dnsDone = true, time.Now()
			}
		},
	}
}

func (d *dialTimes) phases(end time.Time) (dns, connect time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finished = true
	if !d.hadDNS {
		return 0, end.Sub(d.start)
	}
	return d.dnsDone.Sub(d.start), end.Sub(d.dnsDone)
}

// dial opens a fresh connection to hostport, or to what stands in for it, and adds the phases to those in res.
func dial(ctx context.Context, via Via, network, hostport string, res *Result) (*wire, error) {
	times := &dialTimes{start: time.Now()}
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1, Resolver: bound(via.Resolver)}
	conn, err := dialer.DialContext(httptrace.WithClientTrace(ctx, times.trace()), network, via.Overrides.dial(hostport))
	dns, connect := times.phases(time.Now())
	if dnsErr, ok := errors.AsType[*net.DNSError](err); ok && dnsErr != nil {
		dns, connect = dns+connect, 0
	}
	res.Phases.DNS += dns
	res.Phases.Connect += connect
	if err != nil {
		return nil, err
	}
	res.Remote = conn.RemoteAddr().String()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	w := &wire{Conn: conn}
	w.stop = context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return w, nil
}

// bound is a resolver whose questions end with the context of who asks. That of Go goes on reading until its own
// time-out of some seconds, so that probes of a name that does not resolve would pile up. nil is the resolver of the
// system.
func bound(r *net.Resolver) *net.Resolver {
	if r == nil {
		r = &net.Resolver{}
	}
	open := r.Dial
	if open == nil {
		open = (&net.Dialer{}).DialContext
	}
	return &net.Resolver{
		PreferGo: r.PreferGo, StrictErrors: r.StrictErrors,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := open(ctx, network, address)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
			}
			return conn, err
		},
	}
}

// cause prefers the reason the context ended over the deadline error the connection saw, so that being
// stopped is told apart from being late.
func cause(ctx context.Context, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) && errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return err
}
