package replicationlagreceiver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
	"github.com/evenkeel/evenkeel/agent/internal/replica/mysql"
	"github.com/evenkeel/evenkeel/agent/internal/replica/nats"
	"github.com/evenkeel/evenkeel/agent/internal/replica/postgresql"
	"github.com/evenkeel/evenkeel/agent/internal/replica/redis"
)

// Heartbeat is the heartbeat of a server: what each site writes each second at its own server, and replication brings to the
// others. Read, it bounds the links that end here; written, and echoed by the other end, it bounds what the links that
// begin here expose. evenkeel-agent heartbeat-sql prints what has to be set up.
type Heartbeat struct {
	// Write says that this agent writes the heartbeat of Origin here while the server takes writes, and echoes those of Peers.
	Write bool `mapstructure:"write"`
	// Origin is the site whose heartbeat is written. Default: the agent's.
	Origin string `mapstructure:"origin"`
	// Peers are the sites whose heartbeats and echoes are read. Default: the other ends of the server's links.
	Peers []string `mapstructure:"peers"`
	// Interval is between two beats, 100 ms to 1 min; of kafka, MirrorMaker's emit.heartbeats.interval.seconds. Default 1 s.
	Interval time.Duration `mapstructure:"interval"`
	Database string        `mapstructure:"database"` // mysql: where the tables are
	Stream   string        `mapstructure:"stream"`   // nats: the stream of this site into which is written
	// Channel is that of the links by which it travels. Needed where there are several between the same two sites.
	Channel string `mapstructure:"channel"`
	// An account for the heartbeat alone. Default: the one that looks.
	DSN             string `mapstructure:"dsn"` // postgresql
	User            string `mapstructure:"user"`
	PasswordFile    string `mapstructure:"password_file"`
	CredentialsFile string `mapstructure:"credentials_file"`
}

const (
	defaultBeat  = time.Second
	shortestBeat = 100 * time.Millisecond
	longestBeat  = time.Minute
)

