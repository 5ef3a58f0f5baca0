package deadman

import (
	"math"
	"slices"
	"time"

	"github.com/evenkeel/evenkeel/remediations/pagerduty"
)

// Outcome is what a heartbeat says about the server that was asked.
type Outcome uint8

// The outcomes of a heartbeat. The zero value counts as Silent.
const (
	OutcomeUnknown Outcome = iota
	Silent                 // no answer, or none that shows a working server
	Refused                // a server lives, and does not hear this agent
	Answered
)

// Report is the end of one heartbeat.
type Report struct {
	Server  string    // as in Options.Servers; others are ignored
	At      time.Time // when it ended, with its monotonic reading
	Outcome Outcome
	Why     string // in a few words, when it was not answered
}

// Kind is what an agent pages about.
type Kind uint8

// The alarms of an agent.
const (
	KindUnknown Kind = iota
	NoServer         // no server answers
	LockedOut        // servers answer, and none of them hears this agent
)

// String is the kind as it stands in keys, records and metrics.
func (k Kind) String() string {
	switch k {
	case NoServer:
		return "no-server"
	case LockedOut:
		return "locked-out"
	case KindUnknown:
	}
	return "unknown"
}

// Kinds lists the alarms.
func Kinds() []Kind { return []Kind{NoServer, LockedOut} }

// Rules are the times of a switch; all of them are required.
type Rules struct {
	After  time.Duration // page when for so long of asking no server has answered
	Gap    time.Duration // of the time between two heartbeats to one server no more than this counts
	Lapse  time.Duration // answers further apart than this do not last
	Steady time.Duration // close the alert when answers have lasted for so long
}

// Options of a Switch.
type Options struct {
	Rules   Rules
	Servers []string
	Who     Who
	Record  Record    // of an earlier run; the zero value is none
	Start   time.Time // when this agent began to ask
}

// Who names the agent in its pages.
type Who struct{ Site, Host, Agent string }

// Switch is not safe for concurrent use.
type Switch struct {
	rules  Rules
	lines  []*line
	who    Who
	start  time.Time
	alarms []*alarm
}

// line is what is known of one server.
type line struct {
	url      string
	ended    time.Time              // of the latest heartbeat; zero: none yet
	quiet    map[Kind]time.Duration // time of asking since an answer that clears the alarm
	answered time.Time              // zero: never
	refused  time.Time              // zero: never
	why      string                 // of the latest heartbeat that was not answered
}

// New returns a switch that goes on where the record ends.
func New(o Options) *Switch {
	s := &Switch{rules: o.Rules, who: o.Who, start: o.Start}
	for _, url := range slices.Compact(slices.Sorted(slices.Values(o.Servers))) {
		s.lines = append(s.lines, &line{url: url, quiet: map[Kind]time.Duration{}})
	}
	for _, kind := range Kinds() {
		s.alarms = append(s.alarms, newAlarm(kind, o.Record[kind.String()]))
	}
	return s
}

// Change is something worth a line in the log.
type Change struct {
	Kind   Kind
	Raised bool      // else it is over
	Since  time.Time // since when the trouble stands or stood
	Paged  bool      // when it is over: an alert is, or may be, open and will be closed
}

// Heard takes in the end of one heartbeat and says what it changed.
func (s *Switch) Heard(r Report) (changes []Change) {
	i := slices.IndexFunc(s.lines, func(l *line) bool { return l.url == r.Server })
	if i < 0 {
		return nil
	}
	l := s.lines[i]
	spent := time.Duration(0)
	if !l.ended.IsZero() {
		spent = min(max(r.At.Sub(l.ended), 0), s.rules.Gap)
	}
	l.ended = r.At
	switch r.Outcome {
	case Answered:
		l.answered = r.At
	case Refused:
		l.refused, l.why = r.At, r.Why
	case Silent, OutcomeUnknown:
		l.why = r.Why
	}
	for _, a := range s.alarms {
		if a.clears(r.Outcome) {
			l.quiet[a.kind] = 0
		} else {
			l.quiet[a.kind] += spent
		}
		if c, ok := a.step(r.At, a.clears(r.Outcome), s.stands(a.kind, r.At), s.start, s.rules); ok {
			changes = append(changes, c)
		}
	}
	return changes
}

// stands reports whether the trouble is there now: every server has been asked in vain for long enough, and for
// being locked out one of them still says so.
func (s *Switch) stands(kind Kind, at time.Time) bool {
	quiet, refused := time.Duration(math.MaxInt64), false
	for _, l := range s.lines {
		quiet = min(quiet, l.quiet[kind])
		refused = refused || !l.refused.IsZero() && at.Sub(l.refused) <= s.rules.Lapse
	}
	return quiet >= s.rules.After && (kind == NoServer || refused)
}

// Call is one event that is to be sent now.
type Call struct {
	Kind  Kind
	Event pagerduty.Event

	wasOpen bool // an alert of ours was, or may have been, open before
}

// Next is the event to send now, if any. Once it has answered, the record says that the alert may be open: keep it on
// disk, then send, then report by Told. cluster is the id of the servers' cluster, empty when no server ever named it.
func (s *Switch) Next(at time.Time, cluster string) (Call, bool) {
	for _, a := range s.alarms {
		switch action := a.wants(at, s.stands(a.kind, at)); action {
		case pagerduty.Trigger, pagerduty.Update:
			if a.key == "" {
				a.key = dedupKey(a.kind, cluster, s.lines)
			}
			call := Call{Kind: a.kind, Event: s.words(a, action, at), wasOpen: a.open}
			a.open = true
			return call, true
		case pagerduty.Resolve:
			return Call{Kind: a.kind, Event: pagerduty.Event{Action: action, DedupKey: a.key}, wasOpen: true}, true
		case pagerduty.ActionUnknown:
		}
	}
	return Call{}, false
}

// Verdict is what became of a Call.
type Verdict uint8

// The verdicts. The zero value counts as Unclear.
const (
	VerdictUnknown Verdict = iota
	Accepted
	NotSent    // PagerDuty never saw it
	Unclear    // PagerDuty may have seen it
	TurnedAway // PagerDuty does not want it; trying again soon would say the same
)

// Told takes in what became of a call. jitter is from 0 up to but not including 1.
func (s *Switch) Told(c Call, v Verdict, at time.Time, jitter float64) {
	for _, a := range s.alarms {
		if a.kind == c.Kind {
			a.told(c, v, at, jitter)
		}
	}
}

// Record is what has to be on disk for a later run.
func (s *Switch) Record() Record {
	r := Record{}
	for _, a := range s.alarms {
		if e, ok := a.entry(); ok {
			r[a.kind.String()] = e
		}
	}
	return r
}
