package layout

import (
	"fmt"
	"math"
	"strings"
)

// ServerConf are the choices of the generated server configuration.
type ServerConf struct {
	KeyFile string // the executor's secret, absolute
	// Shipped leaves out `lab: true` and takes the floors of a real installation for the holds.
	Shipped bool
	// Capacity is what one site can serve, in requests per second.
	Capacity float64
	// Trough is the load of all sites together when it is lowest, in requests per second.
	Trough float64
}

// holds of the policies, as the file says them.
type holds struct{ dead, isolated, edge, slow, restore, cooldown, quiet string }

// Config is the server's configuration for this lab.
func (l Layout) Config(c ServerConf) string {
	h := holds{dead: "3s", isolated: "3s", edge: "3s", slow: "10s", restore: "3s", cooldown: "10s", quiet: "10s"}
	head := "# Written by evenkeel-lab; lost at its next start. Give your own by --config.\nlab: true\n"
	if c.Shipped {
		h = holds{dead: "10s", isolated: "20s", edge: "20s", slow: "180s", restore: "15m", cooldown: "30m", quiet: "1m"}
		head = "# Written by evenkeel-lab with the holds of a real installation; lost at its next start.\n"
	}
	var b strings.Builder
	b.WriteString(head)
	if l.Replicas > 0 {
		b.WriteString("replicas:\n")
		for _, s := range l.Servers() {
			fmt.Fprintf(&b, "  - {name: %s, at: %s, peer: \"https://%s\", url: %q}\n", s.Name, s.At, s.Peer, s.URL())
		}
		b.WriteString("ledger: {pattern: same-city}\n")
	}
	b.WriteString("sites:\n")
	for _, s := range l.Sites {
		fmt.Fprintf(&b, "  - {name: %s, time_zone: %s, region: eu, pattern: same-city, capacity: {%s: %g}}\n",
			s, zone(s), Service, c.Capacity)
	}
	if len(l.Witnesses) > 0 {
		b.WriteString("witnesses:\n")
		for _, w := range l.Witnesses {
			fmt.Fprintf(&b, "  - {name: %s}\n", w)
		}
	}
	fmt.Fprintf(&b, "services:\n  - name: %s\n    survivors: [%s]\n    entries:\n", Service, strings.Join(l.Sites, ", "))
	for _, s := range l.Sites {
		fmt.Fprintf(&b, "      %s: \"http://%s/healthz\"\n", s, EntryHost(s))
	}
	b.WriteString("    objective: {latency_p99: 400ms, success: 99%}\n")
	b.WriteString("stores:\n  - name: orders\n    engine: nats\n    links:\n")
	for _, from := range l.Sites {
		for _, to := range l.Sites {
			if from != to {
				fmt.Fprintf(&b, "      - {from: %s, to: %s, rpo: 5s}\n", from, to)
			}
		}
	}
	b.WriteString(watches())
	fmt.Fprintf(&b, `policies:
  - {name: dead-service, when: {condition: failing, classes: [outside, inside]}, hold: %s, plan: drain, mode: automatic}
  - {name: isolated-site, when: {condition: failing, classes: [outside, silence]}, hold: %s, plan: drain, mode: automatic}
  - {name: dead-edge, when: {condition: failing, classes: [outside, symptom]}, hold: %s, plan: drain, mode: automatic}
  - {name: slow, when: {condition: degraded, classes: [symptom, outside]}, hold: %s, plan: drain, mode: approve}
  - {name: restore, when: {condition: healthy}, hold: %s, plan: restore, mode: automatic}
guards: {max_drained_sites: 1, min_serving: 1, cooldown: %s, budget: {per_hour: 200, per_day: 2000}, close_after: %s}
targets:
  - {name: director, type: webhook, url: "http://%s/hooks/evenkeel", secret: "${file:%s}", allow_private: true}
plans:
  drain:
    - {target: director, weights: [0], verify: {share_below: 1%%, within: 10s}, on_fail: stop}
  restore:
    # At 1 %% of normal few users come by: the time is what it takes until one surely has.
    - {target: director, weights: [1], verify: {success_above: 90%%, within: %ds}, on_fail: stop}
    - {target: director, weights: [10, 50, 100], verify: {success_above: 90%%, within: %ds}, on_fail: stop}
`, h.dead, h.isolated, h.edge, h.slow, h.restore, h.cooldown, h.quiet, l.Director(), c.KeyFile,
		l.patience(1, 1, c.Trough), l.patience(10, 2, c.Trough))
	return b.String()
}

// patience is how many seconds it takes until a site at a weight (percent of normal, all others at 100) has had so
// many users even when the load is lowest, with some to spare.
func (l Layout) patience(weight, users int, trough float64) int {
	turn := float64(weight+100*(len(l.Sites)-1)) / float64(weight) // requests to all sites for one to this one
	return int(min(max(math.Ceil(1.3*turn*float64(users)/trough), 4), 300))
}

// watches are what users feel at the edge, and the ready-made sets. The windows are short because the edge reports twice a
// second. The site is the edge, who says so: with it their evidence has a path of its own, and may stand beside that of probes. Latency is judged
// by a calibrated model, for nothing else accuses a site that is slow, and by its median: on a busy machine the 99th percentile is as high without a
// fault. Of errors the edge's own counters are evidence.
func watches() string {
	return fmt.Sprintf(`watches:
  - name: edge-errors
    query: >-
      sum by (site, target_site, service) (rate(evenkeel_edge_requests_total{service=%q,code_class=~"5xx|error"}[10s]))
      / sum by (site, target_site, service) (rate(evenkeel_edge_requests_total{service=%q}[10s]))
    about: target_site
    every: 5s
    train: 2m
    model: robust-z
    direction: above
    floor: {absolute: 0.02}
  - name: edge-latency
    query: >-
      histogram_quantile(0.5, sum by (site, target_site, service, le)
      (rate(evenkeel_edge_duration_seconds_bucket{service=%q}[10s])))
    about: target_site
    every: 5s
    direction: above
    floor: {absolute: 0.1, relative: 20%%}
  # No hosts: all sites are on one machine, whose metrics the agents do not collect.
  - {ready: http}
  - {ready: links}
  - {ready: store}
  - {ready: self}
`, Service, Service, Service)
}

func zone(site string) string {
	switch site {
	case "ams":
		return "Europe/Amsterdam"
	case "waw":
		return "Europe/Warsaw"
	default:
		return "Europe/Berlin"
	}
}
