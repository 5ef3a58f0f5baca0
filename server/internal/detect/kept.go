package detect

import (
	"time"

	"github.com/evenkeel/evenkeel/detectors"
)

// asideLongest is how long a time may be no example. What lasts longer is how things are, but for a maintenance, which somebody said to have an end.
const asideLongest = 24 * time.Hour

// learner is a model whose memory can be copied.
type learner interface {
	Snapshot() ([]byte, error)
	Restore([]byte) error
}

// kept is a model that is kept from learning what is no example of how things are: meanwhile a copy stands in, which is
// thrown away after.
type kept[M learner] struct {
	fresh func() M
	model M
	aside M       // stands in
	on    bool    // it does
	back  bool    // the model judges again, and may hold an alarm from before
	apart [3]bool // users are away; come or go; people work: of what the stand-in must not keep anything when it is over
	since time.Time
	seen  int // values since the model began
	out   int // of them, those that it was kept from
}

func newKept[M learner](fresh func() M) kept[M] { return kept[M]{fresh: fresh, model: fresh()} }

// turn tells of a time whether it is no example. When that has lasted for long the stand-in becomes the model, and stays is
// true; else the model goes on where it was. When users are back or work is over and the time is still no example, as until the end of an
// incident, another copy stands in, which has not seen how that was.
func (k *kept[M]) turn(at time.Time, m marked) (stays bool) {
	aside, apart := m.aside != nil, [...]bool{m.away != nil, m.shifted != nil && m.load == 0, m.maintained}
	if m.maintained {
		k.since = at
	}
	over := false
	for i, was := range k.apart {
		over = over || was && !apart[i]
	}
	k.apart = apart
	k.seen++
	if aside {
		k.out++
	}
	switch {
	case aside && (!k.on || over):
		k.aside, k.on, k.since, k.back = k.copy(), true, at, false
	case !aside && k.on:
		var none M
		if stays = at.Sub(k.since) > asideLongest; stays {
			k.model, k.out = k.aside, 0
		}
		k.aside, k.on, k.back = none, false, !stays
	}
	return stays
}

// heard is what the model says, without an alarm that is over: one that it raised before the time that was kept from it, and that it saw no
// end of.
func (k *kept[M]) heard(v detectors.Verdict) detectors.Verdict {
	switch {
	case !k.back || v.State == detectors.StateUnknown:
	case v.State == detectors.StateAnomalous && !off(v):
		v.State, v.Reason, v.Since = detectors.StateNormal, detectors.ReasonInside, time.Time{}
	default:
		k.back = false
	}
	return v
}

// off reports whether the point itself is odd, and not only one of the calm after it, for which an alarm stays on.
func off(v detectors.Verdict) bool {
	return v.State == detectors.StateAnomalous && v.Reason != detectors.ReasonRecovering
}

// keptOut is the share of the values that the model was kept from, 0 to 1.
func (k *kept[M]) keptOut() float64 { return float64(k.out) / float64(max(1, k.seen)) }

// judge is the model that judges now.
func (k *kept[M]) judge() M {
	if k.on {
		return k.aside
	}
	return k.model
}

// each is done to the model, and to the copy that stands in.
func (k *kept[M]) each(f func(M)) {
	f(k.model)
	if k.on {
		f(k.aside)
	}
}

// copy is the model as it is now; the model itself when it cannot be copied, which then learns what it should not.
func (k *kept[M]) copy() M {
	m := k.fresh()
	if snap, err := k.model.Snapshot(); err != nil || m.Restore(snap) != nil {
		return k.model
	}
	return m
}
