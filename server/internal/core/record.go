package core

import "time"

// Episode is one subject and one trouble, from first evidence to return.
type Episode struct {
	ID         string       `json:"id"`
	Subject    Subject      `json:"subject"`
	Onset      time.Time    `json:"onset"`
	OpenedAt   time.Time    `json:"opened_at"`
	ClosedAt   *time.Time   `json:"closed_at,omitempty"`
	Condition  Condition    `json:"condition"`
	Worst      Condition    `json:"worst"`
	Kind       string       `json:"kind"`
	Routing    RoutingState `json:"routing"`
	Decisions  int          `json:"decisions"` // how many decision records there are
	DecisionID string       `json:"decision_id,omitempty"`
	ActionIDs  []string     `json:"action_ids,omitempty"`
	Notices    int          `json:"notices"`
	Paged      bool         `json:"paged"` // a trigger is out and not resolved
	HeldUntil  *time.Time   `json:"held_until,omitempty"`
	// LongestFailure is the longest continuous time without a success on the user path.
	LongestFailure Seconds    `json:"longest_failure_s"`
	Evidence       []Evidence `json:"evidence,omitempty"` // everything seen, newest per class, source and signal
	// Demand is the requests/s of each site for the service just before the onset, frozen there.
	Demand   map[string]float64 `json:"demand,omitempty"`
	Sentence string             `json:"sentence"`
	Standing Standing           `json:"standing,omitzero"`
}

// Ruling is what one guard said of one proposal.
type Ruling struct {
	Guard    string   `json:"guard"`
	N        int      `json:"n"` // its number in the list of guards
	Answer   Answer   `json:"answer"`
	Numbers  []Number `json:"numbers,omitempty"`
	Bound    float64  `json:"bound,omitempty"` // with answer bound: how much may move, 0 to 1
	Sentence string   `json:"sentence"`
}

// Alternative is a policy that was not the one taken, and why.
type Alternative struct {
	Policy   string  `json:"policy"`
	Plan     string  `json:"plan"`
	Verdict  Verdict `json:"verdict"`
	Sentence string  `json:"sentence"`
}

// Effect is what a plan is expected to do.
type Effect struct {
	Moved     float64            `json:"moved_s"`    // requests/s that leave the subject
	After     map[string]float64 `json:"after"`      // requests/s per surviving site afterwards
	Capacity  map[string]float64 `json:"capacity"`   // declared requests/s per surviving site
	ShareWant float64            `json:"share_want"` // the subject's share afterwards, 0 to 1
}

// Decision is one judgement of one episode, with every guard's ruling.
type Decision struct {
	ID           string        `json:"id"`
	EpisodeID    string        `json:"episode_id"`
	N            int           `json:"n"`
	Subject      Subject       `json:"subject"`
	At           time.Time     `json:"at"`
	Condition    Condition     `json:"condition"`
	Kind         string        `json:"kind"`
	Policy       string        `json:"policy"`
	Plan         string        `json:"plan"`
	Mode         Mode          `json:"mode"`
	Verdict      Verdict       `json:"verdict"`
	Rulings      []Ruling      `json:"rulings"`
	Alternatives []Alternative `json:"alternatives,omitempty"`
	Evidence     []Evidence    `json:"evidence,omitempty"`
	Votes        []Vote        `json:"votes,omitempty"`
	Effect       *Effect       `json:"effect,omitempty"`
	ActionID     string        `json:"action_id,omitempty"`
	Logic        string        `json:"logic"` // version of the deciding code
	Sentence     string        `json:"sentence"`
}

// Attempt is one try to deliver a step or a notice.
type Attempt struct {
	N         int       `json:"n"`
	At        time.Time `json:"at"`
	LatencyMS float64   `json:"latency_ms"`
	Status    int       `json:"status,omitempty"` // HTTP status; absent when there was no answer
	Result    string    `json:"result"`           // done, accepted, refused, retry, unknown, failed
	Detail    string    `json:"detail,omitempty"` // redacted excerpt
}

