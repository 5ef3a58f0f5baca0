package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
)

// The ready-made sets. Their queries use the names of deploy/contract/names.md and no others, which a test holds them to.
const (
	readyHosts = "hosts"
	readyHTTP  = "http"
	readyLinks = "links"
	readyStore = "store"
	readySelf  = "self"
)

func readyNames() []string { return []string{readyHosts, readyHTTP, readyLinks, readyStore, readySelf} }

// readySettings are the keys that a ready-made set takes.
func readySettings() []string {
	return []string{"ready", "except", "every", "train", "false_alarms_per_week"}
}

// ready are the watches of a set that is asked so often. Those over rates look back over a minute or five: agents and servers report their own
// figures each ten and fifteen seconds.
func (c *Config) ready(set string, every Duration) []Watch {
	switch set {
	case readyHosts:
		return hosts()
	case readyHTTP:
		return c.http(every)
	case readyLinks:
		return links()
	case readyStore:
		return ownStore()
	case readySelf:
		return self()
	}
	return nil
}

const readyEvery = Duration(30 * time.Second)

// hosts are the machines of a site, by the agent's host metrics.
func hosts() []Watch {
	const (
		cpu    = `1 - avg by (site, host_name) (system_cpu_utilization_ratio{state="idle"})`
		memory = `max by (site, host_name) (system_memory_utilization_ratio{state="used"})`
		load   = `max by (site, host_name) (system_cpu_load_average_1m) / max by (site, host_name) (system_cpu_logical_count)`
		errs   = `sum by (site, host_name) (rate(system_network_errors_total[1m])) + sum by (site, host_name) (rate(system_network_dropped_total[1m]))`
		inodes = `max by (site, host_name, mountpoint) (system_filesystem_inodes_usage{state="used"}) / ` +
			`sum by (site, host_name, mountpoint) (system_filesystem_inodes_usage)`
	)
	return about("site", core.ClassCause,
		Watch{Name: "hosts-cpu", Query: cpu, Direction: "above", Floor: Floor{Absolute: 0.2}},
		Watch{Name: "hosts-memory", Query: memory, Direction: "above", Floor: Floor{Absolute: 0.1}},
		Watch{Name: "hosts-load", Query: load, Direction: "above", Floor: Floor{Absolute: 0.5}},
		Watch{Name: "hosts-network-errors", Query: errs, Direction: "above", Floor: Floor{Absolute: 1}},
		above("hosts-saturation", `max by (site, host_name) (evenkeel_site_saturation_ratio)`, 0.95),
		trend("hosts-disk", `max by (site, host_name, mountpoint) (system_filesystem_utilization_ratio)`, "above", 0.95),
		trend("hosts-inodes", inodes, "above", 0.95),
		Watch{Name: "hosts-gone", Model: string(detect.ModelAbsence), Query: `count by (site, host_name) (count_over_time(system_cpu_load_average_1m[1m]))`},
		Watch{Name: "hosts-together", Model: string(detect.ModelService), Metrics: map[string]string{
			"cpu": cpu, "memory": memory, "load": load, "network errors": errs,
		}},
	)
}

