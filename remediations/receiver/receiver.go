package receiver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
)

const (
	defaultTolerance    = 300 * time.Second
	defaultApplyTimeout = 60 * time.Second
	// earliness is how much sooner than not_before a command is taken: clocks differ, and a command a little early
	// does no harm. There is no such leniency for not_after.
	earliness = 30 * time.Second
)

// Command is what Apply and Check are told.
type Command struct {
	ID       string // the webhook-id
	Type     string
	At       time.Time
	Repeated bool // the same command was begun before: a crash, a failure, or a poll after StateAccepted
	remediations.Data
}

// State is what Apply reached.
type State struct {
	State  remediations.State // StateDone, or StateAccepted while it is still under way; anything else is a failure
	Weight float64            // percent of normal now, 0 to 100
	Detail string             // for the sender's record
}

// Refuse is the error with which Check and Apply refuse a command by a rule of their own. The refusal stands for
// this command: it is repeated without asking again.
type Refuse struct {
	By     string // name of the rule
	Detail string
}

func (e *Refuse) Error() string { return "refused by " + e.By + ": " + e.Detail }

// Options of a Receiver. Secrets, StateFile and Apply are required, and one of Clusters and AdoptFirst.
type Options struct {
	Secrets []remediations.Secret // one, or two while rotating
	// Clusters are the ids of the clusters to obey.
	Clusters []string
	// AdoptFirst obeys the cluster of the first valid command for ever after, when Clusters is empty. It trusts the
	// first one that holds the secret.
	AdoptFirst bool
	// StateFile keeps the fencing tokens over a restart. Its folder must exist and allow writing. One Receiver per
	// file: New locks StateFile + ".lock" until Close or the end of the process. On systems without flock (Windows,
	// Solaris, AIX) nothing is locked and the deployment must see to it.
	StateFile string
	// Apply brings about the desired state and must be idempotent. It is never called twice at the same time. Its
	// context outlives the sender's connection and ends after ApplyTimeout. An error that is no *Refuse is
	// answered 503: the sender comes again.
	Apply func(ctx context.Context, c Command) (State, error)
	// Check is the executor's own rule ("never the last site"): a *Refuse refuses. It is called before Apply and on
	// dry runs, never while Apply runs; nil agrees to everything.
	Check        func(ctx context.Context, c Command) error
	Tolerance    time.Duration // of the message's timestamp, both ways; 0: 300 s
	ApplyTimeout time.Duration // 0: 60 s
	Log          *slog.Logger  // nil: silent
}

// Receiver is the handler of an executor's endpoint.
type Receiver struct {
	o      Options
	turn   chan struct{} // holds one token: whoever has it may call Check and Apply
	lock   *os.File      // held open: nobody else obeys with this state file
	closed bool          // read and written by whoever has the turn

	mu      sync.Mutex
	state   *memory
	running map[string]bool // webhook-ids that wait for, or have, the turn
}

var _ http.Handler = (*Receiver)(nil)