// StepRun is one step of an action and what became of it.
type StepRun struct {
	N          int        `json:"n"` // from 1
	Of         int        `json:"of"`
	Target     string     `json:"target"`
	Weight     int        `json:"weight"`
	Verify     VerifySpec `json:"verify"`
	OnFail     string     `json:"on_fail"`
	State      StepState  `json:"state"`
	IntendedAt *time.Time `json:"intended_at,omitempty"`
	DoneAt     *time.Time `json:"done_at,omitempty"` // the executor said done
	EndedAt    *time.Time `json:"ended_at,omitempty"`
	NotAfter   *time.Time `json:"not_after,omitempty"`
	Attempts   []Attempt  `json:"attempts,omitempty"`
	Before     *Traffic   `json:"before,omitempty"`
	After      *Traffic   `json:"after,omitempty"`
	Sentence   string     `json:"sentence,omitempty"`
}

// Action is one execution of a plan.
type Action struct {
	ID         string      `json:"id"`
	EpisodeID  string      `json:"episode_id"`
	DecisionID string      `json:"decision_id"`
	Subject    Subject     `json:"subject"`
	Plan       string      `json:"plan"`
	Kind       PlanKind    `json:"kind"`
	Moves      Scope       `json:"moves"`
	Attempt    int         `json:"attempt"`
	By         string      `json:"by"` // "policy NAME" or "operator NAME"
	Reason     string      `json:"reason"`
	State      ActionState `json:"state"`
	Step       int         `json:"step"` // the step under way, from 1
	Steps      []StepRun   `json:"steps"`
	CreatedAt  time.Time   `json:"created_at"`
	UpdatedAt  time.Time   `json:"updated_at"`
	EndedAt    *time.Time  `json:"ended_at,omitempty"`
	ExpiresAt  *time.Time  `json:"expires_at,omitempty"`
	Sentence   string      `json:"sentence"`
}

// Routing is what was commanded for one subject. Absent means active with weight 100.
type Routing struct {
	Subject   Subject      `json:"subject"`
	State     RoutingState `json:"state"`
	Weight    int          `json:"weight"` // percent of normal
	ActionID  string       `json:"action_id"`
	ChangedAt time.Time    `json:"changed_at"`
}

// Intent is one step about to be performed, as recorded before it is performed.
type Intent struct {
	ID        string       `json:"id"` // WebhookID(ActionID, Step)
	ActionID  string       `json:"action_id"`
	EpisodeID string       `json:"episode_id"`
	Subject   Subject      `json:"subject"`
	Kind      PlanKind     `json:"kind"`
	Moves     Scope        `json:"moves"`
	Step      int          `json:"step"`
	Of        int          `json:"of"`
	Target    string       `json:"target"`
	Weight    int          `json:"weight"`
	State     RoutingState `json:"desired_state"` // drained, restoring or active
	Mode      Mode         `json:"mode"`
	At        time.Time    `json:"at"` // when it was decided
	NotAfter  time.Time    `json:"not_after"`
	ExpiresAt *time.Time   `json:"expires_at,omitempty"`
	MinActive int          `json:"min_active"` // precondition for the executor
	Reason    string       `json:"reason"`
	Verify    VerifySpec   `json:"verify"`
	Before    Traffic      `json:"before"`
	// Delivered is set when the executor has already said done: only verification is left.
	Delivered bool `json:"delivered,omitempty"`
	// Seq is the ledger revision at which the intent was recorded; the ledger fills it in, it is not stored
	// inside the record.
	Seq int64 `json:"-"`
}

// OutcomeKind says what happened to an intent.
type OutcomeKind string

// Kinds of outcomes.
const (
	OutcomeAttempt     OutcomeKind = "attempt"     // one delivery attempt; more may follow
	OutcomeDone        OutcomeKind = "done"        // the executor says the desired state is reached
	OutcomeRefused     OutcomeKind = "refused"     // the executor refused; its word stands
	OutcomeFailed      OutcomeKind = "failed"      // it cannot work: wrong address, wrong secret, 4xx
	OutcomeExpired     OutcomeKind = "expired"     // not_after passed without an answer that counts
	OutcomeVerified    OutcomeKind = "verified"    // the edge shows the effect
	OutcomeIneffective OutcomeKind = "ineffective" // the edge shows that the effect is missing
	OutcomeCannotTell  OutcomeKind = "cannot_tell" // no edge data to verify with
)

// Outcome is one thing that happened to an intent, on its way back through the loop.
type Outcome struct {
	IntentID string
	ActionID string
	Step     int
	Kind     OutcomeKind
	At       time.Time
	Attempt  *Attempt
	After    *Traffic
	Sentence string
}

