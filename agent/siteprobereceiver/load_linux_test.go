package siteprobereceiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/probe"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// crowd counts the connections that a target holds at once.
type crowd struct {
	net.Listener
	now, most atomic.Int64
}

type member struct {
	net.Conn
	leave func()
}

func (c *crowd) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := c.now.Add(1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	return &member{conn, sync.OnceFunc(func() { c.now.Add(-1) })}, nil
}

func (m *member) Close() error {
	m.leave()
	return m.Conn.Close()
}

func listen(t *testing.T) *crowd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &crowd{Listener: l}
}

// shop is a web server that answers after a while.
func shop(t *testing.T, after time.Duration) (*crowd, string) {
	t.Helper()
	c := listen(t)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(after):
		case <-r.Context().Done():
		}
	}))
	_ = s.Listener.Close()
	s.Listener = c
	s.Start()
	t.Cleanup(s.Close)
	return c, s.URL
}

// pit takes connections and never says a word.
func pit(t *testing.T) (*crowd, string) {
	t.Helper()
	c := listen(t)
	go func() {
		for {
			conn, err := c.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return c, "http://" + c.Addr().String()
}

// hole is an address whose queue of connections is full: packets to it are swallowed.
func hole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 8 { // nobody takes them: the queue fills
		if conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond); err == nil {
			t.Cleanup(func() { _ = conn.Close() })
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			return "tcp://" + address
		}
	}
	t.Skip("the queue of this system does not fill")
	return ""
}

// count is how many results each target had, by state.
func count(sink *consumertest.MetricsSink) map[string]map[int64]int64 {
	out := map[string]map[int64]int64{}
	for _, md := range sink.AllMetrics() {
		for _, m := range md.ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			if m.Name() != metricState {
				continue
			}
			p := m.Gauge().DataPoints().At(0)
			target, _ := p.Attributes().Get("target")
			if out[target.Str()] == nil {
				out[target.Str()] = map[int64]int64{}
			}
			out[target.Str()][p.IntValue()]++
		}
	}
	return out
}

// 32 targets of every temper at once: each is asked at its beat, those that overrun do not hold up the others, and
// nothing piles up.
func TestTheBeatIsKeptUnderLoad(t *testing.T) {
	const each = 8
	var crowds []*crowd
	var probes []string
	add := func(name, raw string, deadline int) {
		kind, _ := probe.KindOf(raw)
		probes = append(probes, fmt.Sprintf(`{"name":"%s-%d","target_site":"ams","service":"checkout","kind":%q,"url":%q,
			"interval_ms":1000,"deadline_ms":%d,"phase_ms":%d}`, name, len(probes), kind, raw, deadline, 37*len(probes)))
	}
	for range each {
		c, quick := shop(t, 0)
		d, slow := shop(t, 300*time.Millisecond)
		e, silent := pit(t)
		crowds = append(crowds, c, d, e)
		add("quick", quick, 9000) // a busy machine may be late, and is not to be called down
		add("slow", slow, 9000)
		add("silent", silent, 1600) // longer than its interval: it overruns
	}
	swallowed := hole(t)
	for range each / 2 {
		add("swallowed", swallowed, 800)
		add("refused", "tcp://127.0.0.1:1", 800)
	}
	state, err := topology.Parse([]byte(`{"cluster_id":"c","epoch":1,"revision":1,"site":"fra","probes":[` + strings.Join(probes, ",") + `]}`))
	if err != nil || len(state.Probes) != 4*each {
		t.Fatal(len(state.Probes), err)
	}
	board, sink, v := &topology.Board{}, &consumertest.MetricsSink{}, vitals.New()
	if err := board.Offer("", "fra", state, nil); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	vantage := newVantage(zap.NewNop(), board, v, sink, probe.Via{})
	began := time.Now()
	if err := vantage.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	most := 0
	enough := func() bool {
		most = max(most, runtime.NumGoroutine()-before)
		got := count(sink)
		for _, p := range state.Probes {
			asked := int64(0)
			for _, n := range got[p.Name] {
				asked += n
			}
			if asked < 4 {
				return false
			}
		}
		return true
	}
	for end := began.Add(2 * time.Minute); !enough(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: %v", time.Since(began), count(sink))
		}
	}
	took := time.Since(began)
	if err := vantage.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}

	got := count(sink)
	skipped := map[string]int64{}
	series, counts := v.Skipped()
	for i, s := range series {
		skipped[s.Target] = counts[i]
	}
	for _, p := range state.Probes {
		asked := got[p.Name][0] + got[p.Name][1] + got[p.Name][2]
		name, _, _ := strings.Cut(p.Name, "-")
		calm := name == "quick" || name == "slow"
		// A calm target has one slot a second, used or counted as skipped. One that fails is asked up to twice as often.
		if slots := int64(took / time.Second); calm && asked+skipped[p.Name] < slots-2 {
			t.Errorf("%s: %d asked and %d skipped in %v", p.Name, asked, skipped[p.Name], took)
		}
		if limit := 2*int64(took/time.Second) + 3; asked > limit {
			t.Errorf("%s: asked %d times in %v", p.Name, asked, took)
		}
		// A machine that is too busy makes results unknown, never wrong.
		if (calm && got[p.Name][2] > 0) || (!calm && got[p.Name][1] > 0) {
			t.Errorf("%s: %v", p.Name, got[p.Name])
		}
	}
	for i, c := range crowds {
		if n := c.most.Load(); n > 2 { // the server may notice the end of one just after the start of the next
			t.Errorf("target %d held %d connections at once", i, n)
		}
	}
	// A target costs its loop, its watch, and what a dial needs for a moment; the servers of this test count too.
	if limit := 4*each*6 + 4*each*4; most > limit {
		t.Errorf("%d goroutines for %d targets", most, 4*each)
	}
	t.Logf("%v, at most %d goroutines more, skipped %v", took.Round(time.Millisecond), most, skipped)
}

// A probe that overruns its interval is skipped and counted, with a real connection that hangs.
func TestAHangingTargetCountsWhatItMisses(t *testing.T) {
	_, slow := shop(t, 1500*time.Millisecond) // up, but later than its next slot
	raw := fmt.Sprintf(`{"cluster_id":"c","epoch":1,"revision":1,"site":"fra","probes":[{"name":"slow","target_site":"ams",
		"service":"checkout","kind":"http","url":%q,"interval_ms":1000,"deadline_ms":10000}]}`, slow)
	state, err := topology.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	board, sink, v := &topology.Board{}, &consumertest.MetricsSink{}, vitals.New()
	if err := board.Offer("", "fra", state, nil); err != nil {
		t.Fatal(err)
	}
	vantage := newVantage(zap.NewNop(), board, v, sink, probe.Via{})
	if err := vantage.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		_, counts := v.Skipped()
		if len(counts) == 1 && counts[0] >= 2 {
			break
		}
		if time.Now().After(end) {
			t.Errorf("skipped %v", counts)
			break
		}
	}
	if err := vantage.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}
