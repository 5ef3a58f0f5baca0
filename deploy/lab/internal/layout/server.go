package layout

import (
	"fmt"
	"slices"
)

// Server is one server of the lab: the one there is, or one of three replicas.
type Server struct {
	Name   string // server, or the name of the replica
	At     string // the site or witness where the replica stands; empty for one server, which stands nowhere
	Listen string // host:port of page, API and agents
	Peer   string // host:port where the other replicas reach it; empty for one server
	Admin  string // host:port of its profiles
}

// Process is the name of its process, its log and its data.
func (s Server) Process() string {
	if s.At == "" {
		return s.Name
	}
	return "server-" + s.Name
}

// URL is where people reach it.
func (s Server) URL() string { return "http://" + s.Listen }

// Servers are all servers, in a fixed order. Replicas stand each at a place of its own: the sites first, then a witness.
func (l Layout) Servers() []Server {
	if l.Replicas == 0 {
		return []Server{{Name: "server", Listen: l.Server, Admin: local(l.BasePort + 2)}}
	}
	var out []Server
	for i, at := range l.Vantages()[:l.Replicas] {
		s := Server{
			Name: fmt.Sprintf("r%d", i+1), At: at, Listen: local(l.BasePort + 10 + i), Peer: local(l.BasePort + 20 + i), Admin: local(l.BasePort + 2 + i),
		}
		if i == 0 {
			s.Listen = l.Server
		}
		out = append(out, s)
	}
	return out
}

// Replica is the replica with the name; false says that there is none.
func (l Layout) Replica(name string) (Server, bool) {
	servers := l.Servers()
	i := slices.IndexFunc(servers, func(s Server) bool { return s.At != "" && s.Name == name })
	if i < 0 {
		return Server{}, false
	}
	return servers[i], true
}

// Places are what a fault or a mending may name: sites, witnesses and replicas.
func (l Layout) Places() []string {
	out := l.Vantages()
	for _, s := range l.Servers() {
		if s.At != "" {
			out = append(out, s.Name)
		}
	}
	return out
}
