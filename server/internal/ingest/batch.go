package ingest

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

var errNoName = errors.New("no name")

// staleMarker is the NaN by which Prometheus says that a series ended.
const staleMarker = 0x7ff0000000000002

// siteLabel is stamped by the door.
const siteLabel = "site"

// batch is one request on its way from the wire to the store. Its strings belong to the request's body: what
// outlives the request is cloned.
type batch struct {
	door   *Door
	caller core.Credential
	series *seriesLimit
	now    time.Time
	oldest int64 // ms
	newest int64 // ms

	samples   []core.Sample
	slab      []core.Label // where the labels of the samples live
	base      []core.Label // of the resource, sorted, site among them
	scratch   []core.Label
	points    [][]byte // of the time series being read
	agent     string   // who the resource says it is
	writer    string   // the same for facts: it outlives the request
	facts     []core.Fact
	durations map[probeKey]float64
	figures   map[lookKey][linkFigures]*float64
	fast      bool // the request came by the fast lane, which repeats what the bulk brings as well
	refused   refusals
	stale     int
	notFacts  int // too many or too long to be facts
	replaced  int
}

// batchPool keeps the scratch space of requests.
type batchPool struct{ pool sync.Pool }

func newBatchPool() *batchPool {
	return &batchPool{pool: sync.Pool{New: func() any { return &batch{} }}}
}

func (d *Door) newBatch(caller core.Credential) *batch {
	b := d.batches.pool.Get().(*batch)
	now := d.o.Now()
	*b = batch{
		door: d, caller: caller, series: d.gates.of(caller.ID).series, now: now,
		oldest: now.Add(-d.o.Retention).UnixMilli(), newest: now.Add(maxAhead).UnixMilli(),
		samples: b.samples[:0], slab: b.slab[:0], base: b.base[:0], scratch: b.scratch[:0], points: b.points[:0],
	}
	return b
}

// maxPooled bounds what a pooled batch keeps.
const maxPooled = 1 << 16

func (d *Door) release(b *batch) {
	if cap(b.samples) > maxPooled || cap(b.points) > maxPooled || cap(b.slab) > 16*maxPooled {
		return
	}
	clear(b.samples)
	clear(b.slab)
	clear(b.base[:cap(b.base)])
	clear(b.scratch[:cap(b.scratch)])
	clear(b.points[:cap(b.points)])
	b.facts, b.durations, b.figures, b.agent, b.writer = nil, nil, nil, "", ""
	d.batches.pool.Put(b)
}

// setLabel sets a label in a list that is kept sorted. Two attributes that become the same label are joined
// with a semicolon, as OpenTelemetry asks. A site that is not the caller's own is counted and replaced.
func (b *batch) setLabel(list []core.Label, name, value string, site *bool) []core.Label {
	if name == siteLabel {
		if value != b.caller.Name {
			*site = true
		}
		return list
	}
	if value == "" {
		return list
	}
	i := len(list)
	for i > 0 && list[i-1].Name >= name {
		i--
	}
	if i < len(list) && list[i].Name == name {
		list[i].Value += ";" + value
		return list
	}
	list = append(list, core.Label{})
	copy(list[i+1:], list[i:])
	list[i] = core.Label{Name: name, Value: value}
	return list
}

// stamp adds the caller's name as site. It is the only way a site label comes into a list.
func (b *batch) stamp(list []core.Label) []core.Label {
	i := len(list)
	for i > 0 && list[i-1].Name > siteLabel {
		i--
	}
	return slices.Insert(list, i, core.Label{Name: siteLabel, Value: b.caller.Name})
}

// keep copies labels into the slab, where they stay until the store has them.
func (b *batch) keep(labels []core.Label) []core.Label {
	if cap(b.slab)-len(b.slab) < len(labels) {
		// Samples keep pointing into the old slab.
		b.slab = make([]core.Label, 0, max(4096, 2*cap(b.slab), len(labels)))
	}
	start := len(b.slab)
	b.slab = append(b.slab, labels...)
	return b.slab[start:len(b.slab):len(b.slab)]
}

