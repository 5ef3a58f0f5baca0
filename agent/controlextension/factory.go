package controlextension

import (
	"context"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/extension"

	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// TypeName is the name of this extension in a pipeline.
const TypeName = "evenkeelcontrol"

// NewFactory makes extensions that put topologies on the board and report v in their heartbeats.
func NewFactory(board *topology.Board, v *vitals.Vitals) extension.Factory {
	create := func(_ context.Context, set extension.Settings, cfg component.Config) (extension.Extension, error) {
		return newControl(set.Logger, cfg.(*Config), set.BuildInfo.Version, board, v), nil
	}
	return extension.NewFactory(
		component.MustNewType(TypeName), createDefaultConfig, create, component.StabilityLevelBeta)
}
