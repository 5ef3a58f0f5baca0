package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

const (
	benchProbes = 8 // entries that the agent probes each second
	benchLinks  = 4 // replication links it looks at
	// siteWarmUp is how long everything runs before it is watched: heaps have their size then.
	siteWarmUp = 30 * time.Second
)

// benchSite watches the agent of a site with all that it does, beside node_exporter and vmagent, which do host metrics
// alone: both each 10 s, to the same server.
func benchSite(ctx context.Context, b *bench) (err error) {
	var ends []func() error
	defer func() {
		for _, end := range slices.Backward(ends) {
			err = errors.Join(err, end())
		}
	}()
	dir, err := b.folder()
	if err != nil {
		return err
	}
	ports, err := e2e.ClaimPorts()
	if err != nil {
		return err
	}
	ends = append(ends, func() error { ports.Release(); return nil })
	config, hangUp := siteConfig()
	ends = append(ends, func() error { hangUp(); return nil })
	server, err := e2e.StartServer(ctx, b.programs, dir, ports, config)
	if err != nil {
		return err
	}
	ends = append(ends, server.Stop)
	replication, stop, err := startRedis(ctx, dir, ports)
	if err != nil {
		return err
	}
	ends = append(ends, func() error { stop(); return nil })

	// What the collector of garbage prints is what allocations are counted by.
	before, had := os.LookupEnv("GODEBUG")
	if err := os.Setenv("GODEBUG", "gctrace=1"); err != nil {
		return fmt.Errorf("set GODEBUG: %w", err)
	}
	defer func() {
		if !had {
			_ = os.Unsetenv("GODEBUG")
			return
		}
		_ = os.Setenv("GODEBUG", before)
	}()
	ours, err := b.startOurs(ctx, dir, ports, server, replication)
	if err != nil {
		return err
	}
	ends = append(ends, ours.stop)
	theirs, err := b.startTheirs(ctx, dir, ports, server)
	for _, w := range theirs {
		ends = append(ends, w.stop)
	}
	if err != nil {
		return err
	}
	if err := reported(ctx, server); err != nil {
		for _, w := range append([]*watched{ours}, theirs...) {
			err = fmt.Errorf("%w\n%s said:\n%s", err, w.name, w.process.Output())
		}
		return err
	}
	if err := pause(ctx, min(siteWarmUp, b.o.Measure)); err != nil {
		return err
	}
	all := append([]*watched{ours}, theirs...)
	if err := watchAll(ctx, all, 3*b.o.Measure); err != nil {
		return err
	}
	for _, w := range all {
		b.figure(w.name+"_rss_median", w.use.rssMedian, "MB")
		b.figure(w.name+"_rss_max", w.use.rssMax, "MB")
		b.figure(w.name+"_pss_median", w.use.pssMedian, "MB")
		b.figure(w.name+"_cpu", w.use.cores*100, "%")
		b.figure(w.name+"_alloc", w.use.alloc, "kB/s")
		if w.wire != nil {
			b.figure(w.name+"_wire", w.use.wire, "kB/s")
		}
	}
	var rss, pss, cores, alloc float64
	for _, w := range theirs {
		rss, pss, cores, alloc = rss+w.use.rssMedian, pss+w.use.pssMedian, cores+w.use.cores, alloc+w.use.alloc
	}
	b.figure("agent_site_rss_ratio", ours.use.rssMedian/rss, "ratio")
	b.figure("agent_site_pss_ratio", ours.use.pssMedian/pss, "ratio")
	b.figure("agent_site_cpu_ratio", ours.use.cores/cores, "ratio")
	b.figure("agent_site_alloc_ratio", ours.use.alloc/alloc, "ratio")
	return nil
}

// siteConfig is a server's configuration with one service at as many sites as there are probes, and their entries.
func siteConfig() (config string, hangUp func()) {
	var sites, entries strings.Builder
	var doors []*httptest.Server
	for i := range benchProbes {
		door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) }))
		doors = append(doors, door)
		fmt.Fprintf(&sites, "  - {name: s%d, time_zone: Europe/Berlin, region: eu, pattern: same-city, capacity: {checkout: 120}}\n", i+1)
		fmt.Fprintf(&entries, "      s%d: %q\n", i+1, door.URL+"/healthz")
	}
	config = "lab: true\nsites:\n" + sites.String() + "services:\n  - name: checkout\n    entries:\n" + entries.String()
	return config, func() {
		for _, d := range doors {
			d.Close()
		}
	}
}

