package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

// control is a control plane of three or more replicas, each at a site of its own, with a real agent and a shop at each, users and
// an executor at the edge, on a network whose links can be cut.
type control struct {
	t      *testing.T
	n      *Network
	p      Programs
	dir    string
	nodes  []*replica
	exec   *Executor
	agents map[string]*Process
	shops  map[string]*Shop
	edge   *edgeDesk
	leads  *leads
	wide   wide

	storage *Process // of the cluster, where there is one
}

// wide says how far apart the replicas are: the pattern of their ledger, and how late what one sends another arrives; nil
// delays nothing. A hold that is not zero is shorter than that of a real installation, as in a lab.
type wide struct {
	pattern string
	delay   func(from, to string) time.Duration
	hold    time.Duration
	disk    int64    // bytes of the disk that each replica has for itself; 0: that of the machine
	sites   []string // one with each replica; none: three
	cluster bool     // one VictoriaMetrics cluster keeps the samples of all of them
}

// replica is one server and the place it stands at.
type replica struct {
	*Client
	name, place string
	process     *Process
	binary      string // empty: the program under test
}

const edgePlace = "edge"

func controlSites() []string { return []string{"fra", "ams", "waw"} }

func (w wide) places() []string {
	if len(w.sites) > 0 {
		return slices.Clone(w.sites)
	}
	return controlSites()
}

// newControl starts all of it and waits until everybody sees that all is well.
func newControl(t *testing.T, w wide) *control {
	t.Helper()
	c := &control{wide: w, t: t, p: programs(t), dir: folder(t), n: newNetwork(t, append(w.places(), edgePlace)...), agents: map[string]*Process{}, shops: map[string]*Shop{}}
	text := remediations.GenerateSecret()
	secret := must[remediations.Secret](t)(remediations.ParseSecret(text))
	writeFile(t, filepath.Join(c.dir, "hand.key"), text)
	writeFile(t, c.config(), c.configText())
	c.exec = must[*Executor](t)(NewExecutor("", c.dir, w.places(), secret))
	hook := &http.Server{Handler: c.exec, ReadHeaderTimeout: 5 * time.Second}
	l, err := c.n.Listen(edgePlace, c.n.IP(edgePlace)+":7000")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = hook.Serve(l) })
	t.Cleanup(func() { _ = hook.Close(); serving.Wait() })
	if w.disk > 0 {
		for _, place := range w.places() {
			smallDisk(t, c.data(place), w.disk)
		}
	}
	if w.cluster {
		c.startStore()
	}
	t.Cleanup(c.end)
	for i, place := range w.places() {
		c.openShop(place)
		if w.delay != nil {
			relay := must[*Relay](t)(StartRelay(c.n, place, c.n.IP(place)+":8453", c.n.IP(place)+":8452", w.delay))
			t.Cleanup(relay.Close)
		}
		r := &replica{Client: NewClient(c.n.IP(place)+":8450", c.data(place)), name: fmt.Sprintf("r%d", i+1), place: place}
		r.http.Transport = &http.Transport{DisableKeepAlives: true, DialContext: c.n.Dial(place)}
		c.nodes = append(c.nodes, r)
		how := []string{"--bootstrap"}
		if i > 0 {
			bundle := filepath.Join(c.dir, r.name+".bundle")
			must[string](t)(c.run(c.nodes[0], "replica", "add", r.name, "--out", bundle))
			how = []string{"--join", bundle}
		}
		c.startServer(r, how...)
		c.until(time.Minute, r.name+" is ready", func() error { return r.Ready(t.Context()) })
	}
	c.leads = watchLeads(c)
	t.Cleanup(c.leads.close)
	tokens := map[string]string{}
	for _, place := range append(w.places(), edgePlace) {
		kind := "site"
		if place == edgePlace {
			kind = "edge"
		}
		must[string](t)(c.run(c.nodes[0], "token", "create", "--kind", kind, "--name", place, "--out", c.token(place)))
		raw := must[[]byte](t)(os.ReadFile(c.token(place)))
		tokens[place] = strings.TrimSpace(string(raw))
	}
	for _, place := range w.places() {
		c.startAgent(place)
	}
	c.edge = newEdgeDesk(c, tokens[edgePlace])
	t.Cleanup(c.edge.close)
	c.calm()
	return c
}

