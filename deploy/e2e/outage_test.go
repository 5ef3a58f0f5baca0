package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// away is a world whose servers can all be gone: two servers with one ledger's tokens, real agents at all sites, and a
// service whose answers are ours to choose.
type away struct {
	t       *testing.T
	servers []*Server
	agents  map[string]*Agent
	tokens  map[string]string
	shops   map[string]*shopDoor
}

// shopDoor is the entry of the service at one site.
type shopDoor struct {
	*httptest.Server
	down atomic.Bool
}

func awaySites() []string { return []string{"fra", "ams", "lon"} }

// newAway starts servers, and agents with the defaults and what more gives.
func newAway(t *testing.T, servers int, more ...string) *away {
	t.Helper()
	p, dir := programs(t), folder(t)
	a := &away{t: t, agents: map[string]*Agent{}, tokens: map[string]string{}, shops: map[string]*shopDoor{}}
	var entries strings.Builder
	for _, site := range awaySites() {
		d := &shopDoor{}
		d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if d.down.Load() {
				w.WriteHeader(http.StatusServiceUnavailable)
			}
		}))
		t.Cleanup(d.Close)
		a.shops[site] = d
		fmt.Fprintf(&entries, "%s: %q, ", site, d.URL+"/healthz")
	}
	config := fmt.Sprintf(`lab: true
sites:
  - {name: fra, time_zone: Europe/Berlin, region: eu, pattern: same-city, capacity: {checkout: 1000}}
  - {name: ams, time_zone: Europe/Amsterdam, region: eu, pattern: same-city, capacity: {checkout: 1000}}
  - {name: lon, time_zone: Europe/London, region: eu, pattern: same-city, capacity: {checkout: 1000}}
services:
  - name: checkout
    survivors: [fra, ams, lon]
    entries: {%s}
`, strings.TrimSuffix(entries.String(), ", "))
	for i := range servers {
		a.addServer(p, filepath.Join(dir, fmt.Sprintf("server-%d", i+1)), config)
	}
	ports := must[*Ports](t)(ClaimPorts())
	t.Cleanup(ports.Release)
	for i, site := range awaySites() {
		var urls []string
		for _, s := range a.servers {
			urls = append(urls, s.URL)
		}
		agent := must[*Agent](t)(NewAgent(p, dir, ports, i, site, a.tokens[site], urls, more...))
		a.agents[site] = agent
		t.Cleanup(func() {
			if t.Failed() && agent.Process != nil {
				t.Logf("the agent at %s said:\n%s", site, agent.Process.Output())
			}
			if err := agent.Stop(); err != nil {
				t.Error(err)
			}
		})
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// addServer starts one more server; the second begins as a copy of the first, so that it knows the same tokens.
func (a *away) addServer(p Programs, dir, config string) {
	a.t.Helper()
	ports := must[*Ports](a.t)(ClaimPorts())
	a.t.Cleanup(ports.Release)
	if err := os.Mkdir(dir, 0o700); err != nil {
		a.t.Fatal(err)
	}
	if len(a.servers) > 0 {
		first := a.servers[0]
		if err := first.Stop(); err != nil {
			a.t.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(dir, "server"), os.DirFS(first.Data)); err != nil {
			a.t.Fatal(err)
		}
		a.back(first)
	}
	s := must[*Server](a.t)(StartServer(a.t.Context(), p, dir, ports, config))
	a.t.Cleanup(func() {
		if a.t.Failed() && s.Process != nil {
			a.t.Logf("the server said:\n%s", s.Process.Output())
		}
		if err := s.Stop(); err != nil {
			a.t.Error(err)
		}
	})
	a.servers = append(a.servers, s)
	if len(a.servers) == 1 {
		for _, site := range awaySites() {
			a.tokens[site] = must[string](a.t)(s.Token(a.t.Context(), "site", site))
		}
	}
}

// gone ends servers as a power cut does; back brings them back.
func (a *away) gone(list ...*Server) {
	for _, s := range list {
		s.Kill()
	}
}

func (a *away) back(list ...*Server) {
	a.t.Helper()
	for _, s := range list {
		if err := s.Start(); err != nil {
			a.t.Fatal(err)
		}
		if err := s.AwaitReady(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *away) until(patience time.Duration, what string, ok func() error) {
	a.t.Helper()
	if err := Until(patience, what, ok); err != nil {
		a.t.Fatal(err)
	}
}

func (a *away) step(format string, args ...any) {
	a.t.Helper()
	a.t.Logf("%s  %s", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// well is nil when a server hears all agents and has no doubt about any site.
func (a *away) well(s *Server) error {
	o, err := s.Conditions(a.t.Context())
	if err != nil {
		return err
	}
	if len(o.Assessments) != len(awaySites()) || len(o.Writers) != len(awaySites()) {
		return fmt.Errorf("%d assessments, %d writers", len(o.Assessments), len(o.Writers))
	}
	for _, w := range o.Writers {
		if !w.Fresh {
			return fmt.Errorf("%s %s is not fresh", w.Kind, w.Name)
		}
	}
	for _, as := range o.Assessments {
		if as.Condition != "healthy" {
			return errors.New(as.Sentence)
		}
	}
	return nil
}

// feed is what an application at fra measures: so many series at each tick, which are numbered, so that each sample
// can be told from each other.
type feed struct {
	name   string
	series int
	every  time.Duration // between two timestamps
	pause  time.Duration // between two ticks
	from   time.Time     // timestamp of the first tick
	ticks  int
	done   atomic.Int64 // ticks that the agent has taken
}

// run pushes all ticks; what the agent does not take is pushed again until it does, as an application's exporter would.
func (f *feed) run(ctx context.Context, agent *Agent) error {
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(f.pause)
	defer ticker.Stop()
	for k := range f.ticks {
		m := Metric{Name: f.name}
		at := f.from.Add(time.Duration(k) * f.every)
		for i := range f.series {
			m.Points = append(m.Points, Point{Value: float64(k), At: at, Attrs: []string{"i", fmt.Sprint(i)}})
		}
		body, err := Export("app-1", f.from, m)
		if err != nil {
			return err
		}
		if err := Until(2*time.Minute, "the agent takes a push", func() error {
			if ctx.Err() != nil {
				return &Never{ctx.Err()}
			}
			answer, err := Post(ctx, client, "http://"+agent.OTLP+"/v1/metrics", "", body)
			if err == nil && answer.Status != http.StatusOK {
				err = fmt.Errorf("answered %d %.200s", answer.Status, answer.Body)
			}
			return err
		}); err != nil {
			return err
		}
		f.done.Add(1)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return nil
}

// stored counts the different samples of the feed in a server's store, and how many came twice.
func (f *feed) stored(ctx context.Context, s *Server) (different, twice int, err error) {
	window := fmt.Sprintf("[%ds]", int(time.Since(f.from).Seconds())+600)
	one := func(expr string) (int, error) {
		list, err := s.Query(ctx, expr)
		if err != nil || len(list) == 0 {
			return 0, err
		}
		return int(list[0].Value), nil
	}
	if different, err = one("sum(distinct_over_time(" + f.name + window + "))"); err != nil {
		return 0, 0, err
	}
	all, err := one("sum(count_over_time(" + f.name + window + "))")
	return different, all - different, err
}

// memories are samples of an agent's memory.
type memories struct {
	mu   sync.Mutex
	list []Memory
}

// watch samples until ctx ends, also over a restart of the agent.
func (m *memories) watch(ctx context.Context, pid func() int) {
	for rest(ctx, time.Second) {
		if p := pid(); p > 0 {
			if one, err := MemoryOf(p); err == nil {
				m.mu.Lock()
				m.list = append(m.list, one)
				m.mu.Unlock()
			}
		}
	}
}

// most of the own memory in a part of the time, in bytes.
func (m *memories) most(from, to float64) (most Memory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := float64(len(m.list))
	for _, one := range m.list[int(from*n):int(to*n)] {
		most.Own, most.Files = max(most.Own, one.Own), max(most.Files, one.Files)
	}
	return most
}

// TestAnHourWithoutServers: all servers are gone for an hour, and come back. Nothing that was measured meanwhile is
// lost, also not by a kill of the agent in the middle; its memory does not grow; and what the probes saw then is
// history.
func TestAnHourWithoutServers(t *testing.T) {
	t.Parallel()
	a := newAway(t, 2, "--host-metrics=true")
	for _, s := range a.servers {
		a.until(time.Minute, "all is well", func() error { return a.well(s) })
	}
	fra := a.agents["fra"]
	// The short form pushes an hour of timestamps in about a minute and a half.
	f := &feed{name: "e2e_outage_short", series: 500, every: 10 * time.Second, pause: 250 * time.Millisecond, ticks: 360}
	f.from = time.Now().Add(-time.Hour).Truncate(time.Second)
	if *long {
		f.name, f.pause, f.from = "e2e_outage_long", f.every, time.Now().Truncate(time.Second)
	}
	began := time.Now()
	a.gone(a.servers...)
	a.step("both servers are gone")

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mem memories
	var pid atomic.Int64
	pid.Store(int64(fra.Process.PID()))
	var all sync.WaitGroup
	defer all.Wait()
	watching, unwatch := context.WithCancel(ctx)
	defer unwatch()
	all.Go(func() { mem.watch(watching, func() int { return int(pid.Load()) }) })
	fed := make(chan error, 1)
	all.Go(func() { fed <- f.run(ctx, fra) })

	// In the middle the agent is killed, and the service at ams is down for a while.
	a.until(2*time.Hour, "half of it is fed", func() error {
		if int(f.done.Load()) < f.ticks/2 {
			return fmt.Errorf("%d of %d ticks", f.done.Load(), f.ticks)
		}
		return nil
	})
	a.shops["ams"].down.Store(true)
	fra.Kill()
	if err := fra.Start(); err != nil {
		t.Fatal(err)
	}
	pid.Store(int64(fra.Process.PID()))
	a.step("the agent was killed after %d ticks and is back", f.done.Load())
	a.until(2*time.Hour, "all is fed", func() error {
		select {
		case err := <-fed:
			if err != nil {
				return &Never{err}
			}
			return nil
		default:
			return fmt.Errorf("%d of %d ticks", f.done.Load(), f.ticks)
		}
	})
	a.shops["ams"].down.Store(false)
	lasted := time.Since(began)
	size := must[int64](t)(fra.QueueSize())
	unwatch()
	early, late := mem.most(0.1, 0.4), mem.most(0.6, 1)
	const mb = 1e6
	a.step("after %s: %d samples taken; queues of two servers take %.1f MB on disk; memory of its own at most %.1f MB early, %.1f MB late; mapped files %.1f MB, %.1f MB",
		lasted.Round(time.Second), f.ticks*f.series, float64(size)/mb, float64(early.Own)/mb, float64(late.Own)/mb,
		float64(early.Files)/mb, float64(late.Files)/mb)
	if float64(late.Own) > 1.25*float64(early.Own)+4*mb {
		t.Errorf("the agent's memory grew from %.1f MB to %.1f MB", float64(early.Own)/mb, float64(late.Own)/mb)
	}

	// The probes have seen that ams is well again before anybody asks them.
	time.Sleep(5 * time.Second) // that the facts of the outage are old is the thing under test
	returned := time.Now()
	a.back(a.servers...)
	a.step("both servers are back")
	for i, s := range a.servers {
		a.until(5*time.Minute, "every sample is stored", func() error {
			different, _, err := f.stored(t.Context(), s)
			if err == nil && different != f.ticks*f.series {
				err = fmt.Errorf("%d of %d samples", different, f.ticks*f.series)
			}
			return err
		})
		different, twice, err := f.stored(t.Context(), s)
		a.step("server %d: sent %d, stored %d, %d of them twice, %s after it was back (%v)",
			i+1, f.ticks*f.series, different, twice, time.Since(returned).Round(time.Second), err)
		a.until(time.Minute, "all is well", func() error { return a.well(s) })
		a.nothingSince(s, began)
		a.tellOwn(s, time.Since(began))
	}
	a.step("old facts have moved nothing")
}

// tellOwn logs what the agent at fra measured by itself meanwhile, and what it said of its buffers.
func (a *away) tellOwn(s *Server, lasted time.Duration) {
	a.t.Helper()
	for _, q := range []struct{ what, expr string }{
		{"samples of the load average, one each 10 s", `count_over_time(system_cpu_load_average_1m{site="fra"}[%ds])`},
		{"longest gap between two of them, s", `max_over_time((timestamp(system_cpu_load_average_1m{site="fra"})-timestamp(system_cpu_load_average_1m{site="fra"} offset 10s))[%ds:10s])`},
		{"bytes waiting at most", `max_over_time(evenkeel_agent_buffer_used_bytes{site="fra"}[%ds])`},
		{"hours of buffer left at least", `min_over_time(evenkeel_agent_buffer_left_seconds{site="fra"}[%ds])/3600`},
		{"samples dropped", `max_over_time(evenkeel_agent_dropped_total{site="fra",lane="bulk"}[%ds])`},
	} {
		list, err := s.Query(a.t.Context(), fmt.Sprintf(q.expr, int(lasted.Seconds())))
		if err != nil {
			a.t.Errorf("%s: %v", q.what, err)
		}
		for _, one := range list {
			a.t.Logf("  %s: %g %s %s", q.what, one.Value, one.Labels["server"], one.Labels["reason"])
		}
	}
}

// nothingSince checks that no episode was opened and no condition got worse since a time.
func (a *away) nothingSince(s *Server, since time.Time) {
	a.t.Helper()
	for _, ep := range must[[]Episode](a.t)(s.Episodes(a.t.Context())) {
		if ep.OpenedAt.After(since) {
			a.t.Errorf("an episode was opened: %s", ep.Sentence)
		}
	}
	for _, l := range must[[]Line](a.t)(s.Timeline(a.t.Context())) {
		if l.At.After(since) && l.Kind == "condition" {
			a.t.Errorf("the timeline has: %s", l.Sentence)
		}
	}
}
