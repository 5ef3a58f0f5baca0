package anyserverprocessor

import (
	"context"
	"errors"
	"testing"

	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/processor/processortest"
	"go.uber.org/multierr"
)

func TestOneQueueIsEnough(t *testing.T) {
	full := errors.New("queue is full")
	f := func(servers int, taken bool, failures ...error) {
		t.Helper()
		next, err := consumer.NewMetrics(func(context.Context, pmetric.Metrics) error { return multierr.Combine(failures...) })
		if err != nil {
			t.Fatal(err)
		}
		factory := NewFactory()
		p, err := factory.CreateMetrics(t.Context(), processortest.NewNopSettings(factory.Type()), &Config{Servers: servers}, next)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.ConsumeMetrics(t.Context(), pmetric.NewMetrics()); (err == nil) != taken {
			t.Errorf("%d of %d queues refuse: %v", len(failures), servers, err)
		}
	}
	f(1, true)
	f(1, false, full)
	f(2, true)
	f(2, true, full)
	f(2, false, full, full)
	f(3, true, full, full)
	f(3, false, full, full, full)

	if err := (&Config{}).Validate(); err == nil {
		t.Error("0 servers are fine")
	}
}
