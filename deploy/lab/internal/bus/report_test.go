package bus

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"
)

// What is reported of a link holds the truth: a bound that is not known is not there, and a link that is down has no upper one.
func TestFigures(t *testing.T) {
	at := time.Unix(1000, 0)
	f := func(what string, s LinkStatus, want ...string) {
		t.Helper()
		s.Link = "orders:fra>ams"
		b := &Bus{links: []*link{{status: s}}}
		var got []string
		for _, m := range b.metrics(at)(at).ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().All() {
			if m.Type() == pmetric.MetricTypeGauge && m.Name() != "lab.replication.applied" {
				got = append(got, fmt.Sprintf("%s=%g", m.Name(), m.Gauge().DataPoints().At(0).DoubleValue()))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	heard, complete := at.Add(-2*time.Second).UnixNano(), at.Add(-3*time.Second).UnixNano()
	f("never heard", LinkStatus{State: LinkDown}, "evenkeel.link.state=4")
	f("begins", LinkStatus{State: CatchingUp, HeardNS: heard, Behind: 9},
		"evenkeel.link.state=2", "evenkeel.replication.lag.lower=0", "evenkeel.replication.lag.messages=9")
	f("caught up", LinkStatus{State: CaughtUp, HeardNS: heard, CompleteNS: complete},
		"evenkeel.link.state=1", "evenkeel.replication.lag.lower=0", "evenkeel.replication.lag.upper=3", "evenkeel.replication.lag.messages=0",
		"evenkeel.replication.exposure=3")
	f("down", LinkStatus{State: LinkDown, HeardNS: heard, CompleteNS: complete},
		"evenkeel.link.state=4", "evenkeel.replication.lag.lower=2", "evenkeel.replication.exposure=3")
	f("stopped", LinkStatus{State: Stopped, HeardNS: heard, CompleteNS: complete}, "evenkeel.link.state=5", "evenkeel.replication.exposure=3")
}

func TestComplete(t *testing.T) {
	s := LinkStatus{}
	s.complete()
	if s.CompleteNS != 0 {
		t.Error("complete to what was never asked")
	}
	s.asked, s.wanted, s.Applied = 7, 10, 9
	s.complete()
	if s.CompleteNS != 0 {
		t.Error("one is missing")
	}
	s.Applied = 10
	s.complete()
	if s.CompleteNS != 7 {
		t.Errorf("complete to %d", s.CompleteNS)
	}
}
