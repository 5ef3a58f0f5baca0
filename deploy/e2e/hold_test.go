package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// quiet is a trouble that must not be acted on, and what must be on record about it.
type quiet struct {
	name   string
	sites  []string // whose records tell of it
	guard  string   // one that must have objected; empty: any
	kind   string   // what health must have called it at one of the sites; empty: anything
	passes bool     // so short that probes may miss it: the samples are the record then
}

// settling is how much later than the trouble its evidence may still come in.
const settling = 4 * time.Second

// during makes trouble, waits until it is over, and has it looked up once the episodes are closed.
func (w *world) during(q quiet, trouble func()) {
	w.t.Helper()
	from := time.Now()
	trouble()
	to := time.Now()
	for _, site := range q.sites {
		w.quietAt[site] = to.Add(settling)
	}
	w.step("%s is over", q.name)
	w.lookups.Go(func() { w.explained(q, from, to) })
}

// lasting breaks something for a time.
func (w *world) lasting(d time.Duration, words ...string) func() {
	return func() {
		w.t.Helper()
		e := w.fault(append(words, "--for", d.String())...)
		time.Sleep(time.Until(e.At().Add(d))) // how long a fault lasts is the thing under test
	}
}

// settled waits until no episode of the sites is open, nor can open because of the last trouble.
func (w *world) settled(sites ...string) {
	w.t.Helper()
	for _, site := range sites {
		time.Sleep(time.Until(w.quietAt[site]))
	}
	w.until(3*time.Minute, "no episode is open", func() error {
		for _, site := range sites {
			for _, ep := range w.episodes(site, time.Now(), time.Now()) {
				if ep.ClosedAt == nil {
					return errors.New(ep.Sentence)
				}
			}
		}
		return nil
	})
}

// explained looks up the record of a trouble that was not acted on: a decision that says who objected and why.
func (w *world) explained(q quiet, from, to time.Time) {
	settle := to.Add(settling)
	episodes, err := w.episodesOf(q, from, settle)
	if err != nil {
		w.t.Errorf("%s: %v", q.name, err)
		return
	}
	story, err := w.Timeline(w.t.Context())
	if err != nil {
		w.t.Errorf("%s: %v", q.name, err)
		return
	}
	var told []string
	objected, named := false, q.kind == ""
	for _, ep := range episodes {
		decisions, err := w.Decisions(w.t.Context(), ep.ID)
		if err != nil {
			w.t.Errorf("%s: %v", q.name, err)
			return
		}
		for _, d := range decisions {
			if !slices.Contains([]string{"hold", "recommend", "ignore"}, d.Verdict) {
				w.t.Errorf("%s: the verdict is %s: %s", q.name, d.Verdict, d.Sentence)
			}
			wantAllRulings(w.t, d)
			for _, r := range d.Objections() {
				objected = objected || q.guard == "" || r.Guard == q.guard
			}
		}
		for _, l := range story {
			named = named || l.EpisodeID == ep.ID && l.Kind == "condition" && strings.Contains(l.Sentence, "("+q.kind+")")
		}
		if n := len(decisions); n > 0 {
			told = append(told, fmt.Sprintf("%s [worst %s, %d records]: %s", ep.Sentence, ep.Worst, n, tellObjections(decisions[n-1])))
		}
	}
	switch {
	case len(told) == 0 && q.passes:
		w.sampled(q, from, settle)
	case len(told) == 0:
		w.t.Errorf("%s: there is no decision record about %v", q.name, q.sites)
	case !objected:
		w.t.Errorf("%s: guard %s has objected nowhere:\n%s", q.name, q.guard, strings.Join(told, "\n"))
	case !named:
		w.t.Errorf("%s: it was never called %s:\n%s", q.name, q.kind, strings.Join(told, "\n"))
	default:
		w.step("%s: %s", q.name, strings.Join(told, "\n      "))
	}
}

// episodesOf waits until the episodes that the trouble opened are closed, and returns them.
func (w *world) episodesOf(q quiet, from, settle time.Time) (out []Episode, err error) {
	err = Until(3*time.Minute, "the episodes are closed", func() error {
		if w.t.Context().Err() != nil {
			return &Never{errors.New("the test has ended")}
		}
		if time.Now().Before(settle) {
			return errors.New("not yet")
		}
		list, err := w.Episodes(w.t.Context())
		if err != nil {
			return err
		}
		out = nil
		for _, ep := range list {
			if !slices.Contains(q.sites, ep.Subject.Site) || ep.OpenedAt.Before(from) || ep.OpenedAt.After(settle) {
				continue
			}
			if ep.ClosedAt == nil {
				return errors.New(ep.Sentence)
			}
			out = append(out, ep)
		}
		return nil
	})
	return out, err
}

func tellObjections(d Decision) string {
	var out []string
	for _, r := range d.Objections() {
		out = append(out, r.Guard+": "+r.Sentence)
	}
	return d.Verdict + " - " + strings.Join(out, "; ")
}

