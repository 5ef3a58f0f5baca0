package replica

import (
	"time"
)

// State of a replication link. The number is the wire value.
type State uint8

// States of a link.
const (
	Unknown         State = iota // not measured; Reason says why
	CaughtUp                     // alive, and the target has all the source is known to have
	CatchingUp                   // alive, and something is missing at the target
	IdleLinkOK                   // alive, nothing written for some time, and nothing is missing
	LinkDown                     // the target does not hear its source
	ApplierStopped               // what arrives is not applied
	Resyncing                    // the target is being copied anew and must not be read
	DelayedByDesign              // behind by no more than it was told to be
	NoPrimary                    // nobody takes writes
)

func (s State) String() string {
	names := [...]string{
		"unknown", "caught_up", "catching_up", "idle_link_ok", "link_down", "applier_stopped", "resyncing",
		"delayed_by_design", "no_primary",
	}
	if int(s) < len(names) {
		return names[s]
	}
	return names[Unknown]
}

// Reason is why a state is what it is, from a closed list; empty when the state says all.
type Reason string

// Reasons.
const (
	ReasonQuery         Reason = "query"         // the server answered with an error
	ReasonTimeout       Reason = "timeout"       // no answer in time
	ReasonConnect       Reason = "connect"       // the server cannot be reached
	ReasonAuth          Reason = "auth"          // name or password are wrong
	ReasonPrivilege     Reason = "privilege"     // the account may not see it
	ReasonMisconfigured Reason = "misconfigured" // the link that was declared is not there, or of another kind
	ReasonClockSkew     Reason = "clock_skew"    // the clocks contradict each other beyond their error
	ReasonDisagree      Reason = "disagree"      // the two ends contradict each other
	ReasonNotMeasured   Reason = "not_measured"  // alive and behind, and the engine does not say by how much time
	ReasonStale         Reason = "stale"         // connected, and nothing was heard for too long
	ReasonPaused        Reason = "paused"        // an operator paused the applier
	ReasonError         Reason = "error"         // the applier or receiver reports an error
	ReasonLost          Reason = "lost"          // what is missing is no longer kept: a full copy is needed
	ReasonRole          Reason = "role"          // the server has not the role that was declared: a promotion, say
	ReasonSplitBrain    Reason = "split_brain"   // two writers claim the same origin
	ReasonArchive       Reason = "archive_only"  // fed from an archive, without a stream
	ReasonIncomplete    Reason = "incomplete"    // the answer lacks something that it must have
)

// End is which end of a link was looked at.
type End string

// Ends.
const (
	Source End = "source"
	Target End = "target"
)

// Link is one directed replication link of a store. Channel tells apart the links between the same two sites (a named
// MariaDB connection, a MySQL channel, a subscription); it may be empty.
type Link struct {
	Store, From, To, Channel string
}

// Name is <store>:<from>><to>, as in labels.
func (l Link) Name() string { return l.Store + ":" + l.From + ">" + l.To }

// Opt is a value that may be absent. Absent is not zero.
type Opt[T any] struct {
	V  T
	OK bool
}

// Some is a value that is there.
func Some[T any](v T) Opt[T] { return Opt[T]{v, true} }

// Or is the value, or another one when it is absent.
func (o Opt[T]) Or(other T) T {
	if o.OK {
		return o.V
	}
	return other
}

// Sighting is what one look of an engine told about one link. It holds no judgement over time: that is Settle's.
type Sighting struct {
	Link Link
	End  End
	// State is what the rows say. CaughtUp says that the target had, during the look, all that the source was known to
	// have; engines say CaughtUp, never IdleLinkOK.
	State  State
	Reason Reason
	Detail string // one sentence for people; no secret may be in it

	// Lower and Upper enclose the lag by the clocks that SourceClock and the looking server have; absent is not known.
	Lower, Upper Opt[time.Duration]
	// SourceClock: the bounds compare a time stamped at the source with one at the target, so that the error of both
	// clocks widens them. False: one clock measured it.
	SourceClock bool
	// Resolution is the step of the stamps behind the bounds; it widens them.
	Resolution time.Duration

	Bytes, Transactions, Messages Opt[int64]
	LinkAge                       Opt[time.Duration] // since the last proof that the link is alive
	// Exposure is an upper bound for the age of what would be lost now, where the engine knows better than "all since it
	// was last complete"; measured by one clock.
	Exposure Opt[time.Duration]
	// Position grows with what the target has applied; two equal ones say that nothing was applied between. Empty: unknown.
	Position string
	// Overtaken: what the target has applied may hold later commits of its source without earlier ones, so that a heartbeat
	// which arrived proves nothing of what was committed before it.
	Overtaken bool
	// Written grows with what the source has written, as far as the looking end knows. Empty: unknown.
	Written string

	Extra []Measure // what only this engine knows
}

// Measure is one further figure of an engine. Name is a metric name without the prefix evenkeel.replication.
type Measure struct {
	Name    string
	Unit    string
	Value   float64
	Counter bool              // grows for ever, else a gauge
	Labels  map[string]string // besides link, channel and end
}

// Status is what is reported of one end of a link.
type Status struct {
	Link   Link
	End    End
	At     time.Time // of the look, by the agent's clock
	State  State
	Reason Reason
	Detail string

	Lower, Upper                  Opt[time.Duration]
	Bytes, Transactions, Messages Opt[int64]
	LinkAge                       Opt[time.Duration]
	Exposure                      Opt[time.Duration]
	LastCaughtUp                  time.Time // zero: never seen complete
	Extra                         []Measure
}