// http is what users get of each service at each site: as each edge counts it, and as the probes of the user path find it. The edge that counted
// stays in the series: evidence whose way is not known is no second class beside probes. The probes come over as many ways as there are
// vantages, and http-together is of edges and probes, so the way of these is not known. An edge counts a class of answers from the first of
// them on: before, there were none.
func (c *Config) http(every Duration) []Watch {
	const (
		bad    = `evenkeel_edge_requests_total{code_class=~"5xx|error"}`
		all    = `evenkeel_edge_requests_total`
		edge   = `sum by (site, target_site, service) `
		probes = `median by (target_site, service) (evenkeel_probe_duration_seconds{path="user"})`
	)
	of := func(by string) (errs, rate string) {
		rate = by + `(rate(` + all + `[1m]))`
		return `(` + by + `(rate(` + bad + `[1m])) or 0 * ` + rate + `) / ` + rate, rate
	}
	took := func(share, by string) string {
		return `histogram_quantile(` + share + `, sum by (` + by + `, le) (rate(evenkeel_edge_duration_seconds_bucket[1m])))`
	}
	errs, rate := of(edge)
	allErrs, allRate := of(`sum by (target_site, service) `)
	slow, half := took("0.99", "site, target_site, service"), took("0.5", "site, target_site, service")
	out := []Watch{
		{Name: "http-errors", Group: "errors", Query: errs, Direction: "above", Floor: Floor{Absolute: 0.01}},
		{Name: "http-traffic", Query: rate, Direction: "below", Floor: Floor{Relative: 0.2}, Demand: true},
		{Name: "http-latency", Group: "latency", Query: slow, Direction: "above", Floor: Floor{Absolute: 0.05, Relative: 0.2}},
		// The 99th percentile of a busy machine moves by itself; a slow service moves the median.
		{Name: "http-latency-median", Group: "latency", Query: half, Direction: "above", Floor: Floor{Absolute: 0.02, Relative: 0.2}},
		{Name: "http-probe-time", Group: "latency", Query: probes, Direction: "above", Floor: Floor{Absolute: 0.05, Relative: 0.5}},
		{Name: "http-together", Demand: true, Model: string(detect.ModelService), Metrics: map[string]string{
			"errors": allErrs, "traffic": allRate, "latency": took("0.99", "target_site, service"), "probe time": probes,
		}},
	}
	if len(c.Sites) >= 3 {
		out = append(out, Watch{Name: "http-latency-of-peers", Group: "latency", Model: string(detect.ModelPeers), Query: slow, Direction: "above", Floor: Floor{Absolute: 0.01, Relative: 0.1}})
	}
	for _, s := range c.Services {
		if s.Objective.Success <= 0 || s.Objective.Success >= 1 {
			continue
		}
		count := func(of string) string {
			return fmt.Sprintf(`%s(increase(%s[%dms]))`, edge, of, every.D().Milliseconds())
		}
		of := fmt.Sprintf(`service=%q`, s.Name)
		total := count(all + `{` + of + `}`)
		out = append(out, Watch{
			Name: "http-budget-" + s.Name, Group: "errors", Model: string(detect.ModelBurnRate), Objective: s.Objective.Success,
			Bad: count(strings.Replace(bad, `{`, `{`+of+`,`, 1)) + ` or 0 * ` + total, Total: total,
		})
	}
	return about("target_site", core.ClassSymptom, out...)
}

// links are the replication links, both ends taken together.
func links() []Watch {
	const (
		state = `(evenkeel_judged_link_state > 0)`
		// One that is behind by design is not out of order, and what is not known is not judged.
		down = `max by (link) (` + state + ` >= bool 4) - max by (link) (` + state + ` == bool 7)`
	)
	return about("link.to", core.ClassCause,
		Watch{Name: "links-lag", Query: `max by (link) (evenkeel_judged_link_lag_upper_seconds)`, Direction: "above", Floor: Floor{Absolute: 1}},
		Watch{Name: "links-exposure", Query: `max by (link) (evenkeel_judged_link_exposure_seconds)`, Direction: "above", Floor: Floor{Absolute: 1}},
		above("links-down", down, 0.5),
		above("links-diverged", `sum by (link) (increase(evenkeel_replication_canary_diverged_total[5m]))`, 0),
	)
}

// ownStore is the VictoriaMetrics in the server; of one elsewhere only what the server asks of it is known.
func ownStore() []Watch {
	const (
		by   = `sum by (site, replica) `
		slow = by + `(rate(evenkeel_store_slow_inserts_total[5m])) / ` + by + `(rate(evenkeel_store_samples_total{result="ok"}[5m]))`
		took = by + `(rate(evenkeel_store_query_duration_seconds_sum[5m])) / ` + by + `(rate(evenkeel_store_query_duration_seconds_count[5m]))`
	)
	return about("site", core.ClassCause,
		trend("store-disk", `min by (site, replica) (evenkeel_store_disk_free_bytes - evenkeel_store_disk_limit_bytes)`, "below", 0),
		above("store-refuses", by+`(rate(evenkeel_store_samples_total{result!="ok"}[5m]))`, 0),
		above("store-query-errors", by+`(rate(evenkeel_store_queries_total{result=~"unavailable|partial"}[5m]))`, 0),
		Watch{Name: "store-slow-inserts", Query: slow, Direction: "above", Floor: Floor{Absolute: 0.05}},
		Watch{Name: "store-query-time", Query: took, Direction: "above", Floor: Floor{Absolute: 0.05, Relative: 0.5}},
		Watch{Name: "store-parts", Query: `max by (site, replica) (evenkeel_store_parts)`, Direction: "above", Floor: Floor{Absolute: 30}},
		Watch{Name: "store-merges", Query: `max by (site, replica) (avg_over_time(evenkeel_store_merges[5m]))`, Direction: "above", Floor: Floor{Absolute: 2}},
	)
}

