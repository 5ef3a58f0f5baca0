package director

import (
	"maps"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/collector/pdata/pmetric"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/push"
)

type place struct{ site, service string }

// counters are what the edge saw. All exist at zero from the start.
type counters struct {
	start  time.Time
	places []place
	hist   map[place]*push.Histogram
	mu     sync.Mutex
	counts map[place]map[string]uint64 // by code class
}

func newCounters(services, sites []string) *counters {
	c := &counters{start: time.Now(), hist: map[place]*push.Histogram{}, counts: map[place]map[string]uint64{}}
	for _, service := range services {
		for _, site := range sites {
			p := place{site, service}
			c.places = append(c.places, p)
			c.hist[p] = push.NewHistogram()
			c.counts[p] = map[string]uint64{}
			for _, class := range push.CodeClasses() {
				c.counts[p][class] = 0
			}
		}
	}
	return c
}

// count notes one request; status 0 is no answer.
func (c *counters) count(site, service string, status int, took time.Duration) {
	p := place{site, service}
	c.hist[p].Observe(took)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[p][push.CodeClass(status)]++
}

// snapshot copies the counts.
func (c *counters) snapshot() map[place]map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[place]map[string]uint64, len(c.counts))
	for p, m := range c.counts {
		out[p] = maps.Clone(m)
	}
	return out
}

// metrics are the facts the edge reports, by the names of the contract. The instance tells two directors with one
// token apart, and is the same after a restart.
func (c *counters) metrics(t *Table, instance string) func(time.Time) pmetric.Metrics {
	return func(at time.Time) pmetric.Metrics {
		b := push.NewBatch(at, c.start,
			push.Attr{Name: "service.name", Value: "director"}, push.Attr{Name: "service.instance.id", Value: instance})
		counts, weights := c.snapshot(), t.Weights()
		for _, p := range c.places {
			about := []push.Attr{{Name: "target_site", Value: p.site}, {Name: "service", Value: p.service}}
			for _, class := range push.CodeClasses() {
				b.Sum("evenkeel.edge.requests", "{request}", counts[p][class],
					append(slices.Clone(about), push.Attr{Name: "code_class", Value: class})...)
			}
			b.Gauge("evenkeel.edge.weight", "%", float64(weights[p.service][p.site]), about...)
			b.Histogram("evenkeel.edge.duration", "s", c.hist[p], about...)
		}
		return b.Metrics
	}
}
