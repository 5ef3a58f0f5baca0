package decide

import (
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// The floors of the hold. A configuration marked as a lab is not bound by them.
const (
	floorPartRefused = 5 * time.Second  // lower the weight of one service, connections refused everywhere
	floorRefused     = 10 * time.Second // read drain, refused from all vantages and dead inside
	floorTimeout     = 20 * time.Second // read drain, time-outs or silence
	floorErrors      = time.Minute      // read drain, answers that are errors
	floorSlow        = 3 * time.Minute  // read drain, slow
	floorWrites      = time.Minute      // write drain
	floorRestore     = 15 * time.Minute
)

// held says for how long it has been true, for how long it must have been, and why that long. known is false
// when nothing is running.
func held(v view) (elapsed, need time.Duration, why string, known bool) {
	need, why = floor(v)
	if v.e.topo.Lab {
		need = 0
	}
	need = max(need, v.p.policy.Hold)
	if c := suspect(v); c != nil {
		need *= changeFactor
		why += fmt.Sprintf(", three times as long: it began during the %s %q that %s declared", c.Noun(), c.What, c.By)
	}
	if v.final {
		return longest(v.ep, v.e.obs), need, why, true
	}
	at := trusted(v.e.obs, v.at)
	if v.p.restores() {
		if v.a.HealthySince == nil || v.a.Condition != core.Healthy {
			return 0, need, why, false
		}
		return max(0, at.Sub(*v.a.HealthySince)), need, why, true
	}
	since := v.a.FailingSince
	if partial(v) {
		since = v.a.Onset
	}
	if since == nil {
		return 0, need, why, false
	}
	return max(0, at.Sub(*since)-paused(v.ep, at)), need, why, true
}

// changeFactor is how many times longer trouble must last that began while its subject was being changed.
const changeFactor = 3

// suspect is the declared change during which the trouble began, nil when there is none: the newest of several. A
// subject that refuses every connection is waited for no longer than without it.
func suspect(v view) *core.DeclaredChange {
	if v.p.restores() || refusedFromAll(v) {
		return nil
	}
	var out *core.DeclaredChange
	for i := range v.e.topo.Changes {
		c := &v.e.topo.Changes[i]
		if c.About().Overlaps(v.ep.Subject) && c.At(v.ep.Onset) && (out == nil || c.Start.After(out.Start)) {
			out = c
		}
	}
	return out
}

// obsReach is how far past an observation its word is taken for the present.
const obsReach = time.Second

// trusted is the time until which the last observation speaks: what was not seen does not count into a hold.
func trusted(o *core.Observation, at time.Time) time.Time {
	if o != nil && at.After(o.At.Add(obsReach)) {
		return o.At.Add(obsReach)
	}
	return at
}

// partial reports whether the policy is about trouble in which some users are still served. There is no
// continuous failure then: the trouble is as old as its first evidence, and the floor is that of a share of
// errors.
func partial(v view) bool {
	return !v.p.restores() && v.p.policy.Condition == core.Degraded && v.a.Condition >= core.Degraded && v.a.FailingSince == nil
}

// paused is how much of the stretch under way passed in tilt.
func paused(ep *core.Episode, at time.Time) time.Duration {
	st := ep.Standing
	if st.Stretch == nil {
		return 0
	}
	out := st.Paused
	if st.TiltSince != nil {
		out += max(0, at.Sub(*st.TiltSince))
	}
	return out
}

// floor is the shortest hold that the signal and the plan allow.
//
// What probes and silence say chooses it, the slowest of several signals, unless every vantage is refused and
// the inside is dead. A symptom's own signal counts only where there is no probe and no silence: the edge's
// errors confirm a site that does not answer and must not make its drain slower.
func floor(v view) (time.Duration, string) {
	if v.p.restores() {
		return floorRestore, "a restore"
	}
	out, why := floorTimeout, "time-outs or silence"
	if refusedFromAll(v) {
		out, why = floorRefused, "refused from everywhere and dead inside"
		if v.p.endWeight() > 0 {
			out = floorPartRefused
		}
	} else {
		for _, sig := range signals(v.a) {
			switch sig {
			case core.SignalErrors:
				if out < floorErrors {
					out, why = floorErrors, "answers that are errors"
				}
			case core.SignalSlow, core.SignalAnomaly:
				out, why = floorSlow, "slow"
			}
		}
		if partial(v) && out < floorErrors {
			out, why = floorErrors, "some users are still served"
		}
	}
	if v.p.plan.Moves == core.ScopeWrites && out < floorWrites {
		out, why = floorWrites, "moves writes"
	}
	return out, why
}

// signals are the signals that choose the floor.
func signals(a core.Assessment) []string {
	var direct, symptom []string
	for _, ev := range a.Evidence {
		switch ev.Class {
		case core.ClassOutside, core.ClassInside, core.ClassSilence:
			direct = append(direct, ev.Signal)
		case core.ClassSymptom:
			symptom = append(symptom, ev.Signal)
		case core.ClassUnknown, core.ClassCause, core.ClassLink:
		}
	}
	if a.Signal != "" && a.Signal != core.SignalAnomaly {
		direct = append(direct, a.Signal)
	}
	if len(direct) == 0 {
		return symptom
	}
	return direct
}

// refusedFromAll: every configured vantage is refused, and so is the site's own agent.
func refusedFromAll(v view) bool {
	down, eligible := outsideVotes(v.e.topo, v.a)
	if down < eligible || eligible == 0 || insideState(v.a) != core.ProbeDown {
		return false
	}
	for _, vote := range v.a.Votes {
		if (vote.Eligible || vote.Vantage == v.a.Subject.Site) && vote.Signal != core.SignalRefused {
			return false
		}
	}
	return true
}

// ruleHold is guard 5: it has been true for long enough.
func ruleHold(v view) ruled {
	elapsed, need, why, known := held(v)
	nums := []core.Number{seconds("for", elapsed), seconds("need", need)}
	what := "failing"
	switch {
	case v.p.restores():
		what = "healthy"
	case partial(v):
		what = "degraded"
	}
	switch {
	case v.final:
		return object(fmt.Sprintf("over: the longest continuous failure was %s of %s (%s)", elapsedText(elapsed), spanText(need), why), nums...)
	case !known && v.p.restores():
		return object("not healthy now", nums...)
	case !known:
		return object(fmt.Sprintf("no continuous failure on the user path, %s of it are needed (%s)", spanText(need), why), nums...)
	}
	sentence := fmt.Sprintf("%s for %s of %s (%s)", what, elapsedText(elapsed), spanText(need), why)
	if p := paused(v.ep, v.at); p > 0 && !v.p.restores() {
		sentence += fmt.Sprintf(", %s in tilt not counted", elapsedText(p))
		nums = append(nums, seconds("paused", p))
	}
	if elapsed < need {
		return object(sentence, nums...)
	}
	return pass(sentence, nums...)
}
