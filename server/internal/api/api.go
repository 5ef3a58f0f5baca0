package api

import (
	"context"
	_ "embed"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

//go:embed openapi.yaml
var document []byte

// Records reads the ledger. Errors are *core.Error; what does not exist has CodeNotFound. Limit 0 is all.
type Records interface {
	Identity() core.Identity
	Revision() int64
	Episodes(ctx context.Context, limit int) ([]core.Episode, error)
	OpenEpisodes(ctx context.Context, limit int) ([]core.Episode, error)
	Episode(ctx context.Context, id string) (core.Episode, error)
	Decisions(ctx context.Context, episodeID string) ([]core.Decision, error)
	Decision(ctx context.Context, id string) (core.Decision, error)
	Notices(ctx context.Context, episodeID string) ([]core.Notice, error)
	Actions(ctx context.Context, limit int) ([]core.Action, error)
	Action(ctx context.Context, id string) (core.Action, error)
	Routing(ctx context.Context) ([]core.Routing, error)
	Brake(ctx context.Context) (*core.Brake, error) // nil: never touched
	Lines(ctx context.Context, afterSeq int64, limit int) ([]core.Line, error)
	LastLines(ctx context.Context, limit int) ([]core.Line, error)
	// Watch ends the channel early when history was missed.
	Watch(ctx context.Context, afterRev int64) <-chan core.Event
}

// Live is what is true now. Both are called for every request and must not block.
type Live interface {
	Topology() core.Topology
	Observation() (o core.Observation, ok bool) // false: none yet
}

// Commander carries an order to the loop and waits for its answer.
type Commander interface {
	Command(ctx context.Context, c core.Command) (core.Reply, error)
}

// Tokens are the credentials. Errors are *core.Error.
type Tokens interface {
	Authenticate(ctx context.Context, token string) (core.Credential, error)
	CreateToken(ctx context.Context, kind, name string, expires *time.Time) (core.Credential, core.Secret, error)
	ListTokens(ctx context.Context) ([]core.Credential, error)
	RevokeToken(ctx context.Context, id string) error
}

// Stance is what the server says of itself that nobody else knows.
type Stance struct {
	Acting bool
	Reason string // why it does not act
	// Statistics are what its statistics promise and keep; nil while it is not known.
	Statistics *core.Calibration
	// Special are the special times that are on.
	Special []core.SpecialTime
}

// Self says how the server stands. It must not block.
type Self interface {
	Stance() Stance
}

// Watches says how far those are that do not judge everything yet. It must not block.
type Watches interface {
	Warming() []core.Warming
}

// Marks says which times are not like others. It must not block.
type Marks interface {
	// MarkedTimes are those on record that touch the time from from until until.
	MarkedTimes(from, until time.Time) []core.MarkedTime
}

// PartCheck is one part of the server that /readyz asks; Ready returns nil when it works.
type PartCheck struct {
	Name  string
	Ready func(ctx context.Context) error
	// ForOrders says that reads go on without this part, as without a quorum of the replicas. /readyz then names what
	// is wrong and stays 200: a load balancer that took out every such replica would leave nobody to ask.
	ForOrders bool
	// Warns says that reads and orders go on without this part: it is named, and /readyz says ready.
	Warns bool
}

// Options are what an API is made of. Records, Live, Commander, Tokens and Self must be set.
type Options struct {
	Records   Records
	Live      Live
	Commander Commander
	Tokens    Tokens
	Self      Self
	Links     Links       // what is known of replication links; nil: none is known
	Changes   Changes     // declared changes; nil: none can be declared
	Opinions  Opinions    // what people say of alarms; nil: nothing can be said
	Marks     Marks       // times that are not like others; nil: none is known
	Watches   Watches     // how far the watches are; nil: there are none
	Control   Control     // replicas, backup, preflight and adopt; nil: they do not exist
	Parts     []PartCheck // ledger, store, config

	Ingest     http.Handler // agent routes; nil: they do not exist
	Prometheus http.Handler // under /prometheus; nil: it does not exist
	Metrics    http.Handler // at /metrics; nil: it does not exist
	Web        fs.FS        // at /; nil: there is no page

	// Hosts are the names, without port, under which the server may be called over the loopback interface
	// besides loopback addresses and localhost. A foreign name there is a web page that had its own name
	// point at this machine. HostsOf makes them of server.url.
	Hosts     []string
	Version   string
	Started   time.Time
	Heartbeat time.Duration // between comments of an event stream; 0: 15 s
	Patience  time.Duration // how long one write to the reader of an event stream may take; 0: 10 s
	Upload    time.Duration // how long the body of a request may take, agents excepted; 0: 30 s
	Log       *slog.Logger
	Registry  prometheus.Registerer // nil: nothing is registered
}

const (
	base            = "/api/v1"
	maxBody         = 64 << 10 // bytes of an order
	maxStreams      = 200      // event streams at a time
	streamsEach     = 20       // of them for one address
	defaultLimit    = 100
	maxLimit        = 1000
	streamHeartbeat = 15 * time.Second
	streamPatience  = 10 * time.Second
	uploadPatience  = 30 * time.Second
)

// server answers requests. It implements StrictServerInterface.
type server struct {
	Options
	metrics  *metrics
	failures *failures
	streams  *streams
}

var _ StrictServerInterface = (*server)(nil)

// New is the handler of the whole listener. An event stream ends with its request: give the http.Server a
// BaseContext that ends when it shuts down.
func New(o Options) (http.Handler, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = streamHeartbeat
	}
	if o.Patience <= 0 {
		o.Patience = streamPatience
	}
	if o.Upload <= 0 {
		o.Upload = uploadPatience
	}
	s := &server{Options: o, failures: newFailures(), streams: &streams{by: map[string]int{}}}
	var err error
	if s.metrics, err = newMetrics(o.Registry, s); err != nil {
		return nil, err
	}
	engine, err := s.engine()
	if err != nil {
		return nil, err
	}
	cross := http.NewCrossOriginProtection()
	cross.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, http.StatusForbidden, &core.Error{
			Code: core.CodeForbidden, Message: "another site's page may not give orders here",
			Hint: "open the page of this server itself, or use the command line",
		})
	}))
	return s.recovered(s.secured(s.hasty(cross.Handler(engine)))), nil
}

