package ingest

import (
	"sync"
	"time"
)

const (
	// driftPPM is how far two quartz clocks may part: 200 microseconds a second, generously.
	driftPPM = 200
	// clockMemory is how long an offset is worth keeping.
	clockMemory = time.Hour
	// maxAgents bounds the agents remembered per credential.
	maxAgents = 64
)

// reading is what one agent last said of its clock.
type reading struct {
	offset time.Duration // agent minus server
	err    time.Duration
	at     time.Time // our clock
	known  bool
}

// clocks remembers the readings by credential and agent.
type clocks struct {
	mu   sync.Mutex
	byID map[string]map[string]reading
}

func newClocks() *clocks { return &clocks{byID: map[string]map[string]reading{}} }

func (c *clocks) set(credential, agent string, r reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	agents := c.byID[credential]
	if agents == nil {
		agents = map[string]reading{}
		c.byID[credential] = agents
	}
	if _, ok := agents[agent]; !ok && len(agents) >= maxAgents {
		oldest := agent
		for name, x := range agents {
			if o, ok := agents[oldest]; !ok || x.at.Before(o.at) {
				oldest = name
			}
		}
		delete(agents, oldest)
	}
	agents[agent] = r
}

// get returns the reading of an agent as of now, its error grown by drift. An agent that does not say who it
// is has the clock of its credential's only agent; with several it is unknown.
func (c *clocks) get(credential, agent string, now time.Time) reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	agents := c.byID[credential]
	r, ok := agents[agent]
	if !ok && agent == "" {
		live := 0
		for _, x := range agents {
			if now.Sub(x.at) <= clockMemory {
				r, live = x, live+1
			}
		}
		ok = live == 1
	}
	age := now.Sub(r.at)
	if !ok || !r.known || age > clockMemory {
		return reading{}
	}
	r.err += max(age, 0) / 1e6 * driftPPM
	return r
}
