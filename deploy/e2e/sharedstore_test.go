package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOneStoreForAll: replicas over one cluster of VictoriaMetrics divide the watches among those that live, and without
// the cluster they go on deciding by facts.
func TestOneStoreForAll(t *testing.T) {
	t.Parallel()
	c := placedControl(t, wide{pattern: "cross-region", hold: 4 * time.Second, cluster: true})
	c.part("watches are divided", (*control).divided)
	c.part("without the store", (*control).storeGone)
}

const sharedWatches = 9

// watchesText are watches of the whole of the configuration, each of which one replica is to evaluate.
func watchesText() string {
	var b strings.Builder
	b.WriteString("watches:\n")
	for i := range sharedWatches {
		fmt.Fprintf(&b, "  - {name: w%d, query: \"sum by (target_site, service) (rate(evenkeel_edge_requests_total[30s])) + %d\", every: 5s, model: threshold, threshold: 1e6, direction: above}\n", i, i)
	}
	return b.String()
}

// clusterVersion is the VictoriaMetrics cluster that is run.
const clusterVersion = "v1.100.0-cluster"

// clusterProgram builds a program of the cluster, once; it is kept in the user's cache.
func clusterProgram(t *testing.T, name string) string {
	t.Helper()
	dir := filepath.Join(must[string](t)(os.UserCacheDir()), "evenkeel", "victoriametrics-"+clusterVersion)
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	fresh := must[string](t)(os.MkdirTemp(dir, "build-")) //nolint:usetesting // a file is renamed only on its own disk
	defer os.RemoveAll(fresh)
	build := exec.Command("go", "install", "github.com/VictoriaMetrics/VictoriaMetrics/app/"+name+"@"+clusterVersion)
	build.Dir = t.TempDir() // outside of our module
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN="+fresh)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the cluster's %s cannot be built, and without it nothing is shown of a cluster: %v: %s", name, err, out)
	}
	if err := os.Rename(filepath.Join(fresh, name), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// startStore starts the cluster at the edge.
func (c *control) startStore() {
	c.t.Helper()
	ip := c.n.IP(edgePlace)
	start := func(name, port string, args ...string) *Process {
		p := must[*Process](c.t)(c.n.Start(edgePlace, clusterProgram(c.t, name), append(args, "-httpListenAddr="+ip+":"+port)...))
		c.t.Cleanup(p.Kill)
		client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DialContext: c.n.Dial(edgePlace), DisableKeepAlives: true}}
		c.until(time.Minute, name+" answers", func() error {
			resp, err := client.Get("http://" + ip + ":" + port + "/health")
			if err == nil {
				err = resp.Body.Close()
			}
			return err
		})
		return p
	}
	c.storage = start("vmstorage", "8482", "-vminsertAddr="+ip+":8400", "-vmselectAddr="+ip+":8401", "-retentionPeriod=100d",
		"-storageDataPath="+filepath.Join(c.dir, "vmstorage"), "-inmemoryDataFlushInterval=1s")
	start("vminsert", "8480", "-storageNode="+ip+":8400")
	start("vmselect", "8481", "-storageNode="+ip+":8401")
}

// evaluations is how often each replica that runs has evaluated each watch.
func (c *control) evaluations() (map[string][]float64, error) {
	out := map[string][]float64{}
	for _, r := range c.nodes {
		if r.process == nil {
			continue
		}
		for i := range sharedWatches {
			n, err := r.Metric(c.t.Context(), fmt.Sprintf("evenkeel_detect_evaluations_total{watch=%q}", fmt.Sprintf("w%d", i)))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			out[r.name] = append(out[r.name], n)
		}
	}
	return out, nil
}

// owners waits until over three turns each watch was evaluated by one replica, and says by which.
func (c *control) owners(patience time.Duration) (by []string) {
	c.t.Helper()
	c.until(patience, "each watch has one owner", func() error {
		before, err := c.evaluations()
		if err != nil {
			return err
		}
		time.Sleep(16 * time.Second) // three turns
		after, err := c.evaluations()
		if err != nil {
			return err
		}
		by = nil
		for i := range sharedWatches {
			var who []string
			for name := range before {
				if after[name][i] > before[name][i] {
					who = append(who, name)
				}
			}
			if len(who) != 1 {
				return fmt.Errorf("w%d is evaluated by %v", i, who)
			}
			by = append(by, who[0])
		}
		return nil
	})
	return by
}

func (c *control) divided() {
	by := c.owners(time.Minute)
	c.t.Logf("owners of the watches: %v", by)
	lone := c.nodes[slices.IndexFunc(c.nodes, func(r *replica) bool { return r.name == by[0] })]
	if !slices.ContainsFunc(by, func(name string) bool { return name != by[0] }) {
		c.t.Errorf("one replica has all of them: %v", by)
	}
	lone.process.Kill()
	lone.process = nil
	c.leader(time.Minute)
	without := c.owners(time.Minute)
	c.t.Logf("without %s: %v", lone.name, without)
	for i, name := range by {
		if name != lone.name && without[i] != name {
			c.t.Errorf("w%d went from %s, which lives, to %s", i, name, without[i])
		}
	}
	c.startServer(lone)
	c.calm()
	if again := c.owners(time.Minute); !slices.Equal(again, by) {
		c.t.Errorf("the owners were %v and are %v", by, again)
	}
}

// storeGone: without a storage node each replica says that its store is broken, and a site that dies is drained all the same.
func (c *control) storeGone() {
	c.storage.Kill()
	for _, r := range c.nodes {
		c.until(time.Minute, r.name+" says that its store is broken", func() error {
			var parts struct {
				Parts []struct {
					Name string `json:"name"`
					OK   bool   `json:"ok"`
				} `json:"parts"`
			}
			if err := r.Get(c.t.Context(), "/api/v1/status", &parts); err != nil {
				return err
			}
			for _, p := range parts.Parts {
				if p.Name == "store" && !p.OK {
					return nil
				}
			}
			return errors.New(fmt.Sprint(parts))
		})
	}
	c.outage(c.others(c.leader(time.Minute))[0].place)
}
