package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

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
		a.allStored(f, s, f.ticks)
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

// TestTheQueueOfADeadServerFills: of two servers one is dead for so long that its queue is full. The other gets
// everything once, the agent said beforehand how long the queue would last, and what the dead one lacks is counted and
// is the newest.
func TestTheQueueOfADeadServerFills(t *testing.T) {
	t.Parallel()
	a := newAway(t, 2, "--buffer-mib=8")
	lives, dead := a.servers[0], a.servers[1]
	a.until(time.Minute, "all is well", func() error { return a.well(lives) })
	a.gone(dead)
	began := time.Now()
	f := &feed{name: "e2e_dead", series: 500, every: time.Second, pause: 150 * time.Millisecond, ticks: 800, gives: true}
	f.from = began.Add(-time.Hour).Truncate(time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	fed := make(chan error, 1)
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() { fed <- f.run(ctx, a.agents["fra"]) })

	buffer := func(name, function string) (float64, error) {
		return a.value(lives, `max(%s(evenkeel_agent_%s{site="fra",server=%q}[%ds]))`, function, name, dead.URL, int(time.Since(began).Seconds())+1)
	}
	var foretold time.Time
	a.until(3*time.Minute, "a third of the queue is full", func() error {
		used, err := buffer("buffer_used_bytes", "last_over_time")
		if err == nil && used < 8<<20/3 {
			err = fmt.Errorf("%.0f bytes wait", used)
		}
		if err != nil {
			return err
		}
		at, err := buffer("buffer_left_seconds", "tlast_over_time")
		if err != nil {
			return err
		}
		left, err := buffer("buffer_left_seconds", "last_over_time")
		foretold = time.UnixMilli(int64((at + left) * 1000))
		a.step("%.1f MB wait for the dead server; it may stay away for %.0f s more", used/1e6, left)
		return err
	})
	told := time.Now()
	a.until(5*time.Minute, "the queue is full", func() error {
		n, err := a.value(lives, `max(last_over_time(evenkeel_agent_dropped_total{site="fra",server=%q,lane="bulk",reason="full"}[1m]))`, dead.URL)
		if err == nil && n == 0 {
			err = errors.New("nothing is dropped yet")
		}
		return err
	})
	full := time.Now()
	a.step("the queue is full after %s, foretold were %s", full.Sub(began).Round(time.Second), foretold.Sub(began).Round(time.Second))
	// It is reported each 10 s, and the rate is that of a busy machine.
	if early, late := foretold.Sub(told), full.Sub(told); early < late/3-10*time.Second || early > 3*late+10*time.Second {
		t.Errorf("%s were foretold, it took %s", early, late)
	}
	if err := <-fed; err != nil {
		t.Fatal(err)
	}
	if n := f.lost.Load(); n > 0 {
		t.Errorf("the agent refused %d pushes although a server takes them: %v", n, f.why.Load())
	}
	a.allStored(f, lives, f.ticks)
	if _, twice, err := f.stored(t.Context(), lives); err != nil || twice > 0 {
		t.Errorf("%d samples came twice to the server that was never away: %v", twice, err)
	}
	dropped := a.dropped(lives, dead.URL)
	a.back(dead)
	kept := int(must[float64](t)(a.awaitQuiet(f, dead))) + 1
	a.allStored(f, dead, kept)
	lost := (f.ticks - kept) * f.series
	a.step("sent %d, stored by the server that lived %d, by the one that was dead %d; %d lost, %d counted", f.ticks*f.series,
		f.ticks*f.series, kept*f.series, lost, dropped)
	// The agent's own figures, some dozens each 10 s, were dropped as well.
	if dropped < lost || dropped > lost+5*f.series || lost == 0 {
		t.Errorf("%d samples are lost, %d are counted", lost, dropped)
	}
}

// awaitQuiet waits until a server gets nothing new of the feed, and returns the number of the newest tick it has.
func (a *away) awaitQuiet(f *feed, s *Server) (newest float64, err error) {
	before, since := -1.0, time.Now()
	err = Until(5*time.Minute, "the queue has drained", func() error {
		newest, err := a.value(s, "max(max_over_time(%s[2h]))", f.name)
		if err != nil {
			return err
		}
		if newest != before {
			before, since = newest, time.Now()
		}
		if time.Since(since) < 20*time.Second {
			return fmt.Errorf("%.0f came just now", newest)
		}
		return nil
	})
	return before, err
}

// allStored waits until a server has so many ticks of the feed.
func (a *away) allStored(f *feed, s *Server, ticks int) {
	a.t.Helper()
	a.until(5*time.Minute, "every sample is stored", func() error {
		n, _, err := f.stored(a.t.Context(), s)
		if err == nil && n != ticks*f.series {
			err = fmt.Errorf("%d of %d samples", n, ticks*f.series)
		}
		return err
	})
}

