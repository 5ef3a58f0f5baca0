package layout

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Service is the one service of the lab.
const Service = "checkout"

// Profiles of a lab.
const (
	Three = "three" // three sites
	Two   = "two"   // two sites and a witness
)

// Layout says who is in the lab and where everyone listens.
type Layout struct {
	Profile   string   `json:"profile"`
	Sites     []string `json:"sites"`
	Witnesses []string `json:"witnesses,omitempty"`
	BasePort  int      `json:"base_port"`
	Server    string   `json:"server"`             // host:port of the server, or of the first replica
	Replicas  int      `json:"replicas,omitempty"` // 0: one server, alone
}

// New lays out a profile with one server or three replicas. The error names what there is to choose from.
func New(profile string, basePort int, server string, replicas int) (Layout, error) {
	l := Layout{Profile: profile, BasePort: basePort, Server: server}
	switch replicas {
	case 1:
	case 3:
		l.Replicas = replicas
	default:
		return l, fmt.Errorf("%d replicas are no number of the lab: choose 1 or 3", replicas)
	}
	switch profile {
	case Three:
		l.Sites = []string{"fra", "ams", "waw"}
	case Two:
		l.Sites, l.Witnesses = []string{"fra", "ams"}, []string{"lon"}
	default:
		return l, fmt.Errorf("profile %q is unknown: choose three or two", profile)
	}
	if basePort < 1024 || basePort > 64000 {
		return l, fmt.Errorf("base port %d is out of range: choose 1024 to 64000", basePort)
	}
	if _, _, err := net.SplitHostPort(server); err != nil {
		return l, fmt.Errorf("server address %q is not host:port: %w", server, err)
	}
	return l, nil
}

// Vantages are all places an agent runs at, sites first.
func (l Layout) Vantages() []string { return slices.Concat(l.Sites, l.Witnesses) }

// IsSite reports whether the name is a site of the lab.
func (l Layout) IsSite(name string) bool { return slices.Contains(l.Sites, name) }

// IsVantage reports whether the name is a site or a witness of the lab.
func (l Layout) IsVantage(name string) bool { return slices.Contains(l.Vantages(), name) }

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// Director is where users enter and where the executor's hook is.
func (l Layout) Director() string { return local(l.BasePort) }

// DirectorAdmin is where the lab asks the director for its state.
func (l Layout) DirectorAdmin() string { return local(l.BasePort + 1) }

// block is the port of a thing at a vantage; each vantage has its own hundred.
func (l Layout) block(vantage string, offset int) string {
	return local(l.BasePort + 100*(1+slices.Index(l.Vantages(), vantage)) + offset)
}

// Shop is where the site's shop listens.
func (l Layout) Shop(site string) string { return l.block(site, 0) }

// Bus is the client port of the site's NATS server.
func (l Layout) Bus(site string) string { return l.block(site, 2) }

// BusAdmin is where the lab asks for replication and pauses it.
func (l Layout) BusAdmin(site string) string { return l.block(site, 3) }

// AgentHealth is the health endpoint of the vantage's agent.
func (l Layout) AgentHealth(vantage string) string { return l.block(vantage, 4) }

// AgentOTLP is the OTLP/HTTP receiver of the vantage's agent.
func (l Layout) AgentOTLP(vantage string) string { return l.block(vantage, 5) }

// EntryHost is the name a site's entry has in the server's configuration. No resolver knows it: agents reach
// it by connect-to.
func EntryHost(site string) string { return Service + "." + site + ".lab:80" }

// EdgeKind is what a cable carries.
type EdgeKind string

// Kinds of cables.
const (
	EdgeUsers  EdgeKind = "users"  // director > To: users' requests
	EdgeProbe  EdgeKind = "probe"  // From > To: the agent's probes
	EdgeBus    EdgeKind = "bus"    // From > To: From pulls To's orders
	EdgeUplink EdgeKind = "uplink" // From > a server: the agent's telemetry
)

// Edge is one cable.
type Edge struct {
	Kind     EdgeKind `json:"kind"`
	From     string   `json:"from"`
	To       string   `json:"to"`
	At       string   `json:"at,omitempty"` // where To stands, when To is a replica
	Listen   string   `json:"listen"`
	Upstream string   `json:"upstream"`
}

// Name is kind:from>to.
func (e Edge) Name() string { return string(e.Kind) + ":" + e.From + ">" + e.To }

// end is the place where the cable ends.
func (e Edge) end() string {
	if e.At != "" {
		return e.At
	}
	return e.To
}

// Edges are all cables of the lab, in a fixed order; their ports follow the vantages' blocks.
func (l Layout) Edges() []Edge {
	var out []Edge
	add := func(kind EdgeKind, from, to, upstream string) {
		listen := local(l.BasePort + 500 + len(out))
		out = append(out, Edge{Kind: kind, From: from, To: to, Listen: listen, Upstream: upstream})
	}
	for _, to := range l.Sites {
		add(EdgeUsers, "director", to, l.Shop(to))
	}
	for _, from := range l.Vantages() {
		for _, to := range l.Sites {
			if from != to {
				add(EdgeProbe, from, to, l.Shop(to))
			}
		}
	}
	for _, from := range l.Sites {
		for _, to := range l.Sites {
			if from != to {
				add(EdgeBus, from, to, l.Bus(to))
			}
		}
	}
	for _, from := range l.Vantages() {
		for _, s := range l.Servers() {
			add(EdgeUplink, from, s.Name, s.Listen)
			out[len(out)-1].At = s.At
		}
	}
	return out
}

// Edge is where the named cable begins; empty when there is none.
func (l Layout) Edge(kind EdgeKind, from, to string) string {
	for _, e := range l.Edges() {
		if e.Kind == kind && e.From == from && e.To == to {
			return e.Listen
		}
	}
	return ""
}

// Uplinks are the agent's servers, each by its cable.
func (l Layout) Uplinks(vantage string) string {
	var urls []string
	for _, s := range l.Servers() {
		urls = append(urls, "http://"+l.Edge(EdgeUplink, vantage, s.Name))
	}
	return strings.Join(urls, ",")
}

// ConnectTo is the agent's override list: other sites by their cable, the own site directly.
func (l Layout) ConnectTo(vantage string) string {
	var parts []string
	for _, site := range l.Sites {
		addr := l.Shop(site)
		if site != vantage {
			addr = l.Edge(EdgeProbe, vantage, site)
		}
		parts = append(parts, EntryHost(site)+"="+addr)
	}
	return strings.Join(parts, ",")
}

// Ports are all addresses that lab processes will listen on, with who needs them; Server is not among them.
func (l Layout) Ports() map[string]string {
	out := map[string]string{
		l.Director():      "the director, where users enter",
		l.DirectorAdmin(): "the director's state",
	}
	for i, s := range l.Servers() {
		out[s.Admin] = s.Process() + "'s profiles"
		if s.Peer != "" {
			out[s.Peer] = s.Process() + ", where other replicas reach it"
		}
		if i > 0 {
			out[s.Listen] = s.Process()
		}
	}
	for _, s := range l.Sites {
		out[l.Shop(s)] = "the shop at " + s
		out[l.Bus(s)] = "NATS at " + s
		out[l.BusAdmin(s)] = "the replication state at " + s
	}
	for _, v := range l.Vantages() {
		out[l.AgentHealth(v)] = "the agent's health at " + v
		out[l.AgentOTLP(v)] = "the agent's OTLP receiver at " + v
	}
	return out
}
