package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/push"
)

// Stream is the name of the stream with a site's orders, at home and as a copy.
func Stream(site string) string { return "ORDERS-" + site }

// Subject is where a site's orders are published.
func Subject(site string) string { return "orders." + site }

// HealthSubject is where a shop writes to find out whether writing works. Its stream keeps one message.
const HealthSubject = "health"

// limits of a site's data.
const (
	maxMemory = 16 << 20
	maxStore  = 1 << 30
	maxOrders = 256 << 20
)

// Options of a site's bus.
type Options struct {
	Site   string
	Listen string            // client port, host:port
	Admin  string            // HTTP port that tells the replication state; empty for none
	Dir    string            // where JetStream keeps its files
	Peers  map[string]string // other sites: where the cable to their bus begins
	Knob   string            // file with the faults
	OTLP   string            // the agent's OTLP/HTTP receiver, http://host:port; empty for none
	Log    *slog.Logger
}

// Bus is a site's NATS server with its replicators.
type Bus struct {
	o     Options
	srv   *server.Server
	nc    *nats.Conn
	js    jetstream.JetStream
	links []*link
}

// Start starts the server, makes the streams and begins to replicate. Close ends it.
func Start(ctx context.Context, o Options) (*Bus, error) {
	host, text, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("listen address: %w", err)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: o.Site, Host: host, Port: port, JetStream: true, JetStreamDomain: o.Site, StoreDir: o.Dir,
		JetStreamMaxMemory: maxMemory, JetStreamMaxStore: maxStore, NoSigs: true, DisableShortFirstPing: true,
	})
	if err != nil {
		return nil, fmt.Errorf("make nats server: %w", err)
	}
	srv.SetLoggerV2(natsLog{o.Log}, false, false, false)
	b := &Bus{o: o, srv: srv}
	go srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		b.Close()
		return nil, fmt.Errorf("nats server at %s did not get ready: is the port taken?", o.Listen)
	}
	if err := b.connect(ctx); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bus) connect(ctx context.Context) error {
	var err error
	if b.nc, err = nats.Connect("", nats.InProcessServer(b.srv), nats.MaxReconnects(-1), nats.Name("bus")); err != nil {
		return fmt.Errorf("connect to the own server: %w", err)
	}
	if b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(5*time.Second)); err != nil {
		return fmt.Errorf("open jetstream: %w", err)
	}
	streams := []jetstream.StreamConfig{
		{Name: "HEALTH", Subjects: []string{HealthSubject}, Storage: jetstream.MemoryStorage, MaxMsgs: 1},
		{Name: Stream(b.o.Site), Subjects: []string{Subject(b.o.Site)}, MaxBytes: maxOrders},
	}
	for peer := range b.o.Peers {
		streams = append(streams, jetstream.StreamConfig{Name: Stream(peer), Subjects: []string{Subject(peer)}, MaxBytes: maxOrders})
	}
	for _, s := range streams {
		if _, err := b.js.CreateOrUpdateStream(ctx, s); err != nil {
			return fmt.Errorf("make stream %s: %w", s.Name, err)
		}
	}
	for peer, addr := range b.o.Peers {
		b.links = append(b.links, newLink(b, peer, addr))
	}
	return nil
}

// Run replicates and tells its state until ctx ends. It returns when nothing of it runs any more.
func (b *Bus) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, l := range b.links {
		all.Go(func() { l.run(ctx) })
	}
	if b.o.OTLP != "" {
		p := push.Pusher{URL: b.o.OTLP, Interval: time.Second, Build: b.metrics(time.Now()), Log: b.o.Log}
		all.Go(func() { p.Run(ctx) })
	}
	if b.o.Admin != "" {
		all.Go(func() { b.serve(ctx) })
	}
	all.Wait()
}

// Close ends the server. Run must have returned.
func (b *Bus) Close() {
	if b.nc != nil {
		b.nc.Close()
	}
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
}

// Status is the replication state of a site.
type Status struct {
	Site  string       `json:"site"`
	Links []LinkStatus `json:"links"`
}

// Status is the replication state now.
func (b *Bus) Status() Status {
	s := Status{Site: b.o.Site}
	for _, l := range b.links {
		s.Links = append(s.Links, l.snapshot())
	}
	return s
}

func (b *Bus) serve(ctx context.Context) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(b.Status()) // the reader went away
	})
	srv := &http.Server{Addr: b.o.Admin, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.ListenAndServe(); ctx.Err() == nil {
		b.o.Log.Error("the state cannot be asked", slog.String("address", b.o.Admin), slog.Any("error", err))
	}
}

// natsLog hands the server's log lines on.
type natsLog struct{ log *slog.Logger }

func (l natsLog) line(level slog.Level, format string, args []any) {
	l.log.Log(context.Background(), level, "nats", slog.String("line", fmt.Sprintf(format, args...)))
}

func (l natsLog) Noticef(format string, args ...any) { l.line(slog.LevelInfo, format, args) }
func (l natsLog) Warnf(format string, args ...any)   { l.line(slog.LevelWarn, format, args) }
func (l natsLog) Fatalf(format string, args ...any)  { l.line(slog.LevelError, format, args) }
func (l natsLog) Errorf(format string, args ...any)  { l.line(slog.LevelError, format, args) }
func (natsLog) Debugf(string, ...any)                {}
func (natsLog) Tracef(string, ...any)                {}
