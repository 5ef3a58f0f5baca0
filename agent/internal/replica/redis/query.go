package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	driver "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Server is where a server is and as whom to ask it.
type Server struct {
	Address      string // host:port
	User         string // empty: the default user
	PasswordFile string // read at each connect; empty: no password
	TLS          *tls.Config
}

// Options of an Engine.
type Options struct {
	Server Server
	// Source is the source of the links that end at Server, where the agent may ask it too. nil: it may not.
	Source *Server
	Links  []LinkSpec
	// Timeout bounds each question; a look asks Source, then Server, and Server again when it is behind. 0: 2 seconds.
	Timeout time.Duration
	// PingPeriod is the source's repl-ping-replica-period. 0: 10 seconds, as is the server's default.
	PingPeriod time.Duration
}

// Engine looks at the links of one server. It is used by one goroutine at a time.
type Engine struct {
	links        []LinkSpec
	memory       []Memory // of the link with the same index
	self, source *conn    // source is nil where it is not asked
	pingPeriod   time.Duration
	arriving     time.Duration
}

// Report is what one look told: one sighting for each declared link, in their order.
type Report struct {
	Began, Ended time.Time
	Sightings    []replica.Sighting
}

const (
	defaultTimeout    = 2 * time.Second
	defaultPingPeriod = 10 * time.Second
	// arrival is how long a look waits for what was on its way when the source was asked: with it the delay of a healthy
	// network does not hide that nothing is missing.
	arrival     = 100 * time.Millisecond
	arrivalStep = 10 * time.Millisecond
)

