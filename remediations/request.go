package remediations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Target is a thing that can be told a desired state.
//
// Do makes at most one delivery attempt and returns the answer, or one of *Transient, *Permanent and *Unknown.
// It blocks until the answer, its own time-out or the end of ctx, and is safe for concurrent use. Calling it
// again with an equal Request sends the same ID and the same bytes, with a fresh timestamp and signature.
type Target interface {
	Do(ctx context.Context, r Request) (Receipt, error)
}

// Types of requests.
const (
	TypeDrain   = "action.site.drain"
	TypeRestore = "action.site.restore"
)

// Desired states of a request.
const (
	DesiredDrained   = "drained"   // take the subject's users away, down to Step.Weight percent
	DesiredRestoring = "restoring" // bring them back, up to Step.Weight percent
	DesiredActive    = "active"    // the subject serves as if nothing had been
)

// MaxBody is the largest body of a request, in bytes (Standard Webhooks asks for less than 20 KB).
const MaxBody = 20_000

// maxID is the longest webhook-id; our own are shorter than 40 characters.
const maxID = 256

// Request is one command. It is the same for all its delivery attempts.
type Request struct {
	ID   string    // the webhook-id and idempotency key: 1 to 256 visible ASCII characters without '.'
	Type string    // TypeDrain or TypeRestore
	At   time.Time // when it was decided, not when it is sent
	Data Data
}

// Data is the stable body of a command. Times are RFC 3339; absent ones are zero.
type Data struct {
	ActionID     string       `json:"action_id"`
	EpisodeID    string       `json:"episode_id"`
	Site         string       `json:"site"`
	Service      string       `json:"service"` // "all" for a whole site
	Unit         string       `json:"unit"`    // empty for all units
	DesiredState string       `json:"desired_state"`
	Scope        []string     `json:"scope"` // reads, writes
	Seq          int64        `json:"seq"`   // equal to Fencing.Seq
	Fencing      Fencing      `json:"fencing"`
	Mode         string       `json:"mode"` // observe, recommend, approve or automatic
	DryRun       bool         `json:"dry_run"`
	NotBefore    time.Time    `json:"not_before,omitzero"`
	NotAfter     time.Time    `json:"not_after"`           // an executor must not begin after it
	ExpiresAt    time.Time    `json:"expires_at,omitzero"` // when the drain itself should be looked at again
	Step         Step         `json:"step"`
	Precondition Precondition `json:"precondition"`
	Reason       Reason       `json:"reason"`
	CallbackURL  string       `json:"callback_url,omitempty"`
}

// Fencing is a token that only grows. Tokens of different clusters cannot be compared.
type Fencing struct {
	ClusterID string `json:"cluster_id"`
	Epoch     int64  `json:"epoch"` // incarnation of the cluster's ledger, from 1
	Seq       int64  `json:"seq"`   // ledger revision at which the command was recorded, from 1
}

// Compare is negative when f is older than o, zero when equal, positive when newer. The cluster ids must be
// equal, else the answer means nothing.
func (f Fencing) Compare(o Fencing) int {
	switch {
	case f.Epoch != o.Epoch:
		return sign(f.Epoch, o.Epoch)
	default:
		return sign(f.Seq, o.Seq)
	}
}

func sign(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Step says which step of its plan the command is.
type Step struct {
	N      int `json:"n"` // from 1
	Of     int `json:"of"`
	Weight int `json:"weight"` // percent of normal, 0 to 100
}

// Precondition is what must be true at the executor; a rule that does not hold is a refusal.
type Precondition struct {
	CurrentState   string `json:"current_state,omitempty"` // empty: any
	MinActiveSites int    `json:"min_active_sites"`        // sites that must still serve after the command; 0: no demand
}

// Reason tells the executor's operator why.
type Reason struct {
	Summary     string `json:"summary"`
	EvidenceURL string `json:"evidence_url,omitempty"`
}

type envelope struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      Data      `json:"data"`
}

