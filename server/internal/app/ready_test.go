package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What the ready-made watches find in the figures of an edge came over the edge, and so is a second witness beside probes.
func TestReadyMadeSymptomsComeOverTheEdge(t *testing.T) {
	const every = 5 * time.Second
	text := strings.Replace(judgedConfig, "  - {name: users, query: users, about: target_site, every: 5s, train: 6h}",
		"  - {ready: http, every: 5s, train: 1h, except: [http-traffic, http-probe-time, http-together, http-latency-of-peers]}", 1)
	s := openServer(t.Context(), t, t.TempDir(), text, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { _ = s.close(context.WithoutCancel(t.Context())) })
	now := time.Now().Truncate(every)
	var out []core.Sample
	for i, site := range []string{"fra", "ams", "waw"} {
		var answers [3]float64
		quick, slow := 0.0, 0.0
		for d := -time.Hour; d < 2*time.Minute; d += every {
			odd := site == "fra" && d >= -20*time.Second // of ten requests a second half fail and nine are slow
			n := 50 * (1 + 0.05*math.Sin(d.Seconds()*1.7+float64(i)))
			late := 0.1 * (1 + 0.5*math.Sin(d.Seconds()*2.3+float64(i)))
			if odd {
				late = 0.9
				answers[1] += n / 2
			}
			answers[0] += n
			quick, slow = quick+n*(1-late), slow+n*late
			add := func(name string, value float64, label, of string) {
				labels := []core.Label{
					{Name: label, Value: of}, {Name: "service", Value: "checkout"}, {Name: "site", Value: "director"}, {Name: "target_site", Value: site},
				}
				out = append(out, core.Sample{Name: name, Labels: labels, Value: value, AtMS: now.Add(d).UnixMilli()})
			}
			add("evenkeel_edge_requests_total", answers[0], "code_class", "2xx")
			add("evenkeel_edge_requests_total", answers[1], "code_class", "5xx")
			add("evenkeel_edge_duration_seconds_bucket", quick, "le", "0.1")
			add("evenkeel_edge_duration_seconds_bucket", quick+slow, "le", "1")
			add("evenkeel_edge_duration_seconds_bucket", quick+slow, "le", "+Inf")
		}
	}
	if err := s.store.Append(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	s.eyes.Facts([]core.Fact{{
		Kind: core.FactEdgeWeight, Site: "director", TargetSite: "fra", Service: "checkout", Value: 100, AgentAt: time.Now(), ReceivedAt: time.Now(), Interval: time.Second,
	}})
	watchman, err := s.newWatchman()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- watchman.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	paths := map[string]string{}
	until(t, "errors and latency are odd at fra", func() error {
		for _, a := range s.eyes.judge(nil).Assessments {
			for _, e := range append(a.Evidence, a.Odd...) {
				if e.Class == core.ClassSymptom && a.Subject.Site == "fra" {
					paths[e.Source] = e.Path
				}
			}
		}
		if len(paths) < 2 {
			return errors.New(fmt.Sprint(paths))
		}
		return nil
	})
	for watch, path := range paths {
		if path != "edge:director" {
			t.Errorf("%s came over %s", watch, path)
		}
	}
}
