package main

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// quantile is the smallest value with at least the share q of all at or below it; NaN without values. Of fewer than a
// hundred values the 99th percentile is thus the largest one.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// median is the middle value, of an even number the mean of the two in the middle; NaN without values.
func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// mean is NaN without values.
func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// number is a value with as many digits as mean something: three, and all before the point; whole numbers stay whole.
func number(v float64) string {
	switch a := math.Abs(v); {
	case math.IsNaN(v):
		return "NaN"
	case a >= 100 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', int(2-math.Floor(math.Log10(a))), 64)
	}
}

// goal is what a figure should be. It is told when it is missed, and fails nothing.
type goal struct {
	name  string
	least bool // the limit is the least, not the most
	limit float64
}

func (g goal) missed(v float64) bool {
	if g.least {
		return !(v >= g.limit)
	}
	return !(v <= g.limit)
}

func (g goal) String() string {
	if g.least {
		return fmt.Sprintf("at least %g", g.limit)
	}
	return fmt.Sprintf("at most %g", g.limit)
}

func goals() []goal {
	return []goal{
		{name: "drain_kill_overhead_p50", limit: 300},
		{name: "drain_kill_overhead_p99", limit: 1000},
		{name: "drain_kill_missed", limit: 0},
		{name: "drain_kill-service_overhead_p50", limit: 300},
		{name: "drain_kill-service_overhead_p99", limit: 1000},
		{name: "drain_kill-service_missed", limit: 0},
		{name: "agent_rss_max", limit: 60},
		{name: "agent_hostmetrics_rss_max", limit: 60},
		{name: "agent_site_rss_ratio", limit: 1.5},
		{name: "agent_site_cpu", limit: 1},
		{name: "server_idle_rss", limit: 200},
		{name: "server_start_cold_max", limit: 3},
		{name: "server_start_data_max", limit: 3},
		{name: "server_start_killed_max", limit: 3},
		{name: "detect_observe_threshold", limit: 100},
		{name: "detect_observe_cusum", limit: 100},
		{name: "detect_observe_auto", limit: 3000},
		{name: "detect_observe_auto_allocs", limit: 0},
		{name: "detect_observe_auto_bytes", limit: 12_000},
		{name: "detect_engine_100000_cycle_p50", limit: 2},
		{name: "detect_engine_100000_skipped", limit: 0},
		{name: "detect_engine_100000_fact_during_p99", limit: 100},
		{name: "ingest_otlp_ratio", least: true, limit: 0.8},
		{name: "ingest_remote_write_ratio", least: true, limit: 0.8},
	}
}
