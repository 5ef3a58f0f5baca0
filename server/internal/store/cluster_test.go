package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// clusterVersion is the cluster that the tests run.
const clusterVersion = "v1.100.0-cluster"

// clusterBinaries is the folder with vmstorage, vminsert and vmselect. They are built once and kept in the user's
// cache. A cluster that cannot be had is a failure.
func clusterBinaries(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	must(t, err)
	dir := filepath.Join(cache, "evenkeel", "victoriametrics-"+clusterVersion)
	must(t, os.MkdirAll(dir, 0o750))
	for _, name := range []string{"vmstorage", "vminsert", "vmselect"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			continue
		}
		// Two test runs may build at once, and a file is renamed only on its own disk.
		fresh, err := os.MkdirTemp(dir, "build-") //nolint:usetesting // see above
		must(t, err)
		build := exec.Command("go", "install", "github.com/VictoriaMetrics/VictoriaMetrics/app/"+name+"@"+clusterVersion)
		build.Dir = t.TempDir() // outside of our module
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOBIN="+fresh)
		start := time.Now()
		out, err := build.CombinedOutput()
		if err != nil {
			_ = os.RemoveAll(fresh)
			t.Fatalf("the cluster's %s cannot be built, and without it nothing is shown of a cluster: %v: %s", name, err, out)
		}
		t.Logf("built %s in %s", name, time.Since(start).Round(time.Second))
		must(t, os.Rename(filepath.Join(fresh, name), filepath.Join(dir, name)))
		must(t, os.RemoveAll(fresh))
	}
	return dir
}

// process is one node of the cluster.
type process struct {
	t      *testing.T
	bin    string
	args   []string
	health string
	cmd    *exec.Cmd
	log    *os.File
}

func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.bin, p.args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	must(p.t, p.cmd.Start())
	eventually(p.t, patience, func() (bool, string) {
		resp, err := http.Get(p.health)
		if err != nil {
			return false, err.Error()
		}
		defer http.DefaultClient.CloseIdleConnections()
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK, resp.Status
	})
}

// stop ends the process with a signal and waits until it has ended.
func (p *process) stop(how syscall.Signal) {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(how)
	_ = p.cmd.Wait()
	p.cmd = nil
}

// cluster is two storage nodes, one vminsert and one vmselect, on loopback ports.
type cluster struct {
	storage        [2]*process
	insert, choose *process
	options        Options
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("a real cluster takes half a minute")
	}
	bin, root := clusterBinaries(t), t.TempDir()
	node := func(name, binary, addr string, args ...string) *process {
		log, err := os.Create(filepath.Join(root, name+".log"))
		must(t, err)
		p := &process{
			t: t, bin: filepath.Join(bin, binary), args: append(args, "-httpListenAddr="+addr), health: "http://" + addr + "/health", log: log,
		}
		t.Cleanup(func() {
			p.stop(syscall.SIGKILL)
			_ = log.Close()
			if t.Failed() {
				text, _ := os.ReadFile(log.Name())
				t.Logf("%s said:\n%s", name, text[max(0, len(text)-2000):])
			}
		})
		return p
	}
	addr := func() string { return "127.0.0.1:" + freePort(t) }
	c := &cluster{}
	var inserts, selects []string
	for i := range c.storage {
		insert, choose := addr(), addr()
		inserts, selects = append(inserts, "-storageNode="+insert), append(selects, "-storageNode="+choose)
		c.storage[i] = node(fmt.Sprint("vmstorage-", i), "vmstorage", addr(), "-vminsertAddr="+insert, "-vmselectAddr="+choose,
			"-storageDataPath="+filepath.Join(root, fmt.Sprint("storage-", i)), "-retentionPeriod=100d",
			"-inmemoryDataFlushInterval=1s", "-storage.cacheSizeIndexDBTagFilters=2")
	}
	insert, choose := addr(), addr()
	c.insert, c.choose = node("vminsert", "vminsert", insert, inserts...), node("vmselect", "vmselect", choose, selects...)
	c.options = Options{InsertURL: "http://" + insert, SelectURL: "http://" + choose}
	for _, p := range []*process{c.storage[0], c.storage[1], c.insert, c.choose} {
		p.start()
	}
	return c
}