func (c *control) config() string           { return filepath.Join(c.dir, "evenkeel.yaml") }
func (c *control) data(place string) string { return filepath.Join(c.dir, "r-"+place) }
func (c *control) token(name string) string { return filepath.Join(c.dir, name+".token") }
func (c *control) url(place string) string  { return "http://" + c.n.IP(place) + ":8450" }

func (c *control) configText() string {
	var b strings.Builder
	hold, cooldown := 20*time.Second, time.Minute
	if c.wide.hold != 0 {
		hold, cooldown = c.wide.hold, time.Second
		b.WriteString("lab: true\n")
	}
	fmt.Fprintf(&b, "ledger: {pattern: %s}\nreplicas:\n", c.wide.pattern)
	for i, s := range c.wide.places() {
		peer := 8452
		if c.wide.delay != nil {
			peer = 8453 // the relay's
		}
		fmt.Fprintf(&b, "  - {name: r%d, at: %s, peer: \"https://%s:%d\", listen: \"%s:8452\", url: %q}\n", i+1, s, c.n.IP(s), peer, c.n.IP(s), c.url(s))
	}
	b.WriteString("sites:\n")
	for _, s := range c.wide.places() {
		fmt.Fprintf(&b, "  - {name: %s, time_zone: Europe/Berlin, region: eu, pattern: cross-region, capacity: {checkout: 1000}}\n", s)
	}
	b.WriteString("services:\n  - name: checkout\n    entries:\n")
	for _, s := range c.wide.places() {
		fmt.Fprintf(&b, "      %s: \"http://%s:%d/healthz\"\n", s, c.n.IP(s), shopPort)
	}
	fmt.Fprintf(&b, `policies:
  - {name: isolated-site, when: {condition: failing, classes: [outside, silence]}, hold: %s, plan: drain, mode: automatic}
guards: {max_drained_sites: 1, min_serving: 1, cooldown: %s, budget: {per_hour: 200, per_day: 2000}}
targets:
  - {name: hand, type: webhook, url: "http://%s:7000/hooks/evenkeel", secret: "${file:hand.key}", allow_private: true}
plans:
  drain:
    - {target: hand, weights: [50], verify: {share_below: 50%%, within: 15s}, on_fail: stop}
    - {target: hand, weights: [0], verify: {share_below: 1%%, within: 15s}, on_fail: stop}
  restore:
    - {target: hand, weights: [100], verify: {success_above: 90%%, within: 15s}, on_fail: stop}
`, hold, cooldown, c.n.IP(edgePlace))
	if c.wide.cluster {
		fmt.Fprintf(&b, "storage: {insert: \"http://%[1]s:8480\", select: \"http://%[1]s:8481\", share_detectors: true}\n", c.n.IP(edgePlace))
		b.WriteString(watchesText())
	}
	return b.String()
}

func (c *control) startServer(r *replica, more ...string) {
	c.t.Helper()
	args := append([]string{
		"serve", "--config", c.config(), "--data", r.Data, "--replica", r.name,
		"--listen", c.n.IP(r.place) + ":8450", "--admin-listen", "", "--log-format", "text",
	}, more...)
	binary := r.binary
	if binary == "" {
		binary = c.p.Server
	}
	r.process = must[*Process](c.t)(c.n.Start(r.place, binary, args...))
}

func (c *control) startAgent(place string) {
	c.t.Helper()
	var servers []string
	for _, s := range c.wide.places() {
		servers = append(servers, c.url(s))
	}
	c.agents[place] = must[*Process](c.t)(c.n.Start(place, c.p.Agent, "run", "--role", "site", "--site", place, "--servers", strings.Join(servers, ","),
		"--token-file", c.token(place), "--data", filepath.Join(c.dir, "a-"+place), "--otlp", "", "--buffer-mib", "16"))
}