// New locks and reads the state file. It fails rather than begin without the tokens of a damaged one, or beside
// another Receiver on the same file. Call Close to give the file up.
func New(o Options) (*Receiver, error) {
	switch {
	case len(o.Secrets) == 0 || slices.ContainsFunc(o.Secrets, remediations.Secret.IsZero):
		return nil, errors.New("receiver needs a secret, and none may be empty")
	case o.Apply == nil:
		return nil, errors.New("receiver needs Apply")
	case o.StateFile == "":
		return nil, errors.New("receiver needs a state file: without it a restart forgets the fencing tokens")
	case len(o.Clusters) == 0 && !o.AdoptFirst:
		return nil, errors.New("receiver obeys nobody: name clusters, or set AdoptFirst")
	case slices.Contains(o.Clusters, ""):
		return nil, errors.New("an empty cluster id obeys nobody")
	}
	if o.Tolerance <= 0 {
		o.Tolerance = defaultTolerance
	}
	if o.ApplyTimeout <= 0 {
		o.ApplyTimeout = defaultApplyTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	// Locked before it is read: what another one wrote after the reading would be forgotten.
	lock, err := lockFile(o.StateFile + ".lock")
	if err != nil {
		return nil, err
	}
	state, err := load(o.StateFile)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &Receiver{o: o, turn: make(chan struct{}, 1), lock: lock, state: state, running: map[string]bool{}}, nil
}

// Close waits for an Apply that runs and gives up the state file. Later commands are answered 503. The lock file
// stays: were it removed, two Receivers could lock two files of that name.
func (x *Receiver) Close() error {
	x.turn <- struct{}{}
	defer func() { <-x.turn }()
	if x.closed {
		return nil
	}
	x.closed = true
	if err := x.lock.Close(); err != nil {
		return fmt.Errorf("give up fencing state: %w", err)
	}
	return nil
}

// reply is an answer as it is sent and remembered.
type reply struct {
	Status int    `json:"status"`
	Body   body   `json:"body"`
	retry  string // Retry-After
}

type body struct {
	State     string                `json:"state,omitempty"`
	Weight    *float64              `json:"weight,omitempty"`
	DryRun    bool                  `json:"dry_run,omitempty"`
	Error     string                `json:"error,omitempty"`
	Detail    string                `json:"detail,omitempty"`
	RefusedBy string                `json:"refused_by,omitempty"`
	Current   *remediations.Fencing `json:"current,omitempty"`
	// Preflight is never remembered: it answers a question, not a command.
	Preflight *remediations.Standing `json:"preflight,omitempty"`
}

func problem(status int, code, detail string) *reply {
	return &reply{Status: status, Body: body{Error: code, Detail: detail}}
}

// ServeHTTP answers one delivery attempt.
func (x *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := x.answer(w, r)
	w.Header().Set("Content-Type", "application/json")
	if a.retry != "" {
		w.Header().Set("Retry-After", a.retry)
	}
	w.WriteHeader(a.Status)
	if err := json.NewEncoder(w).Encode(a.Body); err != nil {
		x.o.Log.Warn("answer could not be sent", slog.String("error", err.Error()))
	}
}

func (x *Receiver) answer(w http.ResponseWriter, r *http.Request) *reply {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return problem(http.StatusMethodNotAllowed, "method", "commands are POSTed")
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, remediations.MaxBody))
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return problem(http.StatusRequestEntityTooLarge, "too_large", fmt.Sprintf("the limit is %d bytes", large.Limit))
	}
	if err != nil {
		return problem(http.StatusBadRequest, "unreadable", "the body broke off")
	}
	if err := remediations.Verify(r.Header, raw, time.Now(), x.o.Tolerance, x.o.Secrets...); err != nil {
		x.o.Log.Warn("message not accepted", slog.String("error", err.Error()))
		return problem(http.StatusUnauthorized, "signature", err.Error())
	}
	if q, ok := remediations.ParsePreflight(raw); ok {
		return x.standing(q)
	}
	req, err := remediations.ParseRequest(r.Header.Get(remediations.HeaderID), raw)
	if err != nil {
		return problem(http.StatusBadRequest, "malformed", err.Error())
	}
	if a := x.admit(req); a != nil {
		return a
	}
	defer x.leave(req.ID)
	select {
	case x.turn <- struct{}{}:
	case <-r.Context().Done():
		return &reply{Status: http.StatusServiceUnavailable, Body: body{Error: "failed", Detail: "another command is under way"}, retry: "1"}
	}
	defer func() { <-x.turn }()
	if x.closed { // without the lock the tokens may be another one's by now
		return &reply{Status: http.StatusServiceUnavailable, Body: body{Error: "failed", Detail: "the executor is closing"}, retry: "5"}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), x.o.ApplyTimeout)
	defer cancel()
	return x.obey(ctx, req)
}

// admit answers a repeat of a command that is under way; otherwise it returns nil and the command is under way.
func (x *Receiver) admit(req remediations.Request) *reply {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.running[req.ID] {
		return &reply{Status: http.StatusAccepted, Body: body{State: remediations.StateAccepted.String(), Detail: "still at it"}}
	}
	x.running[req.ID] = true
	return nil
}

func (x *Receiver) leave(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.running, id)
}

// obey judges the command and carries it out. The caller has the turn, so the state changes only here.
func (x *Receiver) obey(ctx context.Context, req remediations.Request) *reply {
	d := req.Data
	known := slices.Contains(x.o.Clusters, d.Fencing.ClusterID)
	if len(x.o.Clusters) == 0 {
		known = x.state.Adopted == "" || x.state.Adopted == d.Fencing.ClusterID
	}
	if !known {
		return problem(http.StatusForbidden, "unknown_cluster", "cluster "+strconv.Quote(d.Fencing.ClusterID)+" is not obeyed here")
	}
	if current := x.state.stale(req); current != nil {
		a := problem(http.StatusConflict, "stale", "a newer command has been obeyed")
		a.Body.Current = current
		return a
	}
	old := x.state.find(req)
	repeated := old != nil && old.same(req)
	if repeated && !d.DryRun && old.Reply != nil && old.Reply.Status != http.StatusAccepted {
		return old.Reply // finished before: the same answer, also after not_after
	}
	now := time.Now()
	if now.After(d.NotAfter) {
		return problem(http.StatusGone, "expired", "not_after "+d.NotAfter.Format(time.RFC3339)+" has passed here")
	}
	if wait := d.NotBefore.Sub(now.Add(earliness)); wait > 0 { // an absent not_before is long past: no underflow
		a := problem(http.StatusTooEarly, "too_early", "not_before "+d.NotBefore.Format(time.RFC3339)+" is ahead")
		a.retry = strconv.Itoa(int(math.Ceil(wait.Seconds())))
		return a
	}
	c := Command{ID: req.ID, Type: req.Type, At: req.At, Repeated: repeated, Data: d}
	if d.DryRun {
		return x.rehearse(ctx, c)
	}
	begun := x.state.with(req, nil)
	if len(x.o.Clusters) == 0 {
		begun.Adopted = d.Fencing.ClusterID
	}
	if err := x.keep(begun); err != nil {
		return &reply{Status: http.StatusServiceUnavailable, Body: body{Error: "failed", Detail: "the fencing state cannot be written"}, retry: "5"}
	}
	a := x.carryOut(ctx, c)
	if a.Status == http.StatusServiceUnavailable {
		return a // not remembered: the next attempt tries again
	}
	// When this fails the token is safe all the same, and a repeat is applied once more.
	_ = x.keep(begun.with(req, a))
	return a
}

