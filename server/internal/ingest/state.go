package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// Revision says which topology an agent has. Within one cluster the pair of epoch and revision only grows.
type Revision struct {
	ClusterID string `json:"cluster_id"`
	Epoch     int64  `json:"epoch"`
	Revision  int64  `json:"revision"`
}

// AgentState is what an agent works by.
type AgentState struct {
	Revision
	Site      string    `json:"site"`
	Kind      string    `json:"kind"` // site or witness
	Sites     []string  `json:"sites"`
	Witnesses []string  `json:"witnesses"`
	Probes    []Probe   `json:"probes"`
	Desired   []Desired `json:"desired"`
	Servers   []string  `json:"servers"`
}

// Probe is one question that the agent has to ask.
type Probe struct {
	Name       string       `json:"name"`
	TargetSite string       `json:"target_site"`
	Service    string       `json:"service"`
	Path       string       `json:"path"` // user or private
	Kind       string       `json:"kind"` // http, tcp, tls, dns, grpc; http-expect is http with options
	URL        string       `json:"url"`
	Options    *core.Expect `json:"options,omitempty"`
	IntervalMS int64        `json:"interval_ms"`
	DeadlineMS int64        `json:"deadline_ms"`
	PhaseMS    int64        `json:"phase_ms"` // probe at unix_ms mod interval_ms == phase_ms
}

// Desired is where users of a service should go, as far as this site is concerned.
type Desired struct {
	Service string            `json:"service"`
	State   core.RoutingState `json:"state"`
	Weight  int               `json:"weight"` // percent of normal
}

const (
	defaultWait = 25 * time.Second
	longestWait = 60 * time.Second
)

// agentState holds the request until there is something newer than the agent has, or the wait is over.
func (d *Door) agentState(w http.ResponseWriter, r *http.Request, caller core.Credential) error {
	if caller.Kind != kindSite {
		return &refusal{http.StatusForbidden, core.CodeForbidden, "only sites and witnesses have a state", "use a site token"}
	}
	q := r.URL.Query()
	after := Revision{ClusterID: q.Get("cluster_id")}
	wait := defaultWait
	var err1, err2, err3 error
	if s := q.Get("epoch"); s != "" {
		after.Epoch, err1 = strconv.ParseInt(s, 10, 64)
	}
	if s := q.Get("after"); s != "" {
		after.Revision, err2 = strconv.ParseInt(s, 10, 64)
	}
	if s := q.Get("wait"); s != "" {
		wait, err3 = time.ParseDuration(s)
	}
	if errors.Join(err1, err2, err3) != nil || wait < 0 || len(after.ClusterID) > 128 {
		return &refusal{
			http.StatusBadRequest, core.CodeInvalid, "epoch and after are numbers, wait is a duration",
			"ask like ?cluster_id=ID&epoch=1&after=7&wait=25s",
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(wait, longestWait))
	defer cancel()
	state, err := d.o.States.AgentState(ctx, caller.Name, after)
	switch {
	case err != nil && ctx.Err() != nil, err == nil && state.Revision == after:
		w.WriteHeader(http.StatusNoContent)
		return nil
	case err != nil && core.Code(err) == core.CodeNotFound:
		return &refusal{http.StatusNotFound, core.CodeNotFound, "no site or witness of this token's name is configured", "add it to the configuration, or use another token"}
	case err != nil:
		return &refusal{http.StatusServiceUnavailable, core.CodeUnavailable, "the state is not known just now", "work on the last one and try again"}
	}
	body, err := json.Marshal(state)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
	return nil
}
