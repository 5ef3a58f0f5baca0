package detect

import (
	"strconv"
	"strings"

	"github.com/evenkeel/evenkeel/detectors"
)

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