// Body is the request as it goes over the wire: the same bytes every time. Its error says what is wrong with
// the request.
func (r Request) Body() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	e := envelope{Type: r.Type, Timestamp: r.At.UTC(), Data: r.Data}
	e.Data.NotBefore = utc(e.Data.NotBefore)
	e.Data.NotAfter = utc(e.Data.NotAfter)
	e.Data.ExpiresAt = utc(e.Data.ExpiresAt)
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encode request %s: %w", r.ID, err)
	}
	if len(b) > MaxBody {
		return nil, fmt.Errorf("request %s has %d bytes, the limit is %d", r.ID, len(b), MaxBody)
	}
	return b, nil
}

// utc leaves the zero time alone, so that it stays absent.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// ParseRequest reads what Body wrote; id is the webhook-id of the message. Unknown fields are ignored, so that an
// old executor understands a newer sender. The signature must have been verified before.
func ParseRequest(id string, body []byte) (Request, error) {
	if len(body) > MaxBody {
		return Request{}, fmt.Errorf("body has %d bytes, the limit is %d", len(body), MaxBody)
	}
	var e envelope
	if err := json.Unmarshal(body, &e); err != nil {
		return Request{}, fmt.Errorf("body is not a command: %w", err)
	}
	r := Request{ID: id, Type: e.Type, At: e.Timestamp, Data: e.Data}
	if err := r.Validate(); err != nil {
		return Request{}, err
	}
	return r, nil
}

// Validate reports the first rule that the request breaks.
func (r Request) Validate() error {
	if err := ValidID(r.ID); err != nil {
		return err
	}
	d := r.Data
	switch r.Type {
	case TypeDrain:
		if d.DesiredState != DesiredDrained {
			return fmt.Errorf("desired_state %q does not fit type %s: want %s", d.DesiredState, r.Type, DesiredDrained)
		}
	case TypeRestore:
		if d.DesiredState != DesiredRestoring && d.DesiredState != DesiredActive {
			return fmt.Errorf("desired_state %q does not fit type %s: want %s or %s",
				d.DesiredState, r.Type, DesiredRestoring, DesiredActive)
		}
	default:
		return fmt.Errorf("type %q is not one of %s, %s", r.Type, TypeDrain, TypeRestore)
	}
	switch {
	case r.At.IsZero():
		return errors.New("timestamp is missing")
	case d.ActionID == "":
		return errors.New("action_id is missing")
	case d.Site == "":
		return errors.New("site is missing")
	case d.Service == "":
		return errors.New(`service is missing (a whole site is "all")`)
	case d.NotAfter.IsZero():
		return errors.New("not_after is missing")
	case d.Fencing.ClusterID == "":
		return errors.New("fencing.cluster_id is missing")
	case d.Fencing.Epoch < 1 || d.Fencing.Seq < 1:
		return fmt.Errorf("fencing (%d, %d) must count from 1", d.Fencing.Epoch, d.Fencing.Seq)
	case d.Seq != d.Fencing.Seq:
		return fmt.Errorf("seq %d differs from fencing.seq %d", d.Seq, d.Fencing.Seq)
	case d.Step.Weight < 0 || d.Step.Weight > 100:
		return fmt.Errorf("step.weight %d is not within 0 to 100", d.Step.Weight)
	case d.Step.N < 1 || d.Step.Of < d.Step.N:
		return fmt.Errorf("step %d of %d does not exist", d.Step.N, d.Step.Of)
	case d.Precondition.MinActiveSites < 0:
		return fmt.Errorf("precondition.min_active_sites %d is below 0", d.Precondition.MinActiveSites)
	}
	return nil
}

// ValidID reports whether id can be a webhook-id.
func ValidID(id string) error {
	if id == "" || len(id) > maxID {
		return fmt.Errorf("webhook-id has %d characters, want 1 to %d", len(id), maxID)
	}
	if i := strings.IndexFunc(id, func(c rune) bool { return c <= ' ' || c > '~' || c == '.' }); i >= 0 {
		return fmt.Errorf("webhook-id has a character at %d that is not allowed (visible ASCII without '.')", i)
	}
	return nil
}
