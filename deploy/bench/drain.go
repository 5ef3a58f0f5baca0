package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// hold is what the lab's policies ask for before a drain.
const hold = 3 * time.Second

// A site that failed and was drained twice within the hour counts as flapping and is not drained a third time, so a
// lab of three sites is good for six faults; then comes a fresh one.
const faultsPerLab = 6

// fault is one that was made, and what came of it. What did not happen is zero.
type fault struct {
	kind, site string
	at         time.Time // when it was begun to be done
	seen       time.Time // from when on the server counts the hold
	decided    time.Time // when it decided to drain
	executed   time.Time // when the executor changed the weight
	paged      time.Time // when the peer's webhook came
	restored   time.Time // when users were sent there again
	lost       float64   // user-error-seconds; NaN when the record has a gap
}

// benchDrain breaks sites and services and waits until they are drained, healed and restored.
func benchDrain(ctx context.Context, b *bench) error {
	kinds := []string{"kill", "kill-service"}
	faults, err := b.faults(ctx, kinds, nil)
	for _, kind := range kinds {
		b.overheads("drain_"+kind, slices.DeleteFunc(slices.Clone(faults), func(f fault) bool { return f.kind != kind }))
	}
	return err
}

// overheads prints what the drains of one kind took beyond the hold, in all and by part.
func (b *bench) overheads(prefix string, faults []fault) {
	if len(faults) == 0 {
		return
	}
	var all, seen, judged, done, losses []float64
	missed := 0
	for _, f := range faults {
		if f.executed.IsZero() {
			missed++
			continue
		}
		all = append(all, ms(f.executed.Sub(f.at)-hold))
		seen, judged, done = append(seen, ms(f.seen.Sub(f.at))), append(judged, ms(f.decided.Sub(f.seen)-hold)), append(done, ms(f.executed.Sub(f.decided)))
		if !math.IsNaN(f.lost) {
			losses = append(losses, f.lost)
		}
	}
	b.figure(prefix+"_faults", float64(len(faults)), "count")
	b.figure(prefix+"_missed", float64(missed), "count")
	b.figure(prefix+"_overhead_p50", quantile(all, 0.5), "ms")
	b.figure(prefix+"_overhead_p99", quantile(all, 0.99), "ms")
	b.figure(prefix+"_until_seen_p50", quantile(seen, 0.5), "ms")
	b.figure(prefix+"_until_decided_p50", quantile(judged, 0.5), "ms")
	b.figure(prefix+"_until_done_p50", quantile(done, 0.5), "ms")
	b.figure(prefix+"_user_error_mean", mean(losses), "s")
	b.figure(prefix+"_user_error_max", quantile(losses, 1), "s")
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// rival is somebody else who judges the same faults.
type rival interface {
	// join begins to watch a lab; leave ends that.
	join(ctx context.Context, lab *e2e.Lab, sites []string) (leave func(), err error)
	// calm waits until no alert is left; paged until the one about the site has come since the time.
	calm(ctx context.Context) error
	paged(ctx context.Context, site string, since time.Time) (time.Time, error)
}

// faults makes BENCH_N faults of each kind, the kinds in turn, the sites in turn. When one lab fails the next one goes
// on; the error says so, and those faults that were made are returned.
func (b *bench) faults(ctx context.Context, kinds []string, peer rival) ([]fault, error) {
	var all []fault
	var failures []error
	n := b.o.Faults * len(kinds)
	for from := 0; from < n && ctx.Err() == nil; from += faultsPerLab {
		some, err := b.lab(ctx, kinds, from, min(faultsPerLab, n-from), peer)
		if err != nil {
			b.say("%v", err)
			failures = append(failures, err)
		}
		all = append(all, some...)
	}
	return all, errors.Join(failures...)
}

// lab makes faults in a lab of its own.
func (b *bench) lab(ctx context.Context, kinds []string, from, count int, peer rival) (faults []fault, err error) {
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	l, err := e2e.StartLab(ctx, e2e.LabOptions{Programs: b.programs, Dir: dir, Edit: quickRestore})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Stop()) }()
	sites, err := sitesOf(ctx, l)
	if err != nil {
		return nil, err
	}
	if peer != nil {
		leave, err := peer.join(ctx, l, sites)
		if err != nil {
			return nil, err
		}
		defer leave()
	}
	for i := from; i < from+count; i++ {
		f := fault{kind: kinds[i%len(kinds)], site: sites[i%len(sites)]}
		if err = b.breakIt(ctx, l, &f, peer); err != nil {
			err = fmt.Errorf("fault %d, %s %s: %w", i+1, f.site, f.kind, err)
			break
		}
		faults = append(faults, f)
		b.say("%d: %s %s: %s", i+1, f.site, f.kind, f.tell())
	}
	return faults, errors.Join(err, account(ctx, l, faults))
}

// sitesOf are the sites of a lab in the order of their ports.
func sitesOf(ctx context.Context, l *e2e.Lab) ([]string, error) {
	var s struct {
		Layout struct {
			Sites []string `json:"sites"`
		} `json:"layout"`
	}
	raw, err := l.Command(ctx, "status", "--json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the lab's status: %w", err)
	}
	if len(s.Layout.Sites) == 0 {
		return nil, errors.New("the lab does not say which sites it has")
	}
	return s.Layout.Sites, nil
}

// quickRestore has a restore give all users back in one step: how it goes on after the drain is not measured, and the
// steps of 1, 10 and 50 % take most of a round.
func quickRestore(config string) string {
	var out []string
	for line := range strings.Lines(config) {
		if strings.Contains(line, "weights: [1],") {
			continue
		}
		out = append(out, strings.Replace(line, "weights: [10, 50, 100]", "weights: [100]", 1))
	}
	return strings.Join(out, "")
}

