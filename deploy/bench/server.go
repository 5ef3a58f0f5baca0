package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// serverConfig is three sites that nobody reports from.
const serverConfig = `lab: true
sites:
  - {name: fra, time_zone: Europe/Berlin, region: eu, pattern: same-city, capacity: {checkout: 120}}
  - {name: ams, time_zone: Europe/Amsterdam, region: eu, pattern: same-city, capacity: {checkout: 120}}
  - {name: waw, time_zone: Europe/Warsaw, region: eu, pattern: same-city, capacity: {checkout: 120}}
services:
  - name: checkout
    survivors: [fra, ams, waw]
    entries: {fra: "http://127.0.0.1:9/fra", ams: "http://127.0.0.1:9/ams", waw: "http://127.0.0.1:9/waw"}
    objective: {latency_p99: 400ms, success: 99%}
`

// benchServer measures the server's memory, alone and in a lab, and how long it takes to be ready.
func benchServer(ctx context.Context, b *bench) error {
	if err := b.idle(ctx); err != nil {
		return err
	}
	u, err := b.watchInLab(ctx, "server")
	if err != nil {
		return err
	}
	b.figure("server_lab_rss", u.rssMax, "MB")
	b.figure("server_lab_cpu", u.cores*100, "%")
	var cold []float64
	for range b.o.Starts {
		took, err := b.coldStart(ctx)
		if err != nil {
			return err
		}
		cold = append(cold, took)
	}
	b.starts("cold", cold)
	return b.warmStarts(ctx)
}

func (b *bench) starts(name string, took []float64) {
	b.figure("server_start_"+name+"_p50", quantile(took, 0.5), "s")
	b.figure("server_start_"+name+"_max", quantile(took, 1), "s")
}

// alone starts a server that is ready, with a new data folder on ports of its own. stop may be called twice.
func (b *bench) alone(ctx context.Context) (s *e2e.Server, stop func() error, err error) {
	dir, err := b.folder()
	if err != nil {
		return nil, nil, err
	}
	ports, err := e2e.ClaimPorts()
	if err != nil {
		return nil, nil, err
	}
	if s, err = e2e.StartServer(ctx, b.programs, dir, ports, serverConfig); err != nil {
		ports.Release()
		return nil, nil, err
	}
	return s, func() error {
		defer ports.Release()
		return s.Stop()
	}, nil
}

// idle watches a server that nobody reports to.
func (b *bench) idle(ctx context.Context) error {
	s, stop, err := b.alone(ctx)
	if err != nil {
		return err
	}
	u, err := watch(ctx, s.Process.PID(), b.o.Measure)
	if err != nil {
		return errors.Join(err, stop())
	}
	size, err := rss(s.Process.PID())
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	b.figure("server_idle_rss", size, "MB")
	b.figure("server_idle_cpu", u.cores*100, "%")
	return nil
}

// ready is how long a start takes from the exec to the first 200 of /readyz, in seconds.
func ready(ctx context.Context, s *e2e.Server) (float64, error) {
	began := time.Now()
	if err := s.Start(); err != nil {
		return 0, err
	}
	const often = 5 * time.Millisecond // e2e.Until looks ten times a second, too seldom here
	for time.Since(began) < time.Minute {
		if s.Ready(ctx) == nil {
			return time.Since(began).Seconds(), nil
		}
		if err := pause(ctx, often); err != nil {
			return 0, err
		}
	}
	return 0, s.AwaitReady(ctx)
}

// coldStart is the start on an empty data folder.
func (b *bench) coldStart(ctx context.Context) (took float64, err error) {
	s, stop, err := b.alone(ctx) // also so that the configuration is written
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := s.Stop(); err != nil {
		return 0, err
	}
	if err := os.RemoveAll(s.Data); err != nil {
		return 0, fmt.Errorf("empty the data folder: %w", err)
	}
	return ready(ctx, s)
}

// warmStarts are starts on a folder with samples, after a proper end and after a kill.
func (b *bench) warmStarts(ctx context.Context) (err error) {
	s, stop, err := b.alone(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	token, err := s.Token(ctx, "site", "fra")
	if err != nil {
		return err
	}
	b.say("writing samples")
	w := otlp()
	payloads, err := prepare(w, b.o.Scrapes, time.Now())
	if err != nil {
		return err
	}
	if _, err := (&door{url: s.URL + w.ours, token: token, wire: w, client: newSender()}).send(ctx, payloads); err != nil {
		return err
	}
	for _, c := range []struct {
		name string
		end  func() error
	}{{"data", s.Stop}, {"killed", func() error { s.Kill(); return nil }}} {
		var took []float64
		for range b.o.Starts {
			if err := c.end(); err != nil {
				return err
			}
			one, err := ready(ctx, s)
			if err != nil {
				return err
			}
			took = append(took, one)
		}
		b.starts(c.name, took)
	}
	return nil
}
