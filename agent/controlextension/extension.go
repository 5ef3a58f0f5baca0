package controlextension

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/extension/extensioncapabilities"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/deadman"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/transport"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// control runs one heartbeat and, at a site, one long-poll per server.
type control struct {
	log     *zap.Logger
	cfg     *Config
	version string
	board   *topology.Board
	vitals  *vitals.Vitals

	agentID string
	bootID  string
	began   time.Time // start of the monotonic clock of the exchanges
	lines   []*transport.Line
	pager   *pager // nil: nobody is paged
	cancel  context.CancelFunc
	done    sync.WaitGroup
	parting *parting
}

var (
	_ extension.Extension             = (*control)(nil)
	_ extensioncapabilities.Dependent = (*control)(nil)

	_ extensioncapabilities.PipelineWatcher = (*control)(nil)
)

func newControl(
	log *zap.Logger, cfg *Config, version string, board *topology.Board, v *vitals.Vitals,
) *control {
	return &control{log: log, cfg: cfg, version: version, board: board, vitals: v, began: time.Now(), parting: newParting()}
}

// Dependencies makes the credentials start first.
func (c *control) Dependencies() []component.ID {
	if c.cfg.Auth == nil {
		return nil
	}
	return []component.ID{*c.cfg.Auth}
}

// Start takes up the topology from disk and begins to talk to the servers; it waits for none of them.
func (c *control) Start(_ context.Context, host component.Host) error { //nolint:contextcheck // a component outlives the context of its start
	var err error
	if c.agentID, err = agentID(c.cfg.Directory); err != nil {
		return err
	}
	c.vitals.Name(c.agentID)
	c.bootID = randomID("boot_")
	if c.cfg.Role == RoleSite {
		c.recall()
		if err := c.arm(); err != nil {
			return err
		}
	}
	beats, polls := make([]*beater, 0, len(c.cfg.Endpoints)), make([]*poller, 0, len(c.cfg.Endpoints))
	for _, endpoint := range c.cfg.Endpoints {
		line, err := c.line(host, beatTimeout(c.cfg.beat()))
		if err != nil {
			return err
		}
		beats = append(beats, c.newBeater(endpoint, line))
		if c.cfg.Role != RoleSite {
			continue
		}
		if line, err = c.line(host, c.cfg.Wait+10*time.Second); err != nil {
			return err
		}
		c.board.Expect(endpoint)
		polls = append(polls, c.newPoller(endpoint, line))
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	if c.pager != nil {
		c.done.Go(func() { c.pager.run(ctx) })
	}
	for _, b := range beats {
		c.done.Go(func() { b.run(ctx) })
	}
	for _, p := range polls {
		c.done.Go(func() { p.run(ctx) })
	}
	return nil
}

// Shutdown ends all conversations and waits for them.
func (c *control) Shutdown(context.Context) error {
	if c.cancel != nil {
		c.cancel()
	}
	c.done.Wait()
	for _, line := range c.lines {
		line.HangUp()
	}
	return nil
}

func (c *control) line(host component.Host, timeout time.Duration) (*transport.Line, error) {
	line, err := transport.New(host, c.cfg.Auth, timeout)
	if err != nil {
		return nil, err
	}
	c.lines = append(c.lines, line)
	return line, nil
}

// recall puts the topology of the last run on the board. A broken file costs the memory, not the start.
func (c *control) recall() {
	state, ok, err := topology.Load(c.cfg.Directory)
	if err != nil {
		c.log.Warn("kept topology cannot be used, waiting for a server", zap.Error(err))
		return
	}
	if !ok {
		c.log.Info("no topology is kept, waiting for a server")
		return
	}
	if err := c.board.Offer("", c.cfg.Site, state, nil); err != nil {
		c.log.Info("kept topology is not taken up", zap.Error(err))
		return
	}
	c.log.Info("topology from disk", zap.Stringer("at", state.At), zap.Int("probes", len(state.Probes)))
}

// arm makes the dead man's switch, and says whether there is one.
func (c *control) arm() (err error) {
	c.vitals.Arm(c.cfg.Page.KeyFile != "")
	if c.cfg.Page.KeyFile == "" {
		c.log.Info("the dead man's switch is off: this agent pages nobody when no server answers; --page-key-file turns it on")
		if record, err := deadman.Load(c.cfg.Directory); err == nil && record.Open() {
			c.log.Warn("an alert of an earlier run may be open and has to be closed by hand")
		}
		return nil
	}
	if c.pager, err = c.newPager(); err != nil {
		return err
	}
	c.log.Info("the dead man's switch is on", zap.Duration("after", c.cfg.Page.After), zap.String("url", c.cfg.Page.URL))
	return nil
}

// teller logs a trouble when it changes and its end, not each time it stays. One goroutine owns it.
type teller struct {
	log     *zap.Logger
	trouble string
}

func (t *teller) tell(trouble string) {
	if trouble == t.trouble {
		return
	}
	t.trouble = trouble
	if trouble == "" {
		t.log.Info("server answers again")
		return
	}
	t.log.Warn("server does not answer as it should", zap.String("why", trouble))
}

// unexpected is the trouble of a status that is not the wanted one.
func unexpected(status int) string {
	if status == http.StatusUnauthorized || status == http.StatusForbidden {
		return fmt.Sprintf("it answered %d: the token is not accepted, create one with: "+
			"evenkeel-server token create --kind site --name SITE", status)
	}
	if status == http.StatusNotFound {
		return "it answered 404: it has no site or witness of the token's name, or is no Evenkeel server; " +
			"see `sites` in its configuration, --token-file and --servers"
	}
	return fmt.Sprintf("it answered %d", status)
}

// sleep waits and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