// sampled looks for the one record of a trouble that was too short for an episode: what the probes saw.
func (w *world) sampled(q quiet, from, to time.Time) {
	span, ago := int(to.Sub(from).Seconds())+1, int(time.Since(to).Seconds())
	var told []string
	for _, site := range q.sites {
		list, err := w.Query(w.t.Context(), fmt.Sprintf(
			`sum(count_over_time(evenkeel_probe_state{target_site=%q,path="user"}[%ds] offset %ds)) or on() vector(0)`, site, span, ago))
		if err != nil || len(list) != 1 || list[0].Value == 0 {
			w.t.Errorf("%s: no record at all: neither a decision nor samples of the probes of %s (%v, %v)", q.name, site, list, err)
			continue
		}
		down, err := w.Query(w.t.Context(), fmt.Sprintf(
			`sum(count_eq_over_time(evenkeel_probe_state{target_site=%q,path="user"}[%ds] offset %ds, 2)) or on() vector(0)`, site, span, ago))
		if err != nil || len(down) != 1 {
			w.t.Errorf("%s: %v, %v", q.name, down, err)
			continue
		}
		told = append(told, fmt.Sprintf("%g of %g probes of %s failed", down[0].Value, list[0].Value, site))
	}
	w.step("%s: too short for an episode; the record are the samples: %s", q.name, strings.Join(told, ", "))
}

// TestHarmlessTroubleIsNotActedOn: with the holds of a real installation nothing of what passes by itself is acted
// on, and each time the record says which guard objected. At the end a dead site is drained by the same server.
func TestHarmlessTroubleIsNotActedOn(t *testing.T) {
	t.Parallel()
	// Episodes close sooner than in a real installation, so that each trouble has one of its own.
	w := newWorld(t, LabOptions{Shipped: true, Edit: func(config string) string {
		out := strings.Replace(config, "close_after: 1m", "close_after: 5s", 1)
		if out == config {
			t.Error("the lab's configuration has no close_after of 1m any more")
		}
		return out
	}})
	began := time.Now()
	for _, f := range []struct {
		site    string
		seconds int
	}{{"ams", 1}, {"waw", 2}, {"fra", 4}, {"ams", 8}} {
		w.settled(f.site)
		d := time.Duration(f.seconds) * time.Second
		w.during(quiet{name: fmt.Sprintf("a pause of %s at %s", d, f.site), sites: []string{f.site}, passes: f.seconds < 5, guard: "hold"}, func() {
			e := w.fault(f.site, "pause", fmt.Sprint(f.seconds))
			time.Sleep(time.Until(e.At().Add(d)))
		})
	}
	w.settled(w.sites...)
	w.during(quiet{name: "a rolling restart", sites: w.sites, passes: true}, func() { w.fault("all", "restart") })
	w.settled(w.sites...)
	w.during(quiet{name: "a reload", sites: w.sites, passes: true}, func() { w.fault("all", "reload") })
	for _, f := range []struct {
		a, b    string
		seconds int
	}{{"fra", "ams", 3}, {"ams", "waw", 10}, {"waw", "fra", 30}, {"fra", "ams", 43}} {
		w.settled(w.sites...)
		d := time.Duration(f.seconds) * time.Second
		w.during(quiet{name: fmt.Sprintf("a link cut of %s", d), sites: []string{f.a, f.b}, passes: f.seconds < 5, guard: "quorum", kind: "link"},
			w.lasting(d, f.a, "link", f.b))
	}
	w.settled(w.sites...)
	w.during(quiet{name: "a one-way cut", sites: []string{"ams"}, guard: "quorum", kind: "one-way"},
		w.lasting(15*time.Second, "fra", "link", "ams", "--one-way"))
	w.settled(w.sites...)
	w.during(quiet{name: "an uplink cut", sites: []string{"waw"}, guard: "classes", kind: "silent"}, w.lasting(25*time.Second, "waw", "uplink"))
	w.settled(w.sites...)
	w.during(quiet{name: "all uplinks cut", sites: w.sites, guard: "fresh"}, w.lasting(25*time.Second, "all", "uplink"))
	w.settled(w.sites...)
	w.during(quiet{name: "loss of 5 %", sites: []string{"waw"}, passes: true}, w.lasting(30*time.Second, "waw", "loss", "5"))
	w.settled(w.sites...)
	w.during(quiet{name: "all sites slow", sites: w.sites, guard: "not_global", kind: "slow"}, w.lasting(25*time.Second, "all", "slow"))
	w.lookups.Wait()
	w.settled(w.sites...)
	if list := w.actions("", "", began); len(list) > 0 {
		t.Errorf("there were actions: %s", brief(list))
	}
	if list := w.executed("", "", began); len(list) > 0 {
		t.Errorf("the executor was told: %s", brief(list))
	}
	if t.Failed() {
		return
	}
	// The same server does act when it must.
	since := time.Now()
	w.fault("waw", "kill")
	act := w.drained("waw", since)
	if held := act.CreatedAt.Sub(since); held < 10*time.Second {
		t.Errorf("it was drained after %s, before the shortest hold", held)
	}
}
