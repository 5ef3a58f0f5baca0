package fastexporter

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/exporter"

	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// TypeName is the name of this exporter in a pipeline.
const TypeName = "evenkeelfast"

// NewFactory makes exporters that note their deliveries and losses in v.
func NewFactory(v *vitals.Vitals) exporter.Factory {
	create := func(_ context.Context, set exporter.Settings, cfg component.Config) (exporter.Metrics, error) {
		return newLane(set.Logger, cfg.(*Config), set.BuildInfo.Version, v), nil
	}
	return exporter.NewFactory(
		component.MustNewType(TypeName),
		createDefaultConfig,
		exporter.WithMetrics(create, component.StabilityLevelBeta),
	)
}
