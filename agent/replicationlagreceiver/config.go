package replicationlagreceiver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configtls"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/replica/heartbeat"
	"github.com/evenkeel/evenkeel/agent/internal/replica/kafka"
	"github.com/evenkeel/evenkeel/agent/internal/replica/mysql"
	"github.com/evenkeel/evenkeel/agent/internal/replica/nats"
	"github.com/evenkeel/evenkeel/agent/internal/replica/postgresql"
	"github.com/evenkeel/evenkeel/agent/internal/replica/redis"
)

// Config is the receiver's section of the pipeline.
type Config struct {
	// Site is where this agent stands: the origin of the heartbeats that it writes, unless they name another.
	Site string `mapstructure:"site"`
	// Directory is where is kept when each copy was last complete; empty: nowhere.
	Directory string   `mapstructure:"directory"`
	Servers   []Server `mapstructure:"servers"`
}

// Server is one database server and the ends of links that are at it.
type Server struct {
	Engine       string `mapstructure:"engine"`        // postgresql, mysql (MariaDB too), redis (Valkey too), nats (JetStream) or kafka
	DSN          string `mapstructure:"dsn"`           // postgresql: URL or keywords, as libpq reads them; without the password
	Address      string `mapstructure:"address"`       // mysql, redis, nats: host:port; kafka: bootstrap brokers, with commas between
	User         string `mapstructure:"user"`          // mysql, redis, nats, kafka
	PasswordFile string `mapstructure:"password_file"` // read at every connect
	// CredentialsFile is for nats, instead of a user: JWT and seed, as nsc writes them. Domain is the JetStream domain to
	// ask, where it is another than the server's own.
	CredentialsFile string `mapstructure:"credentials_file"`
	Domain          string `mapstructure:"domain"`
	// TLS is for mysql, redis, nats and kafka; postgresql has it in the DSN. None: plain.
	TLS *configtls.ClientConfig `mapstructure:"tls"`
	// Mechanism is kafka's, PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; default SCRAM-SHA-512 where there is a user.
	Mechanism string `mapstructure:"mechanism"`
	// ReadCommitted says that kafka's groups read committed transactions only.
	ReadCommitted bool `mapstructure:"read_committed"`
	// MirrorInterval is the emit.heartbeats.interval.seconds of kafka's MirrorMaker. Default 1 s.
	MirrorInterval time.Duration `mapstructure:"mirror_interval"`
	// Heartbeat is read and, where it says so, written. None: the server has no heartbeat.
	Heartbeat *Heartbeat `mapstructure:"heartbeat"`
	// OtherEnd is the server at the other end of the links, where this agent may ask it: how far behind is known better
	// then. Redis: the source of the links that end here. NATS: either end.
	OtherEnd *OtherEnd `mapstructure:"other_end"`
	// Interval is between two looks, 1 s to 10 s. Default 5 s.
	Interval time.Duration `mapstructure:"interval"`
	// Timeout is of one look. Default 2 s; it is below the interval.
	Timeout time.Duration `mapstructure:"timeout"`
	// Silence is how long a postgresql, nats or kafka link may be silent before it is down. Default: as long as the
	// PostgreSQL server's own time-out, 5 s for the others.
	Silence time.Duration `mapstructure:"silence"`
	// ClockError is how far the clocks of the two ends of a link may be apart. Figures that compare the two are widened by
	// it. Default 100 ms, which hosts with working NTP keep.
	ClockError time.Duration `mapstructure:"clock_error"`
	Links      []Link        `mapstructure:"links"`
}

// OtherEnd is another server that is asked besides.
type OtherEnd struct {
	Address      string `mapstructure:"address"`
	User         string `mapstructure:"user"`
	PasswordFile string `mapstructure:"password_file"`

	CredentialsFile string `mapstructure:"credentials_file"`
	Domain          string `mapstructure:"domain"`
}

// Link is one end of a replication link.
type Link struct {
	Store   string `mapstructure:"store"`
	From    string `mapstructure:"from"`
	To      string `mapstructure:"to"`
	Channel string `mapstructure:"channel"` // a subscription, connection or channel, where there are several; nats: the origin's stream; kafka: the consumer group, empty for MirrorMaker
	End     string `mapstructure:"end"`     // source or target: which end this server is
	Peer    string `mapstructure:"peer"`    // how the other end is known here: a slot, application name or host; nats: the copy's stream; kafka: the topics, with commas between, or MirrorMaker's alias of the other cluster
	Domain  string `mapstructure:"domain"`  // nats: the origin's JetStream domain, where it tells two sources apart
}

