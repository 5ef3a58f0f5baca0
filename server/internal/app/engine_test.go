package app

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

const (
	engineWatches = 10
	engineEvery   = 10 * time.Second
	engineParts   = 100 // of the series, written one after the other in each interval
	engineHistory = 15 * time.Minute
	engineSettle  = 5 * time.Minute
)

// engineConfig is a server with ten watches over n series: half of them gauges as they are, half rates of counters.
func engineConfig(n int) string {
	var b strings.Builder
	b.WriteString(`sites:
  - {name: fra, time_zone: Europe/Berlin, region: eu, pattern: same-city, capacity: {checkout: 120}}
  - {name: ams, time_zone: Europe/Amsterdam, region: eu, pattern: same-city, capacity: {checkout: 120}}
  - {name: waw, time_zone: Europe/Warsaw, region: eu, pattern: same-city, capacity: {checkout: 120}}
services:
  - name: checkout
    survivors: [fra, ams, waw]
    entries: {fra: "http://127.0.0.1:9/fra", ams: "http://127.0.0.1:9/ams", waw: "http://127.0.0.1:9/waw"}
watches:
`)
	for i := range engineWatches {
		query := fmt.Sprintf("engine_gauge_%d", i)
		if i%2 == 1 {
			query = fmt.Sprintf("rate(engine_events_%d_total[1m])", i)
		}
		fmt.Fprintf(&b, "  - {name: w%d, query: %q, about: target_site, service: checkout, every: %s, train: %s, max_series: %d}\n",
			i, query, engineEvery, engineHistory, n/engineWatches)
	}
	return b.String()
}

// engineLoad is the series of the watches and their values.
type engineLoad struct {
	samples []core.Sample
	n       int
}

func newEngineLoad(n int) *engineLoad {
	l := &engineLoad{n: n, samples: make([]core.Sample, n)}
	sites := []string{"fra", "ams", "waw"}
	for i := range l.samples {
		w := i % engineWatches
		name := fmt.Sprintf("engine_gauge_%d", w)
		if w%2 == 1 {
			name = fmt.Sprintf("engine_events_%d_total", w)
		}
		site := sites[i/engineWatches%3]
		l.samples[i] = core.Sample{Name: name, Labels: []core.Label{
			{Name: "device", Value: "/dev/sda1"},
			{Name: "instance", Value: fmt.Sprintf("host-%06d", i/engineWatches)},
			{Name: "job", Value: "hosts"},
			{Name: "service", Value: "checkout"},
			{Name: "site", Value: site},
			{Name: "target_site", Value: site},
		}}
	}
	return l
}

// at sets the values of a part of the series to those of a time: waves with noise, and counters that grow by the like.
func (l *engineLoad) at(part int, at time.Time) []core.Sample {
	from, to := l.n*part/engineParts, l.n*(part+1)/engineParts
	wave := 100 + 20*math.Sin(float64(at.Unix())/600)
	for i := from; i < to; i++ {
		x := &l.samples[i]
		x.AtMS = at.UnixMilli()
		h := uint64(i)*0x9e3779b97f4a7c15 ^ uint64(at.Unix())*0xbf58476d1ce4e5b9
		h ^= h >> 29
		h *= 0x94d049bb133111eb
		v := wave + 10*float64(h>>40)/(1<<24)
		if i%engineWatches%2 == 1 {
			x.Value += math.Floor(v)
		} else {
			x.Value = v
		}
	}
	return l.samples[from:to]
}

// BenchmarkEngine is the whole server in this process, judging the series of the name of the sub-benchmark, written every
// 10 s through the store's own door. One turn is one interval. Reported are: from the tick to the end of the last watch,
// write-back included (cycle-p50-s, cycle-max-s), and the processor time that the process takes meanwhile (cycle-cpu-s), which
// on a machine that others use too says more; ticks passed over, processor time of the process (cores) and its memory (rss-MB), and the time from the send of a probe's result over HTTP to the observation that the loop decides on,
// during a cycle and else (fact-...-ms).
func BenchmarkEngine(b *testing.B) {
	for _, n := range []int{10_000, 30_000, 100_000, 300_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { benchEngine(b, n) })
	}
}

