package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/health"
)

// openServer is a server whose ledger and store are open, and which does not serve yet. With the same directory it is the next life of it.
func openServer(ctx context.Context, t testing.TB, dir, config string, log *slog.Logger) *Server {
	t.Helper()
	path := filepath.Join(dir, "evenkeel.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newServer(Options{ConfigPath: path, DataDir: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Log: log})
	for _, step := range []func() error{s.configure, func() error { return s.listen(ctx) }, func() error { return s.open(ctx) }} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

const judgedConfig = `lab: true
sites:
  - {name: fra, time_zone: Europe/Berlin, region: eu, pattern: same-city, capacity: {checkout: 1000}}
  - {name: ams, region: eu, pattern: same-city, capacity: {checkout: 1000}}
  - {name: waw, region: eu, pattern: same-city, capacity: {checkout: 1000}}
services:
  - name: checkout
    entries: {fra: "http://127.0.0.1:9/fra", ams: "http://127.0.0.1:9/ams", waw: "http://127.0.0.1:9/waw"}
watches:
  - {name: users, query: users, about: target_site, every: 5s, train: 6h}
`

// What the ledger has of drains and maintenance reaches the watches of a server, at its start and while it runs: a site whose users are
// away is not accused and does not learn that there are none, one that people worked at has not learned how that looked, and after it each is judged
// as before.
func TestAServersWatchesKnowOfDrainsAndMaintenance(t *testing.T) {
	const every = 5 * time.Second
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	now := time.Now().UTC().Truncate(every)
	const low, away, back = -3 * time.Hour, -2 * time.Hour, -health.Rebase - 10*time.Second
	at := func(d time.Duration) *time.Time { x := now.Add(d); return &x }

	s := openServer(t.Context(), t, dir, judgedConfig, log)
	ordered := func(id, site string, kind core.PlanKind, weight int, when time.Duration) core.Change {
		return core.Change{Action: &core.Action{
			ID: id, EpisodeID: "ep_" + site, Subject: core.Subject{Site: site, Service: "checkout"}, Kind: kind, By: "operator admin jo", State: core.ActionSucceeded,
			Step: 1, Steps: []core.StepRun{{N: 1, Of: 1, Weight: weight, IntendedAt: at(when), State: core.StepSucceeded}}, CreatedAt: *at(when), UpdatedAt: *at(when), EndedAt: at(when),
		}}
	}
	routing := core.Routing{Subject: core.Subject{Site: "waw", Service: "checkout"}, State: core.RoutingDrained, ChangedAt: *at(away), ActionID: "act_3"}
	if _, err := s.ledger.Commit(t.Context(), []core.Change{
		ordered("act_1", "fra", core.PlanDrain, 0, low), ordered("act_2", "fra", core.PlanRestore, 100, back),
		ordered("act_3", "waw", core.PlanDrain, 0, away),
		{Routing: &routing},
	}); err != nil {
		t.Fatal(err)
	}
	work := core.DeclaredChange{
		ID: "work-1", Site: "ams", Service: core.AllServices, What: "disks", Start: *at(low), End: *at(time.Hour), EndedAt: *at(back), DeclaredAt: *at(low), Maintenance: true,
	}
	if _, _, err := s.ledger.Declare(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	write := func(s *Server, from, to time.Duration, level func(site string, d time.Duration) float64, sites ...string) {
		t.Helper()
		var out []core.Sample
		for d := from; d < to; d += every {
			for i, site := range sites {
				noise := 1 + 0.02*math.Sin(d.Seconds()*1.7+float64(i))
				out = append(out, core.Sample{
					Name: "users", Labels: []core.Label{{Name: "service", Value: "checkout"}, {Name: "target_site", Value: site}},
					Value: level(site, d) * noise, AtMS: now.Add(d).UnixMilli(),
				})
			}
		}
		if err := s.store.Append(t.Context(), out); err != nil {
			t.Fatal(err)
		}
	}
	write(s, -6*time.Hour, 0, func(site string, d time.Duration) float64 {
		switch {
		case site == "waw" && d >= away, site == "fra" && d >= low && d < back:
			return 0
		case site == "ams" && d >= low && d < back:
			return 20
		}
		return 100
	}, "fra", "ams", "waw")
	users := func(string, time.Duration) float64 { return 100 }
	write(s, 0, 2*time.Minute, users, "fra", "ams")
	write(s, 0, 2*time.Minute, func(string, time.Duration) float64 { return 0 }, "waw")
	if err := s.close(t.Context()); err != nil {
		t.Fatal(err)
	}

	s = openServer(t.Context(), t, dir, judgedConfig, log)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	value := func(name, site string) (float64, bool) {
		t.Helper()
		got, err := s.store.Query(t.Context(), name+`{detector="users",target_site="`+site+`"}`, time.Now(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return 0, false
		}
		return got[0].Value, true
	}
	until(t, "all are judged", func() error {
		for _, site := range []string{"fra", "ams", "waw"} {
			if _, ok := value("evenkeel_detector_state", site); !ok {
				return errors.New(site)
			}
		}
		return nil
	})
	judged := func(site string) (core.DetectorState, string) {
		state, _ := value("evenkeel_detector_state", site)
		lower, _ := value("evenkeel_lower", site)
		expected, _ := value("evenkeel_expected", site)
		return core.DetectorState(state), fmt.Sprintf("%s is %g, expected %g, at least %g", site, state, expected, lower)
	}
	normal := func(site string) error {
		if state, text := judged(site); state != core.DetectorNormal {
			return errors.New(text)
		}
		if lower, _ := value("evenkeel_lower", site); lower < 80 {
			_, text := judged(site)
			return errors.New(text)
		}
		return nil
	}
	for _, site := range []string{"fra", "ams"} {
		if err := normal(site); err != nil {
			t.Errorf("%v: it is as it was before the drain or the maintenance", err)
		}
	}
	if state, text := judged("waw"); state != core.DetectorUnknown {
		t.Errorf("%s: its users are away", text)
	}

	// The drain of waw is over by now, and no users are there.
	routing.State, routing.Weight, routing.ChangedAt = core.RoutingActive, 100, *at(back)
	if _, err := s.ledger.Commit(t.Context(), []core.Change{ordered("act_4", "waw", core.PlanRestore, 100, back), {Routing: &routing}}); err != nil {
		t.Fatal(err)
	}
	poke(s.marks.stale)
	until(t, "waw misses its users", func() error {
		state, text := judged("waw")
		if lower, _ := value("evenkeel_lower", "waw"); state != core.DetectorAnomalous || lower < 80 {
			return errors.New(text)
		}
		return nil
	})
}

// Each site is judged by the time on its own walls.
func TestASeriesIsJudgedInTheTimeOfItsSite(t *testing.T) {
	s := newServer(Options{Log: slog.New(slog.DiscardHandler)})
	s.config.Sites = []config.Site{{Name: "fra", TimeZone: "Europe/Berlin"}, {Name: "ams", TimeZone: "UTC"}}
	zone := s.watching(nil, func([]core.Signal) {}).Zone
	if zone == nil {
		t.Fatal("the watches are told no zones")
	}
	summer := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	for site, want := range map[string]string{"fra": "12:00", "ams": "10:00"} {
		if got := summer.In(zone(site)).Format("15:04"); got != want {
			t.Errorf("%s has %s, want %s", site, got, want)
		}
	}
	if zone("lon") != nil {
		t.Error("a place that is no site has a zone")
	}
}
