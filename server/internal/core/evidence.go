package core

import (
	"strings"
	"time"
)

// Class is the kind of testimony a piece of evidence is.
type Class uint8

// The classes of evidence.
const (
	ClassUnknown Class = iota
	ClassOutside       // a user-path probe's failure seen from another site or witness
	ClassInside        // the same seen by the site's own agent
	ClassSymptom       // what users feel, by statistics or by the traffic director's own counters
	ClassCause         // hosts, replication, capacity: explains, never accuses alone
	ClassSilence       // heartbeat or series stopped
	ClassLink          // a private path failed: about a link, never about a site
)

var classNames = []string{"unknown", "outside", "inside", "symptom", "cause", "silence", "link"} //nolint:gochecknoglobals // read-only table

func (c Class) String() string               { return enumText(classNames, int(c)) }
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText accepts only the names of the classes.
func (c *Class) UnmarshalText(b []byte) error {
	i, err := enumValue("class", classNames, b)
	*c = Class(i)
	return err
}

// Signals that evidence carries. They choose the floor of the hold.
const (
	SignalRefused = "refused" // connections refused, or reset before any byte of an answer
	SignalTimeout = "timeout" // time-outs, and every other failure that is not an answer
	SignalErrors  = "errors"  // answers that are errors
	SignalSlow    = "slow"    // answers past the objective
	SignalSilence = "silence"
	SignalAnomaly = "anomaly" // a series out of its band
	SignalBehind  = "behind"  // a copy that is behind, or that nothing arrives at
)

// Number is one figure of a ruling or a piece of evidence, with its unit ("s", "1", "1/s", "%").
type Number struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Evidence is an anomaly, a probe failure or a silence, attributed to a subject.
type Evidence struct {
	Class   Class     `json:"class"`
	Subject Subject   `json:"subject"`
	Signal  string    `json:"signal"`
	Source  string    `json:"source"` // the vantage, the edge or the detector
	Path    string    `json:"path"`   // the network path it came over; two classes over one path count as one
	Onset   time.Time `json:"onset"`
	Last    time.Time `json:"last"`
	Band    *Band     `json:"band,omitempty"` // statistics only
	Numbers []Number  `json:"numbers,omitempty"`
	Series  string    `json:"series,omitempty"` // statistics only: the series as the sentence calls it
	// Others are further series of the detector that it finds odd, the oddest first, as sentences call them: the first few, and how many more.
	Others   []string `json:"others,omitempty"`
	Sentence string   `json:"sentence"`
}

// Company names the others, empty for none.
func (e Evidence) Company() string {
	if len(e.Others) == 0 {
		return ""
	}
	return "; odd as well: " + strings.Join(e.Others, ", ")
}

// Numbers of evidence of detectors that have a band: how many values it rests on, and which share of the values since the model began was
// kept from it.
const (
	NumberPoints  = "points"
	NumberKeptOut = "kept_out"
)

// Band is what a detector expected and what it saw.
type Band struct {
	Value    float64 `json:"value"`
	Expected float64 `json:"expected"`
	Lower    float64 `json:"lower"`
	Upper    float64 `json:"upper"`
	Score    float64 `json:"score"`
}

// Vote is what one vantage location says of a subject, its agents combined.
type Vote struct {
	Vantage  string     `json:"vantage"`
	State    ProbeState `json:"state"`
	Signal   string     `json:"signal,omitempty"` // of a probe that is down; slow of one that is up, where the subject is judged by that
	Reason   string     `json:"reason,omitempty"`
	At       time.Time  `json:"at"`
	Eligible bool       `json:"eligible"` // false for the accused itself
}

// Claim is whether one thing about a site is alive, as a success ratio over the window.
type Claim struct {
	Name    string  `json:"name"` // edge, app or data
	Ratio   float64 `json:"ratio"`
	Samples int     `json:"samples"` // 0: unknown
}

// Kinds of trouble health can name.
const (
	KindNone         = ""
	KindDeadService  = "dead-service"  // outside and inside agree
	KindIsolatedSite = "isolated-site" // outside by quorum, and the site is silent
	KindDeadEdge     = "dead-edge"     // outside by quorum, alive inside
	KindGray         = "gray"          // some succeed, some fail
	KindSlow         = "slow"
	KindErrors       = "errors"
	KindSilent       = "silent"      // only its agent is silent
	KindLink         = "link"        // one cell of the matrix is bad
	KindOneWay       = "one-way"     // a link that fails in one direction only
	KindVantage      = "vantage"     // a row of the matrix is bad: the vantage, not what it looks at
	KindNoQuorum     = "no-quorum"   // failures are seen by fewer vantages than a quorum
	KindUnreachable  = "unreachable" // outside by quorum, nothing known from inside
	KindAnomaly      = "anomaly"     // only statistics object
)

