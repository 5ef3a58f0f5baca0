package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/server/internal/act"
	"github.com/evenkeel/evenkeel/server/internal/app/config"
	"github.com/evenkeel/evenkeel/server/internal/core"
	"github.com/evenkeel/evenkeel/server/internal/detect"
	"github.com/evenkeel/evenkeel/server/internal/ingest"
	"github.com/evenkeel/evenkeel/server/internal/ledger"
	"github.com/evenkeel/evenkeel/server/internal/store"
)

// Options are the settings of a server that are not part of its configuration file.
type Options struct {
	ConfigPath  string // empty: the configuration of an empty file
	DataDir     string
	Listen      string // UI, API and ingest
	AdminListen string // pprof; empty: none
	Version     string
	Replica     string // name of this replica in the configuration; empty: this server is alone
	PeerListen  string // where it listens for the other replicas; empty: at its configured peer address
	Bootstrap   bool   // an empty data directory begins a new ledger
	JoinFile    string // bundle with which an empty data directory joins one; empty: none
	Log         *slog.Logger
	// Started is called once with the address really listened on, when everything is ready.
	Started func(addr string)
}

// Server is one running server. Its parts are started in the order of the fields and stopped in reverse.
type Server struct {
	opts     Options
	config   config.Config
	registry *prometheus.Registry
	replica  string

	listener net.Listener
	admin    net.Listener // for profiles; nil: none
	ledger   *ledger.Ledger
	store    *store.Store
	world    *world
	eyes     *eyes
	marks    marks
	special  *specials
	hand     *act.Hand
	loop     *loop
	watchman *detect.Watchman
	askers   map[string]remediations.Preflighter
	inputs   chan input
	stopping chan struct{} // closed when serving ends

	calibration atomic.Pointer[core.Calibration] // of the statistics; nil before the first reckoning

	// Of one of several replicas:
	urgent    chan struct{}                    // one pending sign that a condition changed and is to be published
	joinedNow bool                             // this replica joined the others at this start
	published string                           // the conditions that were published last; of the loop alone
	preflight atomic.Pointer[[]core.Preflight] // what the executors said last; nil when they were not asked
	broken    atomic.Pointer[string]           // why the store does not work; nil when it does
}

// Run starts a server and serves until ctx ends or a part fails for good. Mistakes of the operator come back as
// core.Error or config.Problems, before anything is changed on disk where that is possible.
func Run(ctx context.Context, opts Options) error {
	s := newServer(opts)
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := s.configure(); err != nil {
		return err
	}
	defer s.deafen()
	if err := s.listen(ctx); err != nil {
		return err
	}
	if err := s.open(ctx); err != nil {
		return errors.Join(err, s.close(context.WithoutCancel(ctx)))
	}
	err := s.serve(ctx)
	return errors.Join(err, s.close(context.WithoutCancel(ctx)))
}

// newServer is a server of which no part is open yet.
func newServer(opts Options) *Server {
	return &Server{
		opts: opts, inputs: make(chan input, 64), stopping: make(chan struct{}), urgent: make(chan struct{}, 1), registry: prometheus.NewRegistry(),
		marks: marks{stale: make(chan struct{}, 1)},
	}
}

func (s *Server) configure() error {
	if s.opts.ConfigPath == "" {
		s.config = config.Default()
		return nil
	}
	c, err := config.Load(s.opts.ConfigPath)
	s.config = c
	return err
}

func (s *Server) listen(ctx context.Context) (err error) {
	if s.listener, err = listenOn(ctx, s.opts.Listen, "choose another address with --listen"); err != nil {
		return err
	}
	if s.opts.AdminListen != "" {
		if s.admin, err = listenOn(ctx, s.opts.AdminListen, `choose another address with --admin-listen, or --admin-listen "" for no profiles`); err != nil {
			return err
		}
	}
	for _, addr := range []string{s.opts.Listen, s.opts.AdminListen} {
		if host, _, err := net.SplitHostPort(addr); err == nil && !loopback(host) {
			s.opts.Log.Warn("listening beyond loopback: whoever reaches this address can read everything but secrets",
				slog.String("address", addr), slog.String("remedy", "put a reverse proxy or a firewall in front; orders need the admin token in any case"))
		}
	}
	return nil
}

