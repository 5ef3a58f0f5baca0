package main

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/service/telemetry"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/evenkeel/evenkeel/agent/internal/ownmeter"
)

// telemetryConfig is service::telemetry of this distribution: logs, and nothing else. The Collector's own
// configuration of it brings exporters and cloud detectors along that an agent has no use for.
type telemetryConfig struct {
	Logs    logsConfig    `mapstructure:"logs"`
	Metrics metricsConfig `mapstructure:"metrics"`
}

type logsConfig struct {
	Level    zapcore.Level `mapstructure:"level"`
	Encoding string        `mapstructure:"encoding"` // json or console
}

type metricsConfig struct {
	Level string `mapstructure:"level"` // none
}

// Validate refuses what this distribution does not have.
func (c *telemetryConfig) Validate() error {
	if c.Logs.Encoding != "json" && c.Logs.Encoding != "console" {
		return fmt.Errorf("logs::encoding %q must be json or console", c.Logs.Encoding)
	}
	if c.Metrics.Level != "none" {
		return errors.New("metrics::level must be none: the evenkeelself receiver reports what matters")
	}
	return nil
}

// telemetryFactory is the Collector's own telemetry, turned down: logs to stderr, no traces, and of its metrics
// only what meter keeps.
func telemetryFactory(meter *ownmeter.Meter) telemetry.Factory {
	return telemetry.NewFactory(
		func() component.Config {
			return &telemetryConfig{
				Logs:    logsConfig{Level: zapcore.InfoLevel, Encoding: "json"},
				Metrics: metricsConfig{Level: "none"},
			}
		},
		telemetry.WithCreateLogger(createLogger),
		telemetry.WithCreateMeterProvider(func(
			context.Context, telemetry.MeterSettings, component.Config,
		) (telemetry.MeterProvider, error) {
			return meter.Provider(), nil
		}),
	)
}

func createLogger(
	_ context.Context, set telemetry.LoggerSettings, cfg component.Config,
) (*zap.Logger, component.ShutdownFunc, error) {
	c, ok := cfg.(*telemetryConfig)
	if !ok {
		return nil, nil, errors.New("telemetry: unexpected configuration")
	}
	encoder := zap.NewProductionEncoderConfig()
	encoder.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoder.EncodeDuration = zapcore.StringDurationEncoder
	zapConfig := zap.Config{
		Level: zap.NewAtomicLevelAt(c.Logs.Level), Encoding: c.Logs.Encoding, EncoderConfig: encoder,
		OutputPaths: []string{"stderr"}, ErrorOutputPaths: []string{"stderr"},
		DisableCaller: true, DisableStacktrace: true,
		Sampling: &zap.SamplingConfig{Initial: 10, Thereafter: 100},
	}
	build := set.BuildZapLogger
	if build == nil {
		build = zap.Config.Build
	}
	logger, err := build(zapConfig, zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		if c.Logs.Level < zapcore.InfoLevel {
			return core
		}
		return quiet{Core: core, said: newRepeats()}
	}))
	if err != nil {
		return nil, nil, fmt.Errorf("build logger: %w", err)
	}
	return logger, nil, nil
}
