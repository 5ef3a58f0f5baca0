package changesextension

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"
)

// TypeName is the name of this extension in a pipeline.
const TypeName = "evenkeelchanges"

// NewFactory makes doors for change events.
func NewFactory() extension.Factory {
	create := func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
		return &changes{log: set.Logger, cfg: cfg.(*Config), version: set.BuildInfo.Version}, nil
	}
	return extension.NewFactory(
		component.MustNewType(TypeName), func() component.Config { return &Config{} }, create, component.StabilityLevelBeta)
}
