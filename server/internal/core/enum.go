package core

import (
	"fmt"
	"slices"
	"strings"
)

// enumText returns names[i], or "unknown" for a value outside the table.
func enumText(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return "unknown"
	}
	return names[i]
}

// enumValue is the inverse of enumText; its error lists what would be right, which unknown never is.
func enumValue(kind string, names []string, text []byte) (int, error) {
	if i := slices.Index(names, string(text)); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%s %q is not one of %s", kind, text, strings.Join(names[1:], ", "))
}

// Condition is what health says of a subject.
type Condition uint8

// The conditions, in rising order of trouble; the wire value is the number.
const (
	ConditionUnknown Condition = iota
	Healthy
	Suspect
	Degraded
	Failing
)

var conditionNames = []string{"unknown", "healthy", "suspect", "degraded", "failing"} //nolint:gochecknoglobals // read-only table

func (c Condition) String() string               { return enumText(conditionNames, int(c)) }
func (c Condition) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText accepts only the names of the conditions.
func (c *Condition) UnmarshalText(b []byte) error {
	i, err := enumValue("condition", conditionNames, b)
	*c = Condition(i)
	return err
}

// ProbeState is the answer of one probe.
type ProbeState uint8

// Probe states; the number is the wire value of evenkeel.probe.state.
const (
	ProbeUnknown ProbeState = iota
	ProbeUp
	ProbeDown
)

var probeNames = []string{"unknown", "up", "down"} //nolint:gochecknoglobals // read-only table

