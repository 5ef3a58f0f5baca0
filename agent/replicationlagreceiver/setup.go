package replicationlagreceiver

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/evenkeel/evenkeel/agent/internal/replica/kafka"
	"github.com/evenkeel/evenkeel/agent/internal/replica/mysql"
	"github.com/evenkeel/evenkeel/agent/internal/replica/nats"
	"github.com/evenkeel/evenkeel/agent/internal/replica/postgresql"
	"github.com/evenkeel/evenkeel/agent/internal/replica/redis"
)

// SetUp is what an administrator has to set up for the heartbeat at one server.
type SetUp struct {
	Engine   string
	Account  string
	Origin   string   // the site of the server
	Peers    []string // the other sites
	Database string   // mysql
	Stream   string   // nats: of this site
	Copy     string   // nats: of another site's, here; empty: Stream and "-copy"
	Topic    string   // kafka; empty: evenkeel-heartbeat
}

// HeartbeatEngines are the engines whose heartbeat the agent writes.
func HeartbeatEngines() []string { return []string{"postgresql", "mysql", "redis", "nats", "kafka"} }

// Text is statements with a password left open, or lines of a configuration. Names that would need quoting are refused.
func (s SetUp) Text() (string, error) {
	if !slices.Contains(HeartbeatEngines(), s.Engine) {
		return "", fmt.Errorf("engine %q has no heartbeat of ours: use one of %s; mysql is for MariaDB too, redis for Valkey", s.Engine, strings.Join(HeartbeatEngines(), ", "))
	}
	name := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	for _, given := range append([]string{s.Account, s.Database, s.Stream, s.Origin}, s.Peers...) {
		if !name.MatchString(given) {
			return "", fmt.Errorf("%q is no plain name: use letters, digits, - and _", given)
		}
	}
	s.Copy, s.Topic = cmp.Or(s.Copy, s.Stream+"-copy"), cmp.Or(s.Topic, "evenkeel-heartbeat")
	if s.Engine == "kafka" && !topicName(s.Topic) {
		return "", fmt.Errorf("%q is no name of a topic for heartbeats: use letters, digits, - and _", s.Topic)
	}
	switch s.Engine {
	case "postgresql":
		return postgresql.HeartbeatSetUp(s.Account, s.Origin), nil
	case "mysql":
		return mysql.HeartbeatSetUp(s.Account, s.Database), nil
	case "redis":
		return redis.HeartbeatSetUp(s.Account), nil
	case "kafka":
		return kafka.HeartbeatSetUp(s.Account, s.Topic, s.Peers), nil
	}
	return nats.HeartbeatSetUp(s.Account, s.Stream, s.Copy, s.Origin), nil
}
