// Package ownmeter listens to the few of the Collector's own instruments that the agent reports: how full the
// bulk queues are and what did not fit.
//
// All other instruments are dropped where they are made, so they cost nothing.
package ownmeter

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// The instruments of exporterhelper that are kept.
const (
	queueSize     = "otelcol_exporter_queue_size"
	queueCapacity = "otelcol_exporter_queue_capacity"
	enqueuedBytes = "otelcol_exporter_enqueue_size_bytes"
	enqueueFailed = "otelcol_exporter_enqueue_failed_metric_points"
	sendFailed    = "otelcol_exporter_send_failed_metric_points"
)

// Queue is one exporter's queue. Counts run since the pipeline was built.
type Queue struct {
	Used     int64 // bytes
	Limit    int64 // bytes
	Enqueued int64 // bytes offered
	Full     int64 // data points refused because the queue was full
	Failed   int64 // data points given up because the server will never take them
}

// Meter holds the reader of the running pipeline. It is safe for concurrent use; the zero value has nothing to
// read.
type Meter struct {
	mu     sync.Mutex
	reader *metric.ManualReader
}

// New returns a meter without a pipeline.
func New() *Meter { return &Meter{} }

// Provider makes the meter provider of a new pipeline, and reads from it from now on.
func (m *Meter) Provider() *metric.MeterProvider {
	reader := metric.NewManualReader()
	m.mu.Lock()
	m.reader = reader
	m.mu.Unlock()
	return metric.NewMeterProvider(metric.WithReader(reader), metric.WithView(onlyKept))
}

func onlyKept(i metric.Instrument) (metric.Stream, bool) {
	switch i.Name {
	case queueSize, queueCapacity, enqueueFailed, sendFailed:
		return metric.Stream{}, false
	case enqueuedBytes:
		return metric.Stream{
			Name: i.Name, Unit: i.Unit, Aggregation: metric.AggregationExplicitBucketHistogram{NoMinMax: true},
		}, true
	}
	return metric.Stream{Aggregation: metric.AggregationDrop{}}, true
}

// Queues reads all queues, by the id of their exporter.
func (m *Meter) Queues(ctx context.Context) (map[string]Queue, error) {
	m.mu.Lock()
	reader := m.reader
	m.mu.Unlock()
	queues := map[string]Queue{}
	if reader == nil {
		return queues, nil
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &data); err != nil {
		return nil, fmt.Errorf("read own metrics: %w", err)
	}
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			take(queues, m)
		}
	}
	return queues, nil
}

func take(queues map[string]Queue, m metricdata.Metrics) {
	switch d := m.Data.(type) {
	case metricdata.Gauge[int64]:
		for _, p := range d.DataPoints {
			set(queues, p.Attributes, m.Name, p.Value)
		}
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			set(queues, p.Attributes, m.Name, p.Value)
		}
	case metricdata.Histogram[int64]:
		for _, p := range d.DataPoints {
			set(queues, p.Attributes, m.Name, p.Sum)
		}
	}
}

func set(queues map[string]Queue, attributes attribute.Set, name string, value int64) {
	exporter, ok := attributes.Value("exporter")
	if !ok {
		return
	}
	q := queues[exporter.AsString()]
	switch name {
	case queueSize:
		q.Used = value
	case queueCapacity:
		q.Limit = value
	case enqueuedBytes:
		q.Enqueued = value
	case enqueueFailed:
		q.Full += value
	case sendFailed:
		q.Failed += value
	}
	queues[exporter.AsString()] = q
}
