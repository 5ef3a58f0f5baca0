package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/lab"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
)

var version = "dev" // set by the linker

func main() {
	err := command(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "evenkeel-lab:", err)
		os.Exit(1)
	}
}

// errUsage says that everything has been said.
var errUsage = errors.New("usage")

const usage = `usage: evenkeel-lab run|fault|heal|load|status|config [flags]

  run      start the lab; Ctrl-C stops everything
  fault    break something: evenkeel-lab fault SITE|REPLICA KIND [ARG]
  heal     mend a site, or everything: evenkeel-lab heal [SITE|REPLICA]
  load     change the users' requests per second at the top of the day: evenkeel-lab load 90
  status   processes, replicas, faults, weights, users' success, executed commands
  config   print the server configuration of a profile

Each of them explains its flags with --help.
`

func command(ctx context.Context, args []string, out, errOut io.Writer) error {
	if len(args) == 0 {
		_, _ = io.WriteString(errOut, usage)
		return errUsage
	}
	switch rest := args[1:]; args[0] {
	case "run":
		return run(ctx, rest, out, errOut)
	case "fault":
		return fault(ctx, rest, out, errOut)
	case "heal":
		return heal(ctx, rest, out, errOut)
	case "load":
		return load(ctx, rest, errOut)
	case "status":
		return status(ctx, rest, out, errOut)
	case "config":
		return config(rest, out, errOut)
	case "process":
		return process(ctx, rest, errOut)
	case "version", "--version":
		_, err := fmt.Fprintln(out, "evenkeel-lab", version)
		return err
	case "help", "-h", "--help":
		_, err := io.WriteString(out, usage)
		return err
	}
	_, _ = fmt.Fprintf(errOut, "evenkeel-lab: %q is no command\n\n%s", args[0], usage)
	return errUsage
}

// flags is a flag set that explains itself.
func flags(name, synopsis string, errOut io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() {
		_, _ = fmt.Fprintf(errOut, "usage: evenkeel-lab %s %s\n", name, synopsis)
		fs.PrintDefaults()
	}
	return fs
}

// parse reads flags that may stand between the arguments, and returns the arguments.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		if err := fs.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, errUsage // flag has said what is wrong
		}
		if fs.NArg() == 0 {
			return words, nil
		}
		words = append(words, fs.Arg(0))
		args = fs.Args()[1:]
	}
}

func none(fs *flag.FlagSet, args []string) error {
	words, err := parse(fs, args)
	if err == nil && len(words) > 0 {
		return fmt.Errorf("%s takes no argument, got %q", fs.Name(), words[0])
	}
	return err
}

// dataFlag is the --data of a command to a lab that runs.
func dataFlag(fs *flag.FlagSet) *string {
	return fs.String("data", "", "data folder of the lab (default: that of the lab that runs under "+filepath.Dir(lab.Default().Data)+")")
}

func logger(errOut io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: level}))
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	o := lab.Default()
	fs := flags("run", "[flags]", errOut)
	fs.StringVar(&o.Profile, "profile", o.Profile, "three: three sites; two: two sites and a witness")
	fs.StringVar(&o.Data, "data", o.Data, "data folder")
	fs.IntVar(&o.BasePort, "base-port", o.BasePort, "port where users enter; the 600 behind it are used as well")
	fs.StringVar(&o.ServerBin, "server-bin", o.ServerBin, "the server's program")
	fs.StringVar(&o.AgentBin, "agent-bin", o.AgentBin, "the agent's program")
	fs.StringVar(&o.Listen, "listen", o.Listen, "address of the server, or of the first replica")
	fs.IntVar(&o.Replicas, "replicas", o.Replicas, "servers: 1, alone, or 3 that decide together, each at a place of its own")
	fs.StringVar(&o.Config, "config", "", "a server configuration instead of the generated one")
	fs.BoolVar(&o.NoServer, "no-server", false, "neither server nor agents: sites, users and faults only")
	fs.BoolVar(&o.Shipped, "shipped-holds", false, "generate the configuration with the holds of a real installation")
	fs.Float64Var(&o.Peak, "users-rps", o.Peak, "users' requests per second at the top of the day")
	fs.DurationVar(&o.Day, "day", o.Day, "length of a day; at its lowest 40 % of the users are there")
	fs.BoolVar(&o.Quiet, "quiet", false, "do not tell the story")
	fs.Bool("story", true, "tell the story (the default)")
	if err := none(fs, args); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the own program: %w", err)
	}
	o.Self, o.Out, o.Log = self, out, logger(errOut, slog.LevelWarn)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the lab at once; the kernel ends its children
	return lab.Run(ctx, o)
}

