package director

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/deploy/lab/internal/knob"
	"github.com/evenkeel/evenkeel/remediations"
	"github.com/evenkeel/evenkeel/remediations/receiver"
)

// Executed is one command that the executor carried out, or says it did.
type Executed struct {
	AtNS      int64  `json:"at_unix_ns"` // when the weight was changed
	ID        string `json:"id"`
	ActionID  string `json:"action_id"`
	Type      string `json:"type"`
	Site      string `json:"site"`
	Service   string `json:"service"`
	Weight    int    `json:"weight"`    // that was asked for, percent of normal
	Effective bool   `json:"effective"` // the weight really changed
	Lying     bool   `json:"lying,omitempty"`
	Repeated  bool   `json:"repeated,omitempty"`
	Seq       int64  `json:"seq"`
}

// keepExecuted is how many commands the state shows; the file has all.
const keepExecuted = 50

// executor is the hand that turns the weights.
type executor struct {
	table    *Table
	services []string
	knob     string // file with the faults
	log      *slog.Logger

	mu   sync.Mutex
	file *os.File
	last []Executed
}

// subjects are the services a command is about.
func (x *executor) subjects(c receiver.Command) ([]string, error) {
	services := x.services
	if c.Service != "all" {
		services = []string{c.Service}
	}
	if c.Unit != "" {
		return nil, &receiver.Refuse{By: "no-units", Detail: "the director cannot move a part of the users"}
	}
	for _, s := range services {
		if !x.table.Has(s, c.Site) {
			return nil, &receiver.Refuse{By: "unknown-subject", Detail: fmt.Sprintf("%s is not served at %q here", s, c.Site)}
		}
	}
	return services, nil
}

// check is the executor's own rule: it knows the subject and never takes the last sites away.
func (x *executor) check(_ context.Context, c receiver.Command) error {
	services, err := x.subjects(c)
	if err != nil {
		return err
	}
	least := max(1, c.Precondition.MinActiveSites)
	for _, s := range services {
		if n := x.table.Serving(s, c.Site, c.Step.Weight); c.Type == remediations.TypeDrain && n < least {
			return &receiver.Refuse{By: "min-active-sites", Detail: fmt.Sprintf("%d sites would serve %s, %d must", n, s, least)}
		}
	}
	return nil
}

// apply brings the weight to where the command wants it. Told again it changes nothing.
func (x *executor) apply(_ context.Context, c receiver.Command) (receiver.State, error) {
	services, err := x.subjects(c)
	if err != nil {
		return receiver.State{}, err
	}
	e := Executed{
		ID: c.ID, ActionID: c.ActionID, Type: c.Type, Site: c.Site, Service: c.Service,
		Weight: c.Step.Weight, Repeated: c.Repeated, Seq: c.Seq,
	}
	faults, err := knob.Read[knob.Director](x.knob)
	if err != nil {
		return receiver.State{}, err
	}
	e.Lying = slices.Contains(faults.Lying, c.Site)
	if !e.Lying {
		for _, s := range services {
			changed, err := x.table.Set(s, c.Site, c.Step.Weight)
			if err != nil {
				return receiver.State{}, err
			}
			e.Effective = e.Effective || changed
		}
	}
	e.AtNS = time.Now().UnixNano()
	x.record(e)
	return receiver.State{State: remediations.StateDone, Weight: float64(c.Step.Weight)}, nil
}

// record keeps what was done. A command that cannot be written down was carried out all the same.
func (x *executor) record(e Executed) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = append(x.last, e)
	if n := len(x.last) - keepExecuted; n > 0 {
		x.last = slices.Clone(x.last[n:])
	}
	if x.file == nil {
		return
	}
	b, err := json.Marshal(e)
	if err == nil {
		_, err = x.file.Write(append(b, '\n'))
	}
	if err != nil {
		x.log.Error("executed command is not written down", slog.Any("error", err))
	}
}

func (x *executor) executed() []Executed {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.last)
}
