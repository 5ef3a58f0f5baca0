package health

import (
	"fmt"
	"testing"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// busyTracker knows 10 sites with 20 services, seen for 30 s by all sites and a witness, with one edge. Ill
// of ten subjects are down for the last ten seconds.
func busyTracker(ill int) (*Tracker, time.Time) {
	var sites, services []string
	for i := range 10 {
		sites = append(sites, fmt.Sprintf("site%02d", i))
	}
	for i := range 20 {
		services = append(services, fmt.Sprintf("service%02d", i))
	}
	topo := testTopology(sites, []string{"lon"}, services)
	t := New("r1", topo)
	at := epoch
	for sec := range 30 {
		at = epoch.Add(time.Duration(sec) * time.Second)
		for _, v := range topo.Vantages() {
			t.Fact(core.Fact{Kind: core.FactHeartbeat, Site: v, AgentAt: at, ReceivedAt: at, ClockKnown: true, Interval: time.Second}, at)
			for i, site := range sites {
				for j, svc := range services {
					f := probeFact(v, site, core.ProbeUp, at)
					if (i+j)%10 < ill && sec > 20 {
						f = probeFact(v, site, core.ProbeDown, at)
					}
					f.Service, f.Target = svc, svc+"-http"
					t.Fact(f, at)
				}
			}
		}
		for _, site := range sites {
			for _, svc := range services {
				for class, n := range map[string]int{"2xx": 100, "5xx": 0} {
					t.Fact(core.Fact{
						Kind: core.FactEdgeRequests, Site: "director", TargetSite: site, Service: svc, Reason: class, Value: float64(n * sec),
						AgentAt: at, ReceivedAt: at, ClockKnown: true, Interval: time.Second,
					}, at)
				}
			}
		}
	}
	return t, at
}

func BenchmarkJudge(b *testing.B) {
	for _, c := range []struct {
		name string
		ill  int
	}{{"well", 0}, {"tenth_down", 1}, {"all_down", 10}} {
		b.Run(c.name, func(b *testing.B) {
			t, at := busyTracker(c.ill)
			b.ReportAllocs()
			for b.Loop() {
				t.Judge(at, nil)
			}
		})
	}
}

func BenchmarkNextWake(b *testing.B) {
	t, at := busyTracker(0)
	b.ReportAllocs()
	for b.Loop() {
		t.NextWake(at)
	}
}

func BenchmarkFact(b *testing.B) {
	t, at := busyTracker(0)
	f := probeFact("site01", "site02", core.ProbeUp, at)
	f.Service, f.Target = "service03", "service03-http"
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Second)
		f.AgentAt = at
		t.Fact(f, at)
	}
}