func fault(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flags("fault", "SITE|REPLICA KIND [ARG] [--for 10s]", errOut)
	data := dataFlag(fs)
	oneWay := fs.Bool("one-way", false, "link: only what the first site opens to the second")
	lasts := fs.Duration("for", 0, "mend it after this time")
	asJSON := fs.Bool("json", false, "print the event as JSON")
	explain := fs.Usage
	fs.Usage = func() {
		explain()
		_, _ = fmt.Fprintln(errOut, "kinds:")
		for _, k := range layout.Kinds() {
			_, _ = fmt.Fprintf(errOut, "  %-24s %s\n", k.Usage, k.What)
		}
	}
	words, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(words) == 0 {
		fs.Usage()
		return errUsage
	}
	c, err := lab.FindClient(*data)
	if err != nil {
		return err
	}
	e, err := c.Fault(ctx, words, *oneWay, *lasts)
	if err != nil {
		return err
	}
	return tell(out, *asJSON, e, e)
}

func heal(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flags("heal", "[SITE|REPLICA]", errOut)
	data := dataFlag(fs)
	asJSON := fs.Bool("json", false, "print the events as JSON")
	words, err := parse(fs, args)
	if err != nil {
		return err
	}
	site := ""
	switch len(words) {
	case 0:
	case 1:
		site = words[0]
	default:
		return errors.New("heal takes one site or replica, or none for all")
	}
	c, err := lab.FindClient(*data)
	if err != nil {
		return err
	}
	events, err := c.Heal(ctx, site)
	if err != nil {
		return err
	}
	if len(events) == 0 && !*asJSON {
		_, err := fmt.Fprintln(out, "nothing was broken")
		return err
	}
	return tell(out, *asJSON, events, events...)
}

func load(ctx context.Context, args []string, errOut io.Writer) error {
	fs := flags("load", "RPS", errOut)
	data := dataFlag(fs)
	words, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return errors.New("load takes one number: requests per second at the top of the day")
	}
	peak, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		return fmt.Errorf("load takes a number of requests per second, not %q", words[0])
	}
	c, err := lab.FindClient(*data)
	if err != nil {
		return err
	}
	return c.Load(ctx, peak)
}

// tell prints events for people or, as v, for programs.
func tell(out io.Writer, asJSON bool, v any, events ...lab.Event) error {
	if asJSON {
		return json.NewEncoder(out).Encode(v)
	}
	for _, e := range events {
		if _, err := fmt.Fprintf(out, "%s: %s at %s (unix ns %d), done after %s\n", e.Text, e.Event,
			time.Unix(0, e.AtNS).Format("15:04:05.000"), e.AtNS, time.Duration(e.DoneNS-e.AtNS).Round(time.Microsecond)); err != nil {
			return err
		}
	}
	return nil
}

func status(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flags("status", "[--json]", errOut)
	data := dataFlag(fs)
	asJSON := fs.Bool("json", false, "print as JSON")
	if err := none(fs, args); err != nil {
		return err
	}
	c, err := lab.FindClient(*data)
	if err != nil {
		return err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if *asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	_, err = io.WriteString(out, s.Text())
	return err
}

func config(args []string, out, errOut io.Writer) error {
	o := lab.Default()
	fs := flags("config", "[flags]", errOut)
	fs.StringVar(&o.Profile, "profile", o.Profile, "three or two")
	fs.StringVar(&o.Data, "data", o.Data, "data folder, for the path of the secret")
	fs.IntVar(&o.BasePort, "base-port", o.BasePort, "port where users enter")
	fs.StringVar(&o.Listen, "listen", o.Listen, "address of the first replica")
	fs.IntVar(&o.Replicas, "replicas", o.Replicas, "1 or 3")
	fs.BoolVar(&o.Shipped, "shipped-holds", false, "with the holds of a real installation")
	fs.Float64Var(&o.Peak, "users-rps", o.Peak, "users' requests per second at the top of the day")
	if err := none(fs, args); err != nil {
		return err
	}
	text, err := lab.Config(o)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, text)
	return err
}

// process is one process of the lab; run starts it.
func process(ctx context.Context, args []string, errOut io.Writer) error {
	o := lab.Default()
	p := lab.Process{Log: logger(errOut, slog.LevelInfo)}
	fs := flags("process", "nats|shop|director (started by run)", errOut)
	fs.StringVar(&o.Profile, "profile", o.Profile, "profile")
	fs.StringVar(&o.Data, "data", o.Data, "data folder")
	fs.IntVar(&o.BasePort, "base-port", o.BasePort, "base port")
	fs.StringVar(&o.Listen, "listen", o.Listen, "address of the server")
	fs.IntVar(&o.Replicas, "replicas", o.Replicas, "servers")
	fs.StringVar(&p.Site, "site", "", "site")
	fs.BoolVar(&p.Alone, "alone", false, "without server and agents")
	words, err := parse(fs, args)
	if err != nil {
		return err
	}
	if len(words) != 1 {
		return errors.New("process takes one of nats, shop, director")
	}
	p.Name = words[0]
	if p.Layout, err = layout.New(o.Profile, o.BasePort, o.Listen, o.Replicas); err != nil {
		return err
	}
	p.Folder = layout.Folder(o.Data)
	return p.Run(ctx)
}
