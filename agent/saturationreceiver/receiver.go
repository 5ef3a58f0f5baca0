package saturationreceiver

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/receiver"
	"go.uber.org/zap"

	"github.com/evenkeel/evenkeel/agent/internal/saturation"
)

// TypeName is the name of this receiver in a pipeline.
const TypeName = "saturation"

// Names of what this receiver reports; metadata.yaml describes them.
const (
	metricIndex    = "evenkeel.site.saturation"
	metricResource = "evenkeel.host.saturation"
	metricPressure = "evenkeel.host.pressure"
	scopeName      = "evenkeel/saturation"
)

// lookEvery is the time between two looks at the host.
const lookEvery = time.Second

// Config is the receiver's section of the pipeline.
type Config struct {
	// Interval is the time between two reports.
	Interval time.Duration `mapstructure:"interval"`
	// Root is where the host's /proc and /sys are; / but in a container that has them elsewhere.
	Root string `mapstructure:"root"`
}

// Validate checks every field.
func (c *Config) Validate() error {
	switch {
	case c.Interval < lookEvery:
		return errors.New("interval must be 1s or more")
	case c.Root == "":
		return errors.New("root must be given, / is usual")
	}
	return nil
}

// NewFactory makes receivers that look at the host once a second.
func NewFactory() receiver.Factory {
	create := func(
		_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics,
	) (receiver.Metrics, error) {
		return &gauge{log: set.Logger, cfg: cfg.(*Config), next: next}, nil
	}
	return receiver.NewFactory(
		component.MustNewType(TypeName),
		func() component.Config { return &Config{Interval: 10 * time.Second, Root: "/"} },
		receiver.WithMetrics(create, component.StabilityLevelBeta),
	)
}

// gauge looks each second and reports at the interval.
type gauge struct {
	log  *zap.Logger
	cfg  *Config
	next consumer.Metrics

	cancel context.CancelFunc
	done   sync.WaitGroup
}

var _ receiver.Metrics = (*gauge)(nil)

// Start begins to look; the first report is due after the interval.
func (g *gauge) Start(context.Context, component.Host) error { //nolint:contextcheck // a component outlives the context of its start
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	g.done.Go(func() { g.run(ctx) })
	return nil
}

// Shutdown waits for a report under way.
func (g *gauge) Shutdown(context.Context) error {
	if g.cancel != nil {
		g.cancel()
	}
	g.done.Wait()
	return nil
}

func (g *gauge) run(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	reader, window := &saturation.Reader{Root: g.cfg.Root}, &saturation.Window{}
	defer reader.Close()
	reported, trouble := time.Now(), ""
	for {
		now := time.Now()
		window.Add(reader.Look(now))
		if now.Sub(reported) >= g.cfg.Interval {
			reported = now
			was := trouble
			if trouble = g.report(ctx, window, reader, now); trouble != was && trouble != "" && ctx.Err() == nil {
				g.log.Warn("the host's saturation is not reported", zap.String("why", trouble))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// report hands on what is known, and says what is wrong; empty: nothing.
func (g *gauge) report(ctx context.Context, w *saturation.Window, r *saturation.Reader, now time.Time) (trouble string) {
	md, known := report(w, r.Pressure(), now)
	if md.DataPointCount() > 0 {
		if err := g.next.ConsumeMetrics(ctx, md); err != nil {
			return err.Error()
		}
	}
	if !known {
		return "CPU or memory of this host are not known: there is no /proc/stat and /proc/meminfo below " + g.cfg.Root
	}
	return ""
}

// report is what is known; known says whether the index is.
func report(w *saturation.Window, pressure []saturation.Pressure, now time.Time) (md pmetric.Metrics, known bool) {
	md = pmetric.NewMetrics()
	scope := md.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty()
	scope.Scope().SetName(scopeName)
	metric := func(name string) pmetric.NumberDataPointSlice {
		m := scope.Metrics().AppendEmpty()
		m.SetName(name)
		m.SetUnit("1")
		return m.SetEmptyGauge().DataPoints()
	}
	point := func(points pmetric.NumberDataPointSlice, share float64) pcommon.Map {
		p := points.AppendEmpty()
		p.SetTimestamp(pcommon.NewTimestampFromTime(now))
		p.SetDoubleValue(share)
		return p.Attributes()
	}
	index, _, known := w.Index()
	if known {
		point(metric(metricIndex), index)
	}
	each := metric(metricResource)
	for _, r := range saturation.All() {
		if p, ok := w.P95(r); ok {
			point(each, p).PutStr("resource", r.String())
		}
	}
	waits := metric(metricPressure)
	for _, p := range pressure {
		a := point(waits, p.Share)
		a.PutStr("resource", p.Resource)
		a.PutStr("kind", p.Kind)
	}
	scope.Metrics().RemoveIf(func(m pmetric.Metric) bool { return m.Gauge().DataPoints().Len() == 0 })
	return md, known
}
