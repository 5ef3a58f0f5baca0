package users

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// limits of the load.
const (
	patience   = 3 * time.Second // a user who has no answer by then leaves
	concurrent = 256             // more waiting users than that are turned away and count as failures
	remembered = 300             // seconds
)

// Options of the Users.
type Options struct {
	URL  string        // what they ask for, POST
	Peak float64       // requests per second at the top of the day
	Day  time.Duration // length of a day
	Each io.Writer     // one JSON line per second, once it is settled; nil for none
	Log  *slog.Logger
}

// Users load the director.
type Users struct {
	o      Options
	client *http.Client
	began  time.Time
	places chan struct{}

	mu      sync.Mutex
	seconds map[int64]*second
	peak    float64
}

// second is what became of the requests that were begun in one second.
type second struct {
	sent, ok, failed, shed int
	took                   []time.Duration
}

// Stats is what users got over a window. Latencies are those of answered requests; absent without any.
type Stats struct {
	Sent    int      `json:"sent"`
	OK      int      `json:"ok"`
	Failed  int      `json:"failed"` // answered 4xx or 5xx, not answered, or turned away
	Success *float64 `json:"success,omitempty"`
	Rate    float64  `json:"rate"` // requests per second
	P50MS   *float64 `json:"p50_ms,omitempty"`
	P99MS   *float64 `json:"p99_ms,omitempty"`
}

// New makes users who have not begun yet.
func New(o Options) *Users {
	return &Users{o: o, client: &http.Client{Timeout: patience, Transport: &http.Transport{
		MaxIdleConnsPerHost: 32, IdleConnTimeout: 30 * time.Second, DisableCompression: true,
	}}, places: make(chan struct{}, concurrent), seconds: map[int64]*second{}, peak: o.Peak}
}

// SetPeak changes the requests per second at the top of the day; the time of the day stays.
func (u *Users) SetPeak(rps float64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.peak = rps
}

// rate is the load at a time of the day.
func (u *Users) rate(since time.Duration) float64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return Options{Peak: u.peak, Day: u.o.Day}.Rate(since)
}

// Rate is the load at a time of the day: between 40 % of the peak and the peak, which is a quarter day after the
// start.
func (o Options) Rate(since time.Duration) float64 {
	return o.Peak * (0.7 + 0.3*math.Sin(2*math.Pi*since.Seconds()/o.Day.Seconds()))
}

// Run loads until ctx ends and returns when the last user is gone.
func (u *Users) Run(ctx context.Context) {
	var all sync.WaitGroup
	defer u.client.CloseIdleConnections()
	defer all.Wait()
	u.began = time.Now()
	all.Go(func() { u.tell(ctx) })
	next := u.began
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		// People come independently of each other: exponential gaps.
		gap := rand.ExpFloat64() / u.rate(next.Sub(u.began))
		next = next.Add(time.Duration(gap * float64(time.Second)))
		if late := time.Since(next); late > time.Second {
			next = next.Add(late) // after a frozen machine the missed users are not sent at once
		}
		t.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		at := time.Now().Unix()
		select {
		case u.places <- struct{}{}:
			all.Go(func() {
				defer func() { <-u.places }()
				u.visit(ctx, at)
			})
		default:
			u.note(at, func(s *second) { s.sent++; s.shed++ })
		}
	}
}

// visit is one user's order.
func (u *Users) visit(ctx context.Context, at int64) {
	u.note(at, func(s *second) { s.sent++ })
	began := time.Now()
	status := 0
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.o.URL, nil)
	if err == nil {
		var resp *http.Response
		if resp, err = u.client.Do(req); err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close() // it was read
			status = resp.StatusCode
		}
	}
	if ctx.Err() != nil {
		u.note(at, func(s *second) { s.sent-- }) // the lab ends, not the service
		return
	}
	took := time.Since(began)
	u.note(at, func(s *second) {
		if err != nil || status/100 != 2 {
			s.failed++
		} else {
			s.ok++
		}
		if status != 0 {
			s.took = append(s.took, took)
		}
	})
}

func (u *Users) note(at int64, f func(*second)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.seconds[at]
	if s == nil {
		s = &second{}
		u.seconds[at] = s
		delete(u.seconds, at-remembered)
	}
	f(s)
}

// Window is what users got in the last whole seconds before now. Requests still waiting are in Sent only.
func (u *Users) Window(now time.Time, seconds int) Stats {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.stats(now.Unix()-int64(seconds), seconds)
}

// stats sums up the seconds from from on. The lock is held.
func (u *Users) stats(from int64, seconds int) Stats {
	var out Stats
	var took []time.Duration
	for i := range int64(seconds) {
		s := u.seconds[from+i]
		if s == nil {
			continue
		}
		out.Sent += s.sent
		out.OK += s.ok
		out.Failed += s.failed + s.shed
		took = append(took, s.took...)
	}
	out.Rate = float64(out.Sent) / float64(seconds)
	if n := out.OK + out.Failed; n > 0 {
		success := float64(out.OK) / float64(n)
		out.Success = &success
	}
	if len(took) > 0 {
		slices.Sort(took)
		out.P50MS, out.P99MS = quantile(took, 0.5), quantile(took, 0.99)
	}
	return out
}

// quantile is the smallest value with at least the share q at or below it; sorted is not empty.
func quantile(sorted []time.Duration, q float64) *float64 {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	ms := float64(sorted[max(i, 0)].Microseconds()) / 1000
	return &ms
}

// line is one settled second on disk.
type line struct {
	AtUnix int64 `json:"at_unix"`
	Stats
}

// tell writes each second down when nobody of it can be waiting any more.
func (u *Users) tell(ctx context.Context) {
	if u.o.Each == nil {
		return
	}
	settle := int64(patience/time.Second) + 1
	told := time.Now().Unix() - 1
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			for told < now.Unix()-settle {
				told++
				u.mu.Lock()
				l := line{told, u.stats(told, 1)}
				u.mu.Unlock()
				b, err := json.Marshal(l)
				if err == nil {
					_, err = u.o.Each.Write(append(b, '\n'))
				}
				if err != nil {
					u.o.Log.Error("users' success is not written down any more", slog.Any("error", err))
					return
				}
			}
		}
	}
}
