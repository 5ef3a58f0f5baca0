package e2e

import (
	"errors"
	"fmt"
	"slices"
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

// statisticsAlone: a third of the users' requests at one site fail while its agent and all probes are content. The
// detector's evidence is recorded with its band, and nothing acts on it.
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
	var seen Evidence
	w.until(time.Minute, "the detector's evidence is in the conditions", func() error {
		o, err := w.Conditions(w.t.Context())
		if err != nil {
			return err
		}
		for _, a := range o.Assessments {
			for _, e := range a.Evidence {
				if a.Subject.Site == site && e.Class == "symptom" && e.Band != nil {
					seen = e
					return nil
				}
			}
		}
		return errors.New("no evidence with a band")
	})
	if b := seen.Band; b.Value <= b.Upper || b.Upper < b.Expected || b.Expected < b.Lower || b.Value < 0.1 || b.Score <= 0 {
		w.t.Errorf("the band does not tell of 30 %% errors: %+v", *b)
	}
	w.step("%s: %s %+v", seen.Source, seen.Sentence, *seen.Band)
	time.Sleep(15 * time.Second) // five times the longest hold of a lab's automatic policies
	w.wantNoAction(since)
	w.heal(site)
	w.until(time.Minute, "the episode is closed and carries the evidence", func() error {
		for _, ep := range w.episodes(site, since, time.Now()) {
			if ep.ClosedAt == nil {
				return errors.New(ep.Sentence)
			}
			i := slices.IndexFunc(ep.Evidence, func(e Evidence) bool { return e.Class == "symptom" && e.Band != nil })
			list := w.decisions(ep)
			if i < 0 || len(list) == 0 {
				continue
			}
			d := list[len(list)-1]
			wantAllRulings(w.t, d)
			w.step("%s: %s", ep.Sentence, tellObjections(d))
			return nil
		}
		return errors.New("no closed episode has the detector's evidence and a decision")
	})
}
