package controlextension

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/deadman"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
	"github.com/evenkeel/evenkeel/remediations/pagerduty"
)

// mostSteady is how long answers must last before an alert is closed; a shorter page::after shortens it as well.
const mostSteady = 15 * time.Second

// pager is the dead man's switch at work. The heartbeats report to it by heard, one goroutine sends.
type pager struct {
	log    *zap.Logger
	dir    string
	client *pagerduty.Client
	board  *topology.Board
	vitals *vitals.Vitals
	wake   chan struct{} // holds one token when there may be something to do

	mu sync.Mutex
	sw *deadman.Switch

	kept    deadman.Record // what is on disk; the sending goroutine owns this and the trouble
	trouble string
}

// newPager reads the key and what an earlier run left.
func (c *control) newPager() (*pager, error) {
	key, err := deadman.ReadKey(c.cfg.Page.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	client, err := pagerduty.New(pagerduty.Options{
		Key: key, BaseURL: c.cfg.Page.URL, AllowPrivate: c.cfg.Page.URL != pagerduty.DefaultBaseURL,
	})
	if err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ask for the host's name: %w", err)
	}
	record, err := deadman.Load(c.cfg.Directory)
	if err != nil {
		c.log.Warn("pages of an earlier run are forgotten, an open alert has to be closed by hand", zap.Error(err))
	}
	if record.Open() {
		c.log.Info("an alert of an earlier run may be open, it is closed when servers answer")
	}
	for _, kind := range deadman.Kinds() {
		for _, action := range []pagerduty.Action{pagerduty.Trigger, pagerduty.Resolve} {
			c.vitals.Page(vitals.Page{About: kind.String(), Action: action.String(), Result: pageAccepted}, 0)
			c.vitals.Page(vitals.Page{About: kind.String(), Action: action.String(), Result: pageFailed}, 0)
		}
	}
	return &pager{
		log: c.log, dir: c.cfg.Directory, client: client, board: c.board, vitals: c.vitals,
		wake: make(chan struct{}, 1), kept: record,
		sw: deadman.New(deadman.Options{
			Rules: c.cfg.pageRules(), Servers: c.cfg.Endpoints, Record: record, Start: time.Now(),
			Who: deadman.Who{Site: c.cfg.Site, Host: host, Agent: c.agentID},
		}),
	}, nil
}

// pageRules fits the times of the switch to the heartbeat: a heartbeat that waits for its deadline counts in full, and
// three lost ones do not break a row of answers.
func (c *Config) pageRules() deadman.Rules {
	beat, timeout := c.beat(), beatTimeout(c.beat())
	return deadman.Rules{
		After: c.Page.After, Gap: beat + timeout + time.Second, Lapse: 3*beat + 2*timeout,
		Steady: min(mostSteady, c.Page.After),
	}
}

// heard takes in the end of one heartbeat; it waits for nothing.
func (p *pager) heard(r deadman.Report) {
	p.mu.Lock()
	changes := p.sw.Heard(r)
	p.mu.Unlock()
	for _, c := range changes {
		log := p.log.With(zap.Stringer("about", c.Kind), zap.Time("since", c.Since))
		switch {
		case c.Raised:
			log.Error("no server hears this agent, paging")
		case c.Paged:
			log.Info("servers answer again, closing the alert")
		default:
			log.Info("servers answer again before anybody was paged")
		}
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run sends what is due. It is woken by every heartbeat, so it needs no timer of its own.
func (p *pager) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		state, _, _ := p.board.Current()
		p.mu.Lock()
		call, ok := p.sw.Next(time.Now(), state.At.ClusterID)
		p.mu.Unlock()
		p.keep() // what may go out is on disk before it does
		if ok {
			p.send(ctx, call)
			p.keep()
		}
	}
}

// keep writes the record when it has changed. A page is worth more than its record: a full disk costs the
// memory, not the page.
func (p *pager) keep() {
	p.mu.Lock()
	record := p.sw.Record()
	p.mu.Unlock()
	if maps.Equal(record, p.kept) {
		return
	}
	if err := deadman.Keep(p.dir, record); err != nil {
		p.tell("the record of pages cannot be kept, a restarted agent will not close its alert: " + err.Error())
		return
	}
	p.kept = record
}

// Results of an attempt, as they are counted.
const (
	pageAccepted = "accepted"
	pageFailed   = "failed"
)

// send makes one attempt.
func (p *pager) send(ctx context.Context, call deadman.Call) {
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	result, err := p.client.Send(traced, call.Event)
	verdict := verdictOf(result, err, sent.Load())
	p.mu.Lock()
	p.sw.Told(call, verdict, time.Now(), rand.Float64())
	p.mu.Unlock()
	if ctx.Err() != nil && err != nil {
		return // the agent stops
	}
	action := call.Event.Action
	if action == pagerduty.Update {
		action = pagerduty.Trigger
	}
	count := vitals.Page{About: call.Kind.String(), Action: action.String(), Result: pageAccepted}
	if err != nil {
		count.Result = pageFailed
		p.tell(excerpt(err.Error()))
	} else {
		p.tell("")
		p.log.Info("PagerDuty was told", zap.Stringer("about", call.Kind), zap.Stringer("action", call.Event.Action),
			zap.String("dedup_key", call.Event.DedupKey), zap.String("summary", call.Event.Summary))
	}
	p.vitals.Page(count, 1)
}

// verdictOf says what is known of an attempt. sent reports whether any of it left this machine.
func verdictOf(r pagerduty.Result, err error, sent bool) deadman.Verdict {
	switch s := r.Status; {
	case err == nil && r.State == pagerduty.Accepted:
		return deadman.Accepted
	case s >= 300 && s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooManyRequests:
		return deadman.TurnedAway
	case s == http.StatusTooManyRequests, !sent:
		return deadman.NotSent
	}
	return deadman.Unclear
}

// tell logs a trouble with paging when it changes.
func (p *pager) tell(trouble string) {
	if trouble == p.trouble {
		return
	}
	p.trouble = trouble
	if trouble != "" {
		p.log.Warn("paging does not work, trying again", zap.String("why", trouble))
	}
}

// check is for Config.Validate: all that can be known before the start.
func (p PageConfig) check(role string) error {
	if p.KeyFile == "" {
		return nil
	}
	if role != RoleSite {
		return errors.New("page: only agents of role site page; leave key_file out")
	}
	if err := CheckPage(p.After, p.URL); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	if _, err := deadman.ReadKey(p.KeyFile); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return nil
}
