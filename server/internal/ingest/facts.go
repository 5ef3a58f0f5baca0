package ingest

import (
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// factKind is the kind of fact that a metric carries, by its OTLP name or its name in the store.
func factKind(name string) core.FactKind {
	switch name {
	case "evenkeel.probe.state", "evenkeel_probe_state":
		return core.FactProbe
	case "evenkeel.edge.requests", "evenkeel_edge_requests_total":
		return core.FactEdgeRequests
	case "evenkeel.edge.weight", "evenkeel_edge_weight", "evenkeel_edge_weight_percent":
		return core.FactEdgeWeight
	case "evenkeel.link.state", "evenkeel_link_state":
		return core.FactLink
	}
	return core.FactUnknown
}

// isDuration reports whether a metric is the duration that belongs to a probe's state.
func isDuration(name string) bool {
	return name == "evenkeel.probe.duration" || name == "evenkeel_probe_duration_seconds"
}

// probeKey finds the duration of a probe's answer: same probe, same time.
type probeKey struct {
	targetSite, service, target, path string
	at                                int64
}

func keyOf(f *core.Fact) probeKey {
	return probeKey{f.TargetSite, f.Service, f.Target, f.Path, f.AgentAt.UnixNano()}
}

// linkFigure is which figure of a link's fact a metric carries; zero: none.
type linkFigure uint8

const (
	linkNoFigure linkFigure = iota
	linkLower
	linkUpper
	linkExposure
	linkFigures
)

// figureOf is the figure of a link's fact that a metric carries. What else is known of a link is no fact.
func figureOf(name string) linkFigure {
	switch name {
	case "evenkeel.replication.lag.lower", "evenkeel_replication_lag_lower_seconds":
		return linkLower
	case "evenkeel.replication.lag.upper", "evenkeel_replication_lag_upper_seconds":
		return linkUpper
	case "evenkeel.replication.exposure", "evenkeel_replication_exposure_seconds":
		return linkExposure
	}
	return linkNoFigure
}

// lookKey finds the figures of one look at one end of a link.
type lookKey struct {
	link, channel, end, writer string
	at                         int64
}

// addFigure keeps a figure for the state of the same look. A negative one is none.
func (b *batch) addFigure(which linkFigure, p *point, value float64, at time.Time) {
	if value < 0 || len(b.figures) >= maxFacts {
		return
	}
	if b.figures == nil {
		b.figures = map[lookKey][linkFigures]*float64{}
	}
	k := lookKey{p.link, p.channel, p.end, b.writer, at.UnixNano()}
	all := b.figures[k]
	all[which] = &value
	b.figures[k] = all
}

// point is the part of a data point that a fact is made of.
type point struct {
	targetSite, service, target, path, reason, codeClass, link, channel, end string
}

// set takes an attribute if it belongs to a fact.
func (p *point) set(name, value string) {
	switch name {
	case "target_site":
		p.targetSite = value
	case "service":
		p.service = value
	case "target":
		p.target = value
	case "path":
		p.path = value
	case "reason":
		p.reason = value
	case "code_class":
		p.codeClass = value
	case "link":
		p.link = value
	case "channel":
		p.channel = value
	case "end":
		p.end = value
	}
}

const (
	// maxFacts bounds the facts of one request: they are few and small, or they are no facts.
	maxFacts = 10_000
	// maxFactBytes bounds the texts of one fact.
	maxFactBytes = 2048
)

// addFact makes a fact of a data point. Values that are no state are unknown: never good, never down.
func (b *batch) addFact(kind core.FactKind, p *point, value float64, at time.Time) {
	size := len(p.targetSite) + len(p.service) + len(p.target) + len(p.path) + len(p.reason) + len(p.codeClass) + len(p.link) + len(p.channel) + len(p.end) +
		len(b.writer)
	if len(b.facts) >= maxFacts || size > maxFactBytes {
		b.notFacts++
		return
	}
	c := b.door.clocks.get(b.caller.ID, b.agent, b.now)
	f := core.Fact{
		Kind: kind, Site: b.caller.Name, Agent: b.writer,
		TargetSite: strings.Clone(p.targetSite), Service: strings.Clone(p.service), Target: strings.Clone(p.target),
		Path: strings.Clone(p.path), Reason: strings.Clone(p.reason),
		AgentAt: at, ReceivedAt: b.now,
		ClockOffset: c.offset, ClockErr: c.err, ClockKnown: c.known,
	}
	switch kind {
	case core.FactProbe:
		f.State, f.Interval = state(value, uint8(core.ProbeDown)), b.door.o.ProbeInterval
	case core.FactEdgeRequests:
		f.Value, f.Reason, f.Interval = value, strings.Clone(p.codeClass), b.door.o.EdgeInterval
	case core.FactEdgeWeight:
		f.Value, f.Interval = value, b.door.o.EdgeInterval
	case core.FactLink:
		f.State, f.Interval = state(value, uint8(core.LinkNoPrimary)), b.door.o.LinkInterval
		f.Target = strings.Clone(p.link)
		f.Link = &core.LinkFigures{Channel: strings.Clone(p.channel), End: strings.Clone(p.end)}
	case core.FactUnknown, core.FactHeartbeat:
		return
	}
	b.facts = append(b.facts, f)
}

func (b *batch) addDuration(p *point, value float64, at time.Time) {
	if b.durations == nil {
		b.durations = map[probeKey]float64{}
	}
	b.durations[probeKey{p.targetSite, p.service, p.target, p.path, at.UnixNano()}] = value
}

// state is the enum value of a number, unknown when it is none up to last.
func state(v float64, last uint8) uint8 {
	if v != float64(uint8(v)) || uint8(v) > last {
		return 0
	}
	return uint8(v)
}

// handOn gives facts to health and counts them.
func (d *Door) handOn(facts []core.Fact, now time.Time) {
	if len(facts) == 0 {
		return
	}
	for i := range facts {
		age := "fresh"
		if facts[i].History(now) {
			age = "history"
		}
		d.metrics.facts.WithLabelValues(factName(facts[i].Kind), age).Inc()
	}
	d.o.Facts.Facts(facts)
}

func factName(k core.FactKind) string {
	switch k {
	case core.FactProbe:
		return "probe"
	case core.FactHeartbeat:
		return "heartbeat"
	case core.FactEdgeRequests:
		return "edge_requests"
	case core.FactEdgeWeight:
		return "edge_weight"
	case core.FactLink:
		return "link"
	case core.FactUnknown:
	}
	return "unknown"
}
