package shop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/bus"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
	"github.com/evenkeel/evenkeel/deploy/lab/internal/push"
)

// Deadlines of the work against JetStream.
const (
	healthDeadline = 300 * time.Millisecond
	orderDeadline  = 500 * time.Millisecond
)

// reloadTime is how long a reload reads its configuration while the listener is closed.
const reloadTime = 100 * time.Millisecond

// Options of a Shop.
type Options struct {
	Site   string
	Listen string // host:port
	Bus    string // client port of the site's NATS server
	Knob   string // file with the faults; empty for none
	OTLP   string // the agent's OTLP/HTTP receiver, http://host:port; empty for none
	Log    *slog.Logger
}

// Shop is the service.
type Shop struct {
	o     Options
	nc    *nats.Conn
	js    jetstream.JetStream
	start time.Time
	hists map[string]*push.Histogram // by code class

	healthWithin, orderWithin time.Duration // how long a write may take

	mu     sync.Mutex
	counts map[string]uint64 // by code class
	addr   string
}

// New connects to the bus, now or later: a shop without data runs and says that it is not healthy.
func New(o Options) (*Shop, error) {
	s := &Shop{
		o: o, start: time.Now(), hists: map[string]*push.Histogram{}, counts: map[string]uint64{},
		healthWithin: healthDeadline, orderWithin: orderDeadline,
	}
	for _, class := range push.CodeClasses() {
		s.hists[class] = push.NewHistogram()
	}
	var err error
	s.nc, err = nats.Connect("nats://"+o.Bus, nats.Name("shop"), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond), nats.Timeout(time.Second), nats.ReconnectBufSize(-1),
		nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2))
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		s.nc.Close()
		return nil, fmt.Errorf("open jetstream: %w", err)
	}
	return s, nil
}

// Close gives up the connection to the bus.
func (s *Shop) Close() { s.nc.Close() }

// Run serves until ctx ends. Each value of reload is a graceful restart of the listener: it is closed, requests
// under way are finished, and it is opened again. The error says why it could not be.
func (s *Shop) Run(ctx context.Context, reload <-chan struct{}) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if s.o.OTLP != "" {
		p := push.Pusher{URL: s.o.OTLP, Interval: 5 * time.Second, Build: s.metrics, Log: s.o.Log}
		all.Go(func() { p.Run(ctx) })
	}
	for {
		again, err := s.serve(ctx, reload)
		if err != nil || !again {
			return err
		}
		s.o.Log.Info("reloads")
		pause(ctx, reloadTime)
	}
}

// serve is the life of one listener.
func (s *Shop) serve(ctx context.Context, reload <-chan struct{}) (again bool, err error) {
	ln, err := listen(ctx, s.o.Listen)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	s.addr = ln.Addr().String()
	s.mu.Unlock()
	srv := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	select {
	case err := <-served:
		return false, fmt.Errorf("serve: %w", err)
	case <-reload:
		again = true
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	if srv.Shutdown(end) != nil {
		_ = srv.Close() // it had its time
	}
	<-served //nolint:errcheck // it says that it was shut down
	return again, nil
}

// listen waits out a port that is held for a moment by what was there before.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	for tries := 0; ; tries++ {
		ln, err := lc.Listen(ctx, "tcp", addr)
		if err == nil || tries == 20 || ctx.Err() != nil {
			if err != nil {
				err = fmt.Errorf("listen: %w", err)
			}
			return ln, err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// pause waits d; false says that ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

func (s *Shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("/checkout", s.checkout)
	return mux
}

func (s *Shop) faults() knob.Shop {
	k, err := knob.Read[knob.Shop](s.o.Knob)
	if err != nil {
		s.o.Log.Warn("faults cannot be read", slog.Any("error", err))
	}
	return k
}

// health writes to see whether writing works.
func (s *Shop) health(w http.ResponseWriter, r *http.Request) {
	if d := s.faults().SlowSeconds; d > 0 && !pause(r.Context(), seconds(d*5/8)) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.healthWithin)
	defer cancel()
	began := time.Now()
	if _, err := s.js.Publish(ctx, bus.HealthSubject, []byte(strconv.FormatInt(began.UnixNano(), 10))); err != nil {
		http.Error(w, "orders cannot be written: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintf(w, "ok: wrote in %s\n", time.Since(began).Round(time.Microsecond)) // the asker went away
}

// checkout places an order.
func (s *Shop) checkout(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	status := s.order(w, r)
	if status == 0 {
		return // the user went away
	}
	class := push.CodeClass(status)
	s.hists[class].Observe(time.Since(began))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[class]++
}

func (s *Shop) order(w http.ResponseWriter, r *http.Request) int {
	k := s.faults()
	if k.SlowSeconds > 0 && !pause(r.Context(), seconds(k.SlowSeconds)) {
		return 0
	}
	if k.Errors > 0 && rand.Float64() < k.Errors {
		http.Error(w, "the price of this basket cannot be computed", http.StatusInternalServerError)
		return http.StatusInternalServerError
	}
	order, err := json.Marshal(map[string]any{"site": s.o.Site, "at_unix_ns": time.Now().UnixNano(), "basket": rand.IntN(1000)})
	if err != nil {
		http.Error(w, "the order cannot be encoded", http.StatusInternalServerError)
		return http.StatusInternalServerError
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.orderWithin)
	defer cancel()
	ack, err := s.js.Publish(ctx, bus.Subject(s.o.Site), order)
	if err != nil {
		if errors.Is(r.Context().Err(), context.Canceled) {
			return 0
		}
		http.Error(w, "the order cannot be written", http.StatusServiceUnavailable)
		return http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, "{\"site\":%q,\"order\":%d}\n", s.o.Site, ack.Sequence) // the user went away
	return http.StatusOK
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// metrics are the shop's own, by the names of OpenTelemetry's conventions where there is one.
func (s *Shop) metrics(at time.Time) pmetric.Metrics {
	b := push.NewBatch(at, s.start, push.Attr{Name: "service.name", Value: "checkout"})
	s.mu.Lock()
	for _, class := range push.CodeClasses() {
		b.Sum("shop.requests", "{request}", s.counts[class],
			push.Attr{Name: "service", Value: "checkout"}, push.Attr{Name: "code_class", Value: class})
	}
	s.mu.Unlock()
	for _, class := range []string{"2xx", "5xx"} {
		b.Histogram("http.server.request.duration", "s", s.hists[class], push.Attr{Name: "service", Value: "checkout"},
			push.Attr{Name: "http.route", Value: "/checkout"}, push.Attr{Name: "code_class", Value: class})
	}
	return b.Metrics
}
