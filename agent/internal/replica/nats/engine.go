package nats

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Options of an Engine.
type Options struct {
	Server Server
	// Peer is the server at the other end of the links, where the agent may ask it too: the origin's for links that end at
	// Server, the copy's for links that begin there. nil: it may not.
	Peer  *Server
	Links []LinkSpec
	// Timeout bounds a look; a Peer that does not answer uses up half of it. 0: 2 seconds.
	Timeout time.Duration
	// Silence is how long a copy may not hear its origin before the link is down; idle heartbeats come each second.
	// 0: 5 seconds.
	Silence time.Duration
}

// Engine looks at the links of one server. It is used by one goroutine at a time.
type Engine struct {
	links      []LinkSpec
	memory     []Memory // of the link with the same index
	self, peer *conn    // peer is nil where it is not asked
	timeout    time.Duration
	silence    time.Duration
}

// Report is what one look told: one sighting for each declared link, in their order.
type Report struct {
	Began, Ended time.Time
	Sightings    []replica.Sighting
	// Beats says of each sighting whether its bounds hold with the link down too.
	Beats []bool
}

const (
	defaultTimeout = 2 * time.Second
	defaultSilence = 5 * time.Second
	// arrival is how long a look waits for what was on its way when the origin was asked: with it the delay of a healthy
	// network does not hide that nothing is missing.
	arrival     = 100 * time.Millisecond
	arrivalStep = 10 * time.Millisecond
)

// New makes an Engine; it does not connect.
func New(o Options) (*Engine, error) {
	if o.Timeout < 0 || o.Silence < 0 {
		return nil, fmt.Errorf("nats: a time below 0: timeout %s, silence %s", o.Timeout, o.Silence)
	}
	e := &Engine{
		links: append([]LinkSpec(nil), o.Links...), memory: make([]Memory, len(o.Links)), timeout: o.Timeout, silence: o.Silence,
	}
	if e.timeout == 0 {
		e.timeout = defaultTimeout
	}
	if e.silence == 0 {
		e.silence = defaultSilence
	}
	ends := map[string]bool{}
	for _, l := range o.Links {
		name := l.sighting().Link.Name()
		if l.Store == "" || l.From == "" || l.To == "" || (l.End != replica.Source && l.End != replica.Target) {
			return nil, fmt.Errorf("nats: link %q: store, from, to and an end (source or target) are needed", name)
		}
		if !site(l.Channel) || !site(l.copied()) {
			return nil, fmt.Errorf("nats: link %q: channel must be the name of the origin's stream, and peer, where given, that of its copy", name)
		}
		key := strings.Join([]string{l.Store, l.From, l.To, l.Channel, string(l.End)}, "\x00")
		if ends[key] {
			return nil, fmt.Errorf("nats: link %q: its %s end is declared twice", name, l.End)
		}
		ends[key] = true
	}
	var err error
	if e.self, err = newConn(o.Server); err != nil {
		return nil, err
	}
	if o.Peer != nil {
		if e.peer, err = newConn(*o.Peer); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// Close closes the connections.
func (e *Engine) Close() {
	e.self.close()
	if e.peer != nil {
		e.peer.close()
	}
}

// Look asks once and tells a sighting for each declared link, whatever happens. It blocks for at most one timeout.
func (e *Engine) Look(ctx context.Context) Report {
	r := Report{Began: time.Now()}
	ctx, cancel := context.WithDeadline(ctx, r.Began.Add(e.timeout))
	defer cancel()
	mine := &asker{conn: e.self, end: r.Began.Add(e.timeout)}
	var theirs *asker
	if e.peer != nil {
		theirs = &asker{conn: e.peer, end: r.Began.Add(e.timeout / 2)}
	}
	for i, l := range e.links {
		v := View{Now: time.Now()}
		if l.End == replica.Target {
			gather(ctx, l, theirs, mine, &v)
		} else {
			gather(ctx, l, mine, theirs, &v)
		}
		s, bounded := Judge(l, v, e.silence, &e.memory[i])
		r.Sightings, r.Beats = append(r.Sightings, s), append(r.Beats, bounded)
	}
	r.Ended = time.Now()
	return r
}
