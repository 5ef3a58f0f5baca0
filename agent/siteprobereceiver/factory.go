package siteprobereceiver

import (
	"context"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/receiver"

	"github.com/evenkeel/evenkeel/agent/internal/probe"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
)

// TypeName is the name of this receiver in a pipeline.
const TypeName = "siteprobe"

// NewFactory makes receivers that probe what hangs on the board and count what they skip.
func NewFactory(board *topology.Board, v *vitals.Vitals) receiver.Factory {
	create := func(
		_ context.Context, set receiver.Settings, cfg component.Config, next consumer.Metrics,
	) (receiver.Metrics, error) {
		overrides, err := probe.ParseOverrides(cfg.(*Config).ConnectTo)
		if err != nil {
			return nil, fmt.Errorf("connect_to: %w", err)
		}
		via := probe.Via{Overrides: overrides, UserAgent: "evenkeel-agent/" + set.BuildInfo.Version}
		return newVantage(set.Logger, board, v, next, via), nil
	}
	return receiver.NewFactory(
		component.MustNewType(TypeName),
		func() component.Config { return &Config{} },
		receiver.WithMetrics(create, component.StabilityLevelBeta),
	)
}