func benchEngine(b *testing.B, n int) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	s := engineServer(ctx, b, n)
	load := newEngineLoad(n)
	began := time.Now()
	for at := began.Add(-engineHistory); at.Before(began); at = at.Add(engineEvery) {
		for part := range engineParts {
			if err := s.store.Append(ctx, load.at(part, at)); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Logf("%d samples of history written in %.1f s", n*int(engineHistory/engineEvery), time.Since(began).Seconds())
	start := time.Now()
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	all.Go(func() { // the agents
		next := start
		for part := 0; ctx.Err() == nil; part = (part + 1) % engineParts {
			if err := s.store.Append(ctx, load.at(part, time.Now())); err != nil && ctx.Err() == nil {
				b.Error(err)
			}
			rest(ctx, time.Until(next))
			next = next.Add(engineEvery / engineParts)
		}
	})
	all.Go(func() {
		if err := s.serve(ctx); err != nil {
			b.Error(err)
		}
	})
	for calm, before := 0, -1.0; calm < 2; { // the first write-back makes the series it writes, and is no rule
		rest(ctx, time.Until(time.Now().Truncate(engineEvery).Add(2*engineEvery-500*time.Millisecond)))
		passed := engineFigure(b, s.registry, "evenkeel_detect_skipped_total", false)
		cycle := engineFigure(b, s.registry, "evenkeel_detect_cycle_seconds", true)
		b.Logf("%.0f s after the start the last cycle took %.2f s, %.0f ticks had passed", time.Since(start).Seconds(), cycle, passed)
		if calm++; passed != before || engineFigure(b, s.registry, "evenkeel_detect_series", false) < float64(n) {
			calm, before = 0, passed
		}
		if time.Since(start) > engineSettle {
			b.Fatalf("the engine does not keep pace within %s", engineSettle)
		}
	}
	prober := newEngineProber(ctx, b, s)
	if path := os.Getenv("ENGINE_PROFILE"); path != "" {
		f, err := os.Create(filepath.Clean(path))
		if err != nil {
			b.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			b.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	next := time.Now().Truncate(engineEvery).Add(2 * engineEvery)
	rest(ctx, time.Until(next.Add(-500*time.Millisecond)))
	cpu, skipped, from := engineCPU(), engineFigure(b, s.registry, "evenkeel_detect_skipped_total", false), time.Now()
	all.Go(func() { prober.run(ctx) })
	evaluations := func() float64 { return engineFigure(b, s.registry, "evenkeel_detect_evaluations_total", false) }
	var cycles, costs, sizes []float64
	for b.Loop() {
		rest(ctx, time.Until(next))
		began, want := engineCPU(), evaluations()+engineWatches
		next = next.Add(engineEvery)
		for end := next.Add(-500 * time.Millisecond); evaluations() < want && time.Now().Before(end); {
			rest(ctx, 20*time.Millisecond)
		}
		costs = append(costs, engineCPU()-began)
		rest(ctx, time.Until(next.Add(-500*time.Millisecond)))
		cycles = append(cycles, engineFigure(b, s.registry, "evenkeel_detect_cycle_seconds", true))
		sizes = append(sizes, engineRSS(b))
	}
	cores := (engineCPU() - cpu) / time.Since(from).Seconds()
	slices.Sort(cycles)
	slices.Sort(costs)
	b.ReportMetric(costs[len(costs)/2], "cycle-cpu-s")
	b.ReportMetric(cycles[len(cycles)/2], "cycle-p50-s")
	b.ReportMetric(cycles[len(cycles)-1], "cycle-max-s")
	b.ReportMetric(engineFigure(b, s.registry, "evenkeel_detect_skipped_total", false)-skipped, "skipped")
	b.ReportMetric(cores, "cores")
	b.ReportMetric(slices.Max(sizes), "rss-MB")
	b.ReportMetric(engineFigure(b, s.registry, "evenkeel_detect_series", false), "series")
	prober.report(b, cycles[len(cycles)/2])
	engineMemory(b)
}

// engineMemory reports what the memory of the process is: of the heap what is in use after a collection (live-MB), what is garbage or free
// (spare-MB), Go's own besides (runtime-MB), and the pages of files (files-MB). ENGINE_HEAP names a file for a profile of what is in use.
func engineMemory(b *testing.B) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "RssFile:" {
			kB, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(kB*1024/1e6, "files-MB")
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	heap := float64(before.HeapSys - before.HeapReleased)
	b.ReportMetric(float64(after.HeapAlloc)/1e6, "live-MB")
	b.ReportMetric((heap-float64(after.HeapAlloc))/1e6, "spare-MB")
	b.ReportMetric(float64(before.Sys-before.HeapSys)/1e6, "runtime-MB")
	if path := os.Getenv("ENGINE_HEAP"); path != "" {
		f, err := os.Create(filepath.Clean(path))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		if err := pprof.WriteHeapProfile(f); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReplay is the start of a watch of auto: 1000 series written every 10 s, of the days in the name of the
// sub-benchmark, and 10000 series of a day. Reported are how long it reads its past, the processor time of that, points a second, the memory of the process meanwhile, and how late
// at most the ticks of another watch ended meanwhile; and how long it takes to save what was learned, how large that is, and the same of a start that goes on with it.
func BenchmarkReplay(b *testing.B) {
	for _, days := range []int{1, 7} {
		b.Run(strconv.Itoa(days), func(b *testing.B) { benchReplay(b, days, 1000) })
	}
	b.Run("10000", func(b *testing.B) { benchReplay(b, 1, 10_000) })
}

func benchReplay(b *testing.B, days, n int) {
	s := engineServer(b.Context(), b, n*engineWatches)
	load := newEngineLoad(n)
	for i := range load.samples {
		load.samples[i].Name = "engine_gauge_0"
		load.samples[i].Labels[1].Value = fmt.Sprintf("host-%06d", i)
	}
	span := time.Duration(days) * 24 * time.Hour
	at := time.Now().Truncate(engineEvery).Add(-span)
	write := func(ctx context.Context) { // up to now, which goes on meanwhile
		for ; at.Before(time.Now()) && ctx.Err() == nil; at = at.Add(engineEvery) {
			for part := range engineParts {
				load.at(part, at)
			}
			if err := s.store.Append(ctx, load.samples); err != nil && ctx.Err() == nil {
				b.Error(err)
			}
		}
	}
	write(b.Context())
	watch := detect.Watch{Name: "long", Query: "engine_gauge_0", About: detect.AboutTargetSite, Every: engineEvery, Training: span, MaxSeries: n}
	other := detect.Watch{Name: "other", Query: `count(engine_gauge_0)`, About: detect.AboutTargetSite, Every: time.Second, Training: time.Minute}
	sizes := []float64{engineRSS(b)}
	dir := b.TempDir()
	start := func() (took, cpu, late float64, save func()) {
		registry := prometheus.NewRegistry()
		watchman, err := detect.New(detect.Options{
			Watches: []detect.Watch{watch, other}, Querier: s.store, Writer: s.store, Signals: s.eyes.Signals, Registry: registry, Dir: dir,
		})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		var all sync.WaitGroup
		all.Go(func() {
			if err := watchman.Run(ctx); err != nil {
				b.Error(err)
			}
		})
		all.Go(func() { // the agents: a watch keeps no series that is gone
			for ; ctx.Err() == nil; rest(ctx, time.Until(at)) {
				write(ctx)
			}
		})
		began, before := time.Now(), engineCPU()
		for engineFigure(b, registry, "evenkeel_detect_series", true) < float64(n) {
			if time.Since(began) > engineSettle {
				b.Fatalf("the past is not read within %s", engineSettle)
			}
			rest(ctx, 20*time.Millisecond)
			sizes = append(sizes, engineRSS(b))
			late = max(late, engineFigure(b, registry, "evenkeel_detect_cycle_seconds", true))
		}
		took, cpu = time.Since(began).Seconds(), engineCPU()-before
		cancel()
		all.Wait()
		return took, cpu, late, func() { watchman.Save(b.Context()) }
	}
	for b.Loop() {
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
		took, cpu, late, save := start()
		b.ReportMetric(took, "replay-s")
		b.ReportMetric(cpu, "replay-cpu-s")
		b.ReportMetric(float64(n)*span.Seconds()/engineEvery.Seconds()/took, "points/s")
		b.ReportMetric(slices.Max(sizes), "rss-MB")
		b.ReportMetric(sizes[0], "rss-before-MB")
		b.ReportMetric(late, "other-late-max-s")
		began := time.Now()
		save()
		b.ReportMetric(time.Since(began).Seconds(), "save-s")
		files, err := os.ReadDir(dir)
		if err != nil {
			b.Fatal(err)
		}
		total := 0.0
		for _, f := range files {
			info, err := f.Info()
			if err != nil {
				b.Fatal(err)
			}
			total += float64(info.Size()) / 1e6
		}
		b.ReportMetric(total, "state-MB")
		took, cpu, late, _ = start()
		b.ReportMetric(took, "restart-s")
		b.ReportMetric(cpu, "restart-cpu-s")
		b.ReportMetric(late, "restart-late-max-s")
	}
}

// rest waits, or ends with the context.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// engineServer is a server whose store is open and empty, and which does not serve yet.
func engineServer(ctx context.Context, b *testing.B, n int) *Server {
	b.Helper()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	s := openServer(ctx, b, b.TempDir(), engineConfig(n), log)
	b.Cleanup(func() { _ = s.close(context.WithoutCancel(ctx)) })
	return s
}

// engineFigure is the sum over the watches of an own metric, or the largest of them.
func engineFigure(b *testing.B, registry prometheus.Gatherer, name string, largest bool) float64 {
	b.Helper()
	families, err := registry.Gather()
	if err != nil {
		b.Fatal(err)
	}
	sum, most := 0.0, 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				v := m.GetCounter().GetValue() + m.GetGauge().GetValue()
				sum, most = sum+v, max(most, v)
			}
		}
	}
	if largest {
		return most
	}
	return sum
}

// engineCPU is the processor time of this process in seconds.
func engineCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return math.NaN()
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// engineRSS is the resident memory of this process in MB.
func engineRSS(b *testing.B) float64 {
	b.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(raw))[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * float64(os.Getpagesize()) / 1e6
}

// engineProber is the agent of fra, which finds the service at ams down and up in turn.
type engineProber struct {
	b      *testing.B
	s      *Server
	url    string
	token  string
	client *http.Client
	took   []engineLook
}

type engineLook struct {
	at   time.Time
	took time.Duration
}

func newEngineProber(ctx context.Context, b *testing.B, s *Server) *engineProber {
	b.Helper()
	_, token, err := s.ledger.CreateToken(ctx, "site", "fra", nil)
	if err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	b.Cleanup(client.CloseIdleConnections)
	return &engineProber{b: b, s: s, url: "http://" + s.listener.Addr().String() + "/v1/metrics", token: token.Reveal(), client: client}
}

func (p *engineProber) run(ctx context.Context) {
	for down := true; ctx.Err() == nil; down = !down {
		sent := time.Now()
		if err := p.tell(ctx, down, sent); err != nil {
			if ctx.Err() == nil {
				p.b.Error(err)
			}
			return
		}
		for p.seen() != down {
			if time.Since(sent) > 10*time.Second {
				p.b.Errorf("a fact is not seen after 10 s, down: %t", down)
				return
			}
			time.Sleep(200 * time.Microsecond)
		}
		p.took = append(p.took, engineLook{at: sent, took: time.Since(sent)})
		rest(ctx, 50*time.Millisecond)
	}
}

func (p *engineProber) tell(ctx context.Context, down bool, at time.Time) error {
	state, reason := core.ProbeUp, ""
	if down {
		state, reason = core.ProbeDown, `,{"key":"reason","value":{"stringValue":"refused"}}`
	}
	body := fmt.Sprintf(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"evenkeel.probe.state","gauge":{"dataPoints":[{"asDouble":%d,`+
		`"timeUnixNano":"%d","attributes":[{"key":"target_site","value":{"stringValue":"ams"}},{"key":"service","value":{"stringValue":"checkout"}},`+
		`{"key":"target","value":{"stringValue":"http://127.0.0.1:9/ams"}},{"key":"path","value":{"stringValue":"user"}}%s]}]}}]}]}]}`,
		state, at.UnixNano(), reason)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(text, []byte("partialSuccess\":{\"")) {
		return fmt.Errorf("status %d: %s: %w", resp.StatusCode, text, err)
	}
	return nil
}

// seen reports whether fra finds ams down in the latest observation.
func (p *engineProber) seen() bool {
	for _, a := range p.s.eyes.Observation().Assessments {
		if a.Subject != (core.Subject{Site: "ams", Service: "checkout"}) {
			continue
		}
		for _, e := range a.Evidence {
			if e.Class == core.ClassOutside && strings.Contains(e.Sentence, " down (") {
				return true
			}
		}
	}
	return false
}

// report tells apart what was sent in the first seconds after a tick from the rest.
func (p *engineProber) report(b *testing.B, cycle float64) {
	var during, between []engineLook
	for _, l := range p.took {
		if l.at.Sub(l.at.Truncate(engineEvery)).Seconds() < cycle {
			during = append(during, l)
		} else {
			between = append(between, l)
		}
	}
	for name, looks := range map[string][]engineLook{"during": during, "between": between} {
		if len(looks) == 0 {
			continue
		}
		slices.SortFunc(looks, func(a, b engineLook) int { return cmp.Compare(a.took, b.took) })
		b.ReportMetric(looks[len(looks)/2].took.Seconds()*1e3, "fact-"+name+"-p50-ms")
		b.ReportMetric(looks[min(len(looks)-1, len(looks)*99/100)].took.Seconds()*1e3, "fact-"+name+"-p99-ms")
		b.ReportMetric(float64(len(looks)), "facts-"+name)
	}
}
