package health

import (
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Declared takes the changes of late in place of those of the topology. They are not retained for writing and must not change.
func (t *Tracker) Declared(changes []core.DeclaredChange) { t.topo.Changes = changes }

// SetTopology takes a new configuration. What is known of subjects and vantages that stay is kept.
func (t *Tracker) SetTopology(topo core.Topology) {
	oldV, oldS := t.vIndex, t.sIndex
	oldVantages, oldSubjects := t.vantages, t.subjects

	t.topo = topo
	t.interval = int64(topo.Probe.Interval)
	if t.interval <= 0 {
		t.interval = int64(core.DefaultProbeTiming().Interval)
	}
	t.window = max(int64(Window), 10*t.interval)

	names := topo.Vantages()
	t.vIndex = make(map[string]int, len(names))
	t.vantages = make([]vantage, len(names))
	for i, name := range names {
		t.vIndex[name] = i
		v := vantage{name: name}
		if j, ok := oldV[name]; ok {
			v = oldVantages[j]
		}
		v.site = i < len(topo.Sites)
		v.userPath = make([]string, len(names))
		for j, to := range names {
			v.userPath[j] = "user:" + name + ">" + to
		}
		t.vantages[i] = v
	}

	t.declared = map[string]time.Duration{}
	for _, s := range topo.Stores {
		for _, l := range s.Links {
			t.declared[core.LinkName(s.Name, l.From, l.To)] = l.RPO
		}
	}

	t.subjects = nil
	for _, svc := range topo.Services {
		for _, site := range topo.Sites {
			if _, ok := svc.Entries[site.Name]; !ok {
				continue
			}
			s := &subject{
				subject: core.Subject{Site: site.Name, Service: svc.Name}, site: t.vIndex[site.Name],
				eligible: len(names) - 1, objective: svc.Objective.LatencyP99.Seconds(),
				user: make([][]*cell, len(names)), private: make([][]*cell, len(names)),
			}
			if j, ok := oldS[key{site.Name, svc.Name}]; ok {
				old := oldSubjects[j]
				s.fronts, s.judged, s.onset, s.healthySince = old.fronts, old.judged, old.onset, old.healthySince
				s.symptomSince, s.graySince, s.gray, s.slowSince = old.symptomSince, old.graySince, old.gray, old.slowSince
				s.statistics, s.troubledAt = old.statistics, old.troubledAt
				for i, name := range names {
					if k, ok := oldV[name]; ok {
						s.user[i], s.private[i] = old.user[k], old.private[k]
					}
				}
			}
			t.subjects = append(t.subjects, s)
		}
	}
	slices.SortFunc(t.subjects, func(a, b *subject) int { return a.subject.Compare(b.subject) })
	t.sIndex = make(map[key]int, len(t.subjects))
	rows := map[string]int{}
	t.services = nil
	for i, s := range t.subjects {
		t.sIndex[key{s.subject.Site, s.subject.Service}] = i
		j, ok := rows[s.subject.Service]
		if !ok {
			j = len(t.services)
			rows[s.subject.Service] = j
			t.services = append(t.services, serviceRow{name: s.subject.Service})
		}
		t.services[j].subjects = append(t.services[j].subjects, i)
	}
	slices.SortFunc(t.services, func(a, b serviceRow) int { return strings.Compare(a.name, b.name) })
	t.divide()

	for _, e := range t.edges {
		series := make([]*edgeSeries, len(t.subjects))
		for k, i := range t.sIndex {
			if j, ok := oldS[k]; ok {
				series[i] = e.series[j]
			}
		}
		e.series = series
	}
}