func (c *control) openShop(place string) {
	c.t.Helper()
	c.shops[place] = must[*Shop](c.t)(OpenShop(c.n, place))
}

// run runs an operator's command at the place of a replica, against it.
func (c *control) run(r *replica, args ...string) (string, error) {
	return c.n.Run(c.t.Context(), r.place, c.p.Server, append(args, "--server", r.URL, "--data", r.Data)...)
}

// end stops everything; a server must end well.
func (c *control) end() {
	for _, p := range c.agents {
		p.Kill()
	}
	for _, s := range c.shops {
		s.Close()
	}
	for _, r := range c.nodes {
		if r.process == nil {
			continue
		}
		if c.t.Failed() {
			out := r.process.Output()
			c.t.Logf("%s said:\n%s", r.name, out[max(0, len(out)-4000):])
			writeFile(c.t, filepath.Join(c.dir, r.name+".log"), out)
		}
		_ = r.process.Signal(syscall.SIGCONT) // it may have been left asleep by a failure
		if err := errors.Join(r.process.Signal(syscall.SIGTERM), r.process.Wait(time.Minute)); err != nil {
			c.t.Errorf("%s did not end well: %v", r.name, err)
			r.process.Kill()
		}
	}
}

func (c *control) until(patience time.Duration, what string, ok func() error) {
	c.t.Helper()
	if err := Until(patience, what, ok); err != nil {
		for _, r := range c.nodes {
			if lines, err := r.Timeline(context.Background()); err == nil {
				for _, l := range lines[max(0, len(lines)-12):] {
					c.t.Logf("  %s: %s %-9s %s", r.name, l.At.Format("15:04:05.000"), l.Kind, l.Sentence)
				}
				break
			}
		}
		c.t.Fatal(err)
	}
}

// standing is what a replica says of who leads.
type standing struct {
	Leader string    `json:"leader"`
	Leads  bool      `json:"leads"`
	Since  time.Time `json:"since"`
	Quorum bool      `json:"quorum"`
	Reason string    `json:"reason"`
	Voters int       `json:"-"` // members that have a vote
}

func (c *control) standing(r *replica) (standing, error) {
	if r.process == nil {
		return standing{}, errors.New("it does not run")
	}
	out, err := get[struct {
		Leadership standing `json:"leadership"`
		Members    []struct {
			Name  string `json:"name"`
			State string `json:"state"`
		} `json:"members"`
	}](c.t.Context(), r.Client, "/replicas")
	for _, m := range out.Members {
		if m.State == "voter" {
			out.Leadership.Voters++
		}
	}
	return out.Leadership, err
}

// leader waits until exactly one of those that run says that it leads.
func (c *control) leader(patience time.Duration) *replica {
	c.t.Helper()
	var found *replica
	c.until(patience, "one replica leads", func() error {
		found = nil
		var said []string
		for _, r := range c.nodes {
			s, err := c.standing(r)
			said = append(said, fmt.Sprintf("%s: %+v, %v", r.name, s, err))
			if err == nil && s.Leads {
				if found != nil {
					return fmt.Errorf("%s and %s say that they lead", found.name, r.name)
				}
				found = r
			}
		}
		if found == nil {
			return errors.New(strings.Join(said, "; "))
		}
		return nil
	})
	return found
}

func (c *control) others(r *replica) []*replica {
	var out []*replica
	for _, o := range c.nodes {
		if o != r {
			out = append(out, o)
		}
	}
	return out
}

