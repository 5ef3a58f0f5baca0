package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect/netstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect/promql"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmselect/searchutil"
	"github.com/VictoriaMetrics/VictoriaMetrics/app/vmstorage"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/httpserver"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/logger"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/prompb"
	"github.com/VictoriaMetrics/VictoriaMetrics/lib/storage"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// retentionGrace is how much longer than asked VictoriaMetrics keeps samples, so that a sample which the
// door found young enough is never dropped on its way in.
const retentionGrace = 24 * time.Hour

// flushEvery is how old a sample may get before a query makes it visible. VictoriaMetrics by itself takes up
// to two seconds.
const flushEvery = 500 * time.Millisecond

// cachedAfter is the age from which on VictoriaMetrics caches answers, less a margin.
const cachedAfter = 5*time.Minute - 10*time.Second

// embedded is VictoriaMetrics in this process.
type embedded struct {
	timeout   time.Duration
	maxSeries int
	writers   chan struct{} // bounds concurrent writes, as VictoriaMetrics asks of its callers
	readers   chan struct{} // bounds concurrent queries: one can take all processors
	rows      sync.Pool     // of *rowBuffer

	mu     sync.RWMutex // held for reading by every call, for writing by close
	closed bool

	dirty     atomic.Bool // appended since the last flush
	history   atomic.Bool // samples came that are old enough to be in a cached answer
	flushMu   sync.Mutex
	lastFlush time.Time // guarded by flushMu

	stop chan struct{}
	done sync.WaitGroup
}

var _ backend = (*embedded)(nil)

func openEmbedded(o Options) (*embedded, error) {
	if vmstorage.VMInsertAPI != nil {
		return nil, &core.Error{
			Code: core.CodeConflict, Message: "this process has an embedded store already",
			Hint: "close it first, or start another process",
		}
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find the store's directory: %w", err)
	}
	if err := preflight(dir, o.minFree); err != nil {
		return nil, err
	}
	if err := setFlags(dir, o); err != nil {
		return nil, err
	}
	// The name says for tests, but there is no other way to another writer.
	logger.SetOutputForTests(logWriter{log: o.Log})

	queries := max(4, 2*runtime.GOMAXPROCS(0))
	e := &embedded{
		timeout:   o.QueryTimeout,
		maxSeries: o.MaxSeries,
		writers:   make(chan struct{}, 2*runtime.GOMAXPROCS(0)),
		readers:   make(chan struct{}, queries),
		stop:      make(chan struct{}),
	}
	e.rows.New = func() any { return &rowBuffer{} }
	vmstorage.Init(queries, o.QueryTimeout, e.noticeHistory)
	netstorage.InitTmpBlocksDir(filepath.Join(dir, "tmp"))
	promql.InitRollupResultCache(filepath.Join(dir, "cache", "rollupResult"))
	e.done.Go(e.flusher)
	return e, nil
}

// setFlags is how VictoriaMetrics is configured. It refuses to run before the flags are parsed.
func setFlags(dir string, o Options) error {
	if !flag.Parsed() {
		if err := flag.CommandLine.Parse(nil); err != nil {
			return fmt.Errorf("parse no flags: %w", err)
		}
	}
	values := map[string]string{
		"storageDataPath":               dir,
		"retentionPeriod":               strconv.FormatInt(int64(math.Ceil((o.Retention+retentionGrace).Hours())), 10) + "h",
		"inmemoryDataFlushInterval":     "1s",
		"storage.minFreeDiskSpaceBytes": strconv.FormatInt(o.minFree, 10),
		"search.latencyOffset":          "0s",
		"search.maxQueryDuration":       o.QueryTimeout.String(),
		"search.maxExportDuration":      o.QueryTimeout.String(),
		"search.maxLabelsAPIDuration":   o.QueryTimeout.String(),
		"search.maxUniqueTimeseries":    strconv.Itoa(o.MaxSeries),
		"search.maxExportSeries":        strconv.Itoa(o.MaxSeries),
		"search.maxPointsPerTimeseries": strconv.Itoa(maxPoints),
		"search.maxMemoryPerQuery":      "256MiB",
		// VictoriaMetrics remembers which series a filter matches, also that it matches none, for up to 11 s:
		// a new series would stay unseen for as long. A cache of one byte remembers nothing.
		"storage.cacheSizeIndexDBTagFilters": "1",
		"memory.allowedPercent":              "25",
		"loggerDisableTimestamps":            "true",
	}
	if o.MemoryBytes > 0 {
		values["memory.allowedBytes"] = strconv.FormatInt(o.MemoryBytes, 10)
	}
	for name, value := range values {
		if err := flag.Set(name, value); err != nil {
			return fmt.Errorf("set victoriametrics -%s: %w", name, err)
		}
	}
	return nil
}

