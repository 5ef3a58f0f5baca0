package pagerduty

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

const testKey = "0123456789abcdef0123456789ABCDEF"

func newClient(t *testing.T, o Options) *Client {
	t.Helper()
	key, err := ParseKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	o.Key = key
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// drive calls wait for each event in its own goroutine, in order, and notes when each went out.
type drive struct {
	c     *Client
	mu    sync.Mutex
	wg    sync.WaitGroup
	order []string
	ends  map[string]string
	hold  map[string]chan bool // an event that stays out until it is told whether it was accepted
}

func (d *drive) send(name string, e Event) {
	d.wg.Go(func() {
		turn, state, err := d.c.wait(context.Background(), e)
		d.mu.Lock()
		end := state.String()
		if err != nil {
			end = err.Error()
		}
		if turn != nil {
			end = "out"
			d.order = append(d.order, name)
		}
		d.ends[name] = end
		hold := d.hold[name]
		d.mu.Unlock()
		if turn != nil {
			accepted := true
			if hold != nil {
				accepted = <-hold
			}
			d.c.done(turn, accepted)
		}
	})
	synctest.Wait()
}

func (d *drive) got() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.order, " ")
}

func newDrive(c *Client) *drive {
	return &drive{c: c, ends: map[string]string{}, hold: map[string]chan bool{}}
}

func ev(action Action, key, severity string) Event {
	return Event{Action: action, DedupKey: key, Severity: severity, Summary: "s", Source: "fra"}
}

func TestPriority(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrive(newClient(t, Options{Burst: 1, PerMinute: 60}))
		d.send("first", ev(Trigger, "a", Info))
		d.send("info", ev(Trigger, "b", Info))
		d.send("warning", ev(Trigger, "c", Warning))
		d.send("error", ev(Trigger, "d", Error))
		d.send("critical", ev(Trigger, "e", Critical))
		d.send("resolve", ev(Resolve, "f", ""))
		d.wg.Wait()
		if got, want := d.got(), "first critical resolve error warning info"; got != want {
			t.Errorf("order %s, want %s", got, want)
		}
	})
}

// No 60 seconds see more than 120 events, and a critical trigger waits for one token at most.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, Options{})
		var mu sync.Mutex
		var out []time.Time
		var wg sync.WaitGroup
		send := func(e Event) {
			wg.Go(func() {
				turn, _, err := c.wait(context.Background(), e)
				if err != nil || turn == nil {
					t.Errorf("turn %v, error %v", turn, err)
					return
				}
				mu.Lock()
				out = append(out, time.Now())
				mu.Unlock()
				c.done(turn, true)
			})
		}
		for i := range 300 {
			send(ev(Trigger, "flood"+string(rune('A'+i)), Info))
		}
		synctest.Wait()
		mu.Lock()
		if len(out) != 20 {
			t.Errorf("%d events at once, want the burst of 20", len(out))
		}
		mu.Unlock()
		time.Sleep(10 * time.Second)
		start := time.Now()
		turn, _, err := c.wait(context.Background(), ev(Trigger, "urgent", Critical))
		if err != nil {
			t.Fatal(err)
		}
		c.done(turn, true)
		if waited := time.Since(start); waited > 700*time.Millisecond {
			t.Errorf("a critical trigger waited %s behind a flood", waited)
		}
		wg.Wait()
		for i := range out {
			n := 0
			for _, at := range out[i:] {
				if at.Sub(out[i]) < time.Minute {
					n++
				}
			}
			if n > 120 {
				t.Fatalf("%d events within 60 s", n)
			}
		}
	})
}

func TestCoalescing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrive(newClient(t, Options{Burst: 1, PerMinute: 60}))
		d.send("other", ev(Trigger, "z", Info))
		d.send("trigger", ev(Trigger, "a", Error))
		d.send("update 1", ev(Update, "a", Info))
		d.send("update 2", ev(Update, "a", Info))
		d.send("warning", ev(Trigger, "b", Warning))
		d.wg.Wait()
		if got, want := d.got(), "other update 2 warning"; got != want { // it kept the urgency of the trigger
			t.Errorf("order %s, want %s", got, want)
		}
		if d.ends["trigger"] != "replaced" || d.ends["update 1"] != "replaced" {
			t.Errorf("ends %v", d.ends)
		}
	})
}

func TestResolveCancelsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrive(newClient(t, Options{Burst: 1, PerMinute: 60}))
		d.send("other", ev(Trigger, "z", Info))
		d.send("trigger", ev(Trigger, "a", Error))
		d.send("resolve", ev(Resolve, "a", ""))
		d.send("trigger again", ev(Trigger, "a", Critical))
		d.wg.Wait()
		if got, want := d.got(), "other resolve trigger again"; got != want {
			t.Errorf("order %s, want %s", got, want)
		}
		if d.ends["trigger"] != "cancelled" {
			t.Errorf("ends %v", d.ends)
		}
	})
}

func TestResolveWaitsForItsTrigger(t *testing.T) {
	f := func(first Action, accepted bool, want string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			d := newDrive(newClient(t, Options{}))
			d.hold["first"] = make(chan bool)
			d.send("first", ev(first, "a", Error))
			d.send("update", ev(Update, "a", Error))
			d.send("resolve", ev(Resolve, "a", ""))
			if got := d.got(); got != "first" {
				t.Errorf("order %s while the first is out", got)
			}
			d.hold["first"] <- accepted
			d.wg.Wait()
			if got := d.got(); got != want {
				t.Errorf("order %q, want %q; ends %v", got, want, d.ends)
			}
			if len(d.c.keys) != 0 {
				t.Errorf("%d lanes left", len(d.c.keys))
			}
		})
	}
	f(Trigger, true, "first resolve")
	f(Trigger, false, "first")
	f(Update, false, "first resolve") // the alert was open before
}

func TestCallerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, Options{Burst: 1, PerMinute: 60})
		turn, _, err := c.wait(t.Context(), ev(Trigger, "a", Error))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var again *remediations.Transient
		if _, _, err := c.wait(ctx, ev(Resolve, "a", "")); !errors.As(err, &again) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if _, _, err := c.wait(short, ev(Trigger, "b", Info)); err == nil {
			t.Error("there was no token, and no error")
		}
		c.done(turn, true)
		if len(c.keys) != 0 || c.waiting.Len() != 0 {
			t.Errorf("%d lanes and %d waiting are left", len(c.keys), c.waiting.Len())
		}
		next, _, err := c.wait(t.Context(), ev(Trigger, "c", Info))
		if err != nil {
			t.Fatal(err)
		}
		c.done(next, true)
	})
}

func TestOrphanIsTransient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, Options{})
		turn, _, err := c.wait(t.Context(), ev(Trigger, "a", Error))
		if err != nil {
			t.Fatal(err)
		}
		result := make(chan error)
		go func() { _, _, err := c.wait(t.Context(), ev(Resolve, "a", "")); result <- err }()
		synctest.Wait()
		c.done(turn, false)
		var again *remediations.Transient
		if err := <-result; !errors.As(err, &again) || !errors.Is(err, ErrTriggerNotAccepted) {
			t.Errorf("error %v", err)
		}
	})
}

func TestDedupKey(t *testing.T) {
	if got, want := DedupKey("fra", "dead-service", "ep_1"), "evenkeel:fra:dead-service:ep_1"; got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	a, b := DedupKey("fra", "dead", strings.Repeat("é", 300)+"1"), DedupKey("fra", "dead", strings.Repeat("é", 300)+"2")
	if n := len([]rune(a)); n != 233 || a == b {
		t.Errorf("%d characters, want 233; equal %v", n, a == b)
	}
	if at := strings.Repeat("k", 255); fitKey(at) != at {
		t.Error("255 characters fit")
	}
}

func TestShrink(t *testing.T) {
	e := ev(Trigger, "a", Error)
	long := strings.Repeat("x", 100_000)
	for range 10 {
		e.Details = append(e.Details, Detail{Name: "n", Value: long})
	}
	e.Links = []Link{{Href: "https://example.net/"}}
	b, err := e.body(testKey)
	if err != nil || len(b) > MaxEvent || !strings.Contains(string(b), "5 of 10 details did not fit") || !strings.Contains(string(b), `"links"`) {
		t.Errorf("%d bytes, error %v", len(b), err)
	}
	e.Links = []Link{{Href: "https://example.net/" + strings.Repeat(long, 6)}}
	e.Images = []Image{{Src: "https://example.net/i.png"}}
	b, err = e.body(testKey)
	if err != nil || strings.Contains(string(b), `"links"`) || !strings.Contains(string(b), `"images"`) {
		t.Errorf("%d bytes, error %v", len(b), err)
	}
	if len(e.Details) != 10 || !slices.ContainsFunc(e.Details, func(d Detail) bool { return d.Value == long }) {
		t.Error("the caller's event was changed")
	}
}