// New makes an Engine; it does not connect.
func New(o Options) (*Engine, error) {
	timeout := o.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	e := &Engine{
		links: append([]LinkSpec(nil), o.Links...), memory: make([]Memory, len(o.Links)),
		pingPeriod: o.PingPeriod, arriving: arrival,
	}
	if e.pingPeriod == 0 {
		e.pingPeriod = defaultPingPeriod
	}
	ends := map[string]bool{}
	targets := false
	for _, l := range o.Links {
		if l.Store == "" || l.From == "" || l.To == "" || (l.End != replica.Source && l.End != replica.Target) {
			return nil, fmt.Errorf("redis: link %q: store, from, to and an end (source or target) are needed", l.sighting().Link.Name())
		}
		key := strings.Join([]string{l.Store, l.From, l.To, l.Channel, string(l.End)}, "\x00")
		if ends[key] {
			return nil, fmt.Errorf("redis: link %q: its %s end is declared twice", l.sighting().Link.Name(), l.End)
		}
		ends[key] = true
		targets = targets || l.End == replica.Target
	}
	var err error
	if e.self, err = newConn(o.Server, timeout); err != nil {
		return nil, err
	}
	if o.Source != nil && targets {
		if e.source, err = newConn(*o.Source, timeout); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Look asks once and tells a sighting for each declared link, whatever happens. It blocks for at most three timeouts.
func (e *Engine) Look(ctx context.Context) Report {
	r := Report{Began: time.Now()}
	var source *Row
	if e.source != nil {
		// A source that does not answer leaves the target's own view, which is enough to see the link fail.
		if row, err := e.source.info(ctx); err == nil {
			source = &row
		}
	}
	self, err := e.self.info(ctx)
	if err == nil && source != nil {
		self, err = e.await(ctx, self, source.Info)
	}
	r.Ended = time.Now()
	for i, l := range e.links {
		var s replica.Sighting
		switch {
		case err != nil:
			f := classify(err)
			s = failed(l.sighting(), f.Reason, f.Detail)
		case l.End == replica.Source:
			s = Source(l, self, &e.memory[i])
		default:
			s = Target(l, self, source, e.pingPeriod, &e.memory[i])
		}
		r.Sightings = append(r.Sightings, s)
	}
	return r
}

// await asks the target again while it may be about to reach the offset that the source had.
func (e *Engine) await(ctx context.Context, self Row, source Info) (Row, error) {
	for begun := time.Now(); time.Since(begun) < e.arriving; {
		if self.LinkStatus != "up" || !sameHistory(source, self.Info) || self.AppliedOffset.V >= source.Offset.Or(0) {
			return self, nil
		}
		select {
		case <-ctx.Done():
			return self, nil
		case <-time.After(arrivalStep):
		}
		var err error
		if self, err = e.self.info(ctx); err != nil {
			return self, err
		}
	}
	return self, nil
}

// Close closes the connections.
func (e *Engine) Close() error {
	err := e.self.Close()
	if e.source != nil {
		err = errors.Join(err, e.source.Close())
	}
	return err
}

// conn is one connection that is made when needed and made anew after it failed.
type conn struct {
	options driver.Options
	timeout time.Duration
	client  *driver.Client
}

func newConn(s Server, timeout time.Duration) (*conn, error) {
	// The driver would write each failed dial to standard error; what it logs it returns too.
	logging.Disable()
	if _, _, err := net.SplitHostPort(s.Address); err != nil {
		return nil, errors.New("redis: the address is not host:port")
	}
	if timeout < 0 {
		return nil, errors.New("redis: the timeout is negative")
	}
	return &conn{timeout: timeout, options: driver.Options{
		Addr: s.Address, TLSConfig: s.TLS, Protocol: 2,
		// One goroutine asks, so there is one connection. With a pool of one the driver would go on dialling by itself after
		// the first failure.
		PoolSize: 2, MaxRetries: -1, DialerRetries: 1, DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout,
		PoolTimeout: timeout, ContextTimeoutEnabled: true, DisableIdentity: true,
		MaintNotificationsConfig:   &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		CredentialsProviderContext: s.credentials,
		OnConnect: func(ctx context.Context, cn *driver.Conn) error {
			// HELLO names the connection and needs no privilege, as CLIENT SETNAME does. Servers before 6.0 refuse it.
			err := cn.Hello(ctx, 2, "", "", "evenkeel").Err()
			if _, answered := errors.AsType[driver.Error](err); answered {
				return nil
			}
			return err
		},
	}}, nil
}

// maxPassword bounds what is read of a password file.
const maxPassword = 64 << 10

func (s Server) credentials(context.Context) (user, password string, err error) {
	if s.PasswordFile == "" {
		return s.User, "", nil
	}
	f, err := os.Open(s.PasswordFile)
	if err != nil {
		return "", "", errPasswordFile
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxPassword))
	if err != nil {
		return "", "", errPasswordFile
	}
	return s.User, strings.TrimRight(string(text), "\r\n"), nil
}

// do runs ask on the connection, within the timeout. After an error that is no answer the connection is dropped.
func (c *conn) do(ctx context.Context, ask func(context.Context, *driver.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if c.client == nil {
		o := c.options // the driver keeps and changes what it is given
		c.client = driver.NewClient(&o)
	}
	err := ask(ctx, c.client)
	if err == nil || errors.Is(err, driver.Nil) {
		return err
	}
	if _, answered := errors.AsType[driver.Error](err); !answered {
		// A new client dials at once; the old one would go on telling its last error for a while.
		_ = c.Close()
	}
	return err
}

// info asks for INFO.
func (c *conn) info(ctx context.Context) (Row, error) {
	row := Row{Began: time.Now()}
	err := c.do(ctx, func(ctx context.Context, client *driver.Client) error {
		// Without arguments: several sections in one snapshot are possible since 7.0 only.
		text, err := client.Info(ctx).Result()
		row.Info = ParseInfo(text)
		return err
	})
	row.Ended = time.Now()
	return row, err
}

// Close closes the connection; the next question opens a new one.
func (c *conn) Close() error {
	if c.client == nil {
		return nil
	}
	err := c.client.Close()
	c.client = nil
	return err
}