// rowBuffer is the scratch space of one append.
type rowBuffer struct {
	rows   []storage.MetricRow
	labels []prompb.Label
	names  []byte
	ends   []int // ends[i] is where the name of row i ends in names; equal to the one before for the same series
}

// acquire takes a place, or gives up with the context or the timeout.
func acquire(ctx context.Context, places chan struct{}, timeout time.Duration) error {
	select {
	case places <- struct{}{}:
		return nil
	default:
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return unavailable("gave up waiting for the store", "try again", ctx.Err())
	case <-t.C:
		return unavailable("the store is busy", "try again, or ask less at once", nil)
	}
}

// enter keeps the store open until the returned function is called.
func (e *embedded) enter(ctx context.Context, places chan struct{}) (func(), error) {
	if err := acquire(ctx, places, e.timeout); err != nil {
		return nil, err
	}
	e.mu.RLock()
	if e.closed {
		e.mu.RUnlock()
		<-places
		return nil, unavailable("the store is closed", "start the server again", nil)
	}
	return func() {
		e.mu.RUnlock()
		<-places
	}, nil
}

func (e *embedded) append(ctx context.Context, samples []core.Sample) error {
	leave, err := e.enter(ctx, e.writers)
	if err != nil {
		return err
	}
	defer leave()
	b := e.rows.Get().(*rowBuffer)
	defer e.rows.Put(b)
	b.fill(samples)
	if err := vmstorage.VMInsertAPI.WriteRows(b.rows); err != nil {
		return unavailable("the store takes no samples", "free disk space at the store's directory", err)
	}
	e.dirty.Store(true)
	return nil
}

// fill encodes the samples as rows. VictoriaMetrics copies what it keeps.
func (b *rowBuffer) fill(samples []core.Sample) {
	b.rows, b.names, b.ends = b.rows[:0], b.names[:0], b.ends[:0]
	for i := range samples {
		x := &samples[i]
		if i == 0 || !sameSeries(&samples[i-1], x) {
			b.labels = append(b.labels[:0], prompb.Label{Name: "", Value: x.Name})
			for _, l := range x.Labels {
				b.labels = append(b.labels, prompb.Label(l))
			}
			b.names = storage.MarshalMetricNameRaw(b.names, b.labels)
		}
		b.ends = append(b.ends, len(b.names))
	}
	// The buffer may have moved while it grew: slice it only now.
	start, end := 0, 0
	for i := range samples {
		if b.ends[i] != end {
			start, end = end, b.ends[i]
		}
		b.rows = append(b.rows, storage.MetricRow{
			MetricNameRaw: b.names[start:end:end], Timestamp: samples[i].AtMS, Value: samples[i].Value,
		})
	}
}

// noticeHistory is called by VictoriaMetrics before each write. Answers about more than five minutes ago are
// cached for dashboards (never for Query and QueryRange); older samples make them wrong. VictoriaMetrics' own
// callback starts a goroutine that never ends.
func (e *embedded) noticeHistory(rows []storage.MetricRow) {
	if e.history.Load() {
		return
	}
	oldest := time.Now().Add(-cachedAfter).UnixMilli()
	for i := range rows {
		if rows[i].Timestamp < oldest {
			e.history.Store(true)
			return
		}
	}
}

// freshen makes what was appended half a second ago visible to queries.
func (e *embedded) freshen() {
	if e.history.Swap(false) {
		promql.ResetRollupResultCache()
	}
	e.flushMu.Lock()
	defer e.flushMu.Unlock()
	start := time.Now()
	if start.Sub(e.lastFlush) < flushEvery || !e.dirty.Swap(false) {
		return
	}
	vmstorage.DebugFlush()
	e.lastFlush = start
}

