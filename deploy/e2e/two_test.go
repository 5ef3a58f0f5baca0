package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTwoSitesAndAWitness: two sites that do not see each other are both alive as long as the witness sees them;
// statistics alone move nobody; a dead site is drained.
func TestTwoSitesAndAWitness(t *testing.T) {
	t.Parallel()
	w := newWorld(t, LabOptions{Profile: "two"})
	began := time.Now()
	w.during(quiet{name: "a link cut between two sites", sites: w.sites, guard: "quorum", kind: "link"},
		w.lasting(20*time.Second, "fra", "link", "ams"))
	w.settled(w.sites...)
	// Beyond the hold of the policy for slow sites: only that it is everywhere keeps it from asking for a drain.
	w.during(quiet{name: "both sites slow", sites: w.sites, guard: "not_global", kind: "slow"}, w.lasting(25*time.Second, "all", "slow"))
	w.lookups.Wait()
	w.settled(w.sites...)
	w.wantNoAction(began)

	w.statisticsAlone("fra")
	w.wantNoAction(began)

	w.settled(w.sites...)
	since := time.Now()
	w.fault("ams", "kill")
	w.drained("ams", since)
}

func (w *world) wantNoAction(since time.Time) {
	w.t.Helper()
	if list := w.actions("", "", since); len(list) > 0 {
		w.t.Errorf("there were actions: %s", brief(list))
	}
	if list := w.executed("", "", since); len(list) > 0 {
		w.t.Errorf("the executor was told: %s", brief(list))
	}
}

// statisticsAlone: a third of the users' requests at one site fail while its agent and all probes are content, so nobody but the edge
// accuses it. What the detector finds odd is shown with its band within seconds; it takes minutes to be evidence, and nothing acts on it.
func (w *world) statisticsAlone(site string) {
	w.t.Helper()
	w.until(4*time.Minute, "the detector of errors has left its warm-up", func() error {
		list, err := w.Query(w.t.Context(), fmt.Sprintf(`evenkeel_detector_state{target_site=%q,detector="edge-errors"}`, site))
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0].Value != 2 {
			return fmt.Errorf("evenkeel_detector_state of %s: %v", site, list)
		}
		return nil
	})
	since := time.Now()
	w.fault(site, "errors", "30")
	odd := func() (*Assessment, error) {
		o, err := w.Conditions(w.t.Context())
		if err != nil {
			return nil, err
		}
		for _, a := range o.Assessments {
			if a.Subject.Site == site && slices.ContainsFunc(a.Odd, func(e Evidence) bool { return e.Band != nil }) {
				return &a, nil
			}
		}
		return nil, errors.New("nothing odd with a band")
	}
	var seen Assessment
	w.until(time.Minute, "what the detector finds is in the conditions", func() error {
		a, err := odd()
		if err == nil {
			seen = *a
		}
		return err
	})
	e := seen.Odd[slices.IndexFunc(seen.Odd, func(e Evidence) bool { return e.Band != nil })]
	if b := e.Band; b.Value <= b.Upper || b.Upper < b.Expected || b.Expected < b.Lower || b.Value < 0.1 || b.Score <= 0 {
		w.t.Errorf("the band does not tell of 30 %% errors: %+v", *b)
	}
	if e.Class != "symptom" || !strings.Contains(seen.Sentence, "does not say enough to accuse it") {
		w.t.Errorf("%s: %s", e.Class, seen.Sentence)
	}
	w.step("%s: %s %+v", e.Source, e.Sentence, *e.Band)
	time.Sleep(15 * time.Second) // five times the longest hold of a lab's automatic policies
	w.wantNoAction(since)
	w.heal(site)
	w.until(time.Minute, "nothing is odd any more", func() error {
		if a, err := odd(); err == nil {
			return errors.New(a.Sentence)
		}
		return nil
	})
}