// Defaults of a server.
const (
	defaultInterval   = 5 * time.Second
	defaultTimeout    = 2 * time.Second
	defaultClockError = 100 * time.Millisecond
	shortestInterval  = time.Second
	longestInterval   = 10 * time.Second // the server shows what is at most three of them old
)

// Engines are the engines there are.
func Engines() []string { return []string{"postgresql", "mysql", "redis", "nats", "kafka"} }

func createDefaultConfig() component.Config { return &Config{} }

// Validate checks what can be checked without a connection. Every error names the server by its place.
func (c *Config) Validate() error {
	seen := map[string]bool{}
	var errs []error
	for i := range c.Servers {
		s := &c.Servers[i]
		if s.Heartbeat != nil && s.Heartbeat.Origin == "" {
			s.Heartbeat.Origin = c.Site
		}
		if err := s.check(context.Background()); err != nil {
			errs = append(errs, fmt.Errorf("servers[%d]: %w", i, err))
			continue
		}
		for _, l := range s.Links {
			key := l.key()
			if seen[key] {
				errs = append(errs, fmt.Errorf("servers[%d]: the %s end of %s is declared twice: leave one out, or tell them apart by channel", i, l.End, l.link().Name()))
			}
			seen[key] = true
		}
	}
	return errors.Join(errs...)
}

func (s *Server) check(ctx context.Context) error {
	s.Interval, s.Timeout, s.ClockError = orElse(s.Interval, defaultInterval), orElse(s.Timeout, defaultTimeout), orElse(s.ClockError, defaultClockError)
	switch {
	case s.Interval < shortestInterval || s.Interval > longestInterval:
		return fmt.Errorf("interval must be from %s to %s", shortestInterval, longestInterval)
	case s.Timeout >= s.Interval || s.Timeout < 0:
		return fmt.Errorf("timeout %s must be above 0 and below the interval, which is %s", s.Timeout, s.Interval)
	case s.ClockError < 0 || s.Silence < 0 || s.MirrorInterval < 0:
		return errors.New("clock_error, silence and mirror_interval are no times below 0")
	case s.MirrorInterval != 0 && s.Engine != "kafka":
		return errors.New("mirror_interval is for kafka only: leave it out")
	case len(s.Links) == 0:
		return errors.New("no links: name at least one, as in {store: orders, from: fra, to: ams, end: target}")
	}
	for _, l := range s.Links {
		if l.Store == "" || l.From == "" || l.To == "" || l.From == l.To || (l.End != string(replica.Source) && l.End != string(replica.Target)) {
			return fmt.Errorf("link %s: it needs a store, two sites in from and to, and an end, which is source or target", l.link().Name())
		}
		if s.Engine == "kafka" && l.Channel == "" && l.End == string(replica.Source) && s.Heartbeat == nil {
			return fmt.Errorf("link %s: MirrorMaker 2 is looked at in the target's cluster, and at the source only by the echo of a heartbeat: set heartbeat, or end: target; for a consumer group channel names it", l.link().Name())
		}
	}
	if err := s.Heartbeat.check(s); err != nil {
		return err
	}
	e, err := s.engine(ctx)
	if err != nil {
		return err
	}
	e.close()
	return nil
}

func orElse(d, standard time.Duration) time.Duration {
	if d == 0 {
		return standard
	}
	return d
}

func (l Link) link() replica.Link {
	return replica.Link{Store: l.Store, From: l.From, To: l.To, Channel: l.Channel}
}

// declared is one end of a link in the shape that engines take.
type declared struct {
	Store, From, To, Channel string
	End                      replica.End
	Peer                     string
}

func (l Link) declared() declared {
	return declared{Store: l.Store, From: l.From, To: l.To, Channel: l.Channel, End: replica.End(l.End), Peer: l.Peer}
}

// key names one end of a link.
func (l Link) key() string { return strings.Join([]string{l.link().Name(), l.Channel, l.End}, "|") }

// sight is what one look told of one link; beat says that its bounds are those of a heartbeat.
type sight struct {
	replica.Sighting
	beat bool
}

// engine looks at one server. heartbeats is where its heartbeats are kept; nil: nowhere.
type engine struct {
	look       func(context.Context) []sight
	close      func()
	heartbeats heartbeat.Store
	// beatsFrom, where it is not nil, makes the looks themselves read the heartbeats, by what it is given.
	beatsFrom func(func(context.Context) (heartbeat.Rows, error))
}