func listenOn(ctx context.Context, addr, remedy string) (net.Listener, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeUnavailable, Message: "the address " + addr + " cannot be listened on", Err: err,
			Hint: "another server may be running: stop it, or " + remedy,
		}
	}
	return listener, nil
}

// deafen closes what listen opened and no HTTP server has closed.
func (s *Server) deafen() {
	for _, l := range []net.Listener{s.listener, s.admin} {
		if l != nil {
			_ = l.Close()
		}
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// open starts ledger and store side by side, then everything that rests on them.
func (s *Server) open(ctx context.Context) error {
	begun, err := ledger.Begun(ledgerDir(s.opts.DataDir))
	if begun {
		s.opts.JoinFile = "" // it was for the first start; the file holds keys and is removed after that
	}
	replicas, wrong := s.ledgerReplicas()
	if wrong != nil {
		return wrong
	}
	s.joinedNow = s.several() && err == nil && !begun && s.opts.JoinFile != ""
	if s.several() && begun {
		spoke, err := ledger.Spoke(ledgerDir(s.opts.DataDir))
		if err != nil {
			return err
		}
		if err := mayGoOn(ctx, s.config, s.opts.Replica, spoke); err != nil {
			return err
		}
	}
	if s.opts.Bootstrap && !begun && err == nil {
		if err := mayBegin(ctx, s.config, s.opts.Replica); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(s.opts.DataDir, 0o700); err != nil {
		return &core.Error{
			Code: core.CodeUnavailable, Message: "the data directory cannot be made", Err: err,
			Hint: "give a directory that may be written with --data",
		}
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		s.ledger, err = ledger.Open(groupCtx, ledger.Options{
			Dir: ledgerDir(s.opts.DataDir), Log: s.room("ledger"), Registry: s.registry, Replicas: replicas,
		})
		return err
	})
	group.Go(func() (err error) {
		opts := store.Options{
			URL: s.config.Storage.URL, InsertURL: s.config.Storage.Insert, SelectURL: s.config.Storage.Select, Tenant: s.config.Storage.Tenant,
			Retention: s.config.Storage.Retention.D(), Log: s.room("store"), Registry: s.registry,
		}
		if opts.URL == "" && opts.InsertURL == "" {
			opts.Dir = filepath.Join(s.opts.DataDir, "store")
		}
		s.store, err = store.Open(groupCtx, opts)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	topology, err := s.topology(ctx, s.config)
	if err != nil {
		return err
	}
	if err := s.firstToken(ctx); err != nil {
		return err
	}
	s.replica = s.opts.Replica
	if !s.several() {
		s.replica = s.ledger.Identity().ClusterID + "-1"
	}
	s.world = newWorld(topology)
	s.eyes = newEyes(s.replica, topology, time.Now)
	if s.several() {
		s.eyes.others = func() (int, []core.ReplicaView) { return electorate(s.config.Replicas, s.ledger.Views()) }
	}
	return s.wireHand()
}

// several reports whether this server is one of several replicas.
func (s *Server) several() bool { return s.opts.Replica != "" }

// topology is the configuration as the rooms see it, with its revision from the ledger and its windows expanded.
func (s *Server) topology(ctx context.Context, c config.Config) (core.Topology, error) {
	shape, err := c.Shared().Render()
	if err != nil {
		return core.Topology{}, err
	}
	revision, err := s.ledger.TopologyRevision(ctx, hashOf(shape))
	if err != nil {
		return core.Topology{}, err
	}
	t := c.Topology(revision)
	if t.Freezes, err = freezes(c, time.Now()); err != nil {
		return core.Topology{}, err
	}
	declared, err := s.ledger.Changes(ctx, 0) // nothing may act before it knows where people work
	t.Changes = ofLate(declared, time.Now())
	return t, err
}

// serve runs all that goes on in the background until ctx ends.
func (s *Server) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wait sync.WaitGroup
	background := func(f func(context.Context)) { wait.Go(func() { f(ctx) }) }
	defer wait.Wait()
	defer cancel()

	var err error
	if s.watchman, err = s.newWatchman(); err != nil {
		return err
	}
	s.marks.relearn = s.watchman.Relearn
	s.loop = s.newLoop() //nolint:contextcheck // what it reads later has no request that would end it
	registerFacts(s.registry, s.eyes.counts)
	s.registry.MustRegister(newLinkMetrics(s.eyes.Observation), newConditionMetrics(s.eyes.Observation), newStatisticsMetrics(s.eyes.reckoning, s.calibration.Load))
	opinions := newOpinions(s.ledger, s.store, s.eyes.Observation, s.config.Watches, s.room("app"))
	s.registry.MustRegister(newOpinionMetrics(opinions.Precision))
	handler, err := s.handler(opinions)
	if err != nil {
		return err
	}
	background(s.eyes.pulse)
	background(s.loop.run)
	background(s.watchFreezes)
	background(s.canaries)
	background(s.calibrations)
	background(opinions.follow)
	background(s.trim)
	if s.several() {
		background(s.watchStore)
		background(s.publish)
	}
	background(s.backups)
	background(s.preflights)
	background(func(ctx context.Context) { selfStore(ctx, s.registry, s.replica, s.store, s.room("self")) })
	background(func(ctx context.Context) {
		if err := s.readMarks(ctx); err != nil && ctx.Err() == nil {
			s.room("detect").Warn("the detectors begin without knowing of past trouble", slog.Any("error", err))
			s.marks.missed = true
		}
		background(s.followMarks)
		if err := s.watchman.Run(ctx); err != nil && ctx.Err() == nil {
			s.room("detect").Error("watches stopped", slog.Any("error", err))
		}
	})
	web := &http.Server{
		Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.room("http").Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 2)
	background(func(context.Context) { failed <- serveHTTP(web, s.listener) })
	if s.admin != nil {
		admin := &http.Server{Handler: adminHandler(), ReadHeaderTimeout: 5 * time.Second}
		background(func(context.Context) {
			if err := serveHTTP(admin, s.admin); err != nil {
				s.room("http").Warn("profiles are served no more", slog.Any("error", err))
			}
		})
		defer admin.Close() //nolint:errcheck // profiles are cut off at the end
	}
	if s.opts.Started != nil {
		s.opts.Started(s.listener.Addr().String())
	}
	select {
	case <-ctx.Done():
	case err = <-failed:
	case <-s.ledger.Failed():
		err = &core.Error{
			Code: core.CodeUnavailable, Message: "the ledger of this replica has stopped",
			Hint: "if the others removed it, it joins again with a new bundle and an empty data directory; else look at the disk",
		}
	}
	close(s.stopping)
	cancel() // ends streams and long-polls, which would keep Shutdown waiting
	stop, stopped := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stopped()
	if stopErr := web.Shutdown(stop); stopErr != nil {
		web.Close() //nolint:errcheck,gosec // the connections that are left are cut
	}
	return err
}

func serveHTTP(server *http.Server, listener net.Listener) error {
	err := server.Serve(listener)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", listener.Addr(), err)
}

func adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// close stops what open started, last first.
func (s *Server) close(ctx context.Context) error {
	var errs []error
	if s.hand != nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		errs = append(errs, s.hand.Close(ctx))
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close()) //nolint:contextcheck // a resignation is bounded by itself
	}
	if s.watchman != nil { // another replica leads by now
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		s.watchman.Save(ctx)
	}
	return errors.Join(errs...)
}

// room is the logger of one room.
func (s *Server) room(name string) *slog.Logger { return s.opts.Log.With(slog.String("room", name)) }

var (
	_ ingest.FactSink    = (*eyes)(nil)
	_ ingest.AgentStates = (*Server)(nil)
	_ act.EdgeView       = (*eyes)(nil)
	_ act.SinceView      = (*eyes)(nil)
	_ recorder           = (*ledger.Ledger)(nil)
	_ performer          = (*act.Hand)(nil)
)
