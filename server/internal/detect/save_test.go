package detect_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// sites is an answer of three sites, of two instances each, whose values are a level with noise that is the same each time.
func sites(at time.Time, level func(site string, at time.Time) float64) (out []core.SeriesValue) {
	for i, site := range []string{"ams", "fra", "waw"} {
		for j, instance := range []string{"a", "b"} {
			x := level(site, at)
			if math.IsNaN(x) {
				continue
			}
			h := uint64(at.Unix()+int64(100*i+1000*j)) * 0x9e3779b97f4a7c15
			h ^= h >> 29
			h *= 0xbf58476d1ce4e5b9
			out = append(out, core.SeriesValue{
				Labels: map[string]string{"target_site": site, "service": "checkout", "instance": instance},
				Value:  x * (1 + .1*float64(h>>40)/(1<<24)),
			})
		}
	}
	return out
}

// life is a watchman that is started now and then, in one bubble.
type life struct {
	q     *questions
	watch detect.Watch
	marks []detect.Mark
	dir   string
	log   bytes.Buffer
	began func() // when it asks for marks for the first time; may be nil
	reg   *prometheus.Registry
}

// live runs it for a time, and saves at the end if it ends in order.
func (l *life) live(t *testing.T, d time.Duration, orderly bool) {
	t.Helper()
	l.log.Reset()
	l.reg = prometheus.NewRegistry()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	m, err := detect.New(detect.Options{
		Watches: []detect.Watch{l.watch}, Querier: l.q, Writer: l.q, Signals: l.q.signal, Dir: l.dir, Registry: l.reg,
		Log: slog.New(slog.NewTextHandler(&l.log, nil)), Zone: func(string) *time.Location { return zone },
		Marks: func(from, until time.Time) (out []detect.Mark) {
			if l.began != nil {
				l.began()
			}
			for _, m := range l.marks {
				if !m.From.After(until) && (m.Until.IsZero() || m.Until.After(from)) {
					out = append(out, m)
				}
			}
			return out
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := m.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if orderly {
		m.Save(t.Context())
	}
}

// saidFrom are the signals since a time, in words.
func (l *life) saidFrom(at time.Time) (out []string) {
	for _, s := range l.q.signals {
		if !s.At.Before(at) {
			out = append(out, fmt.Sprintf("%s %+v", s.At.Format(time.TimeOnly), s))
		}
	}
	slices.Sort(out)
	return out
}

func restarted(l *life) bool {
	return strings.Contains(l.log.String(), "goes on with what it had learned")
}

// A server that goes on with what it had saved says what one that never stopped says, whatever it knew: after an end in order, and after a kill,
// when what was saved is of several moments.
func TestARestartChangesNoVerdict(t *testing.T) {
	const every, stops, down, after = 10 * time.Second, 23*time.Minute + 5*time.Second, 150 * time.Second, 20*time.Minute + time.Second
	about := func(change func(w *detect.Watch)) detect.Watch {
		w := detect.Watch{Name: "a/b: c", Query: "q", About: detect.AboutTargetSite, Every: every, Training: 3 * time.Hour}
		change(&w)
		return w
	}
	model := func(m detect.Model) detect.Watch { return about(func(w *detect.Watch) { w.Model = m }) }
	steady := func(string, time.Time) float64 { return 100 }
	f := func(name string, watch detect.Watch, level func(start time.Time) func(string, time.Time) float64, marks func(start time.Time) []detect.Mark) {
		run := func(t *testing.T, restart, orderly bool) (said []string) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				by := func(at time.Time) []core.SeriesValue { return sites(at, level(start)) }
				few := func(at time.Time) []core.SeriesValue {
					return sites(at, func(s string, at time.Time) float64 { return level(start)(s, at) / 1e4 })
				}
				l := &life{q: ask(map[string]func(time.Time) []core.SeriesValue{
					"q": by, "few": few, "seldom": func(at time.Time) []core.SeriesValue { return by(at.Truncate(time.Minute)) },
					"rarely": func(at time.Time) []core.SeriesValue {
						return by(at.Add(-2 * time.Minute).Truncate(3 * time.Minute).Add(2 * time.Minute))
					}, // one just before the end
					"all": func(at time.Time) []core.SeriesValue {
						return sites(at, func(string, time.Time) float64 { return 1e6 })
					},
				}), watch: watch, dir: dir}
				if marks != nil {
					l.marks = marks(start)
				}
				if restart {
					l.live(t, stops, orderly)
					time.Sleep(down)
					asked := len(l.q.ranges)
					l.live(t, after, orderly)
					if !restarted(l) {
						t.Fatalf("it began anew: %s", l.log.String())
					}
					if l.q.ranges = l.q.ranges[asked:]; len(l.q.ranges) > 0 && start.Add(stops).Sub(l.q.ranges[0]) > 11*time.Minute {
						t.Errorf("it read from %s, %s before it ended", l.q.ranges[0], start.Add(stops).Sub(l.q.ranges[0]))
					}
				} else {
					l.live(t, stops+down+after, orderly)
				}
				said = l.saidFrom(start.Add(stops + down + time.Millisecond))
			})
			return said
		}
		t.Run(name, func(t *testing.T) {
			want := run(t, false, true)
			if len(want) < 100 {
				t.Fatalf("only %d signals", len(want))
			}
			if !strings.Contains(strings.Join(want, ""), "State:anomalous") {
				t.Error("nothing is anomalous, so it shows little")
			}
			for _, orderly := range []bool{true, false} {
				if got := run(t, true, orderly); !slices.Equal(got, want) {
					for i := range min(len(got), len(want)) {
						if got[i] != want[i] {
							t.Fatalf("orderly %t: signal %d of %d is\n%s, want of %d\n%s", orderly, i, len(got), got[i], len(want), want[i])
						}
					}
					t.Fatalf("orderly %t: %d signals, want %d", orderly, len(got), len(want))
				}
			}
		})
	}
	// A site that is odd a while before the end, until a while after the start, and again later.
	odd := func(start time.Time) func(string, time.Time) float64 {
		return func(site string, at time.Time) float64 {
			if d := at.Sub(start); site == "fra" && ((d > stops-40*time.Second && d < stops+down+3*time.Minute) || (d > stops+down+10*time.Minute && d < stops+down+12*time.Minute)) {
				return 180
			}
			return 100
		}
	}
	for _, m := range []detect.Model{detect.ModelAuto, detect.ModelRobustZ, detect.ModelSeasonal, detect.ModelLocalFit, detect.ModelCUSUM, detect.ModelPeers} {
		f(string(m), model(m), odd, nil)
	}
	f("auto of what is written each minute", about(func(w *detect.Watch) { w.Query = "seldom" }), odd, nil)
	f("threshold", about(func(w *detect.Watch) {
		w.Model, w.Threshold, w.Direction = detect.ModelThreshold, new(150.0), detect.DirectionAbove
	}), odd, nil)
	f("trend", about(func(w *detect.Watch) {
		w.Model, w.Limit, w.Direction, w.Training = detect.ModelTrend, new(115.0), detect.DirectionAbove, 0
	}), func(start time.Time) func(string, time.Time) float64 {
		return func(_ string, at time.Time) float64 { return 100 + 10*at.Sub(start).Hours() }
	}, nil)
	f("burn-rate", about(func(w *detect.Watch) {
		w.Model, w.Query, w.Direction = detect.ModelBurnRate, "few", ""
		w.Windows = []detectors.BurnWindow{{Long: 10 * time.Minute, Short: time.Minute, Factor: 12}}
	}), odd, nil)
	f("burn-rate by counts", about(func(w *detect.Watch) {
		w.Model, w.Query, w.Bad, w.Total, w.Direction = detect.ModelBurnRate, "", "q", "all", ""
		w.Windows, w.Objective = []detectors.BurnWindow{{Long: 10 * time.Minute, Short: time.Minute, Factor: 1.2}}, .9999
	}), odd, nil)
	f("service", about(func(w *detect.Watch) {
		w.Model, w.Query, w.Metrics = detect.ModelService, "", map[string]string{"few": "few", "many": "q"}
	}), odd, nil)
	f("absence", model(detect.ModelAbsence), func(start time.Time) func(string, time.Time) float64 {
		return func(site string, at time.Time) float64 {
			if d := at.Sub(start); site == "fra" && d > stops+down+5*time.Minute {
				return math.NaN()
			}
			return 100
		}
	}, nil)
	f("in the midst of an incident", model(detect.ModelAuto), odd, func(start time.Time) []detect.Mark {
		return []detect.Mark{{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra"}, From: start.Add(stops - 30*time.Second), Until: start.Add(stops + down + 4*time.Minute)}}
	})
	f("a service in the midst of an incident", about(func(w *detect.Watch) {
		w.Model, w.Query, w.Metrics = detect.ModelService, "", map[string]string{"few": "few", "many": "q"}
	}), odd, func(start time.Time) []detect.Mark {
		return []detect.Mark{{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra"}, From: start.Add(stops - 30*time.Second), Until: start.Add(stops + down + 4*time.Minute)}}
	})
	// Users are away, and come back before the incident is over: what the copy that judged meanwhile saw of their being away is thrown away.
	f("since users are back", model(detect.ModelAuto), func(start time.Time) func(string, time.Time) float64 {
		return func(site string, at time.Time) float64 {
			if d := at.Sub(start); site == "fra" && d > 3*time.Minute && d < stops+down+2*time.Minute {
				return 40
			}
			return odd(start)(site, at)
		}
	}, func(start time.Time) []detect.Mark {
		return []detect.Mark{
			{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra"}, From: start.Add(3 * time.Minute), Until: start.Add(stops + down + 18*time.Minute)},
			{Kind: detect.MarkDrained, Subject: core.Subject{Site: "fra"}, From: start.Add(3 * time.Minute), Until: start.Add(stops)},
		}
	})
	special := func(m detect.Mark) func(start time.Time) []detect.Mark {
		return func(start time.Time) []detect.Mark {
			m.Kind, m.What, m.From, m.Until = detect.MarkSpecial, "sale", start.Add(stops-10*time.Minute), start.Add(stops+down+5*time.Minute)
			return []detect.Mark{m}
		}
	}
	f("seasonal in a special time", model(detect.ModelSeasonal), odd, special(detect.Mark{Like: detect.Weekday("sunday")}))
	f("auto in a special time", about(func(w *detect.Watch) { w.Query, w.Training = "rarely", 24*time.Hour }), func(start time.Time) func(string, time.Time) float64 {
		return func(site string, at time.Time) float64 {
			if d := at.Sub(start); site == "fra" && d > stops+down+6*time.Minute {
				return 180
			}
			return 100
		}
	}, special(detect.Mark{Judged: true}))
	f("auto in a special time, judged", model(detect.ModelAuto), odd, special(detect.Mark{Judged: true}))
	f("a service in a special time, with floors and valid values", about(func(w *detect.Watch) {
		w.Model, w.Query, w.Metrics = detect.ModelService, "", map[string]string{"few": "few", "many": "q"}
		w.Floors = map[string]detect.Floor{"many": {Absolute: 30}, "few": {Absolute: .003}}
		w.ValidOf = map[string]detect.Range{"few": {Max: new(.0185)}}
	}), odd, special(detect.Mark{Judged: true}))
	f("several points of several", about(func(w *detect.Watch) {
		w.Model = detect.ModelRobustZ
		w.TriggerPoints, w.TriggerOf, w.RecoverPoints, w.RecoverOf = 3, 5, 60, 64
	}), func(start time.Time) func(string, time.Time) float64 {
		return func(site string, at time.Time) float64 {
			if d := at.Sub(start); site == "fra" && d > stops-3*time.Minute && d < stops-30*time.Second {
				return 180
			}
			return 100
		}
	}, nil)
	f("since a change", model(detect.ModelRobustZ), func(start time.Time) func(string, time.Time) float64 {
		return func(site string, at time.Time) float64 {
			switch d := at.Sub(start); {
			case site == "fra" && d > stops+down+10*time.Minute && d < stops+down+12*time.Minute:
				return 300
			case site == "fra" && d > -21*time.Minute:
				return 180 // to which it went with the change
			}
			return steady(site, at)
		}
	}, func(start time.Time) []detect.Mark {
		return []detect.Mark{{Kind: detect.MarkChange, What: "new", Subject: core.Subject{Site: "fra"}, From: start.Add(-22 * time.Minute), Until: start.Add(-20 * time.Minute)}}
	})
}

// saved is a folder with what a watch has saved, at the end of its first life.
func saved(t *testing.T, dir string) (file string, l *life) {
	t.Helper()
	l = &life{dir: dir, watch: errorsWatch(), q: ask(map[string]func(time.Time) []core.SeriesValue{
		"rate(x)": func(at time.Time) []core.SeriesValue {
			return sites(at, func(string, time.Time) float64 { return 100 })
		},
	})}
	l.live(t, 55*time.Second, true)
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files %v, %v", files, err)
	}
	return files[0], l
}

// A file that is not as it was written is not used: the watch reads the past again, and says so once.
func TestADamagedStateIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		file, l := saved(t, dir)
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		head := bytes.IndexByte(whole, '\n')
		f := func(name string, content []byte) {
			t.Helper()
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			l.q.signals = nil
			l.live(t, 15*time.Second, false)
			if restarted(l) {
				t.Errorf("%s: it was used", name)
			}
			if n := strings.Count(l.log.String(), "cannot be used"); n != 1 {
				t.Errorf("%s: told %d times: %s", name, n, l.log.String())
			}
			if len(l.q.signals) == 0 || states(&l.q.world) != "normal*"+fmt.Sprint(len(l.q.signals)) {
				t.Errorf("%s: states %s", name, states(&l.q.world))
			}
		}
		for _, n := range []int{0, 1, 31, 32, 33, head - 1, head, head + 1, head + 2, head + 5, head + 100, len(whole) / 2, len(whole) - 33, len(whole) - 32, len(whole) - 31, len(whole) - 1} {
			f(fmt.Sprintf("cut at %d of %d", n, len(whole)), whole[:n])
		}
		for _, n := range []int{0, 1, head - 1, head, head + 1, head + 4, head + 5, head + 100, len(whole) / 2, len(whole) - 33, len(whole) - 32, len(whole) - 1} {
			flipped := slices.Clone(whole)
			flipped[n] ^= 1
			f(fmt.Sprintf("flipped at %d of %d", n, len(whole)), flipped)
		}
		f("longer", append(slices.Clone(whole), 0))
		f("zeros", make([]byte, len(whole)))
		if err := os.WriteFile(file, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		if l.live(t, 15*time.Second, false); !restarted(l) {
			t.Errorf("the whole one is not used: %s", l.log.String())
		}
	})
}

// What was learned for another question, or before so much that it would have to be read anyway, or by a clock that was ahead, is not used.
func TestAStateOfAnotherWatchOrTimeIsNotUsed(t *testing.T) {
	f := func(want string, change func(t *testing.T, l *life)) {
		t.Helper()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			_, l := saved(t, dir)
			if change(t, l); want != "" && !strings.Contains(l.log.String(), want) {
				t.Errorf("told %s, want %s", l.log.String(), want)
			}
			if restarted(l) != (want == "") {
				t.Errorf("used %t: %s", restarted(l), l.log.String())
			}
		})
	}
	again := func(change func(w *detect.Watch)) func(t *testing.T, l *life) {
		return func(t *testing.T, l *life) {
			t.Helper()
			change(&l.watch)
			l.q.by["other"] = l.q.by["rate(x)"]
			l.live(t, 15*time.Second, false)
		}
	}
	f("", again(func(*detect.Watch) {}))
	f("defined otherwise", again(func(w *detect.Watch) { w.Query = "other" }))
	f("defined otherwise", again(func(w *detect.Watch) { w.Model = detect.ModelLocalFit }))
	f("defined otherwise", again(func(w *detect.Watch) { w.Floor.Absolute = 1 }))
	f("defined otherwise", again(func(w *detect.Watch) { w.Every = 20 * time.Second }))
	f("", func(t *testing.T, l *life) {
		t.Helper()
		time.Sleep(time.Hour)
		l.live(t, 15*time.Second, false)
	})
	// A time of its past that is special only now, is no longer, or was found to have been an incident.
	sale := func(l *life) detect.Mark {
		return detect.Mark{Kind: detect.MarkSpecial, Subject: core.Subject{Site: "fra"}, What: "sale", From: time.Now().Add(-time.Hour), Until: time.Now().Add(-time.Minute), Watches: []string{l.watch.Name}}
	}
	f("other times of its past are special now", func(t *testing.T, l *life) {
		t.Helper()
		l.marks = []detect.Mark{sale(l)}
		l.live(t, 55*time.Second, true)
	})
	f("other times of its past are special now", func(t *testing.T, l *life) {
		t.Helper()
		was := l.marks
		l.marks = []detect.Mark{sale(l)}
		l.live(t, 55*time.Second, true)
		l.marks = was
		l.live(t, 15*time.Second, false)
	})
	f("", func(t *testing.T, l *life) {
		t.Helper()
		l.marks = []detect.Mark{sale(l)}
		l.marks[0].Watches = []string{"another"}
		l.live(t, 15*time.Second, false)
	})
	// It may have been said before, and not have been known to this replica.
	for _, since := range []time.Duration{-time.Hour, 0} {
		f("marked as an incident since", func(t *testing.T, l *life) {
			t.Helper()
			l.marks = []detect.Mark{{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra"}, From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-90 * time.Minute), Said: time.Now().Add(since)}}
			l.live(t, 15*time.Second, false)
		})
	}
	f("", func(t *testing.T, l *life) {
		t.Helper() // of a site that the watch is not about
		l.marks = []detect.Mark{
			{Kind: detect.MarkIncident, Subject: core.Subject{Site: "lon"}, From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-90 * time.Minute), Said: time.Now()}, sale(l),
		}
		l.marks[1].Subject.Site = "lon"
		l.live(t, 15*time.Second, false)
	})
	f("", func(t *testing.T, l *life) {
		t.Helper() // marked while it ran, and learned anew
		l.marks = []detect.Mark{{Kind: detect.MarkIncident, Subject: core.Subject{Site: "fra"}, From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-90 * time.Minute), Said: time.Now()}}
		l.live(t, 35*time.Second, true)
		l.live(t, 15*time.Second, false)
	})
	f("too old", func(t *testing.T, l *life) {
		t.Helper()
		time.Sleep(3 * time.Hour)
		l.live(t, 15*time.Second, false)
	})
}

