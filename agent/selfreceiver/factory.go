package selfreceiver

import (
	"context"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/evenkeel/evenkeel/agent/internal/ownmeter"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// TypeName is the name of this receiver in a pipeline.
const TypeName = "evenkeelself"

// NewFactory makes receivers that read v and the queues of meter, and note the queues in v.
func NewFactory(meter *ownmeter.Meter, v *vitals.Vitals) receiver.Factory {
	create := func(
		_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics,
	) (receiver.Metrics, error) {
		return &mirror{log: set.Logger, cfg: cfg.(*Config), meter: meter, vitals: v, next: next}, nil
	}
	return receiver.NewFactory(
		component.MustNewType(TypeName),
		func() component.Config { return &Config{Interval: 10 * time.Second} },
		receiver.WithMetrics(create, component.StabilityLevelBeta),
	)
}