func (c *cluster) open(t *testing.T, tenant string) *Store {
	t.Helper()
	o := c.options
	o.Tenant = tenant
	s, err := Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// many are samples of n series, enough for each storage node to get some.
func many(name string, n int, at time.Time) []core.Sample {
	out := make([]core.Sample, n)
	for i := range out {
		out[i] = sample(name, 1, at, "i", fmt.Sprint(i))
	}
	return out
}

// count is how many series of a name are seen.
func count(t *testing.T, s *Store, name string) (float64, error) {
	t.Helper()
	got, err := s.Query(t.Context(), "count("+name+")", time.Now(), 0)
	if err != nil || len(got) == 0 {
		return 0, err
	}
	return got[0].Value, nil
}

func wantCount(t *testing.T, s *Store, name string, want float64) {
	t.Helper()
	start := time.Now()
	eventually(t, patience, func() (bool, string) {
		n, err := count(t, s, name)
		return err == nil && n == want, fmt.Sprint(n, err)
	})
	t.Logf("%v series of %s were seen after %s", want, name, time.Since(start).Round(100*time.Millisecond))
}

func TestACluster(t *testing.T) {
	c := startCluster(t)
	s, other := c.open(t, ""), c.open(t, "7:9")
	must(t, s.Ready())
	at := time.Now().Add(-2 * time.Second) // before the moment that a range asks for
	must(t, s.Append(t.Context(), many("kept", 200, at)))
	must(t, other.Append(t.Context(), many("kept", 3, at)))

	// A tenant sees its own series and nobody else's.
	wantCount(t, s, "kept", 200)
	wantCount(t, other, "kept", 3)
	moment := time.Now().Add(-time.Second)
	past, err := s.QueryRange(t.Context(), "sum(last_over_time(kept[1m]))", moment, moment, time.Second)
	must(t, err)
	if len(past) != 1 || past[0].Values[0] != 200 {
		t.Errorf("a range answers %+v", past)
	}
	people := httptest.NewServer(other.Handler())
	defer people.Close()
	ask := func(path string, form url.Values) (int, string) {
		status, _, body := do(t, http.MethodPost, people.URL+"/prometheus/api/v1/"+path, form)
		return status, body
	}
	for path, want := range map[string]string{"query": `"3"`, "label/i/values": `["0","1","2"]`, "labels": `"i"`, "export": `"i":"1"`, "series": `"i":"1"`} {
		status, body := ask(path, url.Values{"query": {"count(kept)"}, "match[]": {"kept"}})
		if status != http.StatusOK || !strings.Contains(body, want) || strings.Contains(body, `"44"`) {
			t.Errorf("%s answers %d %s", path, status, body)
		}
	}
	_, err = s.Query(t.Context(), "sum by (", time.Now(), 0)
	wantCode(t, err, core.CodeUnavailable, "unexpected token") // this version does not say whose fault it is

	// What a storage node has shown it may lose by a kill until it is on disk, and it is there once the node has ended
	// by itself.
	for _, p := range c.storage {
		p.stop(syscall.SIGTERM)
		p.start()
	}
	wantCount(t, s, "kept", 200)

	// While a storage node dies, stays away and comes back, an answer is whole or none.
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(5 * time.Millisecond):
				if n, err := count(t, s, "kept"); err == nil && n != 200 {
					t.Errorf("a smaller number: %v", n)
					return
				}
			}
		}
	})
	c.storage[1].stop(syscall.SIGKILL)
	for _, expr := range []string{"count(kept)", "count(kept @ end())", "absent(kept)", "max_over_time(count(kept)[10s:1s])"} {
		_, err := s.Query(t.Context(), expr, time.Now(), 0)
		wantCode(t, err, core.CodeUnavailable, "partial answer")
		_, rangeErr := s.QueryRange(t.Context(), expr, time.Now().Add(-time.Minute), time.Now(), time.Second)
		if !errors.Is(err, ErrPartial) || !errors.Is(rangeErr, ErrPartial) {
			t.Errorf("%s: %v, and as a range %v", expr, err, rangeErr)
		}
	}
	if status, body := ask("query", url.Values{"query": {"count(kept)"}}); status != http.StatusOK || !strings.Contains(body, `"isPartial":true`) {
		t.Errorf("people are answered %d %s", status, body)
	}
	must(t, s.Ready())
	must(t, s.Append(t.Context(), many("rerouted", 100, time.Now())))
	time.Sleep(time.Second) // the node is away for a while, and the other goroutine asks
	c.storage[1].start()
	wantCount(t, s, "kept", 200)
	close(done)
	watching.Wait()
	wantCount(t, s, "rerouted", 100)

	// Without any storage node there is no partial answer, though both servers in front of them feel well.
	c.storage[0].stop(syscall.SIGTERM)
	c.storage[1].stop(syscall.SIGTERM)
	_, err = count(t, s, "kept")
	wantCode(t, err, core.CodeUnavailable, "no storage node of the cluster answers")
	if errors.Is(err, ErrPartial) {
		t.Errorf("nothing is called partial: %v", err)
	}
	wantCode(t, s.Ready(), core.CodeUnavailable, "no storage node of the cluster answers")

	c.choose.stop(syscall.SIGTERM)
	wantCode(t, s.Ready(), core.CodeUnavailable, "vmselect does not answer")
	_, err = count(t, s, "kept")
	wantCode(t, err, core.CodeUnavailable, "vmselect does not answer")
	c.insert.stop(syscall.SIGKILL)
	wantCode(t, s.Ready(), core.CodeUnavailable, "vminsert does not answer")
	wantCode(t, s.Append(t.Context(), many("kept", 1, time.Now())), core.CodeUnavailable, "vminsert does not answer")
}

