package health

import (
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Constants of judgement. Times that depend on the probe interval are given for the default of one second.
const (
	// VoteIntervals is how many intervals a result may vote, a heartbeat counts and edge data is fresh.
	VoteIntervals = 3
	// GapIntervals is the longest time without any failure seen that still counts as continuous failure.
	GapIntervals = 4
	// Window is over which claims, gray failures and slowness are judged; never less than ten intervals.
	// It is also the W of a global trouble: onsets closer together than this are together.
	Window = 10 * time.Second
	// TrafficWindow is over which the edge's counters are turned into rates, shares and success.
	TrafficWindow = 3 * time.Second
	// Rebase is how long after a change of routing statistics about the same service are void.
	Rebase = 2 * time.Minute
	// PathUnknown is the path of evidence whose way to us is not known. It is never another path.
	PathUnknown = "unknown"
)

const wakeStep = 50 * time.Millisecond

// Bounds on memory, whatever is sent.
const (
	maxResults    = 64   // per probe
	maxTargets    = 32   // probes per vantage, subject and kind of path, of all its agents
	maxReports    = 64   // per writer of an edge and subject
	maxEdges      = 32   // writers of edges
	maxWriters    = 8    // writers of one edge
	maxSignals    = 4096 // anomalous series of detectors
	maxTallies    = 4096 // pairs of a detector and a subject
	maxLinks      = 1024 // channels of replication links
	maxInterval   = time.Minute
	maxSignalAge  = 2 * time.Hour
	abandonedEdge = int64(time.Minute) // an edge silent for longer no longer makes traffic unknown
)

// Counts says what the tracker did not use, since its start.
type Counts struct {
	Unknown   uint64 // of a site, service or writer that is not configured
	History   uint64 // too old or from the future: no vote
	Duplicate uint64 // seen before
	Malformed uint64 // a state, path, class or value that does not exist
	Dropped   uint64 // over a bound on memory
}

// Tracker holds the newest facts and judges them.
type Tracker struct {
	replica  string
	topo     core.Topology
	interval int64
	window   int64
	start    int64 // time of the first call, 0 before it
	now      int64 // newest time told

	vantages []vantage // sites, then witnesses, as configured
	vIndex   map[string]int
	subjects []*subject // sorted by subject
	sIndex   map[key]int
	services []serviceRow // sorted by name

	edges   []*edge // writers of edges, sorted by name, agent and clock
	signals map[string]*signalState
	// signalIDs are the keys of signals, sorted; nil when they changed. forgotAt is the newest time that forget made room for.
	signalIDs []string
	forgotAt  int64
	tilt      doubt
	counts    Counts

	alarms    []alarm
	reckoning core.Reckoning

	tallies map[tallyKey]*tally

	channels  map[channelKey]*channel
	declared  map[string]time.Duration // configured links and the objective of their exposure, 0 for none
	linkSince map[string]stateSince

	seen    []seen // scratch of Judge, one per subject and vantage
	view    []seen // scratch of Judge, one per vantage
	matrix  matrix // scratch of Judge
	scratch []int64
	phrases map[phrase]string
}

// key names a subject without its unit.
type key struct{ site, service string }

// vantage is one location that looks at the sites, and its agent.
type vantage struct {
	name     string
	site     bool // false: a witness
	beatAt   int64
	beatIvl  int64
	factAt   int64
	factIvl  int64
	userPath []string // by target vantage
	pace     pace

	clockOff   int64 // how far the agent's clock is ahead of ours, as its newest heartbeat says
	clockKnown bool
}

// heardAt is when the agent was last heard, 0 for never.
func (v *vantage) heardAt() int64 { return max(v.beatAt, v.factAt) }

// freshUntil is until when the agent counts as heard; 0 when it never was.
func (v *vantage) freshUntil() int64 {
	var until int64
	if v.beatAt > 0 {
		until = v.beatAt + VoteIntervals*v.beatIvl
	}
	if v.factAt > 0 {
		until = max(until, v.factAt+VoteIntervals*v.factIvl)
	}
	return until
}

// silent reports whether a heartbeat that once was there has stopped, and nothing else comes either.
func (v *vantage) silent(at int64) bool { return v.beatAt > 0 && at > v.freshUntil() }

// serviceRow is one service and its subjects in order of site.
type serviceRow struct {
	name     string
	subjects []int
}

// subject is what is kept of one service at one site.
type subject struct {
	subject   core.Subject
	site      int // index of its vantage
	objective float64
	eligible  int
	user      [][]*cell // by vantage
	private   [][]*cell // by vantage
	fronts    []*front  // user-path probes, sorted by target

	// What Judge remembers from one judgement to the next.
	judged       int // index of the front it is judged by
	onset        int64
	healthySince int64
	symptomSince int64
	graySince    int64
	gray         bool // by quorum
	slowSince    int64
	statistics   statistics
	troubledAt   int64 // when something besides statistics objected last
}

// New returns a tracker for one server replica. The topology is not retained for writing and must not change.
func New(replica string, topo core.Topology) *Tracker {
	t := &Tracker{
		replica: replica,
		signals: map[string]*signalState{},
		tallies: map[tallyKey]*tally{},
		phrases: map[phrase]string{},

		channels: map[channelKey]*channel{}, linkSince: map[string]stateSince{},
	}
	t.SetTopology(topo)
	return t
}

// Counts says what was not used so far.
func (t *Tracker) Counts() Counts { return t.counts }

// stamp is the inverse of time.Time.UnixNano, in UTC.
func stamp(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// stampOf is stamp behind a pointer; nil for 0.
func stampOf(ns int64) *time.Time {
	if ns == 0 {
		return nil
	}
	at := stamp(ns)
	return &at
}