// A file that is whole is not used when another version wrote it, or a clock that was ahead.
func TestAStateOfAnotherVersionIsNotUsed(t *testing.T) {
	f := func(want, old, changed string) {
		t.Helper()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			file, l := saved(t, dir)
			whole, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			body := whole[:len(whole)-sha256.Size]
			if n := bytes.Count(body, []byte(old)); n == 0 || len(old) != len(changed) {
				t.Fatalf("%q is not in the file", old)
			}
			body = bytes.ReplaceAll(body, []byte(old), []byte(changed))
			sum := sha256.Sum256(body)
			if err := os.WriteFile(file, append(body, sum[:]...), 0o600); err != nil {
				t.Fatal(err)
			}
			if l.live(t, 15*time.Second, false); restarted(l) != (want == "") || !strings.Contains(l.log.String(), want) {
				t.Errorf("%q for %q: %s, want %q", changed, old, l.log.String(), want)
			}
		})
	}
	f("", `"Format":2`, `"Format":2`)
	f("another version of the server", `"Format":2`, `"Format":1`)
	f("version 2, want 1", `"model":"robust-z","version":1`, `"model":"robust-z","version":2`)
	f("not come yet", `"Asked":"2000-01-01T00:00`, `"Asked":"2000-01-01T07:00`)
	f("not come yet", `"LastAt":"2000-01-01T00:00`, `"LastAt":"2000-01-01T07:00`)
	f("civil time", `"Zone":"Europe/Berlin"`, `"Zone":"Europe/Vienna"`)
}

