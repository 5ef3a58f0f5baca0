package director

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/push"
	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/receiver"
)

// UpstreamTimeout is how long a site may take to answer a user.
const UpstreamTimeout = 2 * time.Second

// SiteHeader of an answer says which site the user was sent to.
const SiteHeader = "Lab-Site"

// Options of a Director.
type Options struct {
	Listen    string // users and the executor's hook, host:port
	Admin     string // GET /status; empty for none
	Services  []string
	Sites     []string
	Upstreams map[string]string // by site: where the cable to its services begins
	Secret    remediations.Secret
	StateFile string   // fencing tokens; its folder must exist
	Weights   string   // file that keeps the weights; empty keeps nothing
	Executed  string   // JSON lines of executed commands; empty for none
	Knob      string   // file with the faults; empty for none
	Report    []string // the servers that get the edge's counters, each http://host:port and each by itself
	TokenFile string   // the edge's token; may appear later
	Log       *slog.Logger
}

// Director is the reverse proxy with its executor.
type Director struct {
	o        Options
	table    *Table
	counters *counters
	exec     *executor
	hook     *receiver.Receiver
	routes   map[string]*httputil.ReverseProxy // by site
	pools    []*http.Transport
}

// New reads the state files. Close gives up what it holds.
func New(o Options) (*Director, error) {
	table, err := NewTable(o.Weights, o.Services, o.Sites)
	if err != nil {
		return nil, err
	}
	d := &Director{
		o: o, table: table, counters: newCounters(o.Services, o.Sites), routes: map[string]*httputil.ReverseProxy{},
		exec: &executor{table: table, services: o.Services, knob: o.Knob, log: o.Log},
	}
	if d.hook, err = receiver.New(receiver.Options{
		Secrets: []remediations.Secret{o.Secret}, AdoptFirst: true, StateFile: o.StateFile,
		Apply: d.exec.apply, Check: d.exec.check, Log: o.Log,
	}); err != nil {
		return nil, fmt.Errorf("make executor: %w", err)
	}
	for _, site := range o.Sites {
		pool := &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, DisableCompression: true}
		d.pools = append(d.pools, pool)
		d.routes[site] = d.route(site, o.Upstreams[site], pool)
	}
	if o.Executed != "" {
		if d.exec.file, err = os.OpenFile(o.Executed, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644); err != nil {
			return nil, errors.Join(fmt.Errorf("open list of executed commands: %w", err), d.hook.Close())
		}
	}
	return d, nil
}

// Close gives up connections and files.
func (d *Director) Close() {
	for _, p := range d.pools {
		p.CloseIdleConnections()
	}
	if err := d.hook.Close(); err != nil {
		d.o.Log.Warn("executor not closed", slog.String("error", err.Error()))
	}
	if d.exec.file != nil {
		_ = d.exec.file.Close() // each line was written by itself
	}
}

// trip is what the routes need to know about a request under way.
type trip struct {
	service string
	began   time.Time
}

type tripKey struct{}

func (d *Director) route(site, upstream string, pool http.RoundTripper) *httputil.ReverseProxy {
	target := &url.URL{Scheme: "http", Host: upstream}
	done := func(ctx context.Context, status int) {
		if t, ok := ctx.Value(tripKey{}).(trip); ok {
			d.counters.count(site, t.service, status, time.Since(t.began))
		}
	}
	return &httputil.ReverseProxy{
		Transport: pool,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() },
		ModifyResponse: func(r *http.Response) error {
			done(r.Request.Context(), r.StatusCode)
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, context.Canceled) {
				return // the user went away: nobody's fault and no answer
			}
			done(r.Context(), 0)
			http.Error(w, "no answer from "+site, http.StatusBadGateway)
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
}

// ServeHTTP takes users (/<service>...) and commands (POST /hooks/evenkeel).
func (d *Director) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/hooks/evenkeel" {
		d.hook.ServeHTTP(w, r)
		return
	}
	service, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if _, ok := d.table.Weights()[service]; !ok {
		http.Error(w, "no such service; there are: "+strings.Join(d.o.Services, ", "), http.StatusNotFound)
		return
	}
	site, ok := d.table.Pick(service)
	if !ok {
		http.Error(w, "no site serves "+service, http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), UpstreamTimeout)
	defer cancel()
	w.Header().Set(SiteHeader, site)
	d.routes[site].ServeHTTP(w, r.WithContext(context.WithValue(ctx, tripKey{}, trip{service, time.Now()})))
}

// Status is the director's state.
type Status struct {
	Weights  map[string]map[string]int               `json:"weights"`  // percent of normal, by service and site
	Requests map[string]map[string]map[string]uint64 `json:"requests"` // since its start, by service, site and code class
	Executed []Executed                              `json:"executed"` // the newest last
}

// Status is the director's state now.
func (d *Director) Status() Status {
	s := Status{Weights: d.table.Weights(), Executed: d.exec.executed(), Requests: map[string]map[string]map[string]uint64{}}
	for p, counts := range d.counters.snapshot() {
		if s.Requests[p.service] == nil {
			s.Requests[p.service] = map[string]map[string]uint64{}
		}
		s.Requests[p.service][p.site] = counts
	}
	return s
}

// Run serves until ctx ends; the error says what could not be served.
func (d *Director) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	admin := http.NewServeMux()
	admin.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(d.Status()) // the reader went away
	})
	servers := []*http.Server{{Addr: d.o.Listen, Handler: d, ReadHeaderTimeout: 5 * time.Second}}
	if d.o.Admin != "" {
		servers = append(servers, &http.Server{Addr: d.o.Admin, Handler: admin, ReadHeaderTimeout: 5 * time.Second})
	}
	var all sync.WaitGroup
	for _, server := range d.o.Report {
		p := push.Pusher{
			URL: server, TokenFile: d.o.TokenFile, Fast: true, Interval: 500 * time.Millisecond,
			Build: d.counters.metrics(d.table, d.o.Listen), Log: d.o.Log,
		}
		all.Go(func() { p.Run(ctx) })
	}
	failed := make(chan error, len(servers))
	for _, s := range servers {
		all.Go(func() {
			if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve %s: %w", s.Addr, err)
				cancel()
			}
		})
	}
	<-ctx.Done()
	end, stop := context.WithTimeout(context.WithoutCancel(ctx), UpstreamTimeout)
	defer stop()
	for _, s := range servers {
		if s.Shutdown(end) != nil {
			_ = s.Close() // it had its time
		}
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
