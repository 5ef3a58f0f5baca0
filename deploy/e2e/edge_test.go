package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"
)

// edgeDesk is the edge: it sends users to the shops as the executor's weights say, and reports what they got to every
// replica, each by itself.
type edgeDesk struct {
	c      *control
	token  string
	cancel context.CancelFunc
	all    sync.WaitGroup

	mu     sync.Mutex
	counts map[[2]string]float64 // site and class
}

const usersPerSecond = 40

func newEdgeDesk(c *control, token string) *edgeDesk {
	ctx, cancel := context.WithCancel(context.Background())
	e := &edgeDesk{c: c, token: token, cancel: cancel, counts: map[[2]string]float64{}}
	e.all.Go(func() { e.users(ctx) })
	start := time.Now()
	for _, place := range c.wide.places() {
		e.all.Go(func() { e.report(ctx, place, start) })
	}
	return e
}

func (e *edgeDesk) close() {
	e.cancel()
	e.all.Wait()
}

func (e *edgeDesk) client(timeout time.Duration) *http.Client {
	dial := e.c.n.Dial(edgePlace)
	return &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, timeout) // the client gives up, its dial would go on
			defer cancel()
			return dial(ctx, network, addr)
		},
	}}
}

// users come one after the other, whatever became of the last one.
func (e *edgeDesk) users(ctx context.Context) {
	client := e.client(400 * time.Millisecond)
	tick := time.NewTicker(time.Second / usersPerSecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		site := e.pick()
		if site == "" {
			continue
		}
		e.all.Go(func() {
			class := "error"
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d/", e.c.n.IP(site), shopPort), nil)
			if err != nil {
				return
			}
			if resp, err := client.Do(req); err == nil {
				_ = resp.Body.Close()
				class = fmt.Sprintf("%dxx", resp.StatusCode/100)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			e.counts[[2]string{site, class}]++
		})
	}
}

func (e *edgeDesk) pick() string {
	weights, sum := e.c.exec.Weights(), 0
	for _, w := range weights {
		sum += w
	}
	if sum == 0 {
		return ""
	}
	at := rand.IntN(sum)
	for _, site := range e.c.wide.places() {
		if at -= weights[site]; at < 0 {
			return site
		}
	}
	return ""
}

// report tells one replica twice a second; one that does not answer delays nobody else.
func (e *edgeDesk) report(ctx context.Context, place string, start time.Time) {
	client := e.client(time.Second)
	for rest(ctx, 500*time.Millisecond) {
		now := time.Now()
		requests, weight := Metric{Name: "evenkeel.edge.requests", Sum: true}, Metric{Name: "evenkeel.edge.weight"}
		e.mu.Lock()
		for _, site := range e.c.wide.places() {
			attrs := []string{"target_site", site, "service", "checkout"}
			for _, class := range []string{"2xx", "error"} {
				requests.Points = append(requests.Points, Point{
					Value: e.counts[[2]string{site, class}], At: now, Attrs: append(append([]string{}, attrs...), "code_class", class),
				})
			}
			weight.Points = append(weight.Points, Point{Value: float64(e.c.exec.Weights()[site]), At: now, Attrs: attrs})
		}
		e.mu.Unlock()
		body, err := Export("edge-1", start, requests, weight)
		if err != nil {
			continue
		}
		_, _ = Post(ctx, client, e.c.url(place)+"/v1/metrics", e.token, body) // a fact that is lost is told again
	}
}
