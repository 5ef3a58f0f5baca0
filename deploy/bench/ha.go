package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// haOrders is how many orders are timed for each figure.
const haOrders = 200

// trio is three replicas on one machine, to each of which stand-ins of all agents and of the edge report: a replica
// without inputs leaves it to the others to lead.
type trio struct {
	b     *bench
	dir   string
	ports *e2e.Ports
	nodes []*node
	quiet context.CancelFunc // ends the stand-ins
	all   sync.WaitGroup
}

type node struct {
	*e2e.Client
	name    string
	process *e2e.Process
}

func (t *trio) listen(i int) string { return t.ports.Addr(400 + 10*i) }
func (t *trio) peer(i int) string   { return "https://" + t.ports.Addr(401+10*i) }

// benchHA measures what three replicas cost beside one: time to a record, time to another leader, and the machine.
func benchHA(ctx context.Context, b *bench) error {
	s, stop, err := b.alone(ctx)
	if err != nil {
		return err
	}
	err = b.orders(ctx, "ha_one_order", s.Client)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	t, err := b.trio(ctx)
	if err != nil {
		return err
	}
	return errors.Join(t.measure(ctx), t.stop())
}

func (t *trio) measure(ctx context.Context) error {
	b := t.b
	leader, err := t.leader(ctx)
	if err != nil {
		return err
	}
	if err := t.report(ctx); err != nil {
		return err
	}
	follower := t.nodes[0]
	if follower == leader {
		follower = t.nodes[1]
	}
	if err := errors.Join(b.orders(ctx, "ha_three_order_leader", leader.Client), b.orders(ctx, "ha_three_order_follower", follower.Client)); err != nil {
		return err
	}
	if err := t.cost(ctx, leader, follower); err != nil {
		return err
	}
	if err := t.handovers(ctx, "ha_leader_stopped", func(n *node) error {
		if err := n.process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		return n.process.Wait(30 * time.Second)
	}); err != nil {
		return err
	}
	return t.handovers(ctx, "ha_leader_killed", func(n *node) error { n.process.Kill(); return nil })
}

// orders times the brake, which is one record: from the request to the answer that stands in the ledger.
func (b *bench) orders(ctx context.Context, name string, c *e2e.Client) error {
	var took []float64
	for i := range haOrders {
		began := time.Now()
		r, err := c.Order(ctx, map[string]any{"kind": "brake", "on": i%2 == 0, "reason": "bench"})
		if err != nil {
			return err
		}
		if !r.OK {
			return fmt.Errorf("the brake: %s", r.Sentence)
		}
		took = append(took, time.Since(began).Seconds()*1000)
	}
	b.figure(name+"_p50", quantile(took, 0.5), "ms")
	b.figure(name+"_p99", quantile(took, 0.99), "ms")
	return nil
}

// cost is what a replica takes of the machine while three sites and an edge report.
func (t *trio) cost(ctx context.Context, leader, follower *node) error {
	for _, n := range []struct {
		name string
		*node
	}{{"leader", leader}, {"follower", follower}} {
		before, err := treeSize(filepath.Join(n.Data, "ledger"))
		if err != nil {
			return err
		}
		began := time.Now()
		u, err := watch(ctx, n.process.PID(), t.b.o.Measure)
		if err != nil {
			return err
		}
		after, err := treeSize(filepath.Join(n.Data, "ledger"))
		if err != nil {
			return err
		}
		t.b.figure("ha_"+n.name+"_rss", u.rssMax, "MB")
		t.b.figure("ha_"+n.name+"_cpu", u.cores*100, "%")
		t.b.figure("ha_"+n.name+"_disk", after/1e6, "MB")
		t.b.figure("ha_"+n.name+"_disk_growth", max(after-before, 0)/1e6/time.Since(began).Hours(), "MB/h")
	}
	return nil
}

// report has stand-ins of agents and edge report to every replica until the trio stops.
func (t *trio) report(ctx context.Context) error {
	tokens := map[string]string{}
	sites := []string{"fra", "ams", "waw"}
	for _, name := range append(slices.Clone(sites), e2e.EdgeName) {
		kind := "site"
		if name == e2e.EdgeName {
			kind = "edge"
		}
		path := filepath.Join(t.dir, name+".token")
		cmd := exec.CommandContext(ctx, t.b.programs.Server, "token", "create", "--kind", kind, "--name", name, "--out", path,
			"--server", t.nodes[0].URL, "--data", t.nodes[0].Data)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("make a token: %w: %s", err, out)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read a token: %w", err)
		}
		tokens[name] = strings.TrimSpace(string(text))
	}
	run, quiet := context.WithCancel(ctx)
	t.quiet = quiet
	for _, n := range t.nodes {
		f := &e2e.Fleet{
			URL: n.URL, Sites: sites, Service: "checkout", Rate: 60, Tokens: tokens,
			WeightsOf: func() map[string]int { return map[string]int{"fra": 100, "ams": 100, "waw": 100} },
		}
		t.all.Go(func() { f.Run(run) })
	}
	for _, n := range t.nodes {
		if err := until(ctx, time.Minute, n.name+" hears of all sites", func() error { return n.hears(ctx) }); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) hears(ctx context.Context) error {
	o, err := n.Conditions(ctx)
	if err != nil {
		return err
	}
	for _, w := range o.Writers {
		if !w.Fresh {
			return fmt.Errorf("%s is not fresh", w.Name)
		}
	}
	return nil
}

