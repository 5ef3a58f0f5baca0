package anyserverprocessor

import (
	"context"
	"errors"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor"
	"go.uber.org/multierr"
)

// TypeName is the name of this processor in a pipeline.
const TypeName = "anyserver"

// Config is the processor's section of the pipeline.
type Config struct {
	// Servers is how many exporters follow, at least 1.
	Servers int `mapstructure:"servers"`
}

// Validate checks every field.
func (c *Config) Validate() error {
	if c.Servers < 1 {
		return errors.New("servers must be 1 or more: the number of the pipeline's exporters")
	}
	return nil
}

// NewFactory makes processors that stand last in a pipeline.
func NewFactory() processor.Factory {
	create := func(
		_ context.Context, _ processor.Settings, cfg component.Config, next consumer.Metrics,
	) (processor.Metrics, error) {
		return &gate{next: next, servers: cfg.(*Config).Servers}, nil
	}
	return processor.NewFactory(component.MustNewType(TypeName), func() component.Config { return &Config{Servers: 1} },
		processor.WithMetrics(create, component.StabilityLevelBeta))
}

// gate stands before the exporters.
type gate struct {
	component.StartFunc
	component.ShutdownFunc
	next    consumer.Metrics
	servers int
}

var _ processor.Metrics = (*gate)(nil)

// Capabilities says that nothing is changed.
func (*gate) Capabilities() consumer.Capabilities { return consumer.Capabilities{MutatesData: false} }

// ConsumeMetrics fails when all queues refuse: the Collector joins one error for each exporter that failed.
func (a *gate) ConsumeMetrics(ctx context.Context, md pmetric.Metrics) error {
	if err := a.next.ConsumeMetrics(ctx, md); len(multierr.Errors(err)) >= a.servers {
		return err
	}
	return nil
}
