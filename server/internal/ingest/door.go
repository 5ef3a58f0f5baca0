package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Store takes checked samples. It must not retain the slice or the labels after it returns. An error of
// core.CodeInvalid is the samples' fault, every other one asks the sender to try again.
type Store interface {
	Append(ctx context.Context, samples []core.Sample) error
}

// FactSink takes facts. It must be quick and must not block: it stands before the store. The slice is its own.
type FactSink interface {
	Facts(facts []core.Fact)
}

// Authenticator says whose a bearer token is. An error of core.CodeUnauthorized is a wrong token; any other
// one means that it could not be found out.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (core.Credential, error)
}

// AgentStates answers the long poll of an agent: it returns the state of the site as soon as it is newer than
// after, and ctx.Err() when the context ends first.
type AgentStates interface {
	AgentState(ctx context.Context, site string, after Revision) (AgentState, error)
}

// Limits bound what one credential can cost. Zero fields take the defaults.
type Limits struct {
	Body              int64   // bytes of a body as sent, default 8 MiB
	Decoded           int64   // bytes after decompression, default 64 MiB
	DecodedJSON       int64   // the same for OTLP/JSON, which costs more, default 16 MiB
	Concurrent        int     // requests in flight of one credential, default 32
	RequestsPerSecond float64 // of one credential, default 500, with a burst of the same
	Polls             int     // long polls in flight of one credential, default 16
	Series            int     // different series of one credential in a day, default 1 000 000, estimated
	Labels            int     // labels of one series, default 48
	NameBytes         int     // bytes of a metric or label name, default 256
	ValueBytes        int     // bytes of a label value, default 2048
}

// Options are the collaborators and figures of a Door. Zero figures take the defaults.
type Options struct {
	Store  Store
	Facts  FactSink
	Auth   Authenticator
	States AgentStates
	// Revision is the topology revision that heartbeats are answered with; nil leaves it out.
	Revision func() int64
	Now      func() time.Time
	Log      *slog.Logger
	Registry prometheus.Registerer

	Retention         time.Duration // older samples are refused, default 100 days
	ProbeInterval     time.Duration // of the facts of probes, default 1 s
	HeartbeatInterval time.Duration // default 1 s
	EdgeInterval      time.Duration // of the facts of edges, default 1 s
	LinkInterval      time.Duration // of the facts of replication links, default 5 s
	Limits            Limits
}

// Door is the HTTP door of the server for telemetry. Its methods may be called from many goroutines; it
// starts none.
type Door struct {
	o       Options
	metrics *doorMetrics
	clocks  *clocks
	gates   *gates
	names   *names
	batches *batchPool
	buffers *buffers
	heavy   chan struct{} // bounds large bodies in memory; small ones, and so facts, never wait for it

	storeDown atomic.Bool // so that a lasting failure is logged once
}

// maxAhead is how far ahead of the server's clock a sample may be.
const maxAhead = 5 * time.Minute

// New makes a door. It panics on a missing collaborator.
func New(o Options) *Door {
	if o.Store == nil || o.Facts == nil || o.Auth == nil || o.States == nil {
		panic("ingest: store, facts, auth and states are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Retention = orElse(o.Retention, 100*24*time.Hour)
	o.ProbeInterval = orElse(o.ProbeInterval, time.Second)
	o.HeartbeatInterval = orElse(o.HeartbeatInterval, time.Second)
	o.EdgeInterval = orElse(o.EdgeInterval, time.Second)
	o.LinkInterval = orElse(o.LinkInterval, 5*time.Second)
	l := &o.Limits
	l.Body = orElse(l.Body, 8<<20)
	l.Decoded = orElse(l.Decoded, 64<<20)
	l.DecodedJSON = orElse(l.DecodedJSON, 16<<20)
	l.Concurrent = orElse(l.Concurrent, 32)
	l.RequestsPerSecond = orElse(l.RequestsPerSecond, 500)
	l.Polls = orElse(l.Polls, 16)
	l.Series = orElse(l.Series, 1_000_000)
	l.Labels = orElse(l.Labels, 48)
	l.NameBytes = orElse(l.NameBytes, 256)
	l.ValueBytes = orElse(l.ValueBytes, 2048)
	return &Door{
		o:       o,
		metrics: newDoorMetrics(o.Registry),
		clocks:  newClocks(),
		gates:   newGates(o.Limits),
		names:   newNames(),
		batches: newBatchPool(),
		buffers: newBuffers(),
		heavy:   make(chan struct{}, max(4, 2*runtime.GOMAXPROCS(0))),
	}
}

func orElse[T comparable](v, standard T) T {
	var zero T
	if v == zero {
		return standard
	}
	return v
}

// Handler serves POST /v1/metrics, POST /api/v1/write, POST /api/v1/agent/heartbeat and
// GET /api/v1/agent/state. Every error is problem+json.
func (d *Door) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/v1/metrics", d.guarded(http.MethodPost, "otlp", d.metricsOTLP))
	mux.HandleFunc("/api/v1/write", d.guarded(http.MethodPost, "remote_write", d.remoteWrite))
	mux.HandleFunc("/api/v1/agent/heartbeat", d.guarded(http.MethodPost, "heartbeat", d.heartbeat))
	mux.HandleFunc("/api/v1/agent/state", d.guarded(http.MethodGet, "state", d.agentState))
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, &refusal{http.StatusNotFound, core.CodeNotFound, "no such route", "see the documentation of ingest"})
	})
	return mux
}
