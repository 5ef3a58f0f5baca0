package detect

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/detectors"
	"github.com/evenkeel/evenkeel/server/internal/core"
)

// nameSeries has sentences call each series by its watch and its subject, and several about one subject by the labels in which
// they differ too.
func nameSeries(w Watch, all []*series) {
	about := map[core.Subject][]*series{}
	for _, s := range all {
		about[s.subject] = append(about[s.subject], s)
	}
	for _, siblings := range about {
		same := map[string]int{} // series that have the value of the first
		for _, s := range siblings {
			for label, value := range s.labels {
				if first, ok := siblings[0].labels[label]; ok && first == value {
					same[label]++
				}
			}
		}
		for _, s := range siblings {
			own := maps.Clone(s.labels)
			maps.DeleteFunc(own, func(label, _ string) bool { return same[label] == len(siblings) })
			s.name = w.named(selector(own), s.subject)
		}
	}
}

// named is what sentences call a series.
func (w Watch) named(labels string, subject core.Subject) string {
	return w.Name + labels + " of " + subject.String()
}

// selector is labels as a query has them, empty for none.
func selector(labels map[string]string) string {
	if len(labels) == 0 {
		return ""
	}
	parts := make([]string, 0, len(labels))
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, label+"="+strconv.Quote(labels[label]))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// explain is the verdict on the series in words.
func (s *series) explain(w Watch) string {
	v := s.verdict
	if w.model() != ModelService || !s.ours {
		return v.Explain()
	}
	switch v.Reason {
	case detectors.ReasonFewPoints:
		return "warming up: " + strconv.Itoa(v.Points) + " of " + strconv.Itoa(v.Needed) + " points"
	case detectors.ReasonInside:
		return "nothing odd in its metrics together"
	case detectors.ReasonRecovering:
		return "its metrics are coming back, not yet for enough points" + s.blame()
	}
	return v.Explain() + s.blame()
}

// blame names the values that an anomaly comes from.
func (s *series) blame() string {
	var parts []string
	for _, c := range s.contributors {
		parts = append(parts, c.Name+" "+figure(c.Value)+" (expected "+figure(c.Expected)+")")
	}
	if parts == nil {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// figure is a number with as many digits as a person reads.
func figure(x float64) string { return strconv.FormatFloat(x, 'g', 4, 64) }

// comparable reports whether an anomaly of the model is that the value of the query is out of the band.
func (w Watch) comparable() bool {
	switch w.model() {
	case ModelTrend, ModelBurnRate, ModelAbsence, ModelService:
		return false
	case ModelAuto, ModelThreshold, ModelRobustZ, ModelSeasonal, ModelLocalFit, ModelCUSUM, ModelPeers:
	}
	return true
}
