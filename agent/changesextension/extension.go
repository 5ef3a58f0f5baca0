package changesextension

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/transport"
)

// changes runs the door, a sender for each server, and the watch over packages.
type changes struct {
	log     *zap.Logger
	cfg     *Config
	version string

	queue  *queue
	wake   []chan struct{} // one token for each sender
	door   *http.Server    // nil: there is none
	lines  []*transport.Line
	cancel context.CancelFunc
	done   sync.WaitGroup
}

var (
	_ extension.Extension             = (*changes)(nil)
	_ extensioncapabilities.Dependent = (*changes)(nil)
)

// Dependencies makes the credentials start first.
func (c *changes) Dependencies() []component.ID {
	if c.cfg.Auth == nil {
		return nil
	}
	return []component.ID{*c.cfg.Auth}
}

// sendTimeout is how long one server may take for one change.
const sendTimeout = 10 * time.Second

// Start opens the door. A door that cannot be opened is a warning: an agent has more important work.
func (c *changes) Start(starting context.Context, host component.Host) error { //nolint:contextcheck // a component outlives the context of its start
	var err error
	if c.queue, err = openQueue(c.cfg.Directory, c.cfg.Endpoints); err != nil {
		c.log.Warn("changes that waited for a server cannot be read and are lost", zap.Error(err))
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	for _, endpoint := range c.cfg.Endpoints {
		line, err := transport.New(host, c.cfg.Auth, sendTimeout)
		if err != nil {
			return err
		}
		c.lines = append(c.lines, line)
		wake := make(chan struct{}, 1)
		wake <- struct{}{} // for what an earlier run has left
		c.wake = append(c.wake, wake)
		s := &sender{c: c, endpoint: endpoint, line: line, wake: wake, log: c.log.With(zap.String("server", endpoint))}
		c.done.Go(func() { s.run(ctx) })
	}
	listener, err := c.listen(starting)
	if err != nil {
		c.log.Warn("no changes can be declared at this agent: its door cannot be opened", zap.Error(err))
	} else {
		c.door = &http.Server{Handler: c.handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
		c.done.Go(func() { _ = c.door.Serve(listener) }) // it ends with Close
	}
	if c.cfg.PackageStatus != "" {
		w := &packages{path: c.cfg.PackageStatus, log: c.log, declare: c.take}
		c.done.Go(func() { w.run(ctx) })
	}
	return nil
}

// Shutdown ends all of it; what waits is on disk.
func (c *changes) Shutdown(context.Context) error {
	if c.cancel != nil {
		c.cancel()
	}
	if c.door != nil {
		_ = c.door.Close()
	}
	c.done.Wait()
	for _, line := range c.lines {
		line.HangUp()
	}
	return nil
}

func (c *changes) listen(ctx context.Context) (net.Listener, error) {
	network, where := Door(c.cfg.Directory, c.cfg.Address)
	if network == "unix" {
		return listenSocket(ctx, where)
	}
	return (&net.ListenConfig{}).Listen(ctx, network, where)
}

// take keeps a change and wakes the senders.
func (c *changes) take(change Change) error {
	if err := c.queue.add(change, c.cfg.Endpoints, time.Now()); err != nil {
		return err
	}
	c.log.Info("change declared", zap.String("id", change.ID), zap.String("service", change.Service),
		zap.String("what", change.What), zap.Time("until", change.End))
	for _, wake := range c.wake {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	return nil
}
