package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

var version = "dev" // set by the linker

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "recordings:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string, errOut io.Writer) error {
	if len(args) == 0 {
		return errors.New("give one of: record, export, sites")
	}
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	fs.SetOutput(errOut)
	out := "data/recordings/set"
	if args[0] != "sites" {
		fs.StringVar(&out, "out", out, "folder of the data set; what is in it is replaced")
	}
	switch args[0] {
	case "export":
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		return export(out, fs.Args())
	case "sites":
		days := fs.Float64("days", 30, "quiet that is made before each fault")
		seed := fs.Uint64("seed", 1, "what the quiet follows from")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		if !(*days >= 0 && *days <= 1000) {
			return fmt.Errorf("-days %v is out of range: choose 0 to 1000", *days)
		}
		if fs.NArg() == 0 {
			return errors.New("name the data sets, as in: sites -days 30 deploy/recordings/dev")
		}
		for _, set := range fs.Args() {
			if strings.HasPrefix(set, "-") {
				return fmt.Errorf("%s stands behind a data set: flags come first", set)
			}
		}
		for _, set := range fs.Args() {
			f, err := judgeSites(set, *days, *seed)
			if err != nil {
				return err
			}
			if err := f.print(os.Stdout, set); err != nil {
				return err
			}
		}
		return nil
	case "record":
		lasts := fs.Duration("for", 65*time.Minute, "length of the recording")
		seed := fs.Uint64("seed", 1, "what the faults and the load follow from")
		share := fs.Int("strong", 3, "slow, failing and lagging services for each fault of another kind")
		folder := fs.String("journal", "data/recordings/journal", "folder of what is seen and done; must be new")
		if err := fs.Parse(args[1:]); err != nil {
			return err
		}
		if *lasts < 2*time.Minute {
			return fmt.Errorf("-for %s is too short: choose 2m or more", *lasts)
		}
		if *share < 0 {
			return fmt.Errorf("-strong %d is out of range: choose 0 or more", *share)
		}
		say := func(format string, a ...any) { _, _ = fmt.Fprintf(errOut, format+"\n", a...) }
		p := makePlan(*seed, *lasts, *share, sites())
		m := meta{Name: fmt.Sprintf("r%d", *seed), Seed: *seed, Prefix: p.Prefix, Lasts: *lasts, Programs: version}
		return record(ctx, journal(*folder), m, p, func() error { return export(out, []string{*folder}) }, say)
	}
	return fmt.Errorf("%q is no command: give record, export or sites", args[0])
}

// sites of the lab.
func sites() []string { return []string{"fra", "ams", "waw"} }

// modes finds the modes of policies in a configuration.
func modes() *regexp.Regexp { return regexp.MustCompile(`mode: (automatic|approve)`) }