// Assessment is what health says of one subject at one time.
type Assessment struct {
	Subject   Subject    `json:"subject"`
	Condition Condition  `json:"condition"`
	Kind      string     `json:"kind"`
	Signal    string     `json:"signal,omitempty"` // the dominant signal of the failure
	Onset     *time.Time `json:"onset,omitempty"`  // first evidence of the present trouble
	// FailingSince is since when there has been no success on the user path from any eligible vantage that
	// has a vote; nil while there is one. The hold is measured from here.
	FailingSince *time.Time `json:"failing_since,omitempty"`
	HealthySince *time.Time `json:"healthy_since,omitempty"`
	Evidence     []Evidence `json:"evidence,omitempty"`
	Votes        []Vote     `json:"votes,omitempty"`
	Eligible     int        `json:"eligible"` // configured eligible vantages, the accused not among them
	Down         int        `json:"down"`     // of these, how many say down
	Claims       []Claim    `json:"claims,omitempty"`
	// Global names the serving sites that show the same signal with onsets close together, the subject's
	// own site included; empty unless that is the case.
	Global []string `json:"global,omitempty"`
	// Odd is what detectors of symptoms find odd now, while it does not say enough to be evidence against the subject. It
	// takes less to be no refuge for others than to be accused.
	Odd      []Evidence `json:"odd,omitempty"`
	Sentence string     `json:"sentence"`
}

// Has reports whether evidence of the class is present.
func (a Assessment) Has(c Class) bool {
	for _, e := range a.Evidence {
		if e.Class == c {
			return true
		}
	}
	return false
}

// Traffic is what the edge says of one service at one site.
type Traffic struct {
	Site     string    `json:"site"`
	Service  string    `json:"service"`
	At       time.Time `json:"at"`
	Known    bool      `json:"known"`      // false: no fresh edge data, every figure below means nothing
	Requests float64   `json:"requests_s"` // requests/s sent to the site, over the window
	Count    float64   `json:"count"`      // requests in the window
	Share    float64   `json:"share"`      // of the service's requests, 0 to 1
	Success  float64   `json:"success"`    // of the site's requests, 0 to 1; meaningless when Count is 0
	// ServiceSuccess is the users' success over all sites, 0 to 1, and ServiceCount how many requests it
	// rests on.
	ServiceSuccess float64 `json:"service_success"`
	ServiceCount   float64 `json:"service_count"`
	Weight         float64 `json:"weight"` // percent of normal that the edge reports, 0 to 100
	WeightKnown    bool    `json:"weight_known"`
}

// Tilt is a replica's doubt about itself; while On its vote is withdrawn.
type Tilt struct {
	On     bool      `json:"on"`
	Reason string    `json:"reason,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Until  time.Time `json:"until,omitzero"`
}

// Writer is how fresh the inputs of one agent or edge are.
type Writer struct {
	Name   string    `json:"name"`
	Kind   string    `json:"kind"` // site, witness or edge
	LastAt time.Time `json:"last_at,omitzero"`
	Fresh  bool      `json:"fresh"`
}

// Observation is one server replica's conditions at one time.
type Observation struct {
	Replica     string       `json:"replica"`
	At          time.Time    `json:"at"`
	Tilt        Tilt         `json:"tilt"`
	Assessments []Assessment `json:"assessments"` // sorted by subject
	Traffic     []Traffic    `json:"traffic"`     // sorted by service and site
	Writers     []Writer     `json:"writers"`     // sorted by name
	FreshSites  int          `json:"fresh_sites"` // sites and witnesses with fresh inputs
	// Links are the replication links that are configured or heard of, sorted by name.
	Links []LinkStanding `json:"links,omitempty"`
	// Members is how many replicas are configured; 0 and 1 mean that this one is alone. Replicas are the last words of
	// all that were heard, this one's included, sorted by name.
	Members  int           `json:"members,omitempty"`
	Replicas []ReplicaView `json:"replicas,omitempty"`
}
