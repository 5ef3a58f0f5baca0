package api

import (
	"fmt"
	"iter"
	"strconv"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// anomalies are what detectors find odd, whether it is evidence or not. One of a whole site is told once, and not of each of its
// services.
func anomalies(o core.Observation) []Anomaly {
	type shown struct {
		source, sentence string
		class            core.Class
		onset            int64
	}
	var out []Anomaly
	seen := map[shown]bool{}
	for e := range oddIn(o) {
		x := Anomaly{Detector: e.Source, Class: e.Class, Since: e.Onset, Sentence: odd(e)}
		if words := basis(e); words != "" {
			x.Why = some(words)
		}
		if e.Series != "" {
			x.ID = some(core.AlarmID(e.Source, e.Series, e.Onset))
		}
		if key := (shown{e.Source, x.Sentence, e.Class, e.Onset.UnixMilli()}); !seen[key] {
			seen[key] = true
			out = append(out, x)
		}
	}
	return out
}

// oddIn is what detectors find odd about each subject.
func oddIn(o core.Observation) iter.Seq[core.Evidence] {
	return func(yield func(core.Evidence) bool) {
		for _, a := range o.Assessments {
			for _, all := range [][]core.Evidence{a.Evidence, a.Odd} {
				for _, e := range all {
					if e.Signal == core.SignalAnomaly && !yield(e) {
						return
					}
				}
			}
		}
	}
}

// AlarmsIn are the alarms of an observation, each once.
func AlarmsIn(o core.Observation) []core.Alarm {
	var out []core.Alarm
	seen := map[string]bool{}
	for e := range oddIn(o) {
		if id := core.AlarmID(e.Source, e.Series, e.Onset); e.Series != "" && !seen[id] {
			seen[id] = true
			out = append(out, core.Alarm{
				ID: id, Watch: e.Source, Series: e.Series, Site: e.Subject.Site, Class: e.Class, Onset: e.Onset, Last: e.Last, Sentence: odd(e),
			})
		}
	}
	return out
}

// basis is what the band of a detector rests on, empty where that is not known.
func basis(e core.Evidence) string {
	points, out := 0.0, 0.0
	for _, n := range e.Numbers {
		switch n.Name {
		case core.NumberPoints:
			points = n.Value
		case core.NumberKeptOut:
			out = n.Value
		}
	}
	if points == 0 || e.Band == nil {
		return ""
	}
	text := fmt.Sprintf("the band rests on %.0f values", points)
	if out == 0 {
		return text + "; none was kept from what is learned"
	}
	return text + fmt.Sprintf("; %.1f %% were kept from what is learned, as of incidents, moved users, maintenance and special times", 100*out)
}

// odd is the evidence of a detector in short where it has a band.
func odd(e core.Evidence) string {
	b := e.Band
	if b == nil || e.Series == "" {
		return e.Sentence
	}
	figure := func(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }
	return fmt.Sprintf("%s: %s, expected %s, band %s to %s, since %s", e.Series, figure(b.Value), figure(b.Expected), figure(b.Lower),
		figure(b.Upper), core.ClockText(e.Onset)) + e.Company()
}
