package seriescapprocessor

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/processor"

	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// TypeName is the name of this processor in a pipeline.
const TypeName = "seriescap"

// NewFactory makes processors that report to v. Two of them in one agent have a cap each.
func NewFactory(v *vitals.Vitals) processor.Factory {
	create := func(
		_ context.Context, set processor.Settings, cfg component.Config, next consumer.Metrics,
	) (processor.Metrics, error) {
		return newLimiter(set.Logger, set.ID.String(), cfg.(*Config), v, next), nil
	}
	return processor.NewFactory(
		component.MustNewType(TypeName),
		func() component.Config { return &Config{MaxSeries: DefaultSeries, Expire: defaultExpire} },
		processor.WithMetrics(create, component.StabilityLevelBeta),
	)
}