// calm waits until every replica has a quorum and sees that all is well, and nothing is under way.
func (c *control) calm() {
	c.t.Helper()
	c.until(2*time.Minute, "every replica sees that all is well", func() error {
		for _, r := range c.nodes {
			s, err := c.standing(r)
			if err != nil || !s.Quorum || s.Leader == "" || s.Voters < len(c.nodes) {
				return fmt.Errorf("%s: %+v, %w", r.name, s, err)
			}
			o, err := r.Conditions(c.t.Context())
			if err != nil {
				return err
			}
			for _, w := range o.Writers {
				if !w.Fresh {
					return fmt.Errorf("%s does not hear %s", r.name, w.Name)
				}
			}
			for _, a := range o.Assessments {
				if a.Condition != "healthy" {
					return fmt.Errorf("%s: %s", r.name, a.Sentence)
				}
			}
		}
		list, err := c.nodes[0].Actions(c.t.Context())
		for _, a := range list {
			if !a.Final() {
				err = errors.Join(err, fmt.Errorf("%s of %s is %s", a.Kind, a.Subject.Site, a.State))
			}
		}
		return err
	})
}

// loseSite takes a whole site away, as a loss of power does: its network, its replica, its agent and its shop.
func (c *control) loseSite(r *replica) {
	c.t.Helper()
	if err := c.n.Isolate(r.place); err != nil {
		c.t.Fatal(err)
	}
	c.killSite(r)
}

// killSite kills all that runs at a site.
func (c *control) killSite(r *replica) {
	c.t.Helper()
	r.process.Kill()
	r.process = nil
	c.agents[r.place].Kill()
	c.shops[r.place].Close()
}

// bringBack ends the loss of a site.
func (c *control) bringBack(r *replica) {
	c.t.Helper()
	c.heal()
	c.openShop(r.place)
	c.startAgent(r.place)
	c.startServer(r)
}

// order gives an order to a replica.
func (c *control) order(r *replica, kind, site string) (Reply, error) {
	return r.Order(c.t.Context(), map[string]any{"kind": kind, "reason": "test", "subject": Subject{Site: site, Service: "checkout"}})
}

// moved waits until the executor has a site at a weight and no action is under way.
func (c *control) moved(patience time.Duration, site string, weight int) {
	c.t.Helper()
	c.until(patience, fmt.Sprintf("%s is at %d", site, weight), func() error {
		if got := c.exec.Weights()[site]; got != weight {
			return fmt.Errorf("it is at %d", got)
		}
		for _, r := range c.nodes {
			list, err := r.Actions(c.t.Context())
			if err != nil {
				continue
			}
			for _, a := range list {
				if !a.Final() {
					return fmt.Errorf("%s of %s is %s: %s", a.Kind, a.Subject.Site, a.State, a.Sentence)
				}
			}
			return nil
		}
		return errors.New("no replica answers")
	})
}

// restore brings a site back by an order at some replica.
func (c *control) restore(site string) {
	c.t.Helper()
	c.calm()
	c.until(time.Minute, "the restore of "+site+" is taken", func() error {
		r, err := c.order(c.nodes[rand.IntN(len(c.nodes))], "restore", site)
		if err == nil && !r.OK {
			err = errors.New(r.Sentence)
		}
		return err
	})
	c.moved(time.Minute, site, 100)
}

// proven checks the records of the executor and of who said that they lead: no step had two effects, the fence never
// went back, no two replicas led at the same time, and all that was done was commanded by the one that did.
func (c *control) proven() {
	c.t.Helper()
	calls := c.exec.Calls()
	if err := errors.Join(CheckFencing(calls), c.leads.overlap(), c.leads.foreign(calls, c.n.Place)); err != nil {
		c.t.Error(err)
	}
	for _, a := range must[[]Action](c.t)(c.nodes[0].Actions(c.t.Context())) {
		if a.Final() && a.State != "succeeded" {
			c.t.Errorf("%s of %s ended %s: %s", a.Kind, a.Subject.Site, a.State, a.Sentence)
		}
	}
	seen := map[string]bool{}
	for _, call := range calls {
		if n := Effects(calls, "", call.ID); n > 1 && !seen[call.ID] {
			c.t.Errorf("step %s had %d effects", call.ID, n)
		}
		seen[call.ID] = true
	}
}
