package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTroubleInMostSites: when most sites fail together a drain cannot help. Nothing acts, the record says why, and
// people are told that it is everywhere.
func TestTroubleInMostSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, LabOptions{})
	since := time.Now()
	dead := []string{"fra", "ams"}
	for _, site := range dead {
		w.fault(site, "kill")
	}
	w.until(time.Minute, "the veto is on record", func() error {
		for _, site := range dead {
			if !w.objected(site, since, "not_global") {
				return fmt.Errorf("guard not_global has not objected at %s", site)
			}
		}
		return nil
	})
	paged := Until(time.Minute, "people are told", func() error {
		for _, site := range dead {
			for _, ep := range w.episodes(site, since, time.Now()) {
				notices, err := w.Notices(t.Context(), ep.ID)
				if err != nil {
					return err
				}
				for _, n := range notices {
					if n.Kind == "trigger" && strings.Contains(n.Summary, "global") {
						w.step("page (%s): %s", n.Severity, n.Summary)
						return nil
					}
				}
			}
		}
		return errors.New("no notice says that it is global")
	})
	if paged != nil {
		t.Errorf("two of three sites are dead for %s: %v", time.Since(since).Round(time.Second), paged)
	}
	w.wantNoAction(since)
}

// objected reports whether a guard has objected at a site since a time.
func (w *world) objected(site string, since time.Time, guard string) bool {
	w.t.Helper()
	for _, ep := range w.episodes(site, since, time.Now()) {
		for _, d := range w.decisions(ep) {
			for _, r := range d.Objections() {
				if r.Guard == guard {
					return true
				}
			}
		}
	}
	return false
}
