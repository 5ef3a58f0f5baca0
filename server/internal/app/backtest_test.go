package app

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// What is wrong with an order is said with its place and its remedy, before anything is judged.
func TestABacktestSaysWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "evenkeel.yaml")
	write := func(watches string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("sites:\n  - {name: fra, time_zone: Europe/Berlin, region: eu, pattern: same-city}\n"+watches), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("watches:\n  - {name: own, query: up, about: site, every: 1s, model: robust-z}\n")
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	f := func(want string, change func(o *BacktestOptions)) {
		t.Helper()
		o := BacktestOptions{ConfigPath: path, Server: other.URL, Days: 1, Progress: os.Stderr}
		change(&o)
		_, err := RunBacktest(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("told %v, want %s", err, want)
		}
	}
	f("give --days from", func(o *BacktestOptions) { o.Days = 0 })
	f("give --days from", func(o *BacktestOptions) { o.Days = 367 })
	f("there is no watch \"one\" (there are own)", func(o *BacktestOptions) { o.Watches = []string{"own", "one"} })
	f("write it like http://127.0.0.1:8450", func(o *BacktestOptions) { o.Server = "127.0.0.1:8450" })
	f("does not answer at http://127.0.0.1:1", func(o *BacktestOptions) { o.Server = "http://127.0.0.1:1" })
	f("does not answer at http://jo:xxxxx@127.0.0.1:1", func(o *BacktestOptions) { o.Server = "http://jo:secret@127.0.0.1:1" })
	f("give the URL of an evenkeel-server of this version", func(*BacktestOptions) {})
	f("correct the path", func(o *BacktestOptions) { o.ConfigPath += "x" })
	write("")
	f("add one under watches:", func(*BacktestOptions) {})
}

// Other models of a watch over a real past, with a setting that is named.
func TestABacktestOfARealPast(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	dir := t.TempDir()
	text := "sites:\n  - {name: fra, time_zone: Europe/Berlin, region: eu, pattern: same-city}\n" +
		"watches:\n  - {name: level, query: level, about: site, every: 10s, train: 1h}\n" +
		"  - {name: none, query: no_such_thing, about: site, every: 10s, train: 1h}\n"
	s := openServer(ctx, t, dir, text, slog.New(slog.DiscardHandler))
	now := time.Now().Truncate(10 * time.Second)
	var samples []core.Sample
	for at := now.Add(-6 * time.Hour); at.Before(now); at = at.Add(10 * time.Second) {
		h := uint64(at.Unix()) * 0x9e3779b97f4a7c15
		h ^= h >> 29
		x := 100 + 10*float64(h%1000)/1000
		if since := now.Sub(at); since > time.Hour && since < 70*time.Minute {
			x = 300
		}
		samples = append(samples, core.Sample{Name: "level", Labels: []core.Label{{Name: "site", Value: "fra"}}, Value: x, AtMS: at.UnixMilli()})
	}
	if err := s.store.Append(ctx, samples); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := s.close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	var b strings.Builder
	report, err := RunBacktest(ctx, BacktestOptions{
		ConfigPath: filepath.Join(dir, "evenkeel.yaml"), Server: "http://" + s.listener.Addr().String(), Days: 4.0 / 24, Suggest: true, Progress: os.Stderr, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := report.Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"level (auto): 1 series, 1440 ticks; 0.0 % warming, 0.0 % unknown, of the rest 4.",
		"false alarms: 1, 42 a series and week (90 %: 2.15 to 199), where 1 may be; 0 more in what is on record\n  incidents on record: none\n",
		"level of fra: 300 is above ",
		"as it is: auto", "model: seasonal, threshold: 15 ", "model: cusum",
		"How often it errs is hardly known: 0.02381 false alarms were to be expected",
		"none (auto): 0 series, 1440 ticks", "no series: the store has nothing of that time",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
	if got := report.Watches[0]; len(got.Alarms) != 1 || got.Alarms[0].At.Sub(now.Add(-70*time.Minute)) > 30*time.Second || got.Suggestion == nil {
		t.Errorf("report %+v", got)
	}
}
