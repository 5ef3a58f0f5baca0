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
	return newAwayIn(t, folder(t), servers, more...)
}

func newAwayIn(t *testing.T, dir string, servers int, more ...string) *away {
	t.Helper()
	p := programs(t)
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

// value of an expression that has one.
func (a *away) value(s *Server, format string, args ...any) (float64, error) {
	expr := fmt.Sprintf(format, args...)
	list, err := s.Query(a.t.Context(), expr)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("%s has %d values", expr, len(list))
	}
	if err != nil {
		return 0, err
	}
	return list[0].Value, nil
}

// dropped is how many samples the agent at fra says it has dropped for want of room in the queue of a server, once it
// has said so after the present moment.
func (a *away) dropped(s *Server, queueOf string) int {
	a.t.Helper()
	series := fmt.Sprintf(`evenkeel_agent_dropped_total{site="fra",server=%q,lane="bulk",reason="full"}`, queueOf)
	now, last := time.Now(), 0.0
	a.until(2*time.Minute, "the agent says what it has dropped", func() error {
		at, err := a.value(s, "max(tlast_over_time(%s[5m]))", series)
		if err == nil && time.UnixMilli(int64(at*1000)).Before(now) {
			err = errors.New("not since it was asked")
		}
		if err != nil {
			return err
		}
		last, err = a.value(s, "max(last_over_time(%s[5m]))", series)
		return err
	})
	return int(last)
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
	gives  bool         // up: what is refused is not pushed again
	done   atomic.Int64 // ticks that the agent has taken
	lost   atomic.Int64 // ticks that it has refused
	why    atomic.Value // the last refusal
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
				if f.gives {
					return &Never{err}
				}
			}
			return err
		}); err != nil && (!f.gives || ctx.Err() != nil) {
			return err
		} else if err != nil {
			f.lost.Add(1)
			f.why.Store(err.Error())
		} else {
			f.done.Add(1)
		}
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
