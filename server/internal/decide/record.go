package decide

import (
	"fmt"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// record writes down one judgement with everything it rests on. A sentence that is given replaces the usual.
func (s *step) record(ep *core.Episode, j judged, others []judged, sentence string) *core.Decision {
	ep.Decisions++
	d := core.Decision{
		ID: core.DecisionID(ep.ID, ep.Decisions), EpisodeID: ep.ID, N: ep.Decisions, Subject: ep.Subject,
		At: s.at, Condition: j.v.a.Condition, Kind: ep.Kind,
		Policy: j.v.p.policy.Name, Plan: j.v.p.plan.Name, Mode: j.v.p.policy.Mode, Verdict: j.verdict,
		Evidence: cloneEvidence(j.v.a.Evidence), Votes: slices.Clone(j.v.a.Votes),
		Effect: effectOf(j.v, boundOf(j.rulings)), Logic: Logic,
	}
	if j.v.final {
		d.Effect = nil
	}
	for _, r := range j.rulings {
		d.Rulings = append(d.Rulings, r.Ruling)
	}
	for _, o := range others {
		why := objectionText(o)
		if why == "" {
			why = "configured after " + d.Policy
		}
		d.Alternatives = append(d.Alternatives, core.Alternative{
			Policy: o.v.p.policy.Name, Plan: o.v.p.plan.Name, Verdict: o.verdict, Sentence: why,
		})
	}
	if d.Sentence = sentence; sentence == "" {
		d.Sentence = decisionText(s.e.topo, j)
	}
	_, need, _, _ := held(j.v)
	ep.DecisionID, ep.Sentence = d.ID, d.Sentence
	st := &ep.Standing
	st.DecidedAt, st.Verdict, st.Policy, st.Need = s.at, j.verdict, j.v.p.policy.Name, need
	st.Objections = notPassed(j.rulings)
	s.decisions = append(s.decisions, d)
	s.touch(ep)
	if !j.v.final {
		s.line(lineDecision, ep.ID, ep.Subject, d.Sentence)
	}
	if d.Verdict == core.VerdictAwaitApproval {
		s.page(ep, severityCritical, d.Sentence)
	}
	return &s.decisions[len(s.decisions)-1]
}

// finalRecord is the last record of an episode that closes without an action: the rulings over everything that
// was seen in it.
func (s *step) finalRecord(ep *core.Episode, sentence string) {
	a, _ := s.e.assessment(ep.Subject)
	if k := ep.Standing.WorstKind; k != "" {
		ep.Kind = k
	}
	a.Condition, a.Kind, a.Evidence, a.FailingSince = ep.Worst, ep.Kind, cloneEvidence(ep.Evidence), nil
	if all := s.weigh(ep, a, true); len(all) > 0 {
		s.record(ep, all[0], all[1:], ep.Subject.String()+": "+sentence)
	}
}

func boundOf(rs []ruled) float64 {
	out := 1.0
	for _, r := range rs {
		if r.Answer == core.Bound {
			out = min(out, r.Bound)
		}
	}
	return out
}

// decisionText is "checkout at fra: failing - outside 2/2, inside dead, 3.0 s -> drain".
func decisionText(t core.Topology, j judged) string {
	var b strings.Builder
	b.WriteString(j.v.ep.Subject.String() + ": " + j.v.a.Condition.String())
	var facts []string
	if ev := evidenceText(t, j.v.a); ev != "" {
		facts = append(facts, ev)
	}
	if elapsed, _, _, known := held(j.v); known {
		facts = append(facts, elapsedText(elapsed))
	}
	if len(facts) > 0 {
		b.WriteString(" - " + strings.Join(facts, ", "))
	}
	plan := j.v.p.plan.Name
	switch j.verdict {
	case core.VerdictAct:
		b.WriteString(" -> " + plan)
		if bound := boundOf(j.rulings); bound < 1 {
			b.WriteString(", " + pctText(bound) + " of it")
		}
	case core.VerdictAwaitApproval:
		b.WriteString(" -> " + plan + " awaits approval")
	case core.VerdictRecommend:
		b.WriteString(" -> " + plan + " recommended: " + objectionText(j))
	case core.VerdictIgnore:
		b.WriteString(" -> nothing: " + objectionText(j))
	case core.VerdictHold, core.VerdictUnknown:
		b.WriteString(" -> hold: " + objectionText(j))
	}
	return b.String()
}

// objectionText is why a judgement does not act, in a sentence or two: that it is global first, for it tells people
// where to look, and the hold last, for it passes by itself.
func objectionText(j judged) string {
	var out []string
	hold := ""
	for _, r := range j.rulings {
		switch {
		case !r.holds():
		case r.Guard == guardHold:
			hold = r.Sentence
		case r.Guard == guardNotGlobal:
			out = slices.Insert(out, 0, r.Sentence)
		default:
			out = append(out, r.Sentence)
		}
	}
	more := max(0, len(out)-2)
	out = out[:len(out)-more]
	if hold != "" {
		out = append(out, hold)
	}
	text := strings.Join(out, "; ")
	if more > 0 {
		text += fmt.Sprintf("; and %s", plural(more, "more objection", "more objections"))
	}
	return text
}
