package decide

import (
	"strings"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// suspicion is an observation in which one site is suspected as a link, or healthy since long when kind is empty.
func suspicion(w *world, kind string, since time.Time) core.Observation {
	o := w.observation()
	for i := range o.Assessments {
		a := &o.Assessments[i]
		if a.Subject.Site != "fra" {
			continue
		}
		a.Condition, a.Kind, a.HealthySince = core.Healthy, kind, &since
		if kind != "" {
			a.Condition, a.HealthySince, a.Onset = core.Suspect, nil, &since
			a.Evidence = []core.Evidence{{
				Class: core.ClassOutside, Subject: a.Subject, Signal: core.SignalTimeout, Source: "ams", Path: "user:ams>fra", Onset: since, Last: w.at,
			}}
		}
	}
	return o
}

// A cut that heals in one direction first was a cut all the same, and an episode of a suspicion about someone else
// stays open for as long as any other before it closes.
func TestTheLastMomentDoesNotNameTheTrouble(t *testing.T) {
	w := automatic(t)
	since := w.at.Add(-time.Hour)
	see := func(kind string, after time.Duration) {
		w.at = w.at.Add(after)
		o := suspicion(w, kind, since)
		o.At = w.at
		w.step(Input{Observation: &o})
	}
	see(core.KindLink, time.Second)
	see(core.KindLink, 10*time.Second)
	see(core.KindOneWay, 10*time.Second)
	see("", 300*time.Millisecond)
	if ep, ok := w.episode("fra"); !ok || ep.ClosedAt != nil {
		t.Fatalf("closed at once: %+v", ep)
	}
	for range 70 {
		see("", time.Second)
	}
	var last core.Episode
	for _, ep := range w.snapshot().Episodes {
		if ep.Subject.Site == "fra" {
			last = ep
		}
	}
	if last.ClosedAt == nil || last.Kind != core.KindLink {
		t.Errorf("closed %v as %q, want link", last.ClosedAt, last.Kind)
	}
	if d := w.decision(last.DecisionID); d.Kind != core.KindLink || !strings.Contains(d.Sentence, "closed without action") {
		t.Errorf("the last record says %q: %s", d.Kind, d.Sentence)
	}
}
