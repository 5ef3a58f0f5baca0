package detect

import (
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

const (
	// changeSettles is for how long after a declared change the series must still be as before it, and changeTrial for how
	// long after that it may be either as before or as since.
	changeSettles = time.Hour
	changeTrial   = 24 * time.Hour
	// strayPoints is how many points of another level a copy of the model from before a change may see. No model takes so few for what it is
	// compared with; a copy costs as much as some hundred points.
	strayPoints = 30
)

// past is a model and what it may learn. Three kinds of time are kept apart: what is an example of how the series
// is; what is none, because of trouble or of what we did about it; and what came after a declared change, which has
// to prove itself beside what was before.
type past struct {
	kept[detectors.Model]
	learns    bool // the model has a memory to keep clean
	changed   *changed
	changedAt time.Time // end of the newest change that was seen
	special   []detectors.Interval
}

// changed is what is known of the series since a declared change.
type changed struct {
	change   Mark
	model    detectors.Model // of what came since
	stray    detectors.Model // a copy of the model from before, which judges while the series is not as before; nil while it is
	strayed  int             // points that the copy has seen
	old, new int             // points since it settled that the model from before, and this one, find anomalous
}

func newPast(fresh func() detectors.Model, learns bool) *past {
	p := &past{learns: learns}
	p.kept = newKept(func() detectors.Model { return p.told(fresh()) })
	return p
}

// begin forgets all.
func (p *past) begin() { p.kept, p.changed, p.changedAt = newKept(p.fresh), nil, time.Time{} }

// observe judges a value. Load is how many times more users the value comes of than the model has learned from. The note
// is what the verdict would not say by itself; empty where there is nothing.
func (p *past) observe(at time.Time, value, load float64, m marked) (v detectors.Verdict, note string) {
	point := detectors.Point{At: at, Value: value / load}
	if !p.learns {
		return p.model.Observe(point), ""
	}
	p.tell(m.special)
	if _, itself := p.model.(*detectors.Seasonal); !itself {
		m = m.noExample()
	}
	if p.turn(at, m) {
		p.changed = nil // a change in the midst of it is part of how things are
	}
	if p.on {
		v = p.aside.Observe(point)
	} else {
		v, note = p.sinceChange(point, m)
		v = p.heard(v)
	}
	if load != 1 {
		v.Value, v.Expected, v.Lower, v.Upper, v.Scale = value, v.Expected*load, v.Lower*load, v.Upper*load, v.Scale*load
		note = "with " + strconv.FormatFloat(load, 'g', 3, 64) + " times the users it had"
	}
	return v, note
}

// sinceChange judges by what was before a declared change, and after a while also by what came since: then it is
// anomalous only when it is so for both, and in the end the one that was right more often stays. Neither learns from what
// belongs to the other.
func (p *past) sinceChange(point detectors.Point, m marked) (v detectors.Verdict, note string) {
	for i := range m.changes {
		if c := m.changes[i]; c.Until.After(p.changedAt) && !point.At.Before(c.Until) {
			p.settle()
			p.changed, p.changedAt = &changed{change: c, model: p.fresh()}, c.Until
		}
	}
	c := p.changed
	if c == nil {
		v = p.model.Observe(point)
		return v, changing(m.changes, v)
	}
	settled := c.change.Until.Add(changeSettles)
	if !point.At.Before(settled.Add(changeTrial)) {
		p.settle()
		return p.model.Observe(point), ""
	}
	v = p.asBefore(point)
	change := "the change " + strconv.Quote(c.change.What) + " that ended at " + core.ClockText(c.change.Until)
	young := point.At.Before(settled)
	if !young {
		if v = calm(v); v.State != detectors.StateAnomalous {
			return v, ""
		}
	}
	since := calm(c.model.Observe(point))
	switch {
	case v.State != detectors.StateAnomalous:
		return v, ""
	case young || since.State == detectors.StateWarming || since.State == detectors.StateUnknown:
		return v, "after " + change
	}
	c.old++
	if since.State == detectors.StateAnomalous {
		c.new++
		return v, "after " + change
	}
	return since, "as it is since " + change
}

// calm is a verdict without what a model holds on to for some points after the last odd one: while either of two levels may be right, the
// first point at the other one is so.
func calm(v detectors.Verdict) detectors.Verdict {
	if v.Reason == detectors.ReasonRecovering {
		v.State, v.Reason, v.Since = detectors.StateNormal, detectors.ReasonInside, time.Time{}
	}
	return v
}

// asBefore judges by the model from before a change, which is kept from what does not look like it.
func (p *past) asBefore(point detectors.Point) detectors.Verdict {
	c := p.changed
	if c.stray != nil {
		if c.strayed == strayPoints {
			c.stray, c.strayed = p.copy(), 0
		}
		c.strayed++
		if v := c.stray.Observe(point); off(v) {
			return v
		}
		c.stray = nil
	}
	v := p.model.Observe(point)
	if off(v) {
		c.stray, c.strayed = p.copy(), 0
	}
	return v
}

// settle ends the trial of a change. What was before stays unless the new was right more often.
func (p *past) settle() {
	if c := p.changed; c != nil && c.old > c.new {
		p.model = c.model
	}
	p.changed = nil
}

// changing names the change under way for an anomaly.
func changing(changes []Mark, v detectors.Verdict) string {
	if v.State != detectors.StateAnomalous {
		return ""
	}
	for i := range changes {
		if c := &changes[i]; c.holds(v.At) {
			return "while the change " + strconv.Quote(c.What) + " is under way since " + core.ClockText(c.From)
		}
	}
	return ""
}
