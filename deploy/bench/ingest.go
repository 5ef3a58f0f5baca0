package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// senders at a time.
const senders = 2

// benchIngest sends the same requests to the server and to a stock VictoriaMetrics, in turn.
func benchIngest(ctx context.Context, b *bench) (err error) {
	peer, stop, err := b.victoriaMetrics(ctx)
	if err != nil {
		return err
	}
	defer stop()
	ours, end, err := b.alone(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	token, err := ours.Token(ctx, "site", "fra")
	if err != nil {
		return err
	}
	for _, w := range []wire{otlp(), remoteWrite()} {
		doors := []*door{
			{name: "ours", url: ours.URL + w.ours, token: token, wire: w, pid: ours.Process.PID(), client: newSender(), query: ours.Client},
			{name: "victoriametrics", url: peer.client.URL + w.theirs, wire: w, pid: peer.process.PID(), client: newSender(), query: peer.client},
		}
		if err := b.rounds(ctx, w, doors); err != nil {
			return err
		}
	}
	return nil
}

// rounds alternates between the doors and prints the medians.
func (b *bench) rounds(ctx context.Context, w wire, doors []*door) error {
	speeds, costs := make([][]float64, len(doors)), make([][]float64, len(doors))
	sent := 0
	for round := range b.o.Rounds + 1 { // in the first one all series are new; it does not count
		payloads, err := prepare(w, b.o.Scrapes, time.Now())
		if err != nil {
			return err
		}
		sent += b.o.Scrapes
		for i := range doors {
			i = (i + round) % len(doors) // each is the first one as often
			speed, cost, err := doors[i].round(ctx, payloads, b.o.Settle)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", w.name, doors[i].name, err)
			}
			b.say("%s round %d, %s: %.0f samples/s, %.2f s of processor a million", w.name, round, doors[i].name, speed, cost)
			if round > 0 {
				speeds[i], costs[i] = append(speeds[i], speed), append(costs[i], cost)
			}
		}
	}
	for i, d := range doors {
		if err := d.stored(ctx, sent); err != nil {
			return fmt.Errorf("%s, %s: %w", w.name, d.name, err)
		}
		b.figure("ingest_"+w.name+"_"+d.name, median(speeds[i]), "samples/s")
		b.figure("ingest_"+w.name+"_"+d.name+"_cpu", median(costs[i]), "s/million")
	}
	b.figure("ingest_"+w.name+"_ratio", median(speeds[0])/median(speeds[1]), "ratio")
	b.figure("ingest_"+w.name+"_cpu_ratio", median(costs[0])/median(costs[1]), "ratio")
	return nil
}

// door is where samples are sent.
type door struct {
	name, url, token string
	wire             wire
	pid              int
	client           *http.Client
	query            *e2e.Client
}

func newSender() *http.Client {
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: senders, DisableCompression: true}}
}

// round sends the payloads and finds samples per second until the last answer, and the processor time a million samples
// cost, with what is done behind the answers until it has settled.
func (d *door) round(ctx context.Context, payloads []payload, settle time.Duration) (speed, cost float64, err error) {
	before, err := cpu(d.pid)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	samples, err := d.send(ctx, payloads)
	if err != nil {
		return 0, 0, err
	}
	speed = float64(samples) / time.Since(began).Seconds()
	if err := pause(ctx, settle); err != nil {
		return 0, 0, err
	}
	after, err := cpu(d.pid)
	return speed, (after - before) / float64(samples) * 1e6, err
}

// send sends all payloads with a few senders and returns how many samples were taken. One that is not is an error.
func (d *door) send(ctx context.Context, payloads []payload) (samples int, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(payloads) {
					return
				}
				a, err := e2e.Post(ctx, d.client, d.url, d.token, payloads[i].body, d.wire.header...)
				// An answer to OTLP that says more than nothing is a partial success.
				if err == nil && (a.Status/100 != 2 || len(a.Body) > 2) {
					err = fmt.Errorf("answered %d: %.300q", a.Status, a.Body)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	for _, p := range payloads {
		samples += p.samples
	}
	return samples, context.Cause(ctx)
}

// stored makes sure that what was answered for is there: of one host, all samples of all scrapes.
func (d *door) stored(ctx context.Context, scrapes int) error {
	want := float64(scrapes * seriesPerHost)
	return until(ctx, 30*time.Second, "the samples are stored", func() error {
		list, err := d.query.Query(ctx, fmt.Sprintf(`sum(count_over_time({device=%q,mode=%q}[1h]))`, device(hostName(0)), d.wire.name))
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0].Value != want {
			return fmt.Errorf("it answers %v, sent were %g", list, want)
		}
		return nil
	})
}

// victoria is a running VictoriaMetrics.
type victoria struct {
	process *e2e.Process
	client  *e2e.Client
}

// victoriaMetrics builds the stock single node from the version in go.mod and starts it as it comes.
func (b *bench) victoriaMetrics(ctx context.Context) (v victoria, stop func(), err error) {
	dir, err := b.folder()
	if err != nil {
		return v, nil, err
	}
	b.say("building VictoriaMetrics")
	path := filepath.Join(dir, "victoria-metrics")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path,
		"github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return v, nil, fmt.Errorf("build VictoriaMetrics: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	ports, err := e2e.ClaimPorts()
	if err != nil {
		return v, nil, err
	}
	v.process, err = e2e.StartProcess(path, "-storageDataPath="+filepath.Join(dir, "data"), "-httpListenAddr="+ports.Addr(0), "-loggerLevel=WARN")
	if err != nil {
		ports.Release()
		return v, nil, err
	}
	stop = func() {
		v.process.Kill()
		ports.Release()
	}
	v.client = e2e.NewClient(ports.Addr(0), "")
	err = until(ctx, time.Minute, "VictoriaMetrics is ready", func() error {
		// Its answer is no JSON: reaching it is enough.
		var refused *e2e.StatusError
		switch err := v.client.Get(ctx, "/health", nil); {
		case err == nil, errors.As(err, &refused):
			return nil
		default:
			return err
		}
	})
	if err != nil {
		err = fmt.Errorf("%w\nit said:\n%s", err, v.process.Output())
		stop()
		return v, nil, err
	}
	return v, stop, nil
}
