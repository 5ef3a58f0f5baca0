package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// watched is one of several processes that are watched over the same time.
type watched struct {
	name    string
	process *e2e.Process
	wire    *tap // nil: what it sends is not counted
	stop    func() error
	use     usage
}

// watchAll samples all processes for a time.
func watchAll(ctx context.Context, all []*watched, lasts time.Duration) error {
	type state struct {
		cpu, alloc float64
		wire       int64
		rss, pss   []float64
	}
	states := make([]state, len(all))
	began := time.Now()
	for i, w := range all {
		var err error
		if states[i].cpu, err = cpu(w.process.PID()); err != nil {
			return err
		}
		states[i].alloc = allocated(w.process.Output())
		if w.wire != nil {
			states[i].wire = w.wire.bytes.Load()
		}
	}
	for time.Since(began) < lasts {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		for i, w := range all {
			r, err := rss(w.process.PID())
			if err != nil {
				return fmt.Errorf("%s: %w\nit said:\n%s", w.name, err, w.process.Output())
			}
			p, err := pss(w.process.PID())
			if err != nil {
				return err
			}
			states[i].rss, states[i].pss = append(states[i].rss, r), append(states[i].pss, p)
		}
	}
	took := time.Since(began).Seconds()
	for i, w := range all {
		after, err := cpu(w.process.PID())
		if err != nil {
			return err
		}
		s := states[i]
		w.use = usage{
			rssMax: quantile(s.rss, 1), rssMedian: median(s.rss), pssMedian: median(s.pss), cores: (after - s.cpu) / took,
			alloc: (allocated(w.process.Output()) - s.alloc) * 1e3 / took,
		}
		if w.wire != nil {
			w.use.wire = float64(w.wire.bytes.Load()-s.wire) / 1e3 / took
		}
	}
	return nil
}

// pss is the memory of a process in MB (10^6 bytes), of pages it shares with others its share.
func pss(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of a process: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(text), " kB"), 64)
			return kib * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("process %d has no memory: it has ended", pid)
}

// gcLine is what GODEBUG=gctrace=1 prints of each collection: heap at its begin, at its end, and what of it lives.
var gcLine = regexp.MustCompile(`(?m)^gc \d+ .* (\d+)->(\d+)->(\d+) MB, `)

// allocated is what a Go program has allocated up to its last collection, in MB, by what it printed of them.
func allocated(output string) (sum float64) {
	lives := 0.0
	for _, m := range gcLine.FindAllStringSubmatch(output, -1) {
		before, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			continue // it is digits
		}
		sum += max(before-lives, 0)
		if lives, err = strconv.ParseFloat(m[3], 64); err != nil {
			lives = 0
		}
	}
	return sum
}

// tap carries connections to an address and counts the bytes of both directions.
type tap struct {
	listener net.Listener
	to       string
	bytes    atomic.Int64
	all      sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool // nil: closed
}

func newTap(to string) (*tap, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	t := &tap{listener: l, to: to, open: map[net.Conn]bool{}}
	t.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.all.Go(func() { t.carry(c) })
		}
	})
	return t, nil
}

func (t *tap) addr() string { return t.listener.Addr().String() }

// close ends all connections.
func (t *tap) close() {
	_ = t.listener.Close() // nobody is accepted any more
	t.mu.Lock()
	for c := range t.open {
		_ = c.Close()
	}
	t.open = nil
	t.mu.Unlock()
	t.all.Wait()
}

// keep notes connections that close has to end; false: it was faster.
func (t *tap) keep(conns ...net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range conns {
		if t.open == nil {
			return false
		}
		t.open[c] = true
	}
	return true
}

func (t *tap) carry(caller net.Conn) {
	defer caller.Close() //nolint:errcheck // both directions have ended
	called, err := net.Dial("tcp", t.to)
	if err != nil {
		return
	}
	defer called.Close() //nolint:errcheck // both directions have ended
	if !t.keep(caller, called) {
		return
	}
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.open, caller)
		delete(t.open, called)
	}()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{called, caller}, {caller, called}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], io.TeeReader(way[1], counter{&t.bytes})) // it ends with either connection
			_ = way[0].Close()
		})
	}
	both.Wait()
}

// counter counts what is written to it.
type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}
