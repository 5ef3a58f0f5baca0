package api

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// listen opens an event stream and returns a function that reads the next event: its name and id.
func (r *rig) listen(header map[string]string, query string) (next func() string, stop func()) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/v1/events"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	res, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	if res.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("content type is %q", res.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(res.Body)
	next = func() string {
		var name, id string
		for lines.Scan() {
			key, value, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case key == "event":
				name = value
			case key == "id":
				id = value
			case key == "" && value != "":
				return ": " + value
			case lines.Text() == "" && name != "":
				return strings.TrimSpace(name + " " + id)
			}
		}
		return "end"
	}
	return next, func() {
		cancel()
		_ = res.Body.Close()
	}
}

func TestEvents(t *testing.T) {
	r := start(t)
	first := r.commit(core.Change{Line: &core.Line{Sentence: "before"}})
	next, stop := r.listen(nil, "")
	defer stop()
	expect := func(next func() string, want ...string) {
		t.Helper()
		for _, w := range want {
			if got := next(); got != w {
				t.Errorf("event is %q, want %q", got, w)
			}
		}
	}
	expect(next, ": connected")
	rev := r.commit(
		core.Change{Episode: &core.Episode{ID: "ep"}}, core.Change{Decision: &core.Decision{ID: "d"}},
		core.Change{Action: &core.Action{ID: "a"}}, core.Change{Line: &core.Line{}}, core.Change{Notice: &core.Notice{ID: "n"}},
		core.Change{Brake: &core.Brake{}}, core.Change{Routing: &core.Routing{Subject: core.Subject{Site: "fra"}}},
		core.Change{Intent: &core.Intent{ID: "a_1"}})
	all := []string{"episode", "decision", "action", "line", "notice", "brake", fmt.Sprint("routing ", rev)}
	expect(next, all...)
	hidden := r.commit(core.Change{Intent: &core.Intent{ID: "a_2"}})
	last := r.commit(core.Change{Line: &core.Line{}})
	expect(next, fmt.Sprint("line ", last))
	if hidden >= last {
		t.Error("revisions do not grow")
	}

	resumed, stop2 := r.listen(map[string]string{"Last-Event-ID": fmt.Sprint(first)}, "?after=1")
	defer stop2()
	expect(resumed, append([]string{": connected"}, all...)...)
	after, stop3 := r.listen(nil, fmt.Sprint("?after=", rev))
	defer stop3()
	expect(after, ": connected", fmt.Sprint("line ", last))
	r.refused(call{path: "/api/v1/events?after=x"}, http.StatusBadRequest, core.CodeInvalid)
}

func TestEventsBeat(t *testing.T) {
	r := start(t, func(o *Options) { o.Heartbeat = time.Millisecond })
	next, stop := r.listen(nil, "")
	defer stop()
	for _, want := range []string{": connected", ": beat", ": beat"} {
		if got := next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestEventsCutASlowReader(t *testing.T) {
	registry := prometheus.NewRegistry()
	r := start(t, func(o *Options) { o.Registry, o.Patience = registry, 500*time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	open := func() float64 {
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "evenkeel_api_streams" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	deadline := time.Now().Add(2 * time.Minute)
	for open() != 1 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	// Nobody reads: the buffers of the connection fill up, and a write does not end.
	big := core.Change{Line: &core.Line{Sentence: strings.Repeat("x", 1<<20)}}
	for open() == 1 && time.Now().Before(deadline) {
		r.commit(big)
	}
	if open() != 0 {
		t.Error("the stream of a reader that does not read is still open")
	}
}

// cut is a ledger whose watches end at once, as when the history is gone.
type cut struct{ Records }

func (cut) Watch(context.Context, int64) <-chan core.Event {
	c := make(chan core.Event)
	close(c)
	return c
}

func TestEventsSayWhenHistoryIsGone(t *testing.T) {
	r := start(t, func(o *Options) { o.Records = cut{o.Records} })
	next, stop := r.listen(map[string]string{"Last-Event-ID": "1"}, "")
	defer stop()
	for _, want := range []string{": connected", fmt.Sprint("reset ", r.ledger.Revision()), "end"} {
		if got := next(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A reader that is ahead of the ledger has seen another one: it is told at once, and goes on from now.
func TestEventsResetAReaderFromTheFuture(t *testing.T) {
	r := start(t)
	rev := r.commit(core.Change{Line: &core.Line{}})
	for _, from := range []int64{rev + 1, 1 << 62} {
		next, stop := r.listen(map[string]string{"Last-Event-ID": fmt.Sprint(from)}, "")
		for _, want := range []string{": connected", fmt.Sprint("reset ", rev)} {
			if got := next(); got != want {
				t.Errorf("after %d: got %q, want %q", from, got, want)
			}
		}
		rev = r.commit(core.Change{Line: &core.Line{}})
		if got := next(); got != fmt.Sprint("line ", rev) {
			t.Errorf("after %d and the reset: got %q", from, got)
		}
		stop()
	}
	next, stop := r.listen(nil, fmt.Sprint("?after=", rev)) // up to date is not ahead
	defer stop()
	next()
	rev = r.commit(core.Change{Line: &core.Line{}})
	if got := next(); got != fmt.Sprint("line ", rev) {
		t.Errorf("got %q", got)
	}
}

// One address must not take all the streams there are.
func TestEventsOfOneAddress(t *testing.T) {
	r := start(t)
	var stops []func()
	for range streamsEach {
		_, stop := r.listen(nil, "")
		stops = append(stops, stop)
	}
	r.refused(call{path: "/api/v1/events"}, http.StatusTooManyRequests, codeTooMany)
	for _, stop := range stops {
		stop()
	}
	deadline := time.Now().Add(time.Minute)
	for {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/api/v1/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		_ = res.Body.Close()
		if res.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("closed streams are still counted: %s", res.Status)
		}
	}
}

func TestStreamsOfManyAddresses(t *testing.T) {
	s := &streams{by: map[string]int{}}
	for i := range maxStreams {
		if all, own := s.enter(fmt.Sprint(i / streamsEach)); !all || !own {
			t.Fatalf("stream %d: %v %v", i, all, own)
		}
	}
	if all, _ := s.enter("new"); all {
		t.Error("more than all are taken")
	}
	for i := range maxStreams {
		s.leave(fmt.Sprint(i / streamsEach))
	}
	if s.open() != 0 || len(s.by) != 0 {
		t.Errorf("left over: %d %v", s.all, s.by)
	}
}