// What is left of a kill in the midst of writing, and of watches that there are no more, is removed.
func TestLeftoversOfStatesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		file, l := saved(t, dir)
		partial := strings.TrimSuffix(file, ".state") + ".state.partial"
		for _, path := range []string{partial, filepath.Join(dir, "0123456789abcdef0123456789abcdef.state")} {
			if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if l.live(t, 15*time.Second, false); !restarted(l) {
			t.Errorf("not used: %s", l.log.String())
		}
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || !slices.Equal(files, []string{file}) {
			t.Errorf("files %v, %v", files, err)
		}
	})
}

// A disk that is full says so once, leaves what was saved before, and is asked again.
func TestAFullDiskLeavesTheStateFromBefore(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no full disk here")
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		file, l := saved(t, dir)
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		l.began = func() {
			l.began = nil
			if err := os.Symlink("/dev/full", strings.TrimSuffix(file, ".state")+".state.partial"); err != nil {
				t.Error(err)
			}
		}
		l.live(t, 4*time.Minute, false)
		if n := strings.Count(l.log.String(), "no space left on device"); n != 1 {
			t.Errorf("told %d times: %s", n, l.log.String())
		}
		if after, err := os.ReadFile(file); err != nil || !bytes.Equal(after, before) {
			t.Errorf("what was saved before is another, %v", err)
		}
		l.live(t, 6*time.Minute, false)
		if after, err := os.ReadFile(file); err != nil || bytes.Equal(after, before) {
			t.Errorf("nothing was saved since, %v", err)
		}
	})
}

// A state that cannot be written is told once, and the watch goes on.
func TestAFullDiskStopsNoWatch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file", "detect")
	if err := os.WriteFile(filepath.Dir(dir), nil, 0o600); err != nil { // where the folder would have to be
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		l := &life{dir: dir, watch: errorsWatch(), q: ask(map[string]func(time.Time) []core.SeriesValue{
			"rate(x)": func(at time.Time) []core.SeriesValue {
				return sites(at, func(string, time.Time) float64 { return 100 })
			},
		})}
		l.live(t, 31*time.Minute+time.Second, true)
		if n := strings.Count(l.log.String(), "cannot be saved"); n != 1 {
			t.Errorf("told %d times: %s", n, l.log.String())
		}
		if n := len(l.q.signals); n != 186*6 {
			t.Errorf("told %d times, want 186 times of six series", n)
		}
		figure(t, l.reg, "evenkeel_detect_save_errors_total", "checkout-errors 8")
		if err := os.Remove(filepath.Dir(dir)); err != nil {
			t.Fatal(err)
		}
		if l.live(t, 6*time.Minute, false); strings.Contains(l.log.String(), "cannot be saved") {
			t.Error(l.log.String())
		}
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	})
}