// stub is a cluster of one server that answers as f says.
func stub(t *testing.T, f func(path string) (int, string)) *Store {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := f(r.URL.Path)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(srv.Close)
	s, err := Open(t.Context(), Options{InsertURL: srv.URL + "/in", SelectURL: srv.URL, Tenant: "42:7"})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestClusterPathsAndTroubles(t *testing.T) {
	f := func(status int, body string, isPartial bool, text string) {
		t.Helper()
		s := stub(t, func(path string) (int, string) {
			if path != "/select/42:7/prometheus/api/v1/query" {
				t.Errorf("asked at %s", path)
			}
			return status, body
		})
		_, err := s.Query(t.Context(), "x", time.Now(), 0)
		wantCode(t, err, core.CodeUnavailable, text)
		if errors.Is(err, ErrPartial) != isPartial {
			t.Errorf("%d %s is partial: %v", status, body, !isPartial)
		}
	}
	f(200, `{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`, true, "partial answer")
	f(503, `{"status":"error","errorType":"503","error":"dial"}`, false, "no storage node")
	f(503, `<html>`, false, "status 503") // a proxy in front of it
	f(429, `{"status":"error","error":"busy"}`, false, "busy")

	asked := 0
	s := stub(t, func(path string) (int, string) {
		switch {
		case path == "/in/health" || path == "/health":
			return 200, "OK"
		case strings.HasPrefix(path, "/in/insert/42:7/prometheus/api/v1/write"):
			return 204, ""
		}
		if asked++; asked == 1 {
			return 503, `{"status":"error","errorType":"503","error":"dial"}`
		}
		return 200, `{"status":"success","isPartial":true,"data":{"resultType":"vector","result":[]}}`
	})
	_, err := s.Query(t.Context(), "x", time.Now(), 0)
	if !errors.Is(err, ErrPartial) || !strings.Contains(err.Error(), "dial") {
		t.Errorf("one node away: %v", err)
	}
	must(t, s.Append(t.Context(), many("x", 1, time.Now())))
	must(t, s.Ready())
}

// A store that feels well and takes nothing is not ready.
func TestAStoreThatRefusesSamplesIsNotReady(t *testing.T) {
	status := http.StatusServiceUnavailable
	s := stub(t, func(path string) (int, string) {
		if strings.HasSuffix(path, "/write") {
			return status, "disk full"
		}
		return 200, `{"status":"success"}`
	})
	must(t, s.Ready())
	wantCode(t, s.Append(t.Context(), many("x", 1, time.Now())), core.CodeUnavailable, "vminsert takes no samples")
	wantCode(t, s.Ready(), core.CodeUnavailable, "disk full")
	status = http.StatusBadRequest // what is wrong with samples is not wrong with the store, and no news of it
	wantCode(t, s.Append(t.Context(), many("x", 1, time.Now())), core.CodeInvalid, "disk full")
	wantCode(t, s.Ready(), core.CodeUnavailable, "disk full")
	status = http.StatusNoContent
	must(t, s.Append(t.Context(), many("x", 1, time.Now())))
	must(t, s.Ready())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantCode(t, s.Append(ctx, many("x", 1, time.Now())), core.CodeUnavailable, "canceled")
	must(t, s.Ready())
}

func TestClusterOptions(t *testing.T) {
	f := func(o Options, text string) {
		t.Helper()
		s, err := Open(t.Context(), o)
		if text == "" {
			must(t, err)
			must(t, s.Close())
			return
		}
		wantCode(t, err, core.CodeInvalid, text)
		if !strings.Contains(err.Error(), "(") {
			t.Errorf("%v has no hint", err)
		}
	}
	in, sel := "http://vminsert:8480", "http://vmselect:8481"
	f(Options{URL: "http://x", InsertURL: in, SelectURL: sel}, "URL of a single node and one of a cluster")
	f(Options{URL: "http://x", SelectURL: sel}, "URL of a single node and one of a cluster")
	f(Options{InsertURL: in}, "the insert and the select URL, and has one of them")
	f(Options{SelectURL: sel}, "the insert and the select URL, and has one of them")
	f(Options{Dir: "x", InsertURL: in, SelectURL: sel}, "not both")
	f(Options{URL: "http://x", Tenant: "1"}, "only a cluster knows tenants")
	f(Options{InsertURL: "vminsert:8480", SelectURL: sel}, "insert URL is not an http or https address")
	f(Options{InsertURL: in, SelectURL: "ftp://x"}, "select URL is not an http or https address")
	for _, bad := range []string{"x", "-1", "+1", "1:", ":1", "1:2:3", "4294967296", "1:4294967296", " 1", "1.5", "0x1", "1/2", "multitenant"} {
		f(Options{InsertURL: in, SelectURL: sel, Tenant: bad}, "is not a number, nor two with a colon")
	}
	for _, good := range []string{"", "0", "0:0", "4294967295", "4294967295:4294967295"} {
		f(Options{InsertURL: in, SelectURL: sel, Tenant: good}, "")
	}
	f(Options{URL: "http://x", Tenant: "0"}, "")
}
