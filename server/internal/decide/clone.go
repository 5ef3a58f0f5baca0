package decide

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Records that leave the engine share nothing with it, and nothing that came in is kept.

func cloneEpisode(ep core.Episode) core.Episode {
	ep.ClosedAt = cloneTime(ep.ClosedAt)
	ep.HeldUntil = cloneTime(ep.HeldUntil)
	ep.ActionIDs = slices.Clone(ep.ActionIDs)
	ep.Evidence = cloneEvidence(ep.Evidence)
	ep.Demand = maps.Clone(ep.Demand)
	ep.Standing.Objections = slices.Clone(ep.Standing.Objections)
	ep.Standing.Stretch = cloneTime(ep.Standing.Stretch)
	ep.Standing.TiltSince = cloneTime(ep.Standing.TiltSince)
	ep.Standing.Told = slices.Clone(ep.Standing.Told)
	if v := ep.Standing.Veto; v != nil {
		c := *v
		ep.Standing.Veto = &c
	}
	return ep
}

func cloneAction(a core.Action) core.Action {
	a.EndedAt = cloneTime(a.EndedAt)
	a.ExpiresAt = cloneTime(a.ExpiresAt)
	a.Steps = slices.Clone(a.Steps)
	for i := range a.Steps {
		st := &a.Steps[i]
		st.IntendedAt, st.DoneAt = cloneTime(st.IntendedAt), cloneTime(st.DoneAt)
		st.EndedAt, st.NotAfter = cloneTime(st.EndedAt), cloneTime(st.NotAfter)
		st.Attempts = slices.Clone(st.Attempts)
		st.Before, st.After = cloneTraffic(st.Before), cloneTraffic(st.After)
	}
	return a
}

func cloneNotice(n core.Notice) core.Notice {
	n.Details = slices.Clone(n.Details)
	n.Attempts = slices.Clone(n.Attempts)
	return n
}

func cloneEvidence(in []core.Evidence) []core.Evidence {
	out := slices.Clone(in)
	for i := range out {
		out[i].Numbers, out[i].Others = slices.Clone(out[i].Numbers), slices.Clone(out[i].Others)
		if b := out[i].Band; b != nil {
			c := *b
			out[i].Band = &c
		}
	}
	return out
}

func cloneTime(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	c := *t
	return &c
}

func cloneTraffic(t *core.Traffic) *core.Traffic {
	if t == nil {
		return nil
	}
	c := cleanTraffic(*t)
	return &c
}

// cleanTraffic turns figures that are no numbers into unknown ones: nothing that is written may hold them.
func cleanTraffic(t core.Traffic) core.Traffic {
	for _, f := range []*float64{&t.Requests, &t.Count, &t.Share, &t.Success, &t.ServiceSuccess, &t.ServiceCount} {
		if !finite(*f) || *f < 0 {
			*f, t.Known = 0, false
		}
	}
	if !finite(t.Weight) || t.Weight < 0 {
		t.Weight, t.WeightKnown = 0, false
	}
	return t
}

// finite reports whether all of them are numbers.
func finite(fs ...float64) bool {
	for _, f := range fs {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return false
		}
	}
	return true
}

func cleanNumbers(in []core.Number) []core.Number {
	var out []core.Number
	for _, n := range in {
		if finite(n.Value) {
			out = append(out, n)
		}
	}
	return out
}

// cleanEvidence is a copy without figures that are no numbers.
func cleanEvidence(in []core.Evidence) []core.Evidence {
	out := cloneEvidence(in)
	for i := range out {
		ev := &out[i]
		ev.Numbers = cleanNumbers(ev.Numbers)
		if b := ev.Band; b != nil && !finite(b.Value, b.Expected, b.Lower, b.Upper, b.Score) {
			ev.Band = &core.Band{} // still statistics, without its figures
		}
	}
	return out
}

// cleanAssessment is a copy of the assessment without figures that are no numbers.
func cleanAssessment(a core.Assessment) core.Assessment {
	a.Onset, a.FailingSince, a.HealthySince = cloneTime(a.Onset), cloneTime(a.FailingSince), cloneTime(a.HealthySince)
	a.Evidence, a.Odd = cleanEvidence(a.Evidence), cleanEvidence(a.Odd)
	a.Votes = slices.Clone(a.Votes)
	a.Claims = slices.Clone(a.Claims)
	a.Global = slices.Clone(a.Global)
	return a
}

// cleanObservation is a copy of the observation; of several assessments of one subject the worst counts.
func cleanObservation(o core.Observation) core.Observation {
	seen := map[core.Subject]int{}
	var as []core.Assessment
	for _, a := range o.Assessments {
		c := cleanAssessment(a)
		i, dup := seen[a.Subject]
		switch {
		case !dup:
			seen[a.Subject] = len(as)
			as = append(as, c)
		case c.Condition > as[i].Condition:
			as[i] = c
		}
	}
	slices.SortFunc(as, func(a, b core.Assessment) int { return a.Subject.Compare(b.Subject) })
	o.Assessments = as
	o.Traffic = slices.Clone(o.Traffic)
	for i := range o.Traffic {
		o.Traffic[i] = cleanTraffic(o.Traffic[i])
	}
	o.Writers = slices.Clone(o.Writers)
	o.Replicas = slices.Clone(o.Replicas)
	return o
}
