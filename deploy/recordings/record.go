package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// day of the lab's load: a recording has several.
const day = 12 * time.Minute

// recording is one that is being made.
type recording struct {
	lab     *e2e.Lab
	plan    plan
	journal journal
	say     func(format string, args ...any)
}

// record starts a lab, does what the plan says and keeps a journal of it. export is called now and then with what there
// is, and at the end. The lab is ended in any case.
func record(ctx context.Context, j journal, m meta, p plan, export func() error, say func(string, ...any)) (err error) {
	programs, err := e2e.FindPrograms()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ek-rec-") // a socket lies in it: the path must be short
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	// The lab's agents leave the machine's own figures out unless they are told.
	if err := os.Setenv("EVENKEEL_HOST_METRICS", "true"); err != nil {
		return fmt.Errorf("ask for host metrics: %w", err)
	}
	lab, err := e2e.StartLab(ctx, e2e.LabOptions{
		Programs: programs, Dir: dir, Edit: observing,
		Args: []string{"--users-rps", fmt.Sprint(p.Loads[0]), "--day", day.String(), "--quiet"},
	})
	if err != nil {
		return fmt.Errorf("%w\nthe data and logs are in %s", err, dir)
	}
	defer func() {
		if stop := lab.Stop(); stop != nil || err != nil {
			err = errors.Join(err, stop, fmt.Errorf("the lab's data and logs are in %s", dir))
			return
		}
		err = os.RemoveAll(dir)
	}()
	// The first windows of the queries must be full.
	began := time.Now().Add(20 * time.Second).Truncate(step).Add(step)
	m.BeganMS = began.UnixMilli()
	if err := j.begin(m); err != nil {
		return err
	}
	r := &recording{lab, p, j, say}
	return r.run(ctx, began, export)
}

// observing has no policy act: a fault must stay to be seen.
func observing(config string) string {
	return modes().ReplaceAllString(config, "mode: observe")
}

// run is the recording from its first step to the last.
func (r *recording) run(ctx context.Context, began time.Time, export func() error) error {
	faults := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { faults <- r.breakThings(ctx, began) }()
	for i := range r.plan.Loads {
		at := began.Add(time.Duration(i) * step)
		if !sleepUntil(ctx, at) {
			break
		}
		values, err := r.sample(ctx, at)
		if err != nil { // what cannot be asked is missing, as it would be to a detector
			r.say("step %d: %v", i, err)
		}
		if err := r.journal.tick(tick{at.UnixMilli(), r.plan.Loads[i], values}); err != nil {
			return err
		}
		if err := r.journal.copyFaults(filepath.Join(r.lab.Data, "faults.jsonl")); err != nil {
			return err
		}
		if i%6 == 5 {
			if err := export(); err != nil {
				return err
			}
		}
		if _, err := r.lab.Command(ctx, "load", fmt.Sprint(r.plan.Loads[i])); err != nil {
			r.say("step %d: %v", i, err)
		}
	}
	cause := context.Cause(ctx)
	cancel()
	return errors.Join(<-faults, export(), cause)
}

// breakThings does the faults of the plan in time. One that could not be done does not end a recording; the error tells.
func (r *recording) breakThings(ctx context.Context, began time.Time) error {
	var failed []error
	for _, f := range r.plan.Faults {
		if !sleepUntil(ctx, began.Add(f.At)) {
			break // interrupted: the caller knows
		}
		e, err := r.lab.Fault(ctx, f.Words...)
		if err != nil {
			failed = append(failed, fmt.Errorf("fault %v: %w", f.Words, err))
			r.say("%v", failed[len(failed)-1])
			continue
		}
		r.say("%s %s: %s", e.At().Format("15:04:05"), e.Event, e.Text)
	}
	return errors.Join(failed...)
}

// sample asks for every metric as of one moment. What could not be asked is in the error, the rest in the values.
func (r *recording) sample(ctx context.Context, at time.Time) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(ctx, step*8/10)
	defer cancel()
	out := map[string]float64{}
	var failed []error
	for _, m := range metrics() {
		answer, err := query(ctx, r.lab.Client, m.query, at)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", m.name, err))
			continue
		}
		maps.Copy(out, m.names(answer))
	}
	return out, errors.Join(failed...)
}

// query asks the Prometheus API for the value of an expression at a time.
func query(ctx context.Context, c *e2e.Client, expr string, at time.Time) ([]e2e.Sample, error) {
	var out struct {
		Data struct {
			Result []struct {
				Metric map[string]string  `json:"metric"`
				Value  [2]json.RawMessage `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	args := url.Values{"query": {expr}, "time": {strconv.FormatInt(at.Unix(), 10)}}
	if err := c.Get(ctx, "/prometheus/api/v1/query?"+args.Encode(), &out); err != nil {
		return nil, err
	}
	var list []e2e.Sample
	for _, r := range out.Data.Result {
		var text string
		if err := json.Unmarshal(r.Value[1], &text); err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("read the answer: %w", err)
		}
		list = append(list, e2e.Sample{Labels: r.Metric, At: at, Value: v})
	}
	return list, nil
}

func usable(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// sleepUntil is false when ctx ended first.
func sleepUntil(ctx context.Context, at time.Time) bool {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