func (s ProbeState) String() string               { return enumText(probeNames, int(s)) }
func (s ProbeState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts only the names of the probe states.
func (s *ProbeState) UnmarshalText(b []byte) error {
	i, err := enumValue("probe state", probeNames, b)
	*s = ProbeState(i)
	return err
}

// Reasons a probe gives for a state that is not up. ReasonProbeError is our own fault: such a probe is
// unknown, never down.
const (
	ReasonDNS        = "dns"
	ReasonConnect    = "connect"
	ReasonRefused    = "refused"
	ReasonTLS        = "tls"
	ReasonStatus     = "status"
	ReasonBody       = "body"
	ReasonTimeout    = "timeout"
	ReasonProbeError = "probe_error"
)

// LinkState is the state of a replication link.
type LinkState uint8

// Link states; the number is the wire value.
const (
	LinkUnknown LinkState = iota
	LinkCaughtUp
	LinkCatchingUp
	LinkIdleOK
	LinkDown
	LinkApplierStopped
	LinkResyncing
	LinkDelayedByDesign
	LinkNoPrimary
)

var linkNames = []string{ //nolint:gochecknoglobals // read-only table
	"unknown", "caught_up", "catching_up", "idle_link_ok", "link_down", "applier_stopped", "resyncing",
	"delayed_by_design", "no_primary",
}

func (s LinkState) String() string               { return enumText(linkNames, int(s)) }
func (s LinkState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts only the names of the link states.
func (s *LinkState) UnmarshalText(b []byte) error {
	i, err := enumValue("link state", linkNames, b)
	*s = LinkState(i)
	return err
}

// DetectorState is what a detector knows of one series.
type DetectorState uint8

// Detector states; the number is the wire value of evenkeel_detector_state.
const (
	DetectorUnknown DetectorState = iota
	DetectorWarming
	DetectorNormal
	DetectorAnomalous
)

var detectorNames = []string{"unknown", "warming", "normal", "anomalous"} //nolint:gochecknoglobals // read-only table

func (s DetectorState) String() string               { return enumText(detectorNames, int(s)) }
func (s DetectorState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts only the names of the detector states.
func (s *DetectorState) UnmarshalText(b []byte) error {
	i, err := enumValue("detector state", detectorNames, b)
	*s = DetectorState(i)
	return err
}

// RoutingState is whether users are sent to a subject.
type RoutingState uint8

// Routing states; the number is the wire value.
const (
	RoutingUnknown RoutingState = iota
	RoutingActive
	RoutingDraining
	RoutingDrained
	RoutingRestoring
)

var routingNames = []string{"unknown", "active", "draining", "drained", "restoring"} //nolint:gochecknoglobals // read-only table

func (s RoutingState) String() string               { return enumText(routingNames, int(s)) }
func (s RoutingState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts only the names of the routing states.
func (s *RoutingState) UnmarshalText(b []byte) error {
	i, err := enumValue("routing state", routingNames, b)
	*s = RoutingState(i)
	return err
}

// Verdict is the outcome of a decision.
type Verdict uint8

// The verdicts of a decision.
const (
	VerdictUnknown Verdict = iota
	VerdictAct
	VerdictAwaitApproval
	VerdictRecommend
	VerdictHold
	VerdictIgnore
)

var verdictNames = []string{"unknown", "act", "await_approval", "recommend", "hold", "ignore"} //nolint:gochecknoglobals // read-only table

func (v Verdict) String() string               { return enumText(verdictNames, int(v)) }
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText accepts only the names of the verdicts.
func (v *Verdict) UnmarshalText(b []byte) error {
	i, err := enumValue("verdict", verdictNames, b)
	*v = Verdict(i)
	return err
}

// Mode is how far a policy may go by itself.
type Mode uint8

// The modes, in rising order of trust. Unknown acts like observe.
const (
	ModeUnknown Mode = iota
	ModeObserve
	ModeRecommend
	ModeApprove
	ModeAutomatic
)

var modeNames = []string{"unknown", "observe", "recommend", "approve", "automatic"} //nolint:gochecknoglobals // read-only table

func (m Mode) String() string               { return enumText(modeNames, int(m)) }
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText accepts only the names of the modes.
func (m *Mode) UnmarshalText(b []byte) error {
	i, err := enumValue("mode", modeNames, b)
	*m = Mode(i)
	return err
}

// Answer is what one guard says of one proposal.
type Answer uint8

// The answers of a guard. Object and cannot_tell hold; bound limits; unknown is an objection.
const (
	AnswerUnknown Answer = iota
	Pass
	Object
	CannotTell
	Bound
)

var answerNames = []string{"unknown", "pass", "object", "cannot_tell", "bound"} //nolint:gochecknoglobals // read-only table

func (a Answer) String() string               { return enumText(answerNames, int(a)) }
func (a Answer) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText accepts only the names of the answers.
func (a *Answer) UnmarshalText(b []byte) error {
	i, err := enumValue("answer", answerNames, b)
	*a = Answer(i)
	return err
}

// ActionState is where the execution of a plan stands.
type ActionState uint8

// The states of an action.
const (
	ActionUnknown ActionState = iota
	ActionProposed
	ActionAwaitingApproval
	ActionCommitted
	ActionRunning
	ActionVerifying
	ActionSucceeded
	ActionIneffective
	ActionFailed
	ActionRollingBack
	ActionRolledBack
	ActionExpired
)

var actionNames = []string{ //nolint:gochecknoglobals // read-only table
	"unknown", "proposed", "awaiting_approval", "committed", "running", "verifying", "succeeded",
	"ineffective", "failed", "rolling_back", "rolled_back", "expired",
}

func (s ActionState) String() string               { return enumText(actionNames, int(s)) }
func (s ActionState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts only the names of the action states.
func (s *ActionState) UnmarshalText(b []byte) error {
	i, err := enumValue("action state", actionNames, b)
	*s = ActionState(i)
	return err
}

// Final reports whether nothing more will happen to the action by itself.
func (s ActionState) Final() bool {
	switch s {
	case ActionSucceeded, ActionIneffective, ActionFailed, ActionRolledBack, ActionExpired:
		return true
	case ActionUnknown, ActionProposed, ActionAwaitingApproval, ActionCommitted, ActionRunning,
		ActionVerifying, ActionRollingBack:
		return false
	}
	return false
}

// StepState is where one step of an action stands.
type StepState uint8

// The states of a step. StepUnknown is an unknown outcome only once the step has been intended.
const (
	StepUnknown StepState = iota
	StepPending
	StepIntended
	StepVerifying
	StepSucceeded
	StepIneffective
	StepFailed
	StepExpired
)

var stepNames = []string{ //nolint:gochecknoglobals // read-only table
	"unknown", "pending", "intended", "verifying", "succeeded", "ineffective", "failed", "expired",
}

func (s StepState) String() string               { return enumText(stepNames, int(s)) }
func (s StepState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText accepts only the names of the step states.
func (s *StepState) UnmarshalText(b []byte) error {
	i, err := enumValue("step state", stepNames, b)
	*s = StepState(i)
	return err
}
