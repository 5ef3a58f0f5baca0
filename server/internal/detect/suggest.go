package detect

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// Candidate is another model, or another setting of it, for what a watch asks.
type Candidate struct {
	Watch    Watch
	Settings []string // as lines of the configuration; empty: as it is now
}

// Candidates are the watch as it is and, where it judges each series by itself, the other models and settings with which the same question can be
// asked: a small grid, since each is a backtest. Limits that somebody has to know, as of threshold and trend, are not guessed.
func (w Watch) Candidates() []Candidate {
	out := []Candidate{{Watch: w}}
	add := func(w Watch, settings ...string) {
		if w.Validate() == nil && !slices.ContainsFunc(out, func(c Candidate) bool { return same(c.Watch, w) }) {
			out = append(out, Candidate{w, settings})
		}
	}
	scales := func(w Watch) {
		w.Threshold = nil
		add(w, "model: "+string(w.Model))
		for _, scales := range []float64{7.5, 10, 15} {
			w.Threshold = &scales
			add(w, "model: "+string(w.Model), "threshold: "+figure(scales))
		}
	}
	if w.model() == ModelPeers {
		w.Model = ModelPeers
		scales(w)
		return out
	}
	if w.Query == "" || !w.learns() && w.model() != ModelThreshold {
		return out
	}
	for _, m := range learners() {
		c := w
		c.Model, c.Threshold, c.FalseAlarms = m, nil, 0
		c.TriggerPoints, c.TriggerOf, c.RecoverPoints, c.RecoverOf = 0, 0, 0, 0
		switch m {
		case ModelAuto, ModelCUSUM:
			c.FalseAlarms = w.FalseAlarms
			add(c, "model: "+string(m))
			for _, share := range []float64{0.1, 0.2, 0.5} {
				if share > c.Floor.Relative {
					c.Floor.Relative = share
					floor := "floor: {relative: " + figure(share)
					if c.Floor.Absolute != 0 {
						floor += ", absolute: " + strconv.FormatFloat(c.Floor.Absolute, 'g', -1, 64)
					}
					add(c, "model: "+string(m), floor+"}")
				}
			}
		default:
			scales(c)
		}
	}
	return out
}

// same reports whether two watches judge alike.
func same(a, b Watch) bool {
	a.Model, b.Model = a.model(), b.model()
	x, errX := a.fingerprint()
	y, errY := b.fingerprint()
	return errX == nil && errY == nil && x == y
}

// Budget is how many alarms a series may raise in a week that nothing on record explains: what is set, and else one.
func (w Watch) Budget() float64 {
	if w.falseAlarms() > 0 {
		return w.falseAlarms()
	}
	return cmp.Or(w.FalseAlarms, 1)
}

const (
	// enoughAlarms is how many false alarms must have been to be expected, and enoughIncidents how many incidents there must be, to tell candidates apart.
	enoughAlarms    = 5
	enoughIncidents = 3
)

// Best is the one of several judgements of the same past that does best by a budget of false alarms a series and week: of those within it the one that met
// most incidents, then the soonest, then the quietest; where none is within it the quietest. The first is the watch as it is. It gives way only where it is
// beyond doubt over the budget, or met fewer of enough incidents, and never to one that met fewer than it. Why says so in words, and on how little that rests.
func Best(all []Judged, budget float64) (best int, why string) {
	now := all[0]
	if now.Weeks == 0 {
		return 0, "nothing was judged, so nothing can be compared; give more days, or look at what it asks"
	}
	metNow, _ := now.Met()
	within := func(j Judged) bool { return j.Rate() <= budget }
	for i := 1; i < len(all); i++ {
		a, b := all[i], all[best]
		metA, afterA := a.Met()
		metB, afterB := b.Met()
		switch {
		case a.Weeks == 0, metA < metNow:
			continue
		case within(a) && !within(b):
			best = i
		case within(b) && !within(a):
		case !within(a):
			if a.Rate() < b.Rate() {
				best = i
			}
		case cmp.Or(cmp.Compare(metB, metA), cmp.Compare(afterA, afterB), cmp.Compare(a.Rate(), b.Rate())) < 0:
			best = i
		}
	}
	least, _ := detectors.CountInterval(now.False(), 0.95)
	met, _ := all[best].Met()
	if best > 0 && least/now.Weeks <= budget && (met <= metNow || len(now.Incidents) < enoughIncidents) {
		return 0, "nothing is better beyond doubt; " + now.worth(budget)
	}
	return best, all[best].worth(budget)
}

// worth says in words how a judgement does by a budget, and on how little that rests.
func (j Judged) worth(budget float64) string {
	met, after := j.Met()
	why := fmt.Sprintf("%s false alarms a series and week where %s may be", figure(j.Rate()), figure(budget))
	if len(j.Incidents) > 0 {
		why += fmt.Sprintf("; %d of %d incidents met", met, len(j.Incidents))
	}
	if met > 0 {
		why += ", half of them within " + after.Round(time.Second).String()
	}
	if expected := budget * j.Weeks; expected < enoughAlarms {
		why += fmt.Sprintf(". How often it errs is hardly known: %s false alarms were to be expected", figure(expected))
	}
	if len(j.Incidents) < enoughIncidents {
		why += fmt.Sprintf(". Whether it misses what it should find is not known: incidents on record are %d", len(j.Incidents))
	}
	return why
}