// self is Evenkeel itself: its agents and its servers.
func self() []Watch {
	const (
		host   = `sum by (site, host_name) `
		server = `sum by (site, replica) `
		full   = `max by (site, host_name, server) (evenkeel_agent_buffer_used_bytes / evenkeel_agent_buffer_limit_bytes)`
	)
	queue := trend("self-agent-queue", full, "above", 0.9)
	queue.Window = Duration(time.Hour)
	return about("site", core.ClassCause,
		queue,
		above("self-agent-dropped", host+`(rate(evenkeel_agent_dropped_total[5m]))`, 0),
		above("self-agent-series", host+`(rate(evenkeel_agent_series_dropped_total[5m]))`, 0),
		above("self-refused", `sum by (site, replica, reason) (rate(evenkeel_ingest_refused_samples_total[5m]))`, 0),
		above("self-skipped", `sum by (site, replica, watch) (rate(evenkeel_detect_skipped_total[5m]))`, 0),
		above("self-behind", `max by (site, replica, watch) (evenkeel_detect_behind)`, 0),
		above("self-silent", `max by (site, replica, watch) (evenkeel_detect_silent)`, 0),
		above("self-unanswered", `sum by (site, replica, watch) (rate(evenkeel_detect_query_errors_total[5m]))`, 0),
		above("self-unsaved", `sum by (site, replica, watch) (rate(evenkeel_detect_save_errors_total[15m]))`, 0),
		above("self-webhooks", `sum by (site, replica, target) (rate(evenkeel_act_attempts_total{result=~"refused|retry|unknown|failed"}[5m]))`, 0),
		above("self-ledger", server+`(rate(evenkeel_ledger_commits_total{result!="ok"}[5m]))`, 0),
	)
}

// about gives the watches of a set what they have in common. Nothing of it is the user's choice; the rest is as always.
func about(label string, class core.Class, watches ...Watch) []Watch {
	for i := range watches {
		watches[i].About, watches[i].Class, watches[i].made = label, class.String(), true
	}
	return watches
}

func above(name, query string, limit float64) Watch {
	return Watch{Name: name, Query: query, Model: string(detect.ModelThreshold), Direction: "above", Threshold: &limit}
}

func trend(name, query, direction string, limit float64) Watch {
	return Watch{Name: name, Query: query, Model: string(detect.ModelTrend), Direction: direction, Limit: &limit, Every: Duration(time.Minute)}
}

// made are the watches of the ready-made set that w names, with what w says of them, and what is wrong with it.
func (c *Config) made(w Watch) (out []Watch, problems []detect.Problem) {
	if f := w.FalseAlarmsPerWeek; f != nil && *f == 0 {
		problems = append(problems, detect.Problem{
			Field: "false_alarms_per_week", Text: "at 0 nothing is ever news; want a number above 0 such as 0.25, or leave it out",
		})
	}
	if w.Ready == "" {
		if w.Except != nil {
			problems = append(problems, detect.Problem{Field: "except", Text: "it belongs to a ready-made set, as in {ready: hosts, except: [hosts-cpu]}; leave it out"})
		}
		return nil, problems
	}
	every := w.Every
	if every == 0 {
		every = readyEvery
	}
	set := c.ready(w.Ready, every)
	if set == nil {
		text := fmt.Sprintf("%q is not one of %s", w.Ready, strings.Join(readyNames(), ", "))
		return nil, []detect.Problem{{Field: "ready", Text: text}}
	}
	fields := reflect.ValueOf(w)
	for i := range fields.NumField() {
		key := keyOf(fields.Type().Field(i))
		if key == "" || fields.Field(i).IsZero() || slices.Contains(readySettings(), key) {
			continue
		}
		problems = append(problems, detect.Problem{Field: key, Text: "a ready-made set takes every, train, false_alarms_per_week and except; " +
			"for more write a watch of your own, which takes the place of one of the same name"})
	}
	var names []string
	for _, m := range set {
		names = append(names, m.Name)
		if slices.Contains(w.Except, m.Name) {
			continue
		}
		m.path, m.Train = w.path, w.Train
		if w.Every != 0 || m.Every == 0 {
			m.Every = every
		}
		if m.Model == "" || m.Model == string(detect.ModelAuto) || m.Model == string(detect.ModelService) {
			m.FalseAlarmsPerWeek = w.FalseAlarmsPerWeek
		}
		out = append(out, m)
	}
	for i, name := range w.Except {
		if !slices.Contains(names, name) {
			problems = append(problems, detect.Problem{
				Field: fmt.Sprintf("except[%d]", i), Text: fmt.Sprintf("%q is not one of %s", name, strings.Join(names, ", ")),
			})
		}
	}
	return out, problems
}
