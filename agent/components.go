package main

import (
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/bearertokenauthextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/extension/healthcheckextension"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/filterprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/resourceprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/receiver/hostmetricsreceiver"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/debugexporter"
	"go.opentelemetry.io/collector/exporter/otlphttpexporter"
	"go.opentelemetry.io/collector/extension"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/batchprocessor"
	"go.opentelemetry.io/collector/processor/memorylimiterprocessor"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"

	"github.com/evenkeel/evenkeel/agent/anyserverprocessor"
	"github.com/evenkeel/evenkeel/agent/changesextension"
	"github.com/evenkeel/evenkeel/agent/controlextension"
	"github.com/evenkeel/evenkeel/agent/fastexporter"
	"github.com/evenkeel/evenkeel/agent/internal/ownmeter"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
	"github.com/evenkeel/evenkeel/agent/internal/vitals"
	"github.com/evenkeel/evenkeel/agent/replicationlagreceiver"
	"github.com/evenkeel/evenkeel/agent/saturationreceiver"
	"github.com/evenkeel/evenkeel/agent/selfreceiver"
	"github.com/evenkeel/evenkeel/agent/seriescapprocessor"
	"github.com/evenkeel/evenkeel/agent/siteprobereceiver"
	"github.com/evenkeel/evenkeel/agent/storageextension"
)

// shared is what the components of one agent have in common. It outlives a reload of the pipeline.
type shared struct {
	board  *topology.Board
	vitals *vitals.Vitals
	meter  *ownmeter.Meter
}

func newShared() shared {
	return shared{board: &topology.Board{}, vitals: vitals.New(), meter: ownmeter.New()}
}

// factories is everything this distribution is made of.
func (s shared) factories() (f otelcol.Factories, err error) {
	if f.Extensions, err = otelcol.MakeFactoryMap[extension.Factory](
		controlextension.NewFactory(s.board, s.vitals),
		changesextension.NewFactory(),
		bearertokenauthextension.NewFactory(),
		storageextension.NewFactory(),
		healthcheckextension.NewFactory(),
	); err != nil {
		return otelcol.Factories{}, err
	}
	if f.Receivers, err = otelcol.MakeFactoryMap(append(scrapers(),
		siteprobereceiver.NewFactory(s.board, s.vitals),
		replicationlagreceiver.NewFactory(),
		selfreceiver.NewFactory(s.meter, s.vitals),
		saturationreceiver.NewFactory(),
		hostmetricsreceiver.NewFactory(),
		otlpreceiver.NewFactory(),
	)...); err != nil {
		return otelcol.Factories{}, err
	}
	if f.Processors, err = otelcol.MakeFactoryMap[processor.Factory](
		memorylimiterprocessor.NewFactory(),
		resourceprocessor.NewFactory(),
		batchprocessor.NewFactory(),
		filterprocessor.NewFactory(),
		seriescapprocessor.NewFactory(s.vitals),
		anyserverprocessor.NewFactory(),
	); err != nil {
		return otelcol.Factories{}, err
	}
	if f.Exporters, err = otelcol.MakeFactoryMap[exporter.Factory](
		fastexporter.NewFactory(s.vitals),
		otlphttpexporter.NewFactory(),
		debugexporter.NewFactory(),
	); err != nil {
		return otelcol.Factories{}, err
	}
	f.Telemetry = telemetryFactory(s.meter)
	return f, nil
}
