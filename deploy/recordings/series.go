package main

import (
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// metric is what is asked at each step: one query, whose answer has a series for each subject.
type metric struct {
	name   string
	source string
	unit   string
	what   string
	query  string
	// tail is how long after the end of a fault a value still speaks of it: the query's window, or the time between
	// two reports.
	tail time.Duration
	// subject names the series of an answer by its labels; empty for one that is not wanted.
	subject func(labels map[string]string) string
}

// Sources of the series, as the manifest says them.
const (
	sourceEdge  = "lab-edge"
	sourceProbe = "lab-probe"
	sourceHost  = "lab-host"
	sourceLink  = "lab-link"
	sourceSite  = "lab-site"
)

func target(l map[string]string) string { return l["target_site"] }
func writer(l map[string]string) string { return l["site"] }

func pair(l map[string]string) string { return l["site"] + "-" + l["target_site"] }

// link is from-to of a label such as orders:fra>ams.
func link(l map[string]string) string {
	_, way, _ := strings.Cut(l["link"], ":")
	return strings.ReplaceAll(way, ">", "-")
}

// metrics are the series of a recording. Errors and latency are what the lab's own watches ask.
func metrics() []metric {
	const requests = `evenkeel_edge_requests_total{service="checkout"`
	edge := func(name, unit, what, query string) metric {
		return metric{name, sourceEdge, unit, what, query, 10 * time.Second, target}
	}
	probe := func(name, unit, what, query string) metric {
		return metric{name, sourceProbe, unit, what, query, 2 * time.Second, pair}
	}
	host := func(name, unit, what, query string) metric {
		return metric{name, sourceHost, unit, what, query, 0, writer}
	}
	replica := func(name, unit, what, query string) metric {
		return metric{name, sourceLink, unit, what, query, 10 * time.Second, link}
	}
	return []metric{
		edge("edge-requests", "requests/s", "requests that ended at the edge, of 10 s",
			`sum by (target_site, service) (rate(`+requests+`}[10s]))`),
		edge("edge-errors", "share", "share of them that failed: 5xx or no answer",
			`sum by (target_site, service) (rate(`+requests+`,code_class=~"5xx|error"}[10s])) / sum by (target_site, service) (rate(`+requests+`}[10s]))`),
		edge("edge-latency", "s", "99th percentile of their duration, of a histogram",
			`histogram_quantile(0.99, sum by (target_site, service, le) (rate(evenkeel_edge_duration_seconds_bucket{service="checkout"}[10s])))`),
		edge("edge-median", "s", "median of their duration, of a histogram",
			`histogram_quantile(0.5, sum by (target_site, service, le) (rate(evenkeel_edge_duration_seconds_bucket{service="checkout"}[10s])))`),
		edge("edge-mean", "s", "mean of their duration",
			`sum by (target_site, service) (rate(evenkeel_edge_duration_seconds_sum{service="checkout"}[10s])) / sum by (target_site, service) (rate(evenkeel_edge_duration_seconds_count{service="checkout"}[10s]))`),
		probe("probe-state", "enum", "last answer of the probe: 0 unknown, 1 up, 2 down", `evenkeel_probe_state{service="checkout"}`),
		probe("probe-duration", "s", "how long the last probe took", `evenkeel_probe_duration_seconds{service="checkout"}`),
		host("host-cpu", "share", "share of the processors' time that is in use",
			`1 - avg by (site) (system_cpu_utilization_ratio{state="idle"})`),
		host("host-pressure", "share", "share of the time in which a task waits for a processor",
			`max by (site) (evenkeel_host_pressure_ratio{resource="cpu",kind="some"})`),
		host("host-load", "tasks", "load average of a minute", `max by (site) (system_cpu_load_average_1m)`),
		replica("link-state", "enum", "state of the replication link, as the server judges it: 0 unknown, 1 caught_up, 2 catching_up, 3 idle_link_ok, 4 link_down, 5 applier_stopped",
			`evenkeel_judged_link_state`),
		replica("lag-lower", "s", "the copy is at least so far behind, says its site", `evenkeel_replication_lag_lower_seconds{end="target"}`),
		replica("lag-upper", "s", "the copy is at most so far behind, says its site", `evenkeel_replication_lag_upper_seconds{end="target"}`),
		replica("lag-exposure", "s", "age of the oldest order that may be missing in the copy, says its site", `evenkeel_replication_exposure_seconds{end="target"}`),
	}
}

// names gives each series of an answer its name: metric-subject. Values that are no number are none.
func (m metric) names(answer []e2e.Sample) map[string]float64 {
	out := map[string]float64{}
	for _, s := range answer {
		if subject := m.subject(s.Labels); subject != "" && usable(s.Value) {
			out[m.name+"-"+subject] = s.Value
		}
	}
	return out
}