// engine makes the engine of a server; it does not connect.
func (s *Server) engine(ctx context.Context) (engine, error) {
	var secure *tls.Config
	if s.TLS != nil {
		var err error
		if secure, err = s.TLS.LoadTLSConfig(ctx); err != nil {
			return engine{}, fmt.Errorf("tls: %w", err)
		}
	}
	e, err := s.looker(secure)
	if err != nil {
		return engine{}, err
	}
	store, err := s.store(secure)
	if err != nil {
		e.close()
		return engine{}, err
	}
	e.heartbeats = store
	return e, nil
}

// looker makes the engine without its heartbeats.
func (s *Server) looker(secure *tls.Config) (engine, error) {
	switch s.Engine {
	case "postgresql":
		o := postgresql.Options{DSN: s.DSN, PasswordFile: s.PasswordFile, Timeout: s.Timeout, Silence: s.Silence}
		for _, l := range s.Links {
			o.Links = append(o.Links, postgresql.LinkSpec(l.declared()))
		}
		e, err := postgresql.New(o)
		if err != nil {
			return engine{}, err
		}
		return engine{look: func(ctx context.Context) []sight { return sights(e.Look(ctx).Sightings, nil) }, close: e.Close}, nil
	case "mysql":
		o := mysql.Options{
			Server: mysql.Server{Address: s.Address, User: s.User, PasswordFile: s.PasswordFile, TLS: secure, Timeout: s.Timeout},
		}
		for _, l := range s.Links {
			o.Links = append(o.Links, mysql.LinkSpec(l.declared()))
		}
		e, err := mysql.New(o)
		if err != nil {
			return engine{}, err
		}
		return engine{look: func(ctx context.Context) []sight { r := e.Look(ctx); return sights(r.Sightings, r.Beats) }, close: e.Close, beatsFrom: e.BeatsFrom}, nil
	case "redis":
		o := redis.Options{Server: redis.Server{Address: s.Address, User: s.User, PasswordFile: s.PasswordFile, TLS: secure}, Timeout: s.Timeout / 3}
		if s.OtherEnd != nil {
			o.Source = &redis.Server{Address: s.OtherEnd.Address, User: s.OtherEnd.User, PasswordFile: s.OtherEnd.PasswordFile, TLS: secure}
		}
		for _, l := range s.Links {
			o.Links = append(o.Links, redis.LinkSpec(l.declared()))
		}
		e, err := redis.New(o)
		if err != nil {
			return engine{}, err
		}
		return engine{look: func(ctx context.Context) []sight { return sights(e.Look(ctx).Sightings, nil) }, close: func() { _ = e.Close() }}, nil
	case "nats":
		o := nats.Options{Server: nats.Server{Address: s.Address, User: s.User, PasswordFile: s.PasswordFile, CredentialsFile: s.CredentialsFile, Domain: s.Domain, TLS: secure}, Timeout: s.Timeout, Silence: s.Silence}
		if s.OtherEnd != nil {
			e := s.OtherEnd
			o.Peer = &nats.Server{Address: e.Address, User: e.User, PasswordFile: e.PasswordFile, CredentialsFile: e.CredentialsFile, Domain: e.Domain, TLS: secure}
		}
		for _, l := range s.Links {
			o.Links = append(o.Links, nats.LinkSpec{
				Store: l.Store, From: l.From, To: l.To, Channel: l.Channel, End: replica.End(l.End), Peer: l.Peer, Domain: l.Domain,
			})
		}
		e, err := nats.New(o)
		if err != nil {
			return engine{}, err
		}
		return engine{look: func(ctx context.Context) []sight { r := e.Look(ctx); return sights(r.Sightings, r.Beats) }, close: e.Close}, nil
	case "kafka":
		o := kafka.Options{
			Server:  kafka.Server{Address: s.Address, User: s.User, PasswordFile: s.PasswordFile, Mechanism: s.Mechanism, TLS: secure},
			Timeout: s.Timeout, ReadCommitted: s.ReadCommitted, Silence: s.Silence, Interval: s.MirrorInterval,
		}
		for _, l := range s.Links {
			o.Links = append(o.Links, kafka.LinkSpec(l.declared()))
		}
		e, err := kafka.New(o)
		if err != nil {
			return engine{}, err
		}
		return engine{look: func(ctx context.Context) []sight { r := e.Look(ctx); return sights(r.Sightings, r.Beats) }, close: e.Close}, nil
	}
	return engine{}, fmt.Errorf("engine %q is not known: use one of %s; mysql is for MariaDB too, redis for Valkey", s.Engine, strings.Join(Engines(), ", "))
}

func sights(all []replica.Sighting, beats []bool) []sight {
	out := make([]sight, len(all))
	for i, s := range all {
		out[i] = sight{Sighting: s, beat: i < len(beats) && beats[i]}
	}
	return out
}
