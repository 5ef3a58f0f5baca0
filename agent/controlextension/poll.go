package controlextension

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/transport"
)

const (
	// leastPoll keeps a server that answers at once from being asked in a tight circle.
	leastPoll   = time.Second
	firstRetry  = 500 * time.Millisecond
	longestWait = 10 * time.Second
)

// poller asks one server for a newer topology, over and over. One goroutine owns it.
type poller struct {
	c        *control
	endpoint string
	line     *transport.Line
	teller   teller
}

func (c *control) newPoller(endpoint string, line *transport.Line) *poller {
	return &poller{
		c: c, endpoint: endpoint, line: line,
		teller: teller{log: c.log.With(zap.String("server", endpoint), zap.String("line", "topology"))},
	}
}

func (p *poller) run(ctx context.Context) {
	defer p.c.board.Lost(p.endpoint) // who is not asked has no voice
	wait := firstRetry
	for {
		began := time.Now()
		err := p.poll(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.teller.tell(err.Error())
			if !sleep(ctx, wait+rand.N(wait/2)) {
				return
			}
			wait = min(2*wait, longestWait)
			continue
		}
		p.teller.tell("")
		wait = firstRetry
		if rest := leastPoll - time.Since(began); rest > 0 && !sleep(ctx, rest) {
			return
		}
	}
}

func (p *poller) poll(ctx context.Context) error {
	state, _, _ := p.c.board.Current()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(state.At), nil)
	if err != nil {
		return errors.New("no request could be made of its address")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "evenkeel-agent/"+p.c.version)
	answer, err := p.line.Do(req)
	if err != nil {
		p.line.HangUp()
		p.c.board.Lost(p.endpoint)
		return errors.New("no answer")
	}
	defer func() { _ = answer.Body.Close() }()
	switch answer.StatusCode {
	case http.StatusNoContent:
		p.c.board.Confirm(p.endpoint, state.At)
		return nil
	case http.StatusOK:
	default:
		p.c.board.Lost(p.endpoint)
		return errors.New(unexpected(answer.StatusCode))
	}
	raw, err := io.ReadAll(io.LimitReader(answer.Body, topology.MaxBytes+1))
	if err != nil {
		p.c.board.Lost(p.endpoint)
		return errors.New("its answer was cut short")
	}
	newer, err := topology.Parse(raw)
	if err != nil {
		p.c.board.Lost(p.endpoint)
		return err
	}
	return p.offer(newer)
}

// offer hands a state to the board and says what changed. The same state again is no trouble.
func (p *poller) offer(s topology.State) error {
	keep := func(raw []byte) error { return topology.Keep(p.c.cfg.Directory, raw) }
	err := p.c.board.Offer(p.endpoint, p.c.cfg.Site, s, keep)
	if errors.Is(err, topology.ErrSame) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("its topology is refused: %w", err)
	}
	log := p.teller.log
	log.Info("new topology", zap.Stringer("at", s.At), zap.Int("probes", len(s.Probes)))
	for _, sentence := range s.Refused {
		log.Warn("probe cannot be made", zap.String("why", sentence))
	}
	return nil
}

// url asks for what is newer than at, whose zero value asks for anything.
func (p *poller) url(at topology.Revision) string {
	query := url.Values{}
	query.Set("cluster_id", at.ClusterID)
	query.Set("epoch", strconv.FormatInt(at.Epoch, 10))
	query.Set("after", strconv.FormatInt(at.Revision, 10))
	query.Set("wait", p.c.cfg.Wait.String())
	return strings.TrimSuffix(p.endpoint, "/") + "/api/v1/agent/state?" + query.Encode()
}
