package nats

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	driver "github.com/nats-io/nats.go"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Server is where a server is and as whom to ask it.
type Server struct {
	Address         string // host:port
	User            string
	PasswordFile    string // read at each connect; empty: no password
	CredentialsFile string // JWT and seed, as nsc writes them; read at each connect; empty: none
	TLS             *tls.Config
	// Domain is the JetStream domain to ask, where it is another than the server's own. A domain behind a leaf node can
	// be asked only while that leaf node is connected.
	Domain string
}

// conn is one connection that is made when needed and made anew after it failed. One goroutine uses it at a time.
type conn struct {
	server Server
	prefix string
	nc     *driver.Conn

	mu   sync.Mutex
	deny context.CancelCauseFunc // of the question that is being asked
}

func newConn(s Server) (*conn, error) {
	if _, _, err := net.SplitHostPort(s.Address); err != nil || strings.ContainsAny(s.Address, "@/, ") {
		return nil, errors.New("nats: the address is not host:port")
	}
	prefix := "$JS.API."
	if s.Domain != "" {
		if !site(s.Domain) {
			return nil, errors.New("nats: the domain is no name")
		}
		prefix = "$JS." + s.Domain + ".API."
	}
	return &conn{server: s, prefix: prefix}, nil
}

// dial connects unless it is connected.
func (c *conn) dial(ctx context.Context) error {
	if c.nc != nil && c.nc.IsConnected() {
		return nil
	}
	c.close()
	limit := defaultTimeout
	if end, ok := ctx.Deadline(); ok {
		limit = time.Until(end)
	}
	if limit <= 0 {
		return context.DeadlineExceeded
	}
	options := []driver.Option{
		driver.Name("evenkeel"), driver.CustomInboxPrefix("_INBOX_evenkeel"), driver.Timeout(limit), driver.NoReconnect(),
		driver.ErrorHandler(func(_ *driver.Conn, _ *driver.Subscription, err error) { c.denied(err) }),
	}
	if s := c.server; s.PasswordFile != "" || s.User != "" {
		password, err := secret(s.PasswordFile)
		if err != nil {
			return err
		}
		options = append(options, driver.UserInfo(s.User, password))
	}
	if f := c.server.CredentialsFile; f != "" {
		text, err := secret(f)
		if err != nil {
			return err
		}
		options = append(options, driver.UserCredentialBytes([]byte(text)))
	}
	if c.server.TLS != nil {
		options = append(options, driver.Secure(c.server.TLS))
	}
	nc, err := driver.Connect("nats://"+c.server.Address, options...)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.nc = nc
	return nil
}

// maxSecret bounds what is read of a password or credentials file.
const maxSecret = 64 << 10

func secret(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", errSecret
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return "", errSecret
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// denied ends the question that is being asked: a server tells a missing permission by the way, and does not answer.
func (c *conn) denied(err error) {
	if !errors.Is(err, driver.ErrPermissionViolation) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deny != nil {
		c.deny(driver.ErrPermissionViolation)
	}
}

// ask sends a request and waits for the answer. After a time-out the connection is dropped.
func (c *conn) ask(ctx context.Context, msg *driver.Msg) ([]byte, error) {
	if err := c.dial(ctx); err != nil {
		return nil, err
	}
	ctx, deny := context.WithCancelCause(ctx)
	defer deny(nil)
	c.mu.Lock()
	c.deny = deny
	c.mu.Unlock()
	answer, err := c.nc.RequestMsgWithContext(ctx, msg)
	c.mu.Lock()
	c.deny = nil
	c.mu.Unlock()
	switch {
	case err == nil:
		return answer.Data, nil
	case errors.Is(context.Cause(ctx), driver.ErrPermissionViolation):
		return nil, driver.ErrPermissionViolation
	case errors.Is(err, driver.ErrNoResponders):
		return nil, err
	}
	c.close()
	return nil, fmt.Errorf("ask: %w", err)
}

// stream asks for the state of a stream.
func (c *conn) stream(ctx context.Context, name string) (StreamRow, error) {
	answer, err := c.ask(ctx, driver.NewMsg(c.prefix+"STREAM.INFO."+name))
	if err != nil {
		return StreamRow{}, err
	}
	return ParseStream(answer)
}

// get is which message is asked for.
type get struct {
	Seq  uint64 `json:"seq,omitempty"`          // with Next: this or the next one after it
	Last string `json:"last_by_subj,omitempty"` // the newest of these subjects
	Next string `json:"next_by_subj,omitempty"` // of these subjects
}

// message asks the leader of a stream for a message; a follower or mirror, which direct gets may ask, could be behind.
func (c *conn) message(ctx context.Context, stream string, which get) (replica.Opt[MessageRow], error) {
	body, err := json.Marshal(which)
	if err != nil {
		return replica.Opt[MessageRow]{}, fmt.Errorf("write question: %w", err)
	}
	msg := driver.NewMsg(c.prefix + "STREAM.MSG.GET." + stream)
	msg.Data = body
	answer, err := c.ask(ctx, msg)
	if err != nil {
		return replica.Opt[MessageRow]{}, err
	}
	return ParseMessage(answer)
}

// close closes the connection; the next question opens a new one.
func (c *conn) close() {
	if c.nc != nil {
		c.nc.Close()
		c.nc = nil
	}
}
