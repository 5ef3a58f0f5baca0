package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// long asks for the long forms; so does E2E_LONG=1.
var long = flag.Bool("e2e.long", os.Getenv("E2E_LONG") == "1", "run the long forms")

// labs holds a place for each of the labs that may run at the same time.
var labs = make(chan struct{}, 2)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func programs(t *testing.T) Programs {
	t.Helper()
	p, err := FindPrograms()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// folder is a short path, kept when the test fails: the logs are in it.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ek-e2e-") //nolint:usetesting // sockets need a short path, and a failure keeps it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("data and logs are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// world is a lab under test.
type world struct {
	*Lab
	t       *testing.T
	sites   []string
	quietAt map[string]time.Time // when the last trouble of a site can show no more
	lookups sync.WaitGroup       // of records, under way
}

// newWorld starts a lab once there is a place for it; at the end it must stop by itself and leave nothing.
func newWorld(t *testing.T, o LabOptions) *world {
	t.Helper()
	o.Programs, o.Dir = programs(t), folder(t)
	labs <- struct{}{}
	t.Cleanup(func() { <-labs })
	began := time.Now()
	b, err := StartLab(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Lab: b, t: t, sites: []string{"fra", "ams", "waw"}, quietAt: map[string]time.Time{}}
	if o.Profile == "two" {
		w.sites = w.sites[:2]
	}
	t.Cleanup(func() {
		if t.Failed() {
			w.tell()
		}
		if err := b.Stop(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.lookups.Wait)
	t.Logf("lab on %s after %s", b.URL, time.Since(began).Round(time.Second))
	return w
}

// tell logs the story, for the reader of a failure.
func (w *world) tell() {
	lines, err := w.Timeline(context.Background())
	if err != nil {
		w.t.Logf("no timeline: %v", err)
	}
	for _, l := range lines {
		w.t.Logf("  %s %-9s %s", l.At.Local().Format("15:04:05.000"), l.Kind, l.Sentence)
	}
}

func (w *world) until(patience time.Duration, what string, ok func() error) {
	w.t.Helper()
	if err := Until(patience, what, ok); err != nil {
		w.t.Fatal(err)
	}
}

// step tells how far the test is.
func (w *world) step(format string, args ...any) {
	w.t.Helper()
	w.t.Logf("%s  %s", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

func (w *world) fault(words ...string) Event {
	w.t.Helper()
	w.step("fault %s", strings.Join(words, " "))
	e, err := w.Fault(w.t.Context(), words...)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

func (w *world) heal(site ...string) {
	w.t.Helper()
	w.step("heal %s", strings.Join(site, " "))
	if err := w.Heal(w.t.Context(), site...); err != nil {
		w.t.Fatal(err)
	}
}

// must is a value or the end of the test.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// actions of one kind at a site since a time, the oldest first.
func (w *world) actions(kind, site string, since time.Time) []Action {
	w.t.Helper()
	all := must[[]Action](w.t)(w.Actions(w.t.Context()))
	all = slices.DeleteFunc(all, func(a Action) bool {
		return kind != "" && a.Kind != kind || site != "" && a.Subject.Site != site || a.CreatedAt.Before(since)
	})
	slices.SortFunc(all, func(x, y Action) int { return x.CreatedAt.Compare(y.CreatedAt) })
	return all
}

// executed commands of one kind at a site since a time.
func (w *world) executed(kind, site string, since time.Time) []Executed {
	w.t.Helper()
	all := must[[]Executed](w.t)(w.Executed())
	return slices.DeleteFunc(all, func(e Executed) bool {
		return kind != "" && e.Type != "action.site."+kind || site != "" && e.Site != site || e.AtNS < since.UnixNano()
	})
}

// episodes of a site that were alive within the window, the oldest first.
func (w *world) episodes(site string, from, to time.Time) []Episode {
	w.t.Helper()
	all := must[[]Episode](w.t)(w.Episodes(w.t.Context()))
	all = slices.DeleteFunc(all, func(e Episode) bool {
		return site != "" && e.Subject.Site != site || e.OpenedAt.After(to) || e.ClosedAt != nil && e.ClosedAt.Before(from)
	})
	slices.SortFunc(all, func(x, y Episode) int { return x.OpenedAt.Compare(y.OpenedAt) })
	return all
}

func (w *world) decisions(ep Episode) []Decision {
	w.t.Helper()
	return must[[]Decision](w.t)(w.Decisions(w.t.Context(), ep.ID))
}

// guards are the safety rules of every drain, by name.
func guards() []string {
	return []string{
		"policy", "quorum", "classes", "not_global", "hold", "tilt", "fresh", "last_serving", "max_drained", "capacity",
		"exposure", "assertions", "brake", "budget", "lock", "flapping", "freeze", "maintenance", "routing", "approval",
	}
}

// measured are those that have something to count whenever they are asked.
func measured() []string {
	return []string{"quorum", "classes", "hold", "fresh", "last_serving", "max_drained", "capacity", "budget", "flapping", "maintenance", "routing"}
}

// wantAllRulings checks that a decision about a drain carries every guard's word with its numbers.
func wantAllRulings(t *testing.T, d Decision) {
	t.Helper()
	for _, name := range guards() {
		r, ok := d.Ruling(name)
		switch {
		case !ok:
			t.Errorf("decision %s has no ruling of guard %s", d.ID, name)
		case r.Sentence == "" || r.Answer == "" || r.Answer == "unknown":
			t.Errorf("decision %s, guard %s: answer %q, sentence %q", d.ID, name, r.Answer, r.Sentence)
		case slices.Contains(measured(), name) && len(r.Numbers) == 0 && r.Answer == "pass":
			t.Errorf("decision %s, guard %s says %q without a number", d.ID, name, r.Sentence)
		}
	}
	if len(d.Rulings) != len(guards()) {
		t.Errorf("decision %s has %d rulings, want %d", d.ID, len(d.Rulings), len(guards()))
	}
}

func brief(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
