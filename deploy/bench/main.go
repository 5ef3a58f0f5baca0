package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// group is what one name measures.
type group struct {
	name string
	run  func(context.Context, *bench) error
}

func groups() []group {
	return []group{
		{"decide", benchDecide},
		{"detect", benchDetect},
		{"server", benchServer},
		{"agent", benchAgent},
		{"ingest", benchIngest},
		{"ha", benchHA},
		{"drain", benchDrain},
		{"peer", benchPeer},
	}
}

func run(ctx context.Context, args []string, out, errOut io.Writer) (err error) {
	var names []string
	for _, g := range groups() {
		names = append(names, g.name)
	}
	if len(args) != 1 || args[0] != "all" && !slices.Contains(names, args[0]) {
		return fmt.Errorf("give one of: all, %s", strings.Join(names, ", "))
	}
	b := &bench{out: out, errOut: errOut, goals: goals()}
	if b.o, err = readOptions(os.LookupEnv); err != nil {
		return err
	}
	if b.programs, err = e2e.FindPrograms(); err != nil {
		return err
	}
	// A socket lies in it: the path must be short.
	if b.dir, err = os.MkdirTemp("", "ek-bench-"); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	var failures []error
	for _, g := range groups() {
		if args[0] != "all" && args[0] != g.name {
			continue
		}
		b.say("%s begins; load average %s", g.name, load())
		if err := g.run(ctx, b); err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", g.name, err))
			b.say("%s could not be measured: %v", g.name, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err := errors.Join(failures...); err != nil {
		return fmt.Errorf("%w\ndata and logs are kept in %s", err, b.dir)
	}
	return os.RemoveAll(b.dir)
}

// options come from the environment, so that `make bench` can be a short one.
type options struct {
	Faults  int           // of each kind
	Starts  int           // of the server, of each kind
	Measure time.Duration // how long a process is watched
	Rounds  int           // of ingest, of each server and wire
	Scrapes int           // of all series, in a round of ingest
	Settle  time.Duration // after a round of ingest, so that its merges do not fall into the next one
	Time    string        // of one Go benchmark, as for go test -benchtime
	Series  []int         // of the live engine: 10000, 30000, 100000 or 300000
	Cycles  int           // of the live engine that are measured, at each size
	Days    int           // of the past that a replay reads: 1 or 7
}

func readOptions(lookup func(string) (string, bool)) (options, error) {
	o := options{
		Faults: 20, Starts: 10, Measure: time.Minute, Rounds: 5, Scrapes: 60, Settle: 6 * time.Second, Time: "1s",
		Series: []int{10_000, 100_000, 300_000}, Cycles: 12, Days: 7,
	}
	number := func(name string, out *int) error {
		text, ok := lookup(name)
		if !ok {
			return nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return fmt.Errorf("%s=%q is no number above 0", name, text)
		}
		*out = n
		return nil
	}
	span := func(name string, out *time.Duration) error {
		text, ok := lookup(name)
		if !ok {
			return nil
		}
		d, err := time.ParseDuration(text)
		if err != nil || d <= 0 {
			return fmt.Errorf("%s=%q is no duration such as 10s", name, text)
		}
		*out = d
		return nil
	}
	if text, ok := lookup("BENCH_TIME"); ok {
		o.Time = text
	}
	if text, ok := lookup("BENCH_SERIES"); ok {
		o.Series = nil
		for part := range strings.SplitSeq(text, ",") {
			n, err := strconv.Atoi(part)
			if err != nil || !slices.Contains([]int{10_000, 30_000, 100_000, 300_000}, n) {
				return o, fmt.Errorf("BENCH_SERIES=%q has another number than 10000, 30000, 100000 and 300000", text)
			}
			o.Series = append(o.Series, n)
		}
	}
	if n, ok := lookup("BENCH_N"); ok { // also of starts, unless these are told apart
		if err := errors.Join(number("BENCH_N", &o.Faults), number("BENCH_N", &o.Starts)); err != nil {
			return o, fmt.Errorf("BENCH_N=%q is no number above 0", n)
		}
	}
	return o, errors.Join(number("BENCH_STARTS", &o.Starts), span("BENCH_MEASURE", &o.Measure), number("BENCH_ROUNDS", &o.Rounds),
		number("BENCH_SCRAPES", &o.Scrapes), number("BENCH_CYCLES", &o.Cycles), number("BENCH_DAYS", &o.Days), span("BENCH_SETTLE", &o.Settle))
}

// bench is one run.
type bench struct {
	o        options
	programs e2e.Programs
	dir      string
	folders  int
	goals    []goal
	out      io.Writer
	errOut   io.Writer
}

// figure prints one figure, and the goal it misses.
func (b *bench) figure(name string, value float64, unit string) {
	_, _ = fmt.Fprintf(b.out, "%s %s %s\n", name, number(value), unit)
	for _, g := range b.goals {
		if g.name == name && g.missed(value) {
			_, _ = fmt.Fprintf(b.errOut, "goal %s is %s %s, wanted is %s\n", name, number(value), unit, g)
		}
	}
}

// say tells how far it is.
func (b *bench) say(format string, args ...any) {
	_, _ = fmt.Fprintf(b.errOut, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// folder is a new one for the data of one thing.
func (b *bench) folder() (string, error) {
	b.folders++
	dir := filepath.Join(b.dir, strconv.Itoa(b.folders))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("make a folder: %w", err)
	}
	return dir, nil
}

// until is e2e.Until that ends with the context.
func until(ctx context.Context, patience time.Duration, what string, ok func() error) error {
	return e2e.Until(patience, what, func() error {
		if err := ctx.Err(); err != nil {
			return &e2e.Never{Err: err}
		}
		return ok()
	})
}

// pause waits, or ends with the context.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