func treeSize(dir string) (float64, error) {
	var sum float64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreGone(err)
		}
		sum += float64(info.Size())
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return sum, nil
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// handovers ends the leader and times how long it takes until another one leads, and starts it again.
func (t *trio) handovers(ctx context.Context, name string, end func(*node) error) error {
	var took []float64
	for range min(t.b.o.Faults, 5) {
		old, err := t.leader(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		if err := end(old); err != nil {
			return err
		}
		old.process = nil
		if _, err := t.leader(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(began).Seconds())
		if err := t.start(old); err != nil {
			return err
		}
		if err := until(ctx, time.Minute, old.name+" is back", func() error { return errors.Join(old.Ready(ctx), old.hears(ctx)) }); err != nil {
			return err
		}
	}
	t.b.figure(name+"_p50", quantile(took, 0.5), "s")
	t.b.figure(name+"_max", quantile(took, 1), "s")
	return nil
}

// leader waits until one of those that run leads.
func (t *trio) leader(ctx context.Context) (*node, error) {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		for _, n := range t.nodes {
			var r struct {
				Leadership struct {
					Leads bool `json:"leads"`
				} `json:"leadership"`
			}
			if n.process != nil && n.Get(ctx, "/api/v1/replicas", &r) == nil && r.Leadership.Leads {
				return n, nil
			}
		}
		if err := pause(ctx, 10*time.Millisecond); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("no replica leads within a minute")
}

// trio starts three replicas as an operator would: one begins, the others join with their bundles.
func (b *bench) trio(ctx context.Context) (*trio, error) {
	dir, err := b.folder()
	if err != nil {
		return nil, err
	}
	t := &trio{b: b, dir: dir}
	if t.ports, err = e2e.ClaimPorts(); err != nil {
		return nil, err
	}
	var config strings.Builder
	config.WriteString(serverConfig + "ledger: {pattern: cross-region}\nreplicas:\n")
	for i := range 3 {
		name := fmt.Sprintf("r%d", i+1)
		fmt.Fprintf(&config, "  - {name: %s, at: place-%d, peer: %q, url: \"http://%s\"}\n", name, i+1, t.peer(i), t.listen(i))
		t.nodes = append(t.nodes, &node{Client: e2e.NewClient(t.listen(i), filepath.Join(dir, name)), name: name})
	}
	if err := os.WriteFile(t.config(), []byte(config.String()), 0o600); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	for i, n := range t.nodes {
		how := []string{"--bootstrap"}
		if i > 0 {
			bundle := filepath.Join(dir, n.name+".bundle")
			cmd := exec.CommandContext(ctx, b.programs.Server, "replica", "add", n.name, "--out", bundle, "--server", t.nodes[0].URL, "--data", t.nodes[0].Data)
			if out, err := cmd.CombinedOutput(); err != nil {
				return nil, errors.Join(fmt.Errorf("add %s: %w: %s", n.name, err, out), t.stop())
			}
			how = []string{"--join", bundle}
		}
		if err := t.start(n, how...); err != nil {
			return nil, errors.Join(err, t.stop())
		}
		if err := until(ctx, time.Minute, n.name+" is ready", func() error { return n.Ready(ctx) }); err != nil {
			return nil, errors.Join(fmt.Errorf("%w\nit said:\n%s", err, n.process.Output()), t.stop())
		}
	}
	return t, nil
}

func (t *trio) config() string { return filepath.Join(t.dir, "evenkeel.yaml") }

func (t *trio) start(n *node, more ...string) error {
	p, err := e2e.StartProcess(t.b.programs.Server, append([]string{
		"serve", "--config", t.config(), "--data", n.Data, "--replica", n.name,
		"--listen", strings.TrimPrefix(n.URL, "http://"), "--admin-listen", "",
	}, more...)...)
	if err == nil {
		n.process = p
	}
	return err
}

func (t *trio) stop() error {
	defer t.ports.Release()
	if t.quiet != nil {
		t.quiet()
		t.all.Wait()
	}
	var errs []error
	for _, n := range t.nodes {
		if n.process == nil {
			continue
		}
		errs = append(errs, n.process.Signal(syscall.SIGTERM))
		if err := n.process.Wait(30 * time.Second); err != nil {
			n.process.Kill()
			errs = append(errs, fmt.Errorf("%s did not end well: %w", n.name, err))
		}
	}
	return errors.Join(errs...)
}
