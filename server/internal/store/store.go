package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect/promql"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Options say where the samples live and what a query may cost. Zero fields take the defaults.
type Options struct {
	Dir          string        // directory of the embedded store
	URL          string        // a remote single node instead, http or https
	InsertURL    string        // or a cluster: the address of vminsert, without /insert
	SelectURL    string        // and that of vmselect, without /select
	Tenant       string        // of the cluster: accountID or accountID:projectID, default 0
	Retention    time.Duration // default 100 days, at least one day; a remote store has its own
	QueryTimeout time.Duration // default 30 s
	MaxSeries    int           // series that one query may scan, default 300 000
	MemoryBytes  int64         // what VictoriaMetrics may use for caches; default a quarter of the machine
	Log          *slog.Logger  // default: silent
	Registry     prometheus.Registerer

	minFree int64 // bytes of free disk below which the embedded store takes no samples, default 100 MB
}

const (
	defaultRetention    = 100 * 24 * time.Hour
	defaultQueryTimeout = 30 * time.Second
	defaultMaxSeries    = 300_000
	// futureLimit is what VictoriaMetrics keeps ahead of now by default.
	futureLimit = 48 * time.Hour
	// maxSeriesBytes bounds name and labels of one series: VictoriaMetrics panics on longer strings and
	// drops longer index entries with no more than a line in its log.
	maxSeriesBytes = 32 << 10
	// maxPoints is how many points one series of a range answer may have.
	maxPoints = 30_000
	// instantStep is the step of a question that is asked once, as in VictoriaMetrics' own API.
	instantStep = 5 * time.Minute
)

// backend is one way to reach VictoriaMetrics.
type backend interface {
	append(ctx context.Context, samples []core.Sample) error
	query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error)
	queryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error)
	serve(w http.ResponseWriter, r *http.Request, route route)
	ready() error
	close() error
}

// Store keeps samples and answers MetricsQL. Its methods may be called from many goroutines.
type Store struct {
	be        backend
	metrics   *storeMetrics
	retention time.Duration         // 0: the store is remote and judges by itself
	refusal   atomic.Pointer[error] // of the last append; nil when it was taken
}

// Open opens the embedded store in Dir, or connects to URL, or to a cluster at InsertURL and SelectURL. A directory
// that is missing is made. The error is a *core.Error whose hint says what to do. A remote store that does not
// answer is no error here: Ready says so.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Retention == 0 {
		o.Retention = defaultRetention
	}
	if o.QueryTimeout == 0 {
		o.QueryTimeout = defaultQueryTimeout
	}
	if o.MaxSeries == 0 {
		o.MaxSeries = defaultMaxSeries
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if o.minFree == 0 {
		o.minFree = minFreeBytes
	}
	if err := o.onePlace(); err != nil {
		return nil, err
	}
	if o.Retention < 24*time.Hour {
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "the retention is shorter than a day", Hint: "use 24h or more",
		}
	}
	s := &Store{}
	if o.Dir == "" {
		be, err := openRemote(o)
		if err != nil {
			return nil, err
		}
		s.be = be
	} else {
		be, err := openEmbedded(o)
		if err != nil {
			return nil, err
		}
		s.be, s.retention = be, o.Retention
		if o.Registry != nil {
			o.Registry.MustRegister(newOwnHealth(be))
		}
	}
	s.metrics = newStoreMetrics(o.Registry, s)
	return s, nil
}

// onePlace says whether the options name one place for the samples.
func (o Options) onePlace() error {
	bad := func(message, hint string) error {
		return &core.Error{Code: core.CodeInvalid, Message: message, Hint: hint}
	}
	cluster := o.InsertURL != "" || o.SelectURL != ""
	switch {
	case o.URL != "" && cluster:
		return bad("the store has the URL of a single node and one of a cluster, and can use only one of them",
			"set the URL of the node, or the insert and the select URL of the cluster")
	case cluster && (o.InsertURL == "" || o.SelectURL == ""):
		return bad("of a cluster the store needs the insert and the select URL, and has one of them",
			"set both: that of vminsert and that of vmselect")
	case (o.Dir == "") == (o.URL == "" && !cluster):
		return bad("the store needs a directory or a URL, and not both", "set one of them")
	case o.Tenant != "" && o.Tenant != "0" && !cluster:
		return bad("the store has a tenant, and only a cluster knows tenants", "set no tenant, or the insert and the select URL")
	}
	return nil
}

// Append hands samples to VictoriaMetrics. Nil means handed over: the embedded store keeps them in memory and
// writes them to disk within about six seconds; vminsert keeps them until a storage node takes them. A sample that cannot be stored as it is (NaN, Inf, outside
// retention, over-long labels) refuses the whole call with core.CodeInvalid and nothing is stored;
// core.CodeUnavailable means try again. Samples are not retained.
func (s *Store) Append(ctx context.Context, samples []core.Sample) error {
	if len(samples) == 0 {
		return nil
	}
	err := s.check(samples, time.Now())
	if err == nil {
		err = s.be.append(ctx, samples)
		switch {
		case err == nil:
			s.refusal.Store(nil)
		case core.Code(err) == core.CodeUnavailable && !errors.Is(ctx.Err(), context.Canceled):
			s.refusal.Store(&err)
		}
	}
	s.metrics.appended(len(samples), err)
	return err
}