func (s *server) engine() (*gin.Engine, error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	if err := e.SetTrustedProxies(nil); err != nil {
		return nil, err
	}
	e.ContextWithFallback = true
	e.RedirectTrailingSlash = false
	e.HandleMethodNotAllowed = true
	e.Use(s.metrics.count)
	e.NoRoute(s.page)
	e.NoMethod(func(c *gin.Context) {
		respond(c, http.StatusMethodNotAllowed, &core.Error{
			Code: codeMethod, Message: c.Request.Method + " is not possible here", Hint: "see /api/v1/openapi.yaml",
		})
	})
	e.Match([]string{http.MethodGet, http.MethodHead}, "/healthz", healthz)
	e.Match([]string{http.MethodGet, http.MethodHead}, "/readyz", s.readyz)
	mount(e, s.Metrics, http.MethodGet, "/metrics")
	mount(e, s.Prometheus, http.MethodGet, "/prometheus/*path")
	mount(e, s.Prometheus, http.MethodPost, "/prometheus/*path")
	mount(e, s.Ingest, http.MethodPost, "/v1/metrics")
	mount(e, s.Ingest, http.MethodPost, base+"/write")
	mount(e, s.Ingest, http.MethodPost, base+"/agent/heartbeat")
	mount(e, s.Ingest, http.MethodGet, base+"/agent/state")

	g := e.Group(base, s.authorize, bounded)
	g.GET("/events", s.events)
	g.GET("/openapi.yaml", func(c *gin.Context) { c.Data(http.StatusOK, "application/yaml", document) })
	strict := NewStrictHandlerWithOptions(s, nil, StrictGinServerOptions{
		RequestErrorHandlerFunc:  badRequest,
		HandlerErrorFunc:         s.failed,
		ResponseErrorHandlerFunc: s.failed,
	})
	RegisterHandlersWithOptions(g, strict, GinServerOptions{
		ErrorHandler: func(c *gin.Context, err error, _ int) { badRequest(c, err) },
	})
	return e, nil
}

func mount(e *gin.Engine, h http.Handler, method, path string) {
	if h != nil {
		e.Handle(method, path, gin.WrapH(h))
	}
}
