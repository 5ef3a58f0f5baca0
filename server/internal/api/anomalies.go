package api

import (
	"fmt"
	"strconv"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// anomalies are what detectors find odd, whether it is evidence or not. One of a whole site is told once, and not of each of its
// services.
func anomalies(o core.Observation) []Anomaly {
	var out []Anomaly
	seen := map[Anomaly]bool{}
	for _, a := range o.Assessments {
		for _, all := range [][]core.Evidence{a.Evidence, a.Odd} {
			for _, e := range all {
				x := Anomaly{Detector: e.Source, Class: e.Class, Since: e.Onset, Sentence: odd(e)}
				if e.Signal == core.SignalAnomaly && !seen[x] {
					seen[x] = true
					out = append(out, x)
				}
			}
		}
	}
	return out
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