func (x *Receiver) rehearse(ctx context.Context, c Command) *reply {
	if err := x.check(ctx, c); err != nil {
		a := failure(err)
		a.Body.DryRun = true
		return a
	}
	weight := float64(c.Step.Weight)
	return &reply{Status: http.StatusOK, Body: body{State: remediations.StateDone.String(), Weight: &weight, DryRun: true}}
}

func (x *Receiver) check(ctx context.Context, c Command) error {
	if x.o.Check == nil {
		return nil
	}
	return x.o.Check(ctx, c)
}

func (x *Receiver) carryOut(ctx context.Context, c Command) *reply {
	log := x.o.Log.With(
		slog.String("id", c.ID), slog.String("site", c.Site), slog.String("service", c.Service),
		slog.String("desired_state", c.DesiredState), slog.Int("weight", c.Step.Weight))
	err := x.check(ctx, c)
	var s State
	if err == nil {
		s, err = x.o.Apply(ctx, c)
	}
	if err != nil {
		log.Warn("command not applied", slog.String("error", err.Error()))
		return failure(err)
	}
	a := &reply{Status: http.StatusOK, Body: body{State: s.State.String(), Detail: s.Detail}}
	if s.Weight >= 0 && s.Weight <= 100 {
		a.Body.Weight = &s.Weight
	}
	switch s.State {
	case remediations.StateDone:
	case remediations.StateAccepted:
		a.Status, a.Body.Weight = http.StatusAccepted, nil
	default:
		log.Error("apply returned neither done nor accepted", slog.String("state", s.State.String()))
		return failure(errors.New("the executor does not know what it reached"))
	}
	log.Info("command applied", slog.String("state", s.State.String()))
	return a
}

func failure(err error) *reply {
	if refuse, ok := errors.AsType[*Refuse](err); ok {
		a := problem(http.StatusPreconditionFailed, "refused", refuse.Detail)
		a.Body.RefusedBy = refuse.By
		return a
	}
	return &reply{Status: http.StatusServiceUnavailable, Body: body{Error: "failed", Detail: err.Error()}, retry: "1"}
}

// keep makes the state last and then current.
func (x *Receiver) keep(m *memory) error {
	if err := save(x.o.StateFile, m); err != nil {
		x.o.Log.Error("fencing state not written", slog.String("error", err.Error()))
		return err
	}
	x.mu.Lock()
	x.state = m
	x.mu.Unlock()
	return nil
}

// standing answers a preflight. It changes nothing and waits for nobody, so it may be asked while a command is under
// way; whoever holds the secret may ask.
func (x *Receiver) standing(q remediations.Question) *reply {
	if time.Now().After(q.NotAfter) {
		return problem(http.StatusGone, "expired", "not_after "+q.NotAfter.Format(time.RFC3339)+" has passed here")
	}
	x.mu.Lock()
	m := x.state
	x.mu.Unlock()
	s := &remediations.Standing{Obeys: slices.Clone(x.o.Clusters), Subjects: []remediations.Held{}, Epochs: m.Epochs}
	if len(s.Obeys) == 0 && m.Adopted != "" {
		s.Obeys = []string{m.Adopted}
	}
	for _, h := range m.Subjects {
		s.Subjects = append(s.Subjects, remediations.Held{
			Site: h.Site, Service: h.Service, Unit: h.Unit, Fencing: h.Fencing, DesiredState: h.Desired, Weight: h.Weight,
		})
	}
	return &reply{Status: http.StatusOK, Body: body{State: remediations.StateDone.String(), Preflight: s}}
}