// flusher bounds what a kill can lose. VictoriaMetrics alone lets rows wait up to 4 s before they are parts in
// memory and the parts up to 4 s before they are files.
func (e *embedded) flusher() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-t.C:
			e.freshen()
		}
	}
}

func (e *embedded) exec(ctx context.Context, expr string, from, to time.Time, step time.Duration, instant bool) ([]netstorage.Result, error) {
	leave, err := e.enter(ctx, e.readers)
	if err != nil {
		return nil, err
	}
	defer leave()
	e.freshen()
	timeout := e.timeout
	if d, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(d))
	}
	ec := &promql.EvalConfig{
		Start: from.UnixMilli(), End: to.UnixMilli(), Step: step.Milliseconds(),
		MaxSeries: e.maxSeries, MaxPointsPerSeries: maxPoints,
		Deadline:      searchutil.NewDeadline(time.Now(), timeout, ""),
		RoundDigits:   100, // off
		GetRequestURI: func() string { return "" },
	}
	out, err := promql.Exec(nil, ec, expr, instant)
	if err != nil {
		var status *httpserver.ErrorWithStatusCode
		if errors.As(err, &status) && status.StatusCode == http.StatusBadRequest {
			return nil, invalidQuery(err)
		}
		if ec.Deadline.Exceeded() {
			return nil, unavailable("the query took too long", "ask for less, or allow more time", err)
		}
		return nil, unavailable("the query failed", "ask for fewer series, or look at the server's log", err)
	}
	return out, nil
}

func (e *embedded) query(ctx context.Context, expr string, at time.Time, step time.Duration) ([]core.SeriesValue, error) {
	from, instant := at.Add(-step), step == 0
	if instant {
		step = instantStep
	}
	results, err := e.exec(ctx, expr, from, at, step, instant)
	if err != nil {
		return nil, err
	}
	out := make([]core.SeriesValue, 0, len(results))
	for i := range results {
		r := &results[i]
		last := len(r.Values) - 1
		if last < 0 || unusable(r.Values[last]) {
			continue
		}
		out = append(out, core.SeriesValue{Labels: labelMap(&r.MetricName), Value: r.Values[last], At: time.UnixMilli(r.Timestamps[last])})
	}
	return out, nil
}

func (e *embedded) queryRange(ctx context.Context, expr string, from, to time.Time, step time.Duration) ([]core.SeriesRange, error) {
	results, err := e.exec(ctx, expr, from, to, step, false)
	if err != nil {
		return nil, err
	}
	out := make([]core.SeriesRange, 0, len(results))
	for i := range results {
		r := &results[i]
		s := core.SeriesRange{Times: make([]time.Time, 0, len(r.Values)), Values: make([]float64, 0, len(r.Values))}
		for j, v := range r.Values {
			if unusable(v) {
				continue
			}
			s.Times, s.Values = append(s.Times, time.UnixMilli(r.Timestamps[j])), append(s.Values, v)
		}
		if len(s.Values) > 0 {
			s.Labels = labelMap(&r.MetricName)
			out = append(out, s)
		}
	}
	return out, nil
}

// unusable values are no answer: NaN is "none", stale markers are NaN too, and a division by zero is no
// figure to judge by.
func unusable(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }

func labelMap(m *storage.MetricName) map[string]string {
	out := make(map[string]string, len(m.Tags)+1)
	if len(m.MetricGroup) > 0 {
		out["__name__"] = string(m.MetricGroup)
	}
	for _, t := range m.Tags {
		out[string(t.Key)] = string(t.Value)
	}
	return out
}

func (e *embedded) ready() error {
	if !e.mu.TryRLock() {
		return unavailable("the store is being closed", "start the server again", nil)
	}
	defer e.mu.RUnlock()
	if e.closed {
		return unavailable("the store is closed", "start the server again", nil)
	}
	if vmstorage.VMInsertAPI.IsReadOnly() {
		return unavailable("the store takes no samples", "free disk space at the store's directory", nil)
	}
	return nil
}

func (e *embedded) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	close(e.stop)
	e.done.Wait()
	vmstorage.Stop()
	promql.StopRollupResultCache()
	vmstorage.VMInsertAPI = nil
	return nil
}