// checkTime says whether a time can be stored.
func (b *batch) checkTime(ms int64) (reason, bool) {
	switch {
	case ms < b.oldest:
		return refusedTooOld, false
	case ms > b.newest:
		return refusedFuture, false
	}
	return 0, true
}

// checkValue says whether a value can be stored.
func checkValue(v float64) (reason, bool) {
	switch {
	case math.IsNaN(v):
		return refusedNaN, false
	case math.IsInf(v, 0):
		return refusedInf, false
	}
	return 0, true
}

// checkLabels says whether a series can be stored.
func (b *batch) checkLabels(name string, labels []core.Label) (reason, bool) {
	l := &b.door.o.Limits
	switch {
	case name == "" || len(name) > l.NameBytes || !valid(name):
		return refusedName, false
	case len(labels) > l.Labels:
		return refusedLabels, false
	}
	for i := range labels {
		if len(labels[i].Name) > l.NameBytes || len(labels[i].Value) > l.ValueBytes ||
			!valid(labels[i].Name) || !valid(labels[i].Value) {
			return refusedLabels, false
		}
	}
	if !b.series.admit(b.series.hash(name, labels), b.now) {
		return refusedSeries, false
	}
	return 0, true
}

// valid is utf8.ValidString with a short cut for short ASCII, which labels are.
func valid(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return utf8.ValidString(s)
		}
	}
	return true
}

// allowed says whether this kind of credential may write the metric. Traffic is what decisions are verified
// by: only an edge may claim it, and an edge claims nothing else.
func (b *batch) allowed(name string) bool {
	edge := strings.HasPrefix(name, "evenkeel.edge.") || strings.HasPrefix(name, "evenkeel_edge_")
	return edge == (b.caller.Kind == kindEdge)
}

func (b *batch) refuse(r reason, n int) { b.refused[r] += n }

// finish hands facts to health, then samples to the store, and counts. Facts do not wait for the store and do
// not depend on it.
func (b *batch) finish(ctx context.Context) error {
	d := b.door
	for i := range b.facts {
		f := &b.facts[i]
		switch f.Kind {
		case core.FactProbe:
			f.Value = b.durations[keyOf(f)]
		case core.FactLink:
			all := b.figures[lookKey{f.Target, f.Link.Channel, f.Link.End, f.Agent, f.AgentAt.UnixNano()}]
			f.Link.Lower, f.Link.Upper, f.Link.Exposure = all[linkLower], all[linkUpper], all[linkExposure]
		case core.FactUnknown, core.FactHeartbeat, core.FactEdgeRequests, core.FactEdgeWeight:
		}
	}
	d.handOn(b.facts, b.now)
	for r, n := range b.refused {
		if n > 0 {
			d.metrics.refused.WithLabelValues(reason(r).label()).Add(float64(n))
		}
	}
	if b.stale > 0 {
		d.metrics.dropped.WithLabelValues("stale_marker").Add(float64(b.stale))
	}
	if b.notFacts > 0 {
		d.metrics.dropped.WithLabelValues("fact").Add(float64(b.notFacts))
	}
	if b.replaced > 0 {
		d.metrics.replaced.WithLabelValues(siteLabel).Add(float64(b.replaced))
	}
	if len(b.samples) == 0 {
		return nil
	}
	if b.caller.Kind != "admin" { // the others are few, and come again
		d.metrics.lateness.observe(b.caller.Name, b.samples, b.now.UnixMilli())
	}
	err := d.o.Store.Append(ctx, b.samples)
	result := "ok"
	switch {
	case err == nil:
		if d.storeDown.CompareAndSwap(true, false) {
			d.o.Log.Info("the store takes samples again")
		}
	case core.Code(err) == core.CodeInvalid:
		result = "invalid"
	default:
		result = "unavailable"
		if d.storeDown.CompareAndSwap(false, true) {
			d.o.Log.Error("the store takes no samples", slog.Any("error", err))
		}
	}
	d.metrics.samples.WithLabelValues(result).Add(float64(len(b.samples)))
	return err
}
