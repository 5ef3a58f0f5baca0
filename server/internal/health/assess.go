package health

import (
	"cmp"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// assess writes down what weigh found about subject i, and remembers what the next judgement needs.
func (b *bench) assess(i int) core.Assessment {
	t, s, c := b.t, b.t.subjects[i], &b.cases[i]
	n := len(t.vantages)
	a := core.Assessment{
		Subject: s.subject, Condition: c.condition, Kind: c.kind, Signal: c.signal, FailingSince: stampOf(c.failing),
		Eligible: s.eligible, Down: c.down, Global: c.global,
		Votes: b.votes[i*n : (i+1)*n : (i+1)*n], Claims: b.claims[3*i : 3*i+3 : 3*i+3],
	}
	ups, downs := 0, 0
	for v := range n {
		o := &t.seen[i*n+v]
		vote := core.Vote{Vantage: t.vantages[v].name, State: o.state, Eligible: v != s.site}
		if o.at != 0 {
			vote.At = stamp(o.at)
		}
		if o.state == core.ProbeDown {
			vote.Reason = reasons[o.reason]
			vote.Signal = signalOf(vote.Reason)
		} else if v != s.site && c.kind == core.KindSlow && o.slow {
			vote.Signal = core.SignalSlow // it reaches the subject, and accuses it all the same
		}
		a.Votes[v] = vote
		if v != s.site {
			ups, downs = ups+o.ups, downs+o.downs
		}
	}
	in := &t.seen[i*n+s.site]
	a.Claims[0] = claim("edge", ups, downs)
	a.Claims[1] = claim("app", in.ups, in.downs)
	a.Claims[2] = dataClaim(s.subject.Site, b.links)
	a.Evidence = b.evidence(i)
	a.Odd = b.oddities(i)

	if c.condition <= core.Healthy {
		s.onset = 0
	} else {
		if s.onset == 0 {
			s.onset = c.sigOnset
			for k := range a.Evidence {
				if e := &a.Evidence[k]; accuses(e.Class) {
					s.onset = min(s.onset, e.Onset.UnixNano())
				}
			}
		}
		a.Onset = stampOf(s.onset)
	}
	switch {
	case c.condition == core.Healthy:
		if s.healthySince == 0 {
			s.healthySince = b.now
		}
		b.times[i] = stamp(s.healthySince)
		a.HealthySince = &b.times[i]
	case c.condition == core.Suspect && (c.kind == core.KindLink || c.kind == core.KindOneWay || c.kind == core.KindVantage):
		// The suspicion is about someone else: the time of health goes on, and is not shown meanwhile.
	default:
		s.healthySince = 0
	}
	a.Sentence = b.sentence(i, ups, downs)
	return a
}

// accuses reports whether evidence of the class can be the start of a trouble.
func accuses(c core.Class) bool {
	switch c {
	case core.ClassOutside, core.ClassInside, core.ClassSymptom, core.ClassSilence:
		return true
	case core.ClassUnknown, core.ClassCause, core.ClassLink:
		return false
	}
	return false
}

func claim(name string, ups, downs int) core.Claim {
	out := core.Claim{Name: name, Samples: ups + downs}
	if out.Samples > 0 {
		out.Ratio = float64(ups) / float64(out.Samples)
	}
	return out
}

// evidence is everything that is held against the subject, in order of class and source.
func (b *bench) evidence(i int) []core.Evidence {
	t, s, c := b.t, b.t.subjects[i], &b.cases[i]
	n := len(t.vantages)
	name := s.subject.String()
	var out []core.Evidence
	for v := range n {
		if v != s.site {
			out = b.outside(out, i, v, name)
		}
	}
	if o := &t.seen[i*n+s.site]; o.state == core.ProbeDown {
		signal := o.signal()
		out = append(out, core.Evidence{
			Class: core.ClassInside, Subject: s.subject, Signal: signal, Source: s.subject.Site,
			Path: "local:" + s.subject.Site, Onset: stamp(o.since), Last: stamp(o.downAt),
			Numbers:  []core.Number{{Name: "failing_for", Value: secs(b.now - o.since), Unit: "s"}},
			Sentence: "the agent at " + s.subject.Site + " itself finds " + name + " down (" + signal + ") for " + seconds(b.now-o.since),
		})
	}
	if c.symptom {
		out = b.edgeEvidence(out, i, name)
	}
	if b.signals != nil {
		for _, st := range b.signals[i] {
			switch {
			case st.signal.Class == core.ClassCause:
				out = append(out, st.evidence(s.subject))
			case s.statistics.accuses():
				out = append(out, s.statistics.support(st.evidence(s.subject)))
			}
		}
	}
	if c.silentFor > 0 {
		heard := b.now - c.silentFor
		out = append(out, core.Evidence{
			Class: core.ClassSilence, Subject: s.subject, Signal: core.SignalSilence, Source: s.subject.Site,
			Path: "uplink:" + s.subject.Site, Onset: stamp(heard), Last: stamp(b.now),
			Numbers:  []core.Number{{Name: "silent_for", Value: secs(c.silentFor), Unit: "s"}},
			Sentence: "the agent at " + s.subject.Site + " is silent for " + seconds(c.silentFor),
		})
	}
	for v := range n {
		for _, p := range s.private[v] {
			r := p.newest()
			if r.state != core.ProbeDown || b.now > r.until() || v == s.site {
				continue
			}
			path := "private:" + t.vantages[v].name + ">" + s.subject.Site
			out = append(out, core.Evidence{
				Class: core.ClassLink, Subject: s.subject, Signal: signalOf(reasons[r.reason]), Source: t.vantages[v].name,
				Path: path, Onset: stamp(p.run.first), Last: stamp(r.at),
				Sentence: "the private path " + path[len("private:"):] + " fails (" + reasons[r.reason] + "), by the probe " + p.target,
			})
		}
	}
	return b.linkEvidence(out, s.subject)
}

// outside is what vantage v holds against the subject: down now, or gray or slow over the window.
func (b *bench) outside(out []core.Evidence, i, v int, name string) []core.Evidence {
	t, s := b.t, b.t.subjects[i]
	o, from := &t.seen[i*len(t.vantages)+v], &t.vantages[v]
	e := core.Evidence{Class: core.ClassOutside, Subject: s.subject, Source: from.name, Path: from.userPath[s.site]}
	switch {
	case o.state == core.ProbeDown:
		e.Signal = o.signal()
		e.Onset, e.Last = stamp(o.since), stamp(o.downAt)
		e.Numbers = []core.Number{{Name: "failing_for", Value: secs(b.now - o.since), Unit: "s"}}
		e.Sentence = from.name + " finds " + name + " down (" + e.Signal + ") for " + seconds(b.now-o.since)
	case o.gray && b.cases[i].gray > 0:
		e.Signal = o.signal()
		e.Onset, e.Last = stamp(s.graySince), stamp(o.at)
		ratio := float64(o.downs) / float64(o.ups+o.downs)
		e.Numbers = []core.Number{
			{Name: "failed", Value: ratio, Unit: "1"}, {Name: "probes", Value: float64(o.ups + o.downs), Unit: "1"},
		}
		e.Sentence = from.name + " finds " + percent(ratio) + " of its probes of " + name + " failing"
	case o.slow:
		e.Signal = core.SignalSlow
		e.Onset, e.Last = stamp(s.slowSince), stamp(o.at)
		e.Numbers = []core.Number{
			{Name: "late", Value: float64(o.late), Unit: "1"},
			{Name: "probes", Value: float64(o.ups), Unit: "1"},
			{Name: "objective", Value: s.objective, Unit: "s"},
		}
		e.Sentence = from.name + " finds " + name + " slower than " + millis(s.objective)
	default:
		return out
	}
	return append(out, e)
}

// edgeEvidence is what each edge's counters hold against the subject, its writers together.
func (b *bench) edgeEvidence(out []core.Evidence, i int, name string) []core.Evidence {
	t, s, c := b.t, b.t.subjects[i], &b.cases[i]
	var f flow
	for k, e := range t.edges {
		id := e.name
		if k == 0 || t.edges[k-1].name != id {
			f = flow{}
		}
		if e.series[i] != nil && !t.gone(e, i, b.now) {
			f = f.plus(e.flow(i, 0, c.over))
		}
		if k+1 < len(t.edges) && t.edges[k+1].name == id {
			continue
		}
		if !f.ok || f.count == 0 || f.failed() < symptomRatio/2*f.count {
			continue
		}
		signal := core.SignalErrors
		if f.lost > f.errors {
			signal = core.SignalTimeout
		}
		ratio := f.failed() / f.count
		out = append(out, core.Evidence{
			Class: core.ClassSymptom, Subject: s.subject, Signal: signal, Source: id, Path: "edge:" + id,
			Onset: stamp(s.symptomSince), Last: stamp(f.to),
			Numbers: []core.Number{
				{Name: "failed", Value: ratio, Unit: "1"},
				{Name: "requests", Value: f.count, Unit: "1"},
				{Name: "failed_elsewhere", Value: c.elsewhere, Unit: "1"},
			},
			Sentence: percent(ratio) + " of the users' requests to " + name + " fail, counted at " + id +
				" (elsewhere " + percent(c.elsewhere) + ")",
		})
	}
	return out
}

// othersNamed is how many further series of one detector are named.
const othersNamed = 3

// evidence is the detector's word about the subject.
func (st objection) evidence(s core.Subject) core.Evidence {
	g := &st.signal
	e := core.Evidence{
		Class: g.Class, Subject: s, Signal: core.SignalAnomaly, Source: g.Detector, Path: st.path,
		Onset: stamp(st.onset), Last: stamp(st.at),
		Numbers:  []core.Number{{Name: "score", Value: g.Score, Unit: "1"}},
		Series:   g.Series,
		Sentence: g.Sentence,
	}
	for _, c := range g.Contributors {
		e.Numbers = append(e.Numbers, core.Number{Name: c.Name, Value: c.Value}, core.Number{Name: c.Name + ", expected", Value: c.Expected})
	}
	if g.HasBand {
		e.Band = &core.Band{Value: g.Value, Expected: g.Expected, Lower: g.Lower, Upper: g.Upper, Score: g.Score}
		if g.Points > 0 {
			e.Numbers = append(e.Numbers, core.Number{Name: core.NumberPoints, Value: float64(g.Points), Unit: "{point}"},
				core.Number{Name: core.NumberKeptOut, Value: g.KeptOut, Unit: "1"})
		}
	}
	if e.Sentence == "" {
		e.Sentence = g.Detector + " is out of its band"
	}
	for i, o := range st.others {
		if i == othersNamed && len(st.others) > othersNamed+1 {
			e.Others = append(e.Others, fmt.Sprintf("%d more", len(st.others)-i))
			break
		}
		e.Others = append(e.Others, cmp.Or(o.signal.Series, o.signal.Detector))
	}
	e.Sentence += e.Company()
	return e
}

func secs(ns int64) float64 { return float64(ns) / float64(time.Second) }
