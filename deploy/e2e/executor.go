package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/receiver"
)

// Executor is one built on remediations/receiver that counts what it does. Its weights and its fencing tokens are on
// disk. It can be slow before or after the effect, and deaf.
type Executor struct {
	addr     string
	file     string // weights and effects
	receiver *receiver.Receiver

	mu      sync.Mutex
	server  *http.Server
	manner  Manner
	weights map[string]int
	calls   []*Call
}

// Manner is how slow the executor is.
type Manner struct {
	Before time.Duration // between the arrival of a command and its effect
	After  time.Duration // between the effect and the answer
}

// Call is one delivery attempt as the executor saw it. Zero times did not happen.
type Call struct {
	ID        string
	ActionID  string
	From      string // host:port of the sender
	Seq       int64
	Epoch     int64
	Cluster   string
	Weight    int
	Arrived   time.Time
	Applied   time.Time // Apply ran in this attempt
	Answered  time.Time
	Effective bool // the weight changed
	Status    int
}

// NewExecutor makes one that does not listen yet. All sites have weight 100.
func NewExecutor(addr, dir string, sites []string, secret remediations.Secret) (*Executor, error) {
	x := &Executor{addr: addr, file: filepath.Join(dir, "weights.json"), weights: map[string]int{}}
	for _, s := range sites {
		x.weights[s] = 100
	}
	var err error
	x.receiver, err = receiver.New(receiver.Options{
		Secrets: []remediations.Secret{secret}, AdoptFirst: true, StateFile: filepath.Join(dir, "fencing.json"), Apply: x.apply,
	})
	if err != nil {
		return nil, fmt.Errorf("make the receiver: %w", err)
	}
	return x, nil
}

// Listen takes commands on the executor's address, again after Deaf.
func (x *Executor) Listen() error {
	ln, err := net.Listen("tcp", x.addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s := &http.Server{Handler: x, ReadHeaderTimeout: 5 * time.Second}
	x.mu.Lock()
	x.server = s
	x.mu.Unlock()
	go func() { _ = s.Serve(ln) }() // ends with Deaf
	return nil
}

// Deaf closes the executor's port and all connections.
func (x *Executor) Deaf() {
	x.mu.Lock()
	s := x.server
	x.mu.Unlock()
	if s != nil {
		_ = s.Close()
	}
}

// Behave sets how slow it is from now on.
func (x *Executor) Behave(m Manner) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.manner = m
}

// Weights are the percent of normal by site.
func (x *Executor) Weights() map[string]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.weights)
}

// Calls are all attempts so far, in order of arrival.
func (x *Executor) Calls() []Call {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make([]Call, len(x.calls))
	for i, c := range x.calls {
		out[i] = *c
	}
	return out
}

type callKey struct{}

// ServeHTTP writes the attempt down and lets the receiver judge it.
func (x *Executor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, remediations.MaxBody+1))
	if err != nil {
		return // the sender died while it sent: nothing arrived
	}
	if _, asked := remediations.ParsePreflight(raw); asked { // a question is no command
		r.Body = io.NopCloser(bytes.NewReader(raw))
		x.receiver.ServeHTTP(w, r)
		return
	}
	c := &Call{ID: r.Header.Get(remediations.HeaderID), From: r.RemoteAddr, Arrived: time.Now()}
	if req, err := remediations.ParseRequest(c.ID, raw); err == nil {
		d := req.Data
		c.ActionID, c.Seq, c.Epoch, c.Cluster, c.Weight = d.ActionID, d.Fencing.Seq, d.Fencing.Epoch, d.Fencing.ClusterID, d.Step.Weight
	}
	x.mu.Lock()
	x.calls = append(x.calls, c)
	manner := x.manner
	x.mu.Unlock()
	time.Sleep(manner.Before)
	ctx := context.WithValue(context.WithoutCancel(r.Context()), callKey{}, c) // what arrived is carried out
	inner := r.Clone(ctx)
	inner.Body = io.NopCloser(bytes.NewReader(raw))
	answer := &kept{header: http.Header{}, status: http.StatusOK}
	x.receiver.ServeHTTP(answer, inner)
	time.Sleep(manner.After)
	maps.Copy(w.Header(), answer.header)
	w.WriteHeader(answer.status)
	_, err = w.Write(answer.Bytes())
	if err == nil {
		err = http.NewResponseController(w).Flush()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	c.Status = answer.status
	if err == nil && r.Context().Err() == nil {
		c.Answered = time.Now()
	}
}

// kept is an answer that is held back.
type kept struct {
	bytes.Buffer
	header http.Header
	status int
}

var _ http.ResponseWriter = (*kept)(nil)

func (k *kept) Header() http.Header { return k.header }

func (k *kept) WriteHeader(status int) { k.status = status }

func (x *Executor) apply(ctx context.Context, cmd receiver.Command) (receiver.State, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c, _ := ctx.Value(callKey{}).(*Call)
	if _, ok := x.weights[cmd.Site]; !ok || c == nil {
		return receiver.State{}, &receiver.Refuse{By: "unknown-site", Detail: cmd.Site}
	}
	c.Applied, c.Effective = time.Now(), x.weights[cmd.Site] != cmd.Step.Weight
	x.weights[cmd.Site] = cmd.Step.Weight
	raw, err := json.Marshal(x.weights)
	if err != nil {
		return receiver.State{}, fmt.Errorf("encode the weights: %w", err)
	}
	if err := os.WriteFile(x.file, raw, 0o600); err != nil {
		return receiver.State{}, fmt.Errorf("keep the weights: %w", err)
	}
	return receiver.State{State: remediations.StateDone, Weight: float64(cmd.Step.Weight)}, nil
}

// CheckFencing says what is wrong with the tokens of the calls: a repeat with another token, a token that goes back,
// a change of cluster.
func CheckFencing(calls []Call) error {
	byID := map[string]Call{}
	for i, c := range calls {
		if first, ok := byID[c.ID]; ok && (first.Seq != c.Seq || first.Epoch != c.Epoch) {
			return fmt.Errorf("%s was sent with seq %d and with seq %d", c.ID, first.Seq, c.Seq)
		}
		byID[c.ID] = c
		if i == 0 {
			continue
		}
		if p := calls[i-1]; c.Cluster != p.Cluster || c.Epoch < p.Epoch || c.Epoch == p.Epoch && c.Seq < p.Seq {
			return fmt.Errorf("after (%s, %d, %d) came (%s, %d, %d)", p.Cluster, p.Epoch, p.Seq, c.Cluster, c.Epoch, c.Seq)
		}
	}
	return nil
}

// Effects counts the calls of one action, or of one step by its id, that changed a weight.
func Effects(calls []Call, action, id string) int {
	return len(slices.DeleteFunc(slices.Clone(calls), func(c Call) bool {
		return !c.Effective || action != "" && c.ActionID != action || id != "" && c.ID != id
	}))
}
