package app

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// linkMetrics show every link as it is judged, so that alerts and dashboards see what the guards see.
type linkMetrics struct {
	latest                        func() core.Observation
	state, lower, upper, exposure *prometheus.Desc
}

var _ prometheus.Collector = (*linkMetrics)(nil)

func newLinkMetrics(latest func() core.Observation) *linkMetrics {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("evenkeel_judged_link_"+name, help, []string{"link"}, nil)
	}
	return &linkMetrics{
		latest: latest,
		state: desc("state", "State of a replication link, both ends taken together: 0 unknown, 1 caught_up, 2 catching_up, 3 idle_link_ok, 4 link_down, "+
			"5 applier_stopped, 6 resyncing, 7 delayed_by_design, 8 no_primary."),
		lower:    desc("lag_lower_seconds", "The target is at least so far behind; absent when it is not known."),
		upper:    desc("lag_upper_seconds", "The target is at most so far behind; absent when nothing bounds it."),
		exposure: desc("exposure_seconds", "Upper bound for the age of what would be lost if the source were lost now; absent when nothing is proven."),
	}
}

// Describe names the series.
func (m *linkMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.state, m.lower, m.upper, m.exposure} {
		to <- d
	}
}

// Collect shows the latest observation. What is not known is absent.
func (m *linkMetrics) Collect(to chan<- prometheus.Metric) {
	for _, l := range m.latest().Links {
		to <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, float64(l.State), l.Link)
		for _, f := range []struct {
			desc  *prometheus.Desc
			value *float64
		}{{m.lower, l.LagLower}, {m.upper, l.LagUpper}, {m.exposure, l.Exposure}} {
			if f.value != nil {
				to <- prometheus.MustNewConstMetric(f.desc, prometheus.GaugeValue, *f.value, l.Link)
			}
		}
	}
}