// startRedis starts a primary with a copy for each link, and writes the file that tells an agent to look at the copies.
func startRedis(ctx context.Context, dir string, ports *e2e.Ports) (file string, stop func(), err error) {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		return "", nil, errors.New("redis-server is missing: install it with `deploy/setup.sh bench`")
	}
	var running []*e2e.Process
	stop = func() {
		for _, p := range running {
			p.Kill()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	var list strings.Builder
	_, primary, _ := strings.Cut(ports.Addr(520), ":")
	for i := range benchLinks + 1 {
		data := filepath.Join(dir, fmt.Sprintf("redis-%d", i))
		if err := os.Mkdir(data, 0o700); err != nil {
			return "", nil, fmt.Errorf("make a folder: %w", err)
		}
		_, port, _ := strings.Cut(ports.Addr(520+i), ":")
		args := []string{"--port", port, "--bind", "127.0.0.1", "--dir", data, "--save", "", "--repl-diskless-sync-delay", "0"}
		if i > 0 {
			args = append(args, "--replicaof", "127.0.0.1 "+primary)
			fmt.Fprintf(&list, "- engine: redis\n  address: %s\n  links: [{store: store%d, from: s2, to: s1, end: target}]\n", ports.Addr(520+i), i)
		}
		p, err := e2e.StartProcess(program, args...)
		if err != nil {
			return "", nil, err
		}
		running = append(running, p)
	}
	file = filepath.Join(dir, "replication.yaml")
	if err := os.WriteFile(file, []byte(list.String()), 0o600); err != nil {
		return "", nil, fmt.Errorf("write the file of links: %w", err)
	}
	return file, stop, ctx.Err()
}

// startOurs starts the agent of the first site.
func (b *bench) startOurs(ctx context.Context, dir string, ports *e2e.Ports, server *e2e.Server, replication string) (*watched, error) {
	token, err := server.Token(ctx, "site", "s1")
	if err != nil {
		return nil, err
	}
	wire, err := newTap(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		return nil, err
	}
	agent, err := e2e.NewAgent(b.programs, dir, ports, 0, "s1", token, []string{"http://" + wire.addr()},
		"--host-metrics=true", "--replication", replication)
	if err == nil {
		err = agent.Start()
	}
	if err != nil {
		wire.close()
		return nil, err
	}
	return &watched{name: "agent_site", process: agent.Process, wire: wire, stop: func() error {
		defer wire.close()
		return agent.Stop()
	}}, nil
}

const vmagentConfig = `global: {scrape_interval: 10s}
scrape_configs:
  - job_name: node
    static_configs: [{targets: ["%s"]}]
`

// startTheirs starts node_exporter and vmagent. What has been started is returned also with an error.
func (b *bench) startTheirs(ctx context.Context, dir string, ports *e2e.Ports, server *e2e.Server) (list []*watched, err error) {
	var exporter string
	for _, name := range []string{"prometheus-node-exporter", "node_exporter"} {
		if path, err := exec.LookPath(name); err == nil {
			exporter = path
		}
	}
	if exporter == "" {
		return nil, errors.New("node_exporter is missing: install it with `deploy/setup.sh bench`")
	}
	vmagent, err := b.buildVmagent(ctx, dir)
	if err != nil {
		return nil, err
	}
	if _, err := server.Token(ctx, "site", "s2"); err != nil {
		return nil, err
	}
	scrape := filepath.Join(dir, "vmagent.yml")
	if err := os.WriteFile(scrape, fmt.Appendf(nil, vmagentConfig, ports.Addr(530)), 0o600); err != nil {
		return nil, fmt.Errorf("write a configuration: %w", err)
	}
	node, err := e2e.StartProcess(exporter, "--web.listen-address="+ports.Addr(530))
	if err != nil {
		return nil, err
	}
	list = append(list, &watched{name: "node_exporter", process: node, stop: func() error { node.Kill(); return nil }})
	wire, err := newTap(strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		return list, err
	}
	vm, err := e2e.StartProcess(vmagent, "-promscrape.config="+scrape, "-httpListenAddr="+ports.Addr(531),
		"-remoteWrite.url=http://"+wire.addr()+"/api/v1/write", "-remoteWrite.bearerTokenFile="+filepath.Join(dir, "site-s2.token"),
		"-remoteWrite.tmpDataPath="+filepath.Join(dir, "vmagent-data"))
	if err != nil {
		wire.close()
		return list, err
	}
	return append(list, &watched{name: "vmagent", process: vm, wire: wire, stop: func() error {
		defer wire.close()
		vm.Kill()
		return nil
	}}), nil
}

// buildVmagent builds the version of VictoriaMetrics in go.mod.
func (b *bench) buildVmagent(ctx context.Context, dir string) (string, error) {
	const module = "github.com/VictoriaMetrics/VictoriaMetrics"
	b.say("building vmagent")
	version, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("look up the version of VictoriaMetrics: %w", err)
	}
	build := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags", "-s -w", module+"/app/vmagent@"+strings.TrimSpace(string(version)))
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+dir)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build vmagent: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return filepath.Join(dir, "vmagent"), nil
}

// reported waits until the server has what each of them is there for.
func reported(ctx context.Context, server *e2e.Server) error {
	for expr, want := range map[string]float64{
		`count(evenkeel_probe_state{site="s1"} == 1)`:  benchProbes,
		`count(evenkeel_link_state{site="s1"} > 0)`:    benchLinks,
		`count(system_cpu_load_average_1m{site="s1"})`: 1,
		`count(node_load1{site="s2"})`:                 1,
	} {
		err := until(ctx, time.Minute, expr, func() error {
			list, err := server.Query(ctx, expr)
			if err == nil && (len(list) != 1 || list[0].Value != want) {
				err = fmt.Errorf("the answer is %v", list)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
