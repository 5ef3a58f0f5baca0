package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// warmUp is how long a lab runs before a process of it is watched.
const warmUp = 15 * time.Second

// benchAgent watches the agent of one site in a lab in which nothing happens, and one with everything to do beside the
// usual programs.
func benchAgent(ctx context.Context, b *bench) error {
	for _, c := range []struct{ name, hostMetrics string }{{"agent", "false"}, {"agent_hostmetrics", "true"}} {
		if err := os.Setenv("EVENKEEL_HOST_METRICS", c.hostMetrics); err != nil {
			return fmt.Errorf("set the agents' setting: %w", err)
		}
		u, err := b.watchInLab(ctx, "agent-fra")
		if err != nil {
			return err
		}
		b.figure(c.name+"_rss_max", u.rssMax, "MB")
		b.figure(c.name+"_rss_median", u.rssMedian, "MB")
		b.figure(c.name+"_cpu", u.cores*100, "%")
	}
	return benchSite(ctx, b)
}

// watchInLab watches one process of a calm lab.
func (b *bench) watchInLab(ctx context.Context, name string) (u usage, err error) {
	dir, err := b.folder()
	if err != nil {
		return u, err
	}
	l, err := e2e.StartLab(ctx, e2e.LabOptions{Programs: b.programs, Dir: dir})
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	if err := pause(ctx, min(warmUp, b.o.Measure)); err != nil {
		return u, err
	}
	s, err := l.LabStatus(ctx)
	if err != nil {
		return u, err
	}
	for _, p := range s.Processes {
		if p.Name == name {
			return watch(ctx, p.PID, b.o.Measure)
		}
	}
	return u, fmt.Errorf("the lab has no process %s", name)
}
