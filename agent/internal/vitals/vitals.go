package vitals

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"
)

// Series names one probe target in counters.
type Series struct {
	TargetSite, Service, Target, Path string
}

// Lane is what was lost on the fast way to one server.
type Lane struct {
	Server  string
	Stale   int64 // facts that grew too old before the server took them
	Refused int64 // facts the server did not want
}

// Buffer is the bulk way to one server.
type Buffer struct {
	Server  string
	Used    int64         // bytes waiting
	Limit   int64         // bytes that may wait
	Full    int64         // data points turned away because there was no room
	Refused int64         // data points the server will never take
	Left    time.Duration // until it is full at the present rate
	// LeftKnown is false until a rate has been seen.
	LeftKnown bool
}

// Page is one kind of attempt to tell PagerDuty something.
type Page struct {
	About  string // no-server or locked-out
	Action string // trigger or resolve
	Result string // accepted or failed
}

// Vitals is safe for concurrent use. The zero value is ready.
type Vitals struct {
	mu        sync.Mutex
	skipped   map[Series]int64
	lanes     map[string]*Lane
	delivered map[string]time.Time
	buffers   map[string]Buffer
	pages     map[Page]int64
	armed     *bool
	dropped   map[DropReason]int64
	series    map[string]func() (alive, most int)
	agent     string
}

// Name says what this agent is called.
func (v *Vitals) Name(agent string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.agent = agent
}

// Agent is what this agent is called, empty before Name.
func (v *Vitals) Agent() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.agent
}

// New returns empty vitals.
func New() *Vitals { return &Vitals{} }

// Skip counts probes that were due and not made. n may be zero: the counter then exists.
func (v *Vitals) Skip(s Series, n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.skipped == nil {
		v.skipped = map[Series]int64{}
	}
	v.skipped[s] += n
}

// Skipped lists the counters, sorted, with what Skip has added up.
func (v *Vitals) Skipped() ([]Series, []int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	series := make([]Series, 0, len(v.skipped))
	for s := range v.skipped {
		series = append(series, s)
	}
	slices.SortFunc(series, func(a, b Series) int {
		return cmp.Or(cmp.Compare(a.TargetSite, b.TargetSite), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Target, b.Target), cmp.Compare(a.Path, b.Path))
	})
	counts := make([]int64, len(series))
	for i, s := range series {
		counts[i] = v.skipped[s]
	}
	return series, counts
}

// Lose counts facts that did not reach the server by the fast lane. Zeroes make the counters exist.
func (v *Vitals) Lose(server string, stale, refused int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.lanes == nil {
		v.lanes = map[string]*Lane{}
	}
	lane := v.lanes[server]
	if lane == nil {
		lane = &Lane{Server: server}
		v.lanes[server] = lane
	}
	lane.Stale += stale
	lane.Refused += refused
}

// Lanes lists the fast ways, sorted by server.
func (v *Vitals) Lanes() []Lane {
	v.mu.Lock()
	defer v.mu.Unlock()
	lanes := make([]Lane, 0, len(v.lanes))
	for _, lane := range v.lanes {
		lanes = append(lanes, *lane)
	}
	slices.SortFunc(lanes, func(a, b Lane) int { return cmp.Compare(a.Server, b.Server) })
	return lanes
}

// Deliver notes that the server took facts at the given time.
func (v *Vitals) Deliver(server string, at time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.delivered == nil {
		v.delivered = map[string]time.Time{}
	}
	v.delivered[server] = at
}

// Delivered is when the server last took facts; the zero time means never.
func (v *Vitals) Delivered(server string) time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.delivered[server]
}

// SetBuffer replaces what is known of the bulk way to one server.
func (v *Vitals) SetBuffer(b Buffer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.buffers == nil {
		v.buffers = map[string]Buffer{}
	}
	v.buffers[b.Server] = b
}

// Buffer is the bulk way to one server; ok is false while nothing is known.
func (v *Vitals) Buffer(server string) (b Buffer, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	b, ok = v.buffers[server]
	return b, ok
}

// Page counts attempts to tell PagerDuty something. n may be zero: the counter then exists.
func (v *Vitals) Page(p Page, n int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.pages == nil {
		v.pages = map[Page]int64{}
	}
	v.pages[p] += n
}

// Pages lists the counters, sorted, with what Page has added up.
func (v *Vitals) Pages() ([]Page, []int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	pages := slices.SortedFunc(maps.Keys(v.pages), func(a, b Page) int {
		return cmp.Or(cmp.Compare(a.About, b.About), cmp.Compare(a.Action, b.Action), cmp.Compare(a.Result, b.Result))
	})
	counts := make([]int64, len(pages))
	for i, p := range pages {
		counts[i] = v.pages[p]
	}
	return pages, counts
}

// Arm notes whether the dead man's switch is on.
func (v *Vitals) Arm(on bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.armed = &on
}

// Armed says whether the dead man's switch is on; ok is false for an agent that has none (role host).
func (v *Vitals) Armed() (on, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.armed == nil {
		return false, false
	}
	return *v.armed, true
}
