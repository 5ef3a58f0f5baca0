package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
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
		"--base-port", strconv.Itoa(b.o.BasePort), "--listen", b.o.Listen,
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

func (b *Lab) startServer() error {
	config := b.o.Config
	if config == "" {
		config = b.f.Config()
	}
	return b.add(supervise.Spec{
		Name: "server", Path: b.o.ServerBin, Log: b.f.Log("server"),
		Args: []string{
			"serve", "--config", config, "--data", b.f.State("server"), "--listen", b.o.Listen,
			"--admin-listen", b.l.ServerAdmin(),
		},
	})
}

func (b *Lab) startAgent(vantage string) error {
	name := "agent-" + vantage
	return b.add(supervise.Spec{
		Name: name, Path: b.o.AgentBin, Log: b.f.Log(name), Env: small("160MiB"),
		Args: []string{
			"run", "--role", "site", "--site", vantage,
			"--servers", "http://" + b.l.Edge(layout.EdgeUplink, vantage, "server"),
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
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, b.o.ServerBin, "token", "create", "--kind", kind, "--name", name, "--out", file,
		"--server", "http://"+b.l.Server, "--data", b.f.State("server"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make a token for %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// ask gets a URL; out takes the JSON of the answer unless it is nil. Anything but 200 is an error.
func (b *Lab) ask(ctx context.Context, url string, out any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end below
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %.200s", resp.Status, strings.TrimSpace(string(raw)))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// welcome is what an operator needs first.
func (b *Lab) welcome() string {
	site := b.l.Sites[0]
	self := "bin/evenkeel-lab"
	data := ""
	if b.o.Data != abs(Default().Data) {
		data = " --data " + b.o.Data
	}
	var s strings.Builder
	if b.o.NoServer {
		s.WriteString("ready, without a server: nobody watches\n")
	} else {
		fmt.Fprintf(&s, "ready: http://%s (its admin token: %s)\n", b.l.Server, filepath.Join(b.f.State("server"), "admin.token"))
	}
	fmt.Fprintf(&s, "  users enter at http://%s/%s (up to %g requests/s, a day lasts %s)\n", b.l.Director(), layout.Service, b.o.Peak, b.o.Day)
	fmt.Fprintf(&s, "  break a site:  %s fault%s %s kill\n", self, data, site)
	fmt.Fprintf(&s, "  or only its edge, or its uplink:  %s fault%s %s edge  |  %s fault%s %s uplink\n", self, data, site, self, data, site)
	fmt.Fprintf(&s, "  mend it:  %s heal%s %s      see all:  %s status%s\n", self, data, site, self, data)
	fmt.Fprintf(&s, "  logs: %s      Ctrl-C stops everything", b.f.Logs())
	return s.String()
}

// abs is the path from the root, or the path itself when there is no working directory.
func abs(path string) string {
	if p, err := filepath.Abs(path); err == nil {
		return p
	}
	return path
}
