package replicationlagreceiver

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
	"github.com/evenkeel/evenkeel/agent/internal/replica/kafka"
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
	// Interval is between two beats, 100 ms to 1 min. Default 1 s.
	Interval time.Duration `mapstructure:"interval"`
	Database string        `mapstructure:"database"` // mysql: where the tables are
	Stream   string        `mapstructure:"stream"`   // nats: the stream of this site into which is written
	Topic    string        `mapstructure:"topic"`    // kafka: the topic of heartbeats in each site's cluster
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
	for _, only := range []struct{ name, value, engine string }{
		{"database", h.Database, "mysql"},
		{"stream", h.Stream, "nats"},
		{"dsn", h.DSN, "postgresql"},
		{"credentials_file", h.CredentialsFile, "nats"},
		{"topic", h.Topic, "kafka"},
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
	case s.Engine == "kafka" && !topicName(h.Topic):
		return errors.New("heartbeat: kafka needs the topic of its own, without dots, as in topic: evenkeel-heartbeat; the interval of MirrorMaker's heartbeats is the server's mirror_interval")
	case s.Engine == "kafka" && h.Channel != "":
		return errors.New("heartbeat: kafka's travels by MirrorMaker, whose links have no channel: leave channel out")
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

// topicName is a name of a topic that MirrorMaker takes for no copy of another one.
func topicName(name string) bool {
	return len(name) <= 200 && regexp.MustCompile(`^[a-zA-Z0-9_-]+$`).MatchString(name)
}

// carries reports whether the beats travel by a link. Those of nats travel by the links of their stream, those of kafka by those of MirrorMaker.
func (h *Heartbeat) carries(l Link, engine string) bool {
	switch engine {
	case "nats":
		return l.End == string(replica.Target) || h.Stream == l.Channel
	case "kafka":
		return l.Channel == ""
	}
	return h.Channel == "" || h.Channel == l.Channel
}

// unique refuses two links of which only one can be the way of the beats.
func (h *Heartbeat) unique(s *Server) error {
	switch s.Engine {
	case "nats":
		return nil
	case "kafka":
		_, err := h.mirrored(s.Links)
		return err
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

// mirrored are the topics of kafka here that copy the heartbeats of a site, by site.
func (h *Heartbeat) mirrored(links []Link) (map[string]string, error) {
	out := map[string]string{}
	for _, l := range links {
		if !h.carries(l, "kafka") {
			continue
		}
		site := l.From
		if l.End == string(replica.Source) {
			site = l.To
		}
		topic := cmp.Or(l.Peer, site) + "." + h.Topic
		if other, ok := out[site]; ok && other != topic {
			return nil, fmt.Errorf("heartbeat: the cluster of %s has two aliases here, of which %s and %s come: use the same peer in all links with it", site, other, topic)
		}
		out[site] = topic
	}
	if len(out) == 0 {
		return nil, errors.New("heartbeat: kafka's travels by MirrorMaker: it needs a link without a channel")
	}
	return out, nil
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
		return postgresql.NewHeartbeat(postgresql.HeartbeatOptions{DSN: dsn, PasswordFile: passwordFile, Timeout: s.Timeout})
	case "mysql":
		return mysql.NewHeartbeat(mysql.Server{Address: s.Address, User: user, PasswordFile: passwordFile, TLS: secure, Timeout: s.Timeout}, h.Database)
	case "redis":
		return redis.NewStore(redis.Server{Address: s.Address, User: user, PasswordFile: passwordFile, TLS: secure}, s.Timeout)
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
	case "kafka":
		copies, err := h.mirrored(s.Links)
		if err != nil {
			return nil, err
		}
		own := h.Topic
		if !h.Write {
			own = ""
		}
		return kafka.NewStore(kafka.Server{Address: s.Address, User: user, PasswordFile: passwordFile, Mechanism: s.Mechanism, TLS: secure}, s.Timeout, own, copies)
	}
	return nil, nil //nolint:nilnil // the engine is not known, which looker says
}

// copied is the stream of nats that a link ends in.
func (l Link) copied() string {
	if l.Peer != "" {
		return l.Peer
	}
	return l.Channel
}
