package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/users"
)

// Options of a lab, as on the command line.
type Options struct {
	Profile   string
	Data      string
	BasePort  int
	ServerBin string
	AgentBin  string
	Listen    string // of the server or the first replica, host:port
	Replicas  int    // 1: one server, alone; 3: three that decide together
	Config    string // a server configuration instead of the generated one; empty for none
	NoServer  bool   // neither server nor agents: sites, users and faults only
	Shipped   bool   // the generated configuration with the holds of a real installation
	Peak      float64
	Day       time.Duration
	Quiet     bool
	Self      string // our own program, started again for each process of ours
	Out       io.Writer
	Log       *slog.Logger
}

// Default is what a bare `run` does.
func Default() Options {
	return Options{
		Profile: layout.Three, Data: "./data/lab", BasePort: 18400, ServerBin: "bin/evenkeel-server",
		AgentBin: "bin/evenkeel-agent", Listen: "127.0.0.1:8450", Replicas: 1, Peak: 60, Day: 10 * time.Minute,
	}
}

// check finds what cannot work, and says what would.
func (o *Options) check() (layout.Layout, error) {
	l, err := layout.New(o.Profile, o.BasePort, o.Listen, o.Replicas)
	if err != nil {
		return l, err
	}
	if err := checkPeak(o.Peak); err != nil {
		return l, fmt.Errorf("--users-rps: %w", err)
	}
	if o.Day < 10*time.Second {
		return l, fmt.Errorf("--day %s is too short: choose 10s or more", o.Day)
	}
	if o.NoServer && l.Replicas > 0 {
		return l, errors.New("--no-server and --replicas exclude each other")
	}
	if o.Config != "" && o.Shipped {
		return l, errors.New("--config and --shipped-holds exclude each other: holds are in the file")
	}
	for _, path := range []*string{&o.Data, &o.ServerBin, &o.AgentBin, &o.Config} {
		if *path == "" {
			continue
		}
		abs, err := filepath.Abs(*path)
		if err != nil {
			return l, fmt.Errorf("resolve %s: %w", *path, err)
		}
		*path = abs
	}
	if n := len(layout.Folder(o.Data).Socket()); n > 100 {
		return l, fmt.Errorf("the path of --data is too long for a socket by %d bytes: choose a shorter one", n-100)
	}
	if o.NoServer {
		return l, nil
	}
	for _, bin := range []string{o.ServerBin, o.AgentBin} {
		if _, err := os.Stat(bin); errors.Is(err, fs.ErrNotExist) {
			return l, fmt.Errorf("%s is not there: build it with `make build`, name another with --server-bin and --agent-bin, "+
				"or run the sites alone with --no-server", bin)
		}
	}
	if o.Config != "" {
		if _, err := os.Stat(o.Config); err != nil {
			return l, fmt.Errorf("--config: %w", err)
		}
	}
	return l, nil
}

func checkPeak(rps float64) error {
	if !(rps > 0 && rps <= 2000) {
		return fmt.Errorf("%g requests per second are out of range: choose a number above 0, up to 2000", rps)
	}
	return nil
}

// conf is the generated server configuration's choices.
func (o *Options) conf(f layout.Folder) layout.ServerConf {
	trough := users.Options{Peak: o.Peak, Day: o.Day}.Rate(3 * o.Day / 4)
	return layout.ServerConf{KeyFile: f.Key(), Shipped: o.Shipped, Capacity: o.capacity(), Trough: trough}
}

// capacity of a site: the survivors of one site can take the whole peak with room for retries.
func (o *Options) capacity() float64 { return 2 * o.Peak }

// Config is the server configuration that a lab with these options would generate.
func Config(o Options) (string, error) {
	l, err := layout.New(o.Profile, o.BasePort, o.Listen, o.Replicas)
	if err != nil {
		return "", err
	}
	return l.Config(o.conf(layout.Folder(abs(o.Data)))), nil
}
