package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/layout"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/supervise"
)

// small keeps our own processes small: a dozen of them share the machine with what is being tested.
func small(limit string) []string { return []string{"GOMAXPROCS=1", "GOMEMLIMIT=" + limit} }

func (b *Lab) startOurs(process, site string) error {
	name := process
	args := []string{
		"process", process, "--data", b.o.Data, "--profile", b.o.Profile,
		"--base-port", strconv.Itoa(b.o.BasePort), "--listen", b.o.Listen, "--replicas", strconv.Itoa(b.o.Replicas),
	}
	if site != "" {
		name += "-" + site
		args = append(args, "--site", site)
	}
	if b.o.NoServer {
		args = append(args, "--alone")
	}
	return b.add(supervise.Spec{Name: name, Path: b.o.Self, Args: args, Env: small("64MiB"), Log: b.f.Log(name)})
}

func (b *Lab) startAgent(vantage string) error {
	name := "agent-" + vantage
	return b.add(supervise.Spec{
		Name: name, Path: b.o.AgentBin, Log: b.f.Log(name), Env: small("160MiB"),
		Args: []string{
			"run", "--role", "site", "--site", vantage,
			"--servers", b.l.Uplinks(vantage),
			"--token-file", b.f.Token(vantage), "--data", b.f.State(name), "--connect-to", b.l.ConnectTo(vantage),
			"--health", b.l.AgentHealth(vantage), "--otlp", b.l.AgentOTLP(vantage), "--buffer-mib", "32",
		},
	})
}

// token has the server make a token, unless the folder has one from an earlier run.
func (b *Lab) token(ctx context.Context, kind, name string) error {
	file := b.f.Token(name)
	if _, err := os.Stat(file); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := b.order(ctx, "token", "create", "--kind", kind, "--name", name, "--out", file); err != nil {
		return fmt.Errorf("make a token for %s: %w", name, err)
	}
	return nil
}

// order gives an operator's order to the server, or to the replica that was there first, once one leads.
func (b *Lab) order(ctx context.Context, args ...string) error {
	if b.l.Replicas > 0 {
		if _, err := b.untilLed(ctx, b.first, 0); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second) // a replica is taken in within 30 s, or not
	defer cancel()
	args = append(args, "--server", b.first.URL(), "--data", b.f.State(b.first.Process()))
	if out, err := exec.CommandContext(ctx, b.o.ServerBin, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// welcome is what an operator needs first.
func (b *Lab) welcome() string {
	site := b.l.Sites[0]
	self := "bin/evenkeel-lab"
	data := ""
	if filepath.Dir(b.o.Data) != filepath.Dir(abs(Default().Data)) {
		data = " --data " + near(b.o.Data)
	}
	var s strings.Builder
	switch {
	case b.o.NoServer:
		s.WriteString("ready, without a server: nobody watches\n")
	case b.l.Replicas == 0:
		fmt.Fprintf(&s, "ready: http://%s (its admin token: %s)\n", b.l.Server, b.adminToken(b.first))
	default:
		s.WriteString("ready: any of")
		for _, r := range b.l.Servers() {
			fmt.Fprintf(&s, "  %s (%s at %s)", r.URL(), r.Name, r.At)
		}
		fmt.Fprintf(&s, "\n  an admin token of all of them: %s\n", b.adminToken(b.first))
	}
	fmt.Fprintf(&s, "  users enter at http://%s/%s (up to %g requests/s, a day lasts %s)\n", b.l.Director(), layout.Service, b.o.Peak, b.o.Day)
	fmt.Fprintf(&s, "  break a site:  %s fault%s %s kill\n", self, data, site)
	fmt.Fprintf(&s, "  or only its edge, or its uplink:  %s fault%s %s edge  |  %s fault%s %s uplink\n", self, data, site, self, data, site)
	if r := b.led; r.Name != "" {
		fmt.Fprintf(&s, "  kill %s, which leads; another takes over:  %s fault%s %s kill\n", r.Name, self, data, r.Name)
		fmt.Fprintf(&s, "  or the site where it stands; another drains it:  %s fault%s %s kill\n", self, data, r.At)
	}
	if !b.o.NoServer {
		fmt.Fprintf(&s, "  be its operator:  bin/evenkeel-server drain %s %s --reason WHY %s\n", site, layout.Service, b.operator())
	}
	fmt.Fprintf(&s, "  mend it:  %s heal%s %s      see all:  %s status%s\n", self, data, site, self, data)
	fmt.Fprintf(&s, "  logs: %s      Ctrl-C stops everything", b.f.Logs())
	return s.String()
}

// operator is what an operator's command needs to reach the servers of this lab.
func (b *Lab) operator() string {
	var urls []string
	for _, s := range b.l.Servers() {
		urls = append(urls, s.URL())
	}
	flags := "--data " + near(b.f.State(b.first.Process()))
	if len(urls) > 1 || b.o.Listen != Default().Listen {
		flags += " --server " + strings.Join(urls, ",")
	}
	return flags
}

// near is the path from the working directory when it leads down from there, and else from the root.
func near(path string) string {
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

func (b *Lab) adminToken(s layout.Server) string {
	return filepath.Join(b.f.State(s.Process()), "admin.token")
}

// abs is the path from the root, or the path itself when there is no working directory.
func abs(path string) string {
	if p, err := filepath.Abs(path); err == nil {
		return p
	}
	return path
}