func (f *fault) tell() string {
	text := "not drained"
	if !f.executed.IsZero() {
		text = fmt.Sprintf("drained %s after the hold", (f.executed.Sub(f.at) - hold).Round(time.Millisecond))
	}
	if !f.paged.IsZero() {
		text += fmt.Sprintf(", the peer %s after it", (f.paged.Sub(f.at) - hold).Round(time.Millisecond))
	}
	return text
}

// breakIt makes one fault, waits for what comes of it, mends it and waits until all is as before.
func (b *bench) breakIt(ctx context.Context, l *e2e.Lab, f *fault, peer rival) error {
	if err := errors.Join(l.Calm(ctx, 2*time.Minute), evenly(ctx, l)); err != nil {
		return err
	}
	if peer != nil {
		if err := peer.calm(ctx); err != nil {
			return err
		}
	}
	// Faults do not wait for a probe: any time between two of them is as likely.
	if err := pause(ctx, rand.N(time.Second)); err != nil {
		return err
	}
	e, err := l.Fault(ctx, f.site, f.kind)
	if err != nil {
		return err
	}
	f.at = e.At()
	drain, err := ended(ctx, l, "drain", f.site, f.at, 30*time.Second)
	if err != nil && ctx.Err() == nil {
		b.say("%v", err)
	}
	if f.executed, err = executed(l, f.site, f.at); err != nil {
		return err
	}
	if peer != nil {
		if f.paged, err = peer.paged(ctx, f.site, f.at); err != nil && ctx.Err() == nil {
			b.say("%v", err)
		}
	}
	healed := time.Now()
	if err := l.Heal(ctx, f.site); err != nil {
		return err
	}
	if f.executed.IsZero() {
		f.restored = time.Now()
		return ctx.Err()
	}
	d, err := l.Decision(ctx, drain.DecisionID)
	if err != nil {
		return err
	}
	f.decided = d.At
	r, _ := d.Ruling("hold")
	i := slices.IndexFunc(r.Numbers, func(n e2e.Number) bool { return n.Name == "for" })
	if i < 0 {
		return fmt.Errorf("decision %s does not say how long it held", d.ID)
	}
	f.seen = d.At.Add(-time.Duration(r.Numbers[i].Value * float64(time.Second)))
	if _, err := ended(ctx, l, "restore", f.site, healed, 2*time.Minute); err != nil {
		return err
	}
	f.restored = time.Now()
	return nil
}

// evenly waits until users are sent to all sites.
func evenly(ctx context.Context, l *e2e.Lab) error {
	return until(ctx, time.Minute, "users are sent to all sites", func() error {
		s, err := l.LabStatus(ctx)
		if err != nil {
			return err
		}
		for service, weights := range s.Weights {
			for site, weight := range weights {
				if weight != 100 {
					return fmt.Errorf("%s at %s has the weight %d %%", service, site, weight)
				}
			}
		}
		return nil
	})
}

// ended waits for an action at a site and its end. One that ended otherwise than it should is an error.
func ended(ctx context.Context, l *e2e.Lab, kind, site string, since time.Time, patience time.Duration) (e2e.Action, error) {
	var act e2e.Action
	err := until(ctx, patience, "a "+kind+" of "+site+" has succeeded", func() error {
		list, err := l.Actions(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(a e2e.Action) bool {
			return a.Kind == kind && a.Subject.Site == site && a.CreatedAt.After(since)
		})
		if i < 0 {
			return errors.New("there is none")
		}
		switch act = list[i]; {
		case act.State == "succeeded":
			return nil
		case act.Final():
			return &e2e.Never{Err: errors.New(act.Sentence)}
		}
		return errors.New("it is " + act.State)
	})
	return act, err
}

// executed is when the executor took the users away from a site; zero when it did not.
func executed(l *e2e.Lab, site string, since time.Time) (time.Time, error) {
	list, err := l.Executed()
	if err != nil {
		return time.Time{}, err
	}
	for _, e := range list {
		if e.Effective && e.Site == site && e.Weight == 0 && e.AtNS >= since.UnixNano() {
			return time.Unix(0, e.AtNS), nil
		}
	}
	return time.Time{}, nil
}

// second is what users got in one second.
type second struct {
	AtUnix int64 `json:"at_unix"`
	OK     int   `json:"ok"`
	Failed int   `json:"failed"`
}

// lost sums up the failed share of the seconds from the first to the last; NaN when there is no record of any.
func lost(list []second, first, last int64) float64 {
	sum, known := 0.0, false
	for _, s := range list {
		if s.AtUnix < first || s.AtUnix > last {
			continue
		}
		known = true
		if n := s.OK + s.Failed; n > 0 {
			sum += float64(s.Failed) / float64(n)
		}
	}
	if !known {
		return math.NaN()
	}
	return sum
}

// account waits until users' last seconds are written down and finds what each fault cost them, up to its restore.
func account(ctx context.Context, l *e2e.Lab, faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	last := faults[len(faults)-1].restored.Unix()
	var list []second
	err := until(ctx, 20*time.Second, "users' seconds are written down", func() error {
		var err error
		if list, err = seconds(filepath.Join(l.Data, "users.jsonl")); err != nil {
			return err
		}
		if len(list) == 0 || list[len(list)-1].AtUnix < last {
			return errors.New("the last ones are not there")
		}
		return nil
	})
	for i := range faults {
		f := &faults[i]
		f.lost = lost(list, f.at.Unix(), f.restored.Unix())
	}
	return err
}

func seconds(path string) ([]second, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the users' record: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	var out []second
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var s second
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return out, fmt.Errorf("read the users' record: %w", err)
		}
		out = append(out, s)
	}
	return out, lines.Err()
}