// site is a name that can be part of a key or subject.
func siteName(name string) bool {
	return regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$`).MatchString(name)
}

// check fills in what was left out and refuses what the engine of the server does not know.
func (h *Heartbeat) check(s *Server) error {
	if h == nil {
		return nil
	}
	h.Interval = orElse(h.Interval, defaultBeat)
	if h.Interval < shortestBeat || h.Interval > longestBeat {
		return fmt.Errorf("heartbeat: interval must be from %s to %s", shortestBeat, longestBeat)
	}
	if s.Engine == "kafka" {
		if h.Write || h.Origin != "" || len(h.Peers) > 0 || h.Database != "" || h.Stream != "" || h.Channel != "" || h.DSN != "" || h.User != "" || h.PasswordFile != "" || h.CredentialsFile != "" {
			return errors.New("heartbeat: kafka's are MirrorMaker's: only their interval can be set")
		}
		return nil
	}
	for _, only := range []struct{ name, value, engine string }{
		{"database", h.Database, "mysql"}, {"stream", h.Stream, "nats"}, {"dsn", h.DSN, "postgresql"}, {"credentials_file", h.CredentialsFile, "nats"},
	} {
		if only.value != "" && s.Engine != only.engine {
			return fmt.Errorf("heartbeat: %s is for %s only: leave it out", only.name, only.engine)
		}
	}
	switch {
	case s.Engine == "mysql" && h.Database == "":
		return errors.New("heartbeat: mysql needs the database of its tables, as in database: evenkeel")
	case s.Engine == "nats" && h.Write && h.Stream == "":
		return errors.New("heartbeat: nats needs the stream to write into, as in stream: ORDERS")
	case s.Engine == "postgresql" && h.User != "":
		return errors.New("heartbeat: a postgresql account stands in dsn, not in user")
	case h.Write && h.Origin == "":
		return errors.New("heartbeat: write needs an origin: name the site of this server")
	case s.Engine == "mysql" && h.Write && !slices.ContainsFunc(s.Links, func(l Link) bool { return l.End == string(replica.Source) && l.From == h.Origin }):
		// A copy is often not read_only, and what is written into it alone breaks its replication.
		return fmt.Errorf("heartbeat: write needs a link from %s with end: source here: into a server that only copies nothing may be written", h.Origin)
	}
	if len(h.Peers) == 0 {
		h.Peers = h.others(s.Links)
	}
	for _, name := range append(slices.Clone(h.Peers), h.Origin) {
		if name != "" && !siteName(name) {
			return fmt.Errorf("heartbeat: %q is no name of a site: use lower-case letters, digits, - and _", name)
		}
	}
	if err := h.unique(s); err != nil {
		return err
	}
	if slices.Contains(h.Peers, h.Origin) {
		return fmt.Errorf("heartbeat: origin %s is among the peers: name the other sites there", h.Origin)
	}
	return nil
}

// carries reports whether the beats travel by a link. Those of nats travel by the links of their stream.
func (h *Heartbeat) carries(l Link, engine string) bool {
	if engine == "nats" {
		return l.End == string(replica.Target) || h.Stream == l.Channel
	}
	return h.Channel == "" || h.Channel == l.Channel
}

// unique refuses two links of which only one can be the way of the beats.
func (h *Heartbeat) unique(s *Server) error {
	if s.Engine == "nats" {
		return nil
	}
	ways := map[string]string{}
	for _, l := range s.Links {
		way := l.From + ">" + l.To + " " + l.End
		if other, ok := ways[way]; ok && h.Channel == "" && other != l.Channel {
			return fmt.Errorf("heartbeat: %s>%s has several channels: name in channel by which the heartbeat travels", l.From, l.To)
		}
		ways[way] = l.Channel
	}
	return nil
}

// others are the sites at the other ends of links.
func (h *Heartbeat) others(links []Link) []string {
	var out []string
	for _, l := range links {
		name := l.From
		if l.End == string(replica.Source) {
			name = l.To
		}
		if name != h.Origin && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// store makes where the heartbeats of a server are kept, nil where it has none. It does not connect.
func (s *Server) store(secure *tls.Config) (heartbeat.Store, error) {
	h := s.Heartbeat
	if h == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	user, passwordFile := s.User, s.PasswordFile
	if h.User != "" || h.DSN != "" {
		user, passwordFile = h.User, h.PasswordFile
	} else if h.PasswordFile != "" {
		passwordFile = h.PasswordFile
	}
	switch s.Engine {
	case "postgresql":
		dsn := s.DSN
		if h.DSN != "" {
			dsn = h.DSN
		}
		return postgresql.NewHeartbeat(postgresql.HeartbeatOptions{DSN: dsn, PasswordFile: passwordFile, Timeout: s.Timeout, Interval: h.Interval})
	case "mysql":
		return mysql.NewHeartbeat(mysql.Server{Address: s.Address, User: user, PasswordFile: passwordFile, TLS: secure, Timeout: s.Timeout}, h.Database)
	case "redis":
		one, err := redis.NewHeartbeat(redis.Server{Address: s.Address, User: user, PasswordFile: passwordFile, TLS: secure}, s.Timeout)
		if err != nil {
			return nil, err
		}
		return redis.Store{Heartbeat: one}, nil
	case "nats":
		credentials := s.CredentialsFile
		if h.CredentialsFile != "" || h.User != "" {
			credentials = h.CredentialsFile
		}
		copies := map[string][]string{}
		for _, l := range s.Links {
			if l.End == string(replica.Target) {
				copies[l.From] = append(copies[l.From], l.copied())
			}
		}
		return nats.NewStore(nats.Server{
			Address: s.Address, User: user, PasswordFile: passwordFile, CredentialsFile: credentials, Domain: s.Domain, TLS: secure,
		}, h.Stream, copies)
	}
	return nil, nil //nolint:nilnil // kafka has MirrorMaker's
}

// copied is the stream of nats that a link ends in.
func (l Link) copied() string {
	if l.Peer != "" {
		return l.Peer
	}
	return l.Channel
}
