package core

import "time"

// FactKind says what a Fact is a fact of.
type FactKind uint8

// Kinds of facts.
const (
	FactUnknown      FactKind = iota
	FactProbe                 // State is a ProbeState, Value the duration in seconds
	FactHeartbeat             // an agent with role site is alive; Seq is its sequence
	FactEdgeRequests          // Value is a cumulative count, Reason the code class (2xx, 3xx, 4xx, 5xx, error)
	FactEdgeWeight            // Value is the weight in percent of normal, 0 to 100
	FactLink                  // State is a LinkState, Target the link name, Link the rest
)

// Fact is one thing the fast lane carries: small, recent, newest wins. It reaches health and the in-memory
// view before the store and without it.
type Fact struct {
	Kind       FactKind
	Site       string // who wrote it, from the credential: the vantage of a probe, the name of an edge
	Agent      string // which of the credential's writers it was, by its own account; empty when it does not say
	TargetSite string
	Service    string
	Target     string // name of the probe or of the link
	Path       string // probes: "user" or "private"; a private path is link evidence only
	State      uint8
	Value      float64
	Reason     string
	AgentAt    time.Time     // the writer's own clock
	ReceivedAt time.Time     // our clock
	Interval   time.Duration // how often the writer repeats this fact
	// ClockOffset is agent clock minus server clock, known to +-ClockErr; ClockKnown is false before the
	// first exchange.
	ClockOffset time.Duration
	ClockErr    time.Duration
	ClockKnown  bool
	Seq         uint64
	Link        *LinkFigures // links only
}

// LinkFigures are what the fact of a link's end has besides its state. A figure that is not known is nil.
type LinkFigures struct {
	Channel string // where there are several between the same two sites
	End     string // source or target: which end was looked at
	// Lower and Upper enclose the lag, Exposure bounds from above the age of what would be lost; seconds, at the look.
	Lower, Upper, Exposure *float64
}

// ClockAllowance is how far off a writer's clock may be while nobody knows how far it is.
const ClockAllowance = 10 * time.Second

// At is the agent's time of the fact on the server's clock. Before the first clock exchange the time of
// receipt stands in: it is the latest the fact can have been made, and a backlog is much older.
func (f Fact) At() time.Time {
	if !f.ClockKnown {
		return f.ReceivedAt
	}
	return f.AgentAt.Add(-f.ClockOffset)
}

// History reports whether the fact is older than three of its intervals at the time at: it may be stored,
// it may not vote. A fact that claims to come from the future by more than three intervals is no vote either.
// Without a known clock the writer's own time decides, with an allowance of ten seconds for its error: a writer
// that waited and one whose clock is wrong cannot be told apart, and neither votes. A heartbeat never waits, so
// it is as old as its receipt.
func (f Fact) History(at time.Time) bool {
	window := 3 * f.Interval
	if window <= 0 {
		window = 3 * time.Second
	}
	age := at.Sub(f.At())
	if !f.ClockKnown && f.Kind != FactHeartbeat && at.Sub(f.AgentAt).Abs() > window+ClockAllowance {
		return true
	}
	return age > window+f.ClockErr || age < -window-f.ClockErr
}

// Signal is what a detector says of one series, attributed to a subject.
type Signal struct {
	Detector string // name of the watch
	Group    string // what is likely to be odd together with it; empty: it is a group of its own
	Subject  Subject
	Class    Class // symptom or cause
	// FalseAlarms is how many alarms the series may raise in a week by chance; 0 for a model that is not calibrated.
	FalseAlarms float64
	State       DetectorState
	At          time.Time
	// Since is when what is anomalous became odd; zero: it is not, or whoever says so does not know.
	Since    time.Time
	Interval time.Duration
	// Cadence is how far apart the values of the series are where that is more than Interval: what is said in between repeats the last one. Zero
	// means Interval.
	Cadence time.Duration
	// Still says that nobody knows how long one value lasts, since the series has hardly ever moved, or that one of several values that are judged
	// together is written more seldom: all that is said may be of one value.
	Still    bool
	Value    float64
	Expected float64
	Lower    float64
	Upper    float64
	Score    float64 // 0 to 1, how odd it is: of a calibrated model one minus the chance, of another a figure of its own
	HasBand  bool    // false while warming: Expected, Lower and Upper mean nothing
	// Points is how many values the band rests on, 0 where that is not known, and KeptOut which share of the values since the
	// model began it was kept from learning, as those of incidents.
	Points    int
	KeptOut   float64
	Labels    map[string]string
	Series    string // as sentences call it: the detector, the labels that tell it from others about the subject, the subject
	Sentence  string
	Direction string // above, below or both
	// Contributors are the values that the anomaly of several comes from, the oddest first.
	Contributors []Contributor
}

// Calibrated reports whether the score is a chance: one minus the expected number of episodes as odd by chance in the time of an Interval. Other
// models' scores are not to be combined.
func (s Signal) Calibrated() bool { return s.FalseAlarms > 0 }

// Contributor is one of several values that are judged together, and how odd it is.
type Contributor struct {
	Name     string // the metric as the watch calls it, with the labels that tell its series apart
	Value    float64
	Expected float64
	PerWeek  float64 // how often a week the like is expected of it by chance
}

// Sample is one value of one series on its way to the store.
type Sample struct {
	Name   string
	Labels []Label // sorted by name, no duplicates, without the metric name
	Value  float64
	AtMS   int64
}

// Label is one name and value.
type Label struct{ Name, Value string }

// SeriesValue is one series of an instant query's answer.
type SeriesValue struct {
	Labels map[string]string
	Value  float64
	At     time.Time
}

// SeriesRange is one series of a range query's answer: Values[i] was true at Times[i].
type SeriesRange struct {
	Labels map[string]string
	Times  []time.Time
	Values []float64
}
