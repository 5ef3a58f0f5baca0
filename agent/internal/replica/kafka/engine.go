package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
)

// Options of an Engine.
type Options struct {
	Server Server
	Links  []LinkSpec
	// Timeout bounds a look; at least 100 ms. 0: 2 seconds.
	Timeout time.Duration
	// ReadCommitted says that the groups read committed transactions only: the log ends for them where the oldest open
	// transaction begins.
	ReadCommitted bool
	// Interval is MirrorMaker's emit.heartbeats.interval.seconds. 0: 1 second, as is its default.
	Interval time.Duration
	// Silence is how long no heartbeat of MirrorMaker may come before its link is down. 0: 5 seconds.
	Silence time.Duration
}

// Engine looks at links in one cluster. It is used by one goroutine at a time.
type Engine struct {
	options Options
	memory  []Memory // of the link with the same index
	client  client
}

// Report is what one look told: one sighting for each declared link, in their order.
type Report struct {
	Began, Ended time.Time
	Sightings    []replica.Sighting
	// Beats says of each sighting whether its bounds hold with the link down too.
	Beats []bool
}

const (
	defaultTimeout  = 2 * time.Second
	shortestTimeout = 100 * time.Millisecond // the driver's
	defaultInterval = time.Second
	defaultSilence  = 5 * time.Second
)

// New makes an Engine; it does not connect.
func New(o Options) (*Engine, error) {
	if o.Timeout < 0 || o.Interval < 0 || o.Silence < 0 {
		return nil, errors.New("kafka: timeout, interval and silence are no times below 0")
	}
	o.Links = slices.Clone(o.Links)
	orElse(&o.Timeout, defaultTimeout)
	if o.Timeout < shortestTimeout {
		return nil, fmt.Errorf("kafka: the timeout must be at least %s", shortestTimeout)
	}
	orElse(&o.Interval, defaultInterval)
	orElse(&o.Silence, defaultSilence)
	ends := map[string]bool{}
	for _, l := range o.Links {
		name := l.sighting().Link.Name()
		if l.Store == "" || l.From == "" || l.To == "" || (l.End != replica.Source && l.End != replica.Target) {
			return nil, fmt.Errorf("kafka: link %q: store, from, to and an end (source or target) are needed", name)
		}
		key := strings.Join([]string{l.Store, l.From, l.To, l.Channel, string(l.End)}, "\x00")
		if ends[key] {
			return nil, fmt.Errorf("kafka: link %q: its %s end is declared twice", name, l.End)
		}
		ends[key] = true
	}
	c, err := newClient(o.Server, o.Timeout)
	if err != nil {
		return nil, err
	}
	return &Engine{options: o, memory: make([]Memory, len(o.Links)), client: c}, nil
}

func orElse(d *time.Duration, standard time.Duration) {
	if *d == 0 {
		*d = standard
	}
}

// Close closes the connections.
func (e *Engine) Close() { e.client.close() }

// Look asks once and tells a sighting for each declared link, whatever happens. It blocks for at most one timeout.
func (e *Engine) Look(ctx context.Context) Report {
	r := Report{Began: time.Now()}
	ctx, cancel := context.WithDeadline(ctx, r.Began.Add(e.options.Timeout))
	defer cancel()
	for i, l := range e.options.Links {
		s, bounded, err := e.one(ctx, l, &e.memory[i])
		if err != nil {
			s, bounded = failed(l.sighting(), classify(err)), false
		}
		r.Sightings, r.Beats = append(r.Sightings, s), append(r.Beats, bounded)
	}
	r.Ended = time.Now()
	return r
}

func (e *Engine) one(ctx context.Context, l LinkSpec, m *Memory) (s replica.Sighting, bounded bool, err error) {
	if err := e.client.open(ctx); err != nil {
		return s, false, err
	}
	if l.Channel == "" && l.End == replica.Source {
		if err := e.client.kafka.Ping(ctx); err != nil {
			return s, false, fmt.Errorf("ask the cluster: %w", err)
		}
		return failed(l.sighting(), &Failure{replica.ReasonNotMeasured, "MirrorMaker is looked at in the target's cluster"}), false, nil
	}
	if l.Channel == "" {
		row, err := e.mirror(ctx, l)
		if err != nil {
			return s, false, err
		}
		s, bounded = Mirror(l, row, e.options.Interval, e.options.Silence, m)
		return s, bounded, nil
	}
	row, err := e.group(ctx, l)
	if err != nil {
		return s, false, err
	}
	return Group(l, row, m), false, nil
}