// Notice is one message to people about an episode.
type Notice struct {
	ID        string    `json:"id"`
	EpisodeID string    `json:"episode_id"`
	N         int       `json:"n"`
	Kind      string    `json:"kind"` // trigger, update or resolve
	DedupKey  string    `json:"dedup_key"`
	Severity  string    `json:"severity"` // critical, error, warning or info
	Summary   string    `json:"summary"`
	Source    string    `json:"source"`
	Details   []Detail  `json:"details,omitempty"`
	At        time.Time `json:"at"`
	State     string    `json:"state"` // pending, sent, failed, cancelled or no_channel
	Attempts  []Attempt `json:"attempts,omitempty"`
}

// Detail is one name and value of a notice, in order.
type Detail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// NoticeOutcome is what became of a notice.
type NoticeOutcome struct {
	NoticeID string
	At       time.Time
	Attempt  *Attempt
	State    string // sent, failed, cancelled, no_channel; empty while trying
}

// Line is one sentence of the story, in the order in which it happened.
type Line struct {
	At        time.Time `json:"at"`
	EpisodeID string    `json:"episode_id,omitempty"`
	Subject   Subject   `json:"subject"`
	Kind      string    `json:"kind"` // condition, decision, action, step, notice, command, change, system
	Sentence  string    `json:"sentence"`
	// Seq is the ledger revision of the line and N its place among the lines of one revision; filled in by
	// the ledger when read.
	Seq int64 `json:"seq"`
	N   int   `json:"n"`
}

// Brake is the switch that stops all automatic actions of its scope until a person releases it.
type Brake struct {
	On     bool      `json:"on"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
}

// Change is one record to be written; exactly one field is set.
type Change struct {
	Episode  *Episode
	Decision *Decision
	Action   *Action
	Intent   *Intent // written once, never changed
	Routing  *Routing
	Notice   *Notice
	Brake    *Brake
	Line     *Line
	Told     *ToldChange
	Answer   *OrderAnswer // takes the order it answers off the list
}

// Snapshot is everything decide needs to go on after a restart. Closed episodes and ended actions of the last
// two days are among it, for budgets, cooldowns and flapping.
type Snapshot struct {
	Revision int64
	Episodes []Episode
	Actions  []Action
	Intents  []Intent // with Seq
	Routing  []Routing
	Notices  []Notice // pending ones
	Told     []ToldChange
	Brake    *Brake
}

// Identity is who the ledger is. Epoch is its incarnation, raised on create, restore and adopt.
type Identity struct {
	ClusterID string `json:"cluster_id"`
	Epoch     int64  `json:"epoch"`
	// Pending is why nothing may be commanded in this name yet; empty: nothing stands against it. A restored ledger
	// waits so for a person to adopt it.
	Pending string `json:"pending,omitempty"`
}

// CommandKind is what an operator asks.
type CommandKind string

// Commands an operator can give.
const (
	CommandApprove CommandKind = "approve" // DecisionID
	CommandVeto    CommandKind = "veto"    // DecisionID
	CommandHold    CommandKind = "hold"    // EpisodeID, for Hold
	CommandDrain   CommandKind = "drain"   // Subject
	CommandRestore CommandKind = "restore" // Subject
	CommandBrake   CommandKind = "brake"   // On
	// CommandReconcile puts on record what a person commanded past the servers: BreakGlass.
	CommandReconcile CommandKind = "reconcile"
)

// Command is an operator's order, on its way through the loop.
type Command struct {
	Kind       CommandKind   `json:"kind"`
	Subject    Subject       `json:"subject,omitzero"`
	EpisodeID  string        `json:"episode_id,omitempty"`
	DecisionID string        `json:"decision_id,omitempty"`
	Hold       time.Duration `json:"hold_ns,omitempty"`
	On         bool          `json:"on,omitempty"`
	By         string        `json:"by"`
	Reason     string        `json:"reason"`
	BreakGlass *BreakGlass   `json:"break_glass,omitempty"`
}

// Reply is the answer to a command.
type Reply struct {
	OK       bool   `json:"ok"`
	Code     string `json:"code,omitempty"` // machine code when not OK
	Sentence string `json:"sentence"`
	ActionID string `json:"action_id,omitempty"`
}

// Credential is who a token belongs to.
type Credential struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind"` // admin, site, edge
	Name      string     `json:"name"`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
}

// Event is one change of the ledger as it was written, for watchers.
type Event struct {
	Rev    int64
	Change Change
	More   bool // another event of the same revision follows
}
