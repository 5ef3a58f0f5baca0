package main

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// probeDeadline is when a probe gives up; the shop's health check takes five eighths of what users wait.
const probeDeadline = 800 * time.Millisecond

// seen says whether a fault should be visible in a series, by the series' name: metric-site or metric-from-to. Labels
// come from here and from nowhere else.
func (f fault) seen(name string) bool {
	metric, from, to := parts(name)
	switch metric {
	case "edge-errors": // users get 5xx or no answer
		return f.at(from) && f.is("kill", "kill-service", "edge", "pause", "errors")
	case "edge-latency", "edge-median", "edge-mean": // what hangs or waits; a port that is shut answers at once
		return f.at(from) && (f.is("slow", "edge", "pause") || f.is("loss") && metric != "edge-median")
	case "probe-state":
		return f.probeFails(from, to)
	case "probe-duration": // a refusal takes no time
		switch {
		case f.is("slow"):
			return f.at(to)
		case f.is("loss"): // below, most probes pass as ever
			return from != to && (f.at(from) || f.at(to)) && f.number() >= 20
		}
		return f.probeFails(from, to) && !f.is("kill", "kill-service")
	case "link-state":
		return f.linkStands(from, to) || f.is("lag") && f.at(to)
	case "lag-lower": // who stops to apply does not know how far the source is, and says nothing
		return f.sourceGone(from, to) || f.is("lag") && f.at(to) && f.number() > 0
	case "lag-upper": // nothing bounds the lag of a link that is down or stopped
		return f.is("lag") && f.at(to) && f.number() > 0
	case "lag-exposure": // a target that is not heard is seen with its last word
		return f.sourceGone(from, to) || f.is("lag") && f.at(to)
	}
	return false // requests go on as weights say, and the machine under all sites is one
}

// probeFails: the probe of one site asks the other, or itself.
func (f fault) probeFails(from, to string) bool {
	switch {
	case f.is("kill-service"):
		return f.at(to)
	case f.is("kill", "edge", "pause"): // the own agent dies too, or is not cut off
		return f.at(to) && from != to
	case f.is("slow"):
		return f.at(to) && f.wait()*5/8 > probeDeadline
	case f.is("link"):
		return f.Site == from && f.Peer == to || !f.OneWay && f.Site == to && f.Peer == from
	}
	return false
}

// sourceGone: the target's replicator cannot reach the source. It opens the connection, so that one way is enough.
func (f fault) sourceGone(from, to string) bool {
	if f.is("link") {
		return f.Site == to && f.Peer == from || !f.OneWay && f.Site == from && f.Peer == to
	}
	return f.at(from) && f.is("kill", "pause")
}

// linkStands: nothing is copied, or nobody hears whether it is.
func (f fault) linkStands(from, to string) bool {
	return f.sourceGone(from, to) || f.at(to) && f.is("kill", "pause", "uplink")
}

// touches says that a series may show a fault without having to: it is about the same site. Such rows are not labelled;
// they are listed, for those who want to leave them out.
func (f fault) touches(name string) bool {
	metric, from, to := parts(name)
	if strings.HasPrefix(metric, "host-") {
		return false
	}
	return !f.seen(name) && (f.at(from) || f.at(to) || f.Peer != "" && (f.Peer == from || f.Peer == to))
}

func (f fault) is(kinds ...string) bool { return slices.Contains(kinds, f.Kind) }
func (f fault) at(site string) bool     { return site != "" && (f.Site == site || f.Site == "all") }

// number is the fault's amount, 0 without one.
func (f fault) number() float64 {
	n, err := strconv.ParseFloat(f.Amount, 64)
	if err != nil {
		return 0
	}
	return n
}

// wait is what a slow shop adds.
func (f fault) wait() time.Duration {
	d, err := time.ParseDuration(f.Amount)
	if err != nil {
		return 0
	}
	return d
}

// parts of a series' name: metric, and one site or two.
func parts(name string) (metric, from, to string) {
	p := strings.Split(name, "-")
	if len(p) < 3 {
		return name, "", ""
	}
	metric, from = p[0]+"-"+p[1], p[2]
	if len(p) > 3 {
		to = p[3]
	}
	return metric, from, to
}
