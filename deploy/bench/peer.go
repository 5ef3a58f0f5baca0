package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/deploy/e2e"
)

// benchPeer has Prometheus and Alertmanager judge the same faults as the server, at the same hold: fault to webhook
// against fault to changed weight.
func benchPeer(ctx context.Context, b *bench) error {
	p, err := findPrometheus()
	if err != nil {
		return err
	}
	p.bench = b
	faults, err := b.faults(ctx, []string{"kill-service"}, p)
	var ours, theirs []float64
	for _, f := range faults {
		if f.executed.IsZero() || f.paged.IsZero() {
			continue // only pairs compare
		}
		ours, theirs = append(ours, ms(f.executed.Sub(f.at)-hold)), append(theirs, ms(f.paged.Sub(f.at)-hold))
	}
	if len(faults) == 0 {
		return err
	}
	b.figure("peer_faults", float64(len(faults)), "count")
	b.figure("peer_pairs", float64(len(ours)), "count")
	for _, q := range []struct {
		name  string
		share float64
	}{{"p50", 0.5}, {"p99", 0.99}} {
		us, them := quantile(ours, q.share), quantile(theirs, q.share)
		b.figure("peer_ours_overhead_"+q.name, us, "ms")
		b.figure("peer_prometheus_overhead_"+q.name, them, "ms")
		b.figure("peer_overhead_"+q.name+"_ratio", us/them, "ratio")
	}
	return err
}

// prometheus is Prometheus with an Alertmanager, as fast as they can be set: both look each second, nothing is grouped
// or delayed. The probe is made at the scrape, as the blackbox exporter does.
type prometheus struct {
	bench                  *bench
	server, manager        string // programs
	mu                     sync.Mutex
	firing                 map[string]time.Time // by site, since when; absent when resolved
	serverAddr, targetAddr string
	sites                  map[string]string // site to address of its shop
}

var _ rival = (*prometheus)(nil)

func findPrometheus() (*prometheus, error) {
	p := &prometheus{}
	for _, want := range []struct {
		path  *string
		names []string
	}{{&p.server, []string{"prometheus"}}, {&p.manager, []string{"prometheus-alertmanager", "alertmanager"}}} {
		for _, name := range want.names {
			if path, err := exec.LookPath(name); err == nil {
				*want.path = path
			}
		}
		if *want.path == "" {
			return nil, fmt.Errorf("%s is missing: install it with `deploy/setup.sh bench`", want.names[0])
		}
	}
	return p, nil
}

// join starts a pair of processes that watch the shops of a lab.
func (p *prometheus) join(ctx context.Context, lab *e2e.Lab, sites []string) (leave func(), err error) {
	dir, err := p.bench.folder()
	if err != nil {
		return nil, err
	}
	ports, err := e2e.ClaimPorts()
	if err != nil {
		return nil, err
	}
	undo := []func(){ports.Release}
	leave = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	defer func() {
		if err != nil {
			leave()
		}
	}()
	p.serverAddr, p.targetAddr = ports.Addr(0), ports.Addr(2)
	p.mu.Lock()
	p.firing, p.sites = map[string]time.Time{}, map[string]string{}
	for i, site := range sites {
		p.sites[site] = lab.Ports.Addr(100 * (i + 1))
	}
	p.mu.Unlock()
	stop, err := p.listen(ctx)
	if err != nil {
		return nil, err
	}
	undo = append(undo, stop)
	for name, text := range map[string]string{
		"prometheus.yml":   fmt.Sprintf(prometheusConfig, ports.Addr(1), strings.Join(sites, ", "), p.targetAddr),
		"rules.yml":        fmt.Sprintf(prometheusRules, hold),
		"alertmanager.yml": fmt.Sprintf(managerConfig, p.targetAddr),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("write a configuration: %w", err)
		}
	}
	for _, c := range [][]string{
		{
			p.manager, "--config.file=" + filepath.Join(dir, "alertmanager.yml"), "--storage.path=" + filepath.Join(dir, "alertmanager"),
			"--web.listen-address=" + ports.Addr(1), "--cluster.listen-address=", "--log.level=warn",
		},
		{
			p.server, "--config.file=" + filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path=" + filepath.Join(dir, "prometheus"),
			"--web.listen-address=" + p.serverAddr, "--log.level=warn",
		},
	} {
		process, err := e2e.StartProcess(c[0], c[1:]...)
		if err != nil {
			return nil, err
		}
		undo = append(undo, process.Kill)
	}
	return leave, p.calm(ctx)
}

