package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Fleet stands in for the agents of all sites and for the edge: everybody is well, and the edge sends users as the
// executor's weights say. What the server does not take is lost, as a fact should be.
type Fleet struct {
	URL       string
	Sites     []string
	Service   string
	Rate      float64               // users' requests per second
	Tokens    map[string]string     // of the sites, and of the edge under EdgeName
	WeightsOf func() map[string]int // percent of normal, by site

	client *http.Client
	start  time.Time
	mu     sync.Mutex
	last   error
	counts map[string]float64
	ill    map[string]bool // sites whose service answers wrongly
}

// EdgeName is the name of the stand-in edge.
const EdgeName = "edge"

// Run reports every half second until ctx ends.
func (f *Fleet) Run(ctx context.Context) {
	f.client = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	defer f.client.CloseIdleConnections()
	f.start, f.counts = time.Now(), map[string]float64{}
	var all sync.WaitGroup
	defer all.Wait()
	for _, site := range f.Sites {
		all.Go(func() {
			for seq := 1; ; seq++ {
				f.note(ctx, f.agent(ctx, site, seq))
				if !rest(ctx, 500*time.Millisecond) {
					return
				}
			}
		})
	}
	before := f.start
	for rest(ctx, 500*time.Millisecond) {
		now := time.Now()
		f.note(ctx, f.edge(ctx, now, now.Sub(before)))
		before = now
	}
}

// Fail makes the service at a site answer wrongly from now on.
func (f *Fleet) Fail(site string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ill = map[string]bool{site: true}
}

// Err is what the last report ran into.
func (f *Fleet) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

func (f *Fleet) note(ctx context.Context, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() == nil {
		f.last = err
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// agent sends a heartbeat and a success of every probe at one site.
func (f *Fleet) agent(ctx context.Context, site string, seq int) error {
	now := time.Now()
	beat, err := json.Marshal(object{
		"agent_id": "agent-" + site, "role": "site", "seq": seq, "boot_id": "1", "version": "e2e", "t1_unix_ns": now.UnixNano(),
		"clock_known": true, "offset_ns": 0, "error_ns": 1_000_000,
	})
	if err != nil {
		return fmt.Errorf("encode the heartbeat: %w", err)
	}
	state, took := Metric{Name: "evenkeel.probe.state"}, Metric{Name: "evenkeel.probe.duration", Unit: "s"}
	for _, target := range f.Sites {
		attrs := []string{"target_site", target, "service", f.Service, "target", f.Service + "-http", "path", "user"}
		f.mu.Lock()
		ill := f.ill[target]
		f.mu.Unlock()
		if ill {
			state.Points = append(state.Points, Point{Value: 2, At: now, Attrs: append(slices.Clone(attrs), "reason", "status")})
			continue
		}
		state.Points = append(state.Points, Point{Value: 1, At: now, Attrs: attrs})
		took.Points = append(took.Points, Point{Value: 0.01, At: now, Attrs: attrs})
	}
	facts, err := Export("agent-"+site, f.start, state, took)
	if err != nil {
		return err
	}
	return errors.Join(f.post(ctx, "/api/v1/agent/heartbeat", site, beat), f.post(ctx, "/v1/metrics", site, facts))
}

// edge sends users for a time and reports them.
func (f *Fleet) edge(ctx context.Context, now time.Time, passed time.Duration) error {
	weights, sum := f.WeightsOf(), 0
	for _, site := range f.Sites {
		sum += weights[site]
	}
	requests, weight := Metric{Name: "evenkeel.edge.requests", Sum: true}, Metric{Name: "evenkeel.edge.weight"}
	for _, site := range f.Sites {
		if sum > 0 {
			f.counts[site] += f.Rate * passed.Seconds() * float64(weights[site]) / float64(sum)
		}
		attrs := []string{"target_site", site, "service", f.Service}
		requests.Points = append(requests.Points,
			Point{Value: float64(int(f.counts[site])), At: now, Attrs: append(slices.Clone(attrs), "code_class", "2xx")},
			Point{Value: 0, At: now, Attrs: append(slices.Clone(attrs), "code_class", "5xx")})
		weight.Points = append(weight.Points, Point{Value: float64(weights[site]), At: now, Attrs: attrs})
	}
	facts, err := Export("edge-1", f.start, requests, weight)
	if err != nil {
		return err
	}
	return f.post(ctx, "/v1/metrics", EdgeName, facts)
}

func (f *Fleet) post(ctx context.Context, path, who string, body []byte) error {
	a, err := Post(ctx, f.client, f.URL+path, f.Tokens[who], body)
	if err == nil && (a.Status != http.StatusOK || path == "/v1/metrics" && a.Body != `{"partialSuccess":{}}` && a.Body != "{}") {
		err = fmt.Errorf("%s of %s answered %d: %.300s", path, who, a.Status, a.Body)
	}
	return err
}