// check refuses what VictoriaMetrics would drop silently, corrupt or panic about.
func (s *Store) check(samples []core.Sample, now time.Time) error {
	oldest, newest := int64(math.MinInt64), now.Add(futureLimit).UnixMilli()
	if s.retention > 0 {
		oldest = now.Add(-s.retention - retentionGrace).UnixMilli()
	}
	for i := range samples {
		x := &samples[i]
		switch {
		case math.IsNaN(x.Value) || math.IsInf(x.Value, 0):
			return refused(x, "is NaN or infinite")
		case x.AtMS < oldest:
			return refused(x, "is older than the retention")
		case x.AtMS > newest:
			return refused(x, "is more than two days ahead")
		case x.Name == "":
			return refused(x, "has no name")
		}
		if i > 0 && sameSeries(&samples[i-1], x) {
			continue
		}
		n := len(x.Name)
		for j := range x.Labels {
			n += len(x.Labels[j].Name) + len(x.Labels[j].Value)
		}
		if n > maxSeriesBytes {
			return refused(x, "has labels longer than 32 KiB in total")
		}
	}
	return nil
}

func refused(x *core.Sample, why string) error {
	name := x.Name
	if len(name) > 100 {
		name = name[:100]
	}
	return &core.Error{
		Code: core.CodeInvalid, Message: fmt.Sprintf("a sample of %q %s", name, why),
		Hint: "send it without this sample; nothing of the batch was stored",
	}
}

// sameSeries reports whether two samples share name and labels, cheaply: only by identity.
func sameSeries(a, b *core.Sample) bool {
	return a.Name == b.Name && len(a.Labels) == len(b.Labels) &&
		(len(a.Labels) == 0 || &a.Labels[0] == &b.Labels[0])
}

// Query evaluates a MetricsQL expression at one instant. Series without a value are absent. An expression
// that is wrong is core.CodeInvalid; a store that cannot answer, or not completely, is core.CodeUnavailable, in the
// latter case with ErrPartial in the chain.
//
// Step says how often the question is asked, at least 1 ms: the answer is then what QueryRange with this step has at that
// time. A series that is written every n seconds is thus absent about n seconds after its last sample, or a step where
// that is longer; VictoriaMetrics finds n by the series' last samples and adds an eighth to four times of it for jitter,
// the most to the shortest. Zero means asked once, as by a person: then a sample of the last five minutes is an answer.
func (s *Store) Query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	if step != 0 && step < time.Millisecond {
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "a query needs a step of at least 1 ms, or none", Hint: "correct the step",
		}
	}
	if child, _, _, _ := promql.IsRollup(expr); child != "" {
		return nil, invalidQuery(errRangeSelector)
	}
	if child, _, _ := promql.IsMetricSelectorWithRollup(expr); child != "" {
		return nil, invalidQuery(errRangeSelector)
	}
	start := time.Now()
	out, err := s.be.query(ctx, expr, at, step)
	s.metrics.queried("instant", time.Since(start), err)
	return out, err
}

// QueryRange evaluates a MetricsQL expression at from, from+step, ... to. Points without a value are absent.
// Errors as with Query.
func (s *Store) QueryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	if step < time.Millisecond || to.Before(from) {
		return nil, &core.Error{
			Code: core.CodeInvalid, Message: "a range query needs from <= to and a step of at least 1 ms",
			Hint: "correct the range",
		}
	}
	if n := to.Sub(from)/step + 1; n > maxPoints {
		return nil, &core.Error{
			Code: core.CodeTooLarge, Message: fmt.Sprintf("the range has %d points, more than %d", n, maxPoints),
			Hint: "use a longer step or a shorter range",
		}
	}
	start := time.Now()
	out, err := s.be.queryRange(ctx, expr, from, to, step)
	s.metrics.queried("range", time.Since(start), err)
	return out, err
}

// Ready says whether samples can be written and read just now: nil, or what is broken and what to do. It waits for no
// other call; a remote store is given two seconds. The store is not ready either while the last Append was refused by
// it. A cluster without some of its storage nodes is ready: it takes samples, and each query says that it is partial.
func (s *Store) Ready() error {
	if err := s.be.ready(); err != nil {
		return err
	}
	if err := s.refusal.Load(); err != nil {
		return *err
	}
	return nil
}

// Close writes everything to disk and lets go of the directory. Calls in flight are waited for; later ones
// fail with core.CodeUnavailable.
func (s *Store) Close() error { return s.be.close() }

func unavailable(message, hint string, err error) error {
	return &core.Error{Code: core.CodeUnavailable, Message: message, Hint: hint, Err: err}
}

func invalidQuery(err error) error {
	return &core.Error{
		Code: core.CodeInvalid, Message: "the query cannot be evaluated", Hint: "correct the MetricsQL expression", Err: err,
	}
}

var errRangeSelector = errors.New("a range selector such as m[5m] has no single value: wrap it in a function")