const prometheusConfig = `
global: {scrape_interval: 1s, scrape_timeout: 900ms, evaluation_interval: 1s}
rule_files: [rules.yml]
alerting:
  alertmanagers: [{static_configs: [{targets: [%q]}]}]
scrape_configs:
  - job_name: shops
    metrics_path: /probe
    static_configs: [{targets: [%s]}]
    relabel_configs:
      - {source_labels: [__address__], target_label: __param_target}
      - {source_labels: [__address__], target_label: instance}
      - {target_label: __address__, replacement: %q}
`

const prometheusRules = `
groups:
  - name: shops
    rules: [{alert: ShopDown, expr: probe_success == 0, for: %s}]
`

const managerConfig = `
route: {receiver: bench, group_by: [instance], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: bench
    webhook_configs: [{url: "http://%s/hook", send_resolved: true}]
`

// listen serves the probes and takes the alerts.
func (p *prometheus) listen(ctx context.Context) (stop func(), err error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", p.targetAddr)
	if err != nil {
		return nil, fmt.Errorf("listen for the peer: %w", err)
	}
	// As the agent's probes: a deadline of 800 ms, a fresh connection each time.
	client := &http.Client{Timeout: 800 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /probe", func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		addr := p.sites[r.URL.Query().Get("target")]
		p.mu.Unlock()
		up := 0
		if healthy(r.Context(), client, addr) {
			up = 1
		}
		_, _ = fmt.Fprintf(w, "probe_success %d\n", up)
	})
	mux.HandleFunc("POST /hook", func(_ http.ResponseWriter, r *http.Request) {
		at := time.Now()
		var body struct {
			Alerts []struct {
				Status string            `json:"status"`
				Labels map[string]string `json:"labels"`
			} `json:"alerts"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			return // it shows as an alert that never came
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, a := range body.Alerts {
			site := a.Labels["instance"]
			if _, known := p.firing[site]; a.Status != "firing" {
				delete(p.firing, site)
			} else if !known {
				p.firing[site] = at
			}
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(ln) // it ends when it is closed
	}()
	return func() {
		_ = srv.Close()
		<-done
	}, nil
}

func healthy(ctx context.Context, client *http.Client, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/healthz", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close() //nolint:errcheck // read below
	_, err = io.Copy(io.Discard, resp.Body)
	return err == nil && resp.StatusCode/100 == 2
}

// calm waits until the peer sees all shops up and has resolved its alerts.
func (p *prometheus) calm(ctx context.Context) error {
	client := e2e.NewClient(p.serverAddr, "")
	return until(ctx, time.Minute, "the peer is calm", func() error {
		p.mu.Lock()
		left, want := len(p.firing), strconv.Itoa(len(p.sites))
		p.mu.Unlock()
		if left > 0 {
			return fmt.Errorf("%d alerts are not resolved", left)
		}
		var out struct {
			Data struct {
				Result []struct {
					Value [2]json.RawMessage `json:"value"`
				} `json:"result"`
			} `json:"data"`
		}
		if err := client.Get(ctx, "/api/v1/query?query=sum(probe_success)+unless+on()+ALERTS", &out); err != nil {
			return err
		}
		if len(out.Data.Result) != 1 || strings.Trim(string(out.Data.Result[0].Value[1]), `"`) != want {
			return fmt.Errorf("it does not see %s shops up", want)
		}
		return nil
	})
}

func (p *prometheus) paged(ctx context.Context, site string, since time.Time) (time.Time, error) {
	var at time.Time
	err := until(ctx, 30*time.Second, "the peer has paged about "+site, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		var ok bool
		if at, ok = p.firing[site]; !ok || at.Before(since) {
			return errors.New("no alert came")
		}
		return nil
	})
	if err != nil {
		return time.Time{}, err
	}
	return at, nil
}