// TestAFullDiskUnderTheQueue: no room is left on the disk of the queue while the server is away. The agent lives on,
// also through a restart, refuses what it cannot keep and counts it; what it has taken arrives.
func TestAFullDiskUnderTheQueue(t *testing.T) {
	t.Parallel()
	asRoot(t)
	dir := folder(t)
	queue := filepath.Join(dir, "agent-fra", "queue")
	smallDisk(t, queue, 12<<20)
	a := newAwayIn(t, dir, 1)
	s, fra := a.servers[0], a.agents["fra"]
	a.until(time.Minute, "all is well", func() error { return a.well(s) })
	a.gone(s)
	f := &feed{name: "e2e_disk", series: 500, every: time.Second, pause: 20 * time.Millisecond, ticks: 1000, gives: true}
	f.from = time.Now().Add(-time.Hour).Truncate(time.Second)
	if err := f.run(t.Context(), fra); err != nil {
		t.Fatal(err)
	}
	taken, refused := int(f.done.Load()), int(f.lost.Load())
	a.step("%d pushes taken, %d refused: %v", taken, refused, f.why.Load())
	if refused == 0 {
		t.Fatal("the disk was not full")
	}
	a.back(s)
	a.allStored(f, s, taken)
	if n := a.dropped(s, s.URL); n < refused*f.series || n > refused*f.series+5*f.series {
		t.Errorf("%d samples were refused, %d are counted", refused*f.series, n)
	}

	// Once more, and the agent dies on the full disk.
	a.gone(s)
	g := &feed{name: "e2e_disk_killed", series: 500, every: time.Second, pause: 20 * time.Millisecond, ticks: 1000, gives: true, from: f.from}
	if err := g.run(t.Context(), fra); err != nil {
		t.Fatal(err)
	}
	a.step("%d pushes taken, %d refused: %v", g.done.Load(), g.lost.Load(), g.why.Load())
	fra.Kill()
	if err := fra.Start(); err != nil {
		t.Fatal(err)
	}
	a.back(s)
	a.allStored(g, s, int(g.done.Load()))
	a.step("both times all that was taken is stored: %d and %d samples", taken*f.series, int(g.done.Load())*g.series)
}

// TestOldFactsDoNotVote: all three sites say that ams is down, but what they say is old. Only when it is news does
// anything change.
func TestOldFactsDoNotVote(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	began := time.Now()
	history := `evenkeel_ingest_facts_total{age="history",kind="probe"}`
	before := must[float64](t)(b.Metric(t.Context(), history))
	client := &http.Client{Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	for _, age := range []time.Duration{time.Hour, time.Minute, 10 * time.Second} {
		for range 5 {
			for _, site := range benchSites() {
				attrs := []string{"target_site", "ams", "service", "checkout", "target", "checkout-http", "path", "user", "reason", "status"}
				body := must[[]byte](t)(Export("agent-"+site, began, Metric{Name: "evenkeel.probe.state", Points: []Point{{Value: 2, At: time.Now().Add(-age), Attrs: attrs}}}))
				if a := must[Answer](t)(Post(t.Context(), client, b.URL+"/v1/metrics", b.fleet.Tokens[site], body)); a.Status != http.StatusOK {
					t.Fatalf("answered %d %s", a.Status, a.Body)
				}
			}
			b.healthy("after facts of " + age.String())
			rest(t.Context(), 500*time.Millisecond)
		}
	}
	if n := must[float64](t)(b.Metric(t.Context(), history)) - before; n != 45 {
		t.Errorf("%.0f facts were taken for history, want 45", n)
	}
	if list := must[[]Episode](t)(b.Episodes(t.Context())); len(list) > 0 {
		t.Errorf("old facts opened an episode: %s", list[0].Sentence)
	}

	// The same words, new: the check above can fail.
	b.fleet.Fail("ams")
	b.until(time.Minute, "ams is not healthy", func() error {
		o, err := b.Conditions(t.Context())
		if err != nil {
			return err
		}
		for _, as := range o.Assessments {
			if as.Subject.Site == "ams" && as.Condition != "healthy" && as.Condition != "unknown" {
				t.Logf("as news: %s", as.Sentence)
				return nil
			}
		}
		return errors.New("it is still healthy")
	})
	b.until(time.Minute, "an episode is open", func() error {
		list, err := b.Episodes(t.Context())
		if err == nil && len(list) == 0 {
			err = errors.New("there is none")
		}
		return err
	})
}

// healthy checks that nothing is said against any site.
func (b *bench) healthy(when string) {
	b.t.Helper()
	for _, as := range must[Conditions](b.t)(b.Conditions(b.t.Context())).Assessments {
		if as.Condition != "healthy" {
			b.t.Errorf("%s: %s", when, as.Sentence)
		}
	}
}
