package store

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// ownFigure is a figure of VictoriaMetrics that is shown under a name of ours, summed over its labels.
type ownFigure struct {
	theirs string
	desc   *prometheus.Desc
	kind   prometheus.ValueType
}

// ownHealth shows how the embedded VictoriaMetrics is, while it is open.
type ownHealth struct {
	store   *embedded
	figures []ownFigure
}

func newOwnHealth(e *embedded) *ownHealth {
	figure := func(theirs, name, help string, kind prometheus.ValueType) ownFigure {
		return ownFigure{theirs, prometheus.NewDesc("evenkeel_store_"+name, help, nil, nil), kind}
	}
	return &ownHealth{store: e, figures: []ownFigure{
		figure("vm_free_disk_space_bytes", "disk_free_bytes", "Free disk space at the directory of the store.", prometheus.GaugeValue),
		figure("vm_free_disk_space_limit_bytes", "disk_limit_bytes", "Free disk space below which the store takes no samples.", prometheus.GaugeValue),
		figure("vm_data_size_bytes", "size_bytes", "Size of the data and the index on disk.", prometheus.GaugeValue),
		figure("vm_active_merges", "merges", "Merges under way.", prometheus.GaugeValue),
		figure("vm_parts", "parts", "Parts that the data and the index consist of; merges that fall behind leave many.", prometheus.GaugeValue),
		figure("vm_slow_row_inserts_total", "slow_inserts_total", "Samples whose series had to be looked up in the index on disk.", prometheus.CounterValue),
	}}
}

// Describe implements prometheus.Collector.
func (h *ownHealth) Describe(out chan<- *prometheus.Desc) {
	for _, f := range h.figures {
		out <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (h *ownHealth) Collect(out chan<- prometheus.Metric) {
	if !h.store.mu.TryRLock() { // it is being closed
		return
	}
	defer h.store.mu.RUnlock()
	if h.store.closed {
		return
	}
	var text bytes.Buffer
	metrics.WritePrometheus(&text, false)
	sums := map[string]float64{}
	lines := bufio.NewScanner(&text)
	for lines.Scan() {
		series, value, ok := strings.Cut(lines.Text(), " ")
		name, _, _ := strings.Cut(series, "{")
		for _, f := range h.figures {
			if ok && name == f.theirs {
				if x, err := strconv.ParseFloat(value, 64); err == nil {
					sums[name] += x
				}
			}
		}
	}
	for _, f := range h.figures {
		if x, ok := sums[f.theirs]; ok {
			out <- prometheus.MustNewConstMetric(f.desc, f.kind, x)
		}
	}
}
