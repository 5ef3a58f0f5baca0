package topology

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/probe"
)

// Limits of what a server may ask of an agent.
const (
	MaxBytes  = 1 << 20 // of one state answer
	MaxProbes = 2000
	maxName   = 256
)

// Revision says how new a state is, within the cluster that issued it.
type Revision struct {
	ClusterID string
	Epoch     int64
	Revision  int64
}

// Compare orders two revisions of one cluster by epoch, then revision.
func (r Revision) Compare(o Revision) int {
	return cmp.Or(cmp.Compare(r.Epoch, o.Epoch), cmp.Compare(r.Revision, o.Revision))
}

func (r Revision) String() string {
	return fmt.Sprintf("%s epoch %d revision %d", r.ClusterID, r.Epoch, r.Revision)
}

// Probe is one question this agent has to ask.
type Probe struct {
	Name       string
	TargetSite string
	Service    string
	Path       string // user or private
	Question   probe.Question
	Flaw       string // why the probe cannot be made, one sentence; empty when it can
	Interval   time.Duration
	Deadline   time.Duration
	Phase      time.Duration // probe when unix time mod Interval is Phase
}

// State is one answer of GET /api/v1/agent/state.
type State struct {
	At      Revision
	Site    string
	Kind    string // site or witness
	Probes  []Probe
	Refused []string // one sentence for each probe that cannot be made; those that can be named are in Probes as well
	raw     []byte
}

// The wire form; fields that are not named here are left to newer servers.
type wireState struct {
	ClusterID string      `json:"cluster_id"`
	Epoch     int64       `json:"epoch"`
	Revision  int64       `json:"revision"`
	Site      string      `json:"site"`
	Kind      string      `json:"kind"`
	Probes    []wireProbe `json:"probes"`
}

type wireProbe struct {
	Name       string `json:"name"`
	TargetSite string `json:"target_site"`
	Service    string `json:"service"`
	Path       string `json:"path"`
	Kind       string `json:"kind"`
	URL        string `json:"url"`
	// Options are read strictly, unlike the rest: what an agent does not know of them it must not leave out.
	Options    json.RawMessage `json:"options"`
	IntervalMS int64           `json:"interval_ms"`
	DeadlineMS int64           `json:"deadline_ms"`
	PhaseMS    int64           `json:"phase_ms"`
}

// Parse reads a state. A newer server may know kinds and options that this agent does not: such a probe keeps its place
// with a flaw, so that it is reported as unknown. One that cannot even be named is left out. Both are in Refused.
// Errors are for answers that are no state at all.
func Parse(raw []byte) (State, error) {
	if len(raw) > MaxBytes {
		return State{}, fmt.Errorf("state is longer than %d bytes", MaxBytes)
	}
	var w wireState
	if err := json.Unmarshal(raw, &w); err != nil {
		return State{}, fmt.Errorf("state is not the expected JSON: %w", err)
	}
	switch {
	case w.ClusterID == "" || len(w.ClusterID) > maxName:
		return State{}, errors.New("state names no cluster_id")
	case w.Epoch < 0 || w.Revision < 0:
		return State{}, errors.New("state has a negative epoch or revision")
	case w.Site == "" || len(w.Site) > maxName:
		return State{}, errors.New("state names no site")
	case len(w.Probes) > MaxProbes:
		return State{}, fmt.Errorf("state has %d probes, at most %d are made", len(w.Probes), MaxProbes)
	}
	s := State{
		At:   Revision{ClusterID: w.ClusterID, Epoch: w.Epoch, Revision: w.Revision},
		Site: w.Site, Kind: w.Kind, raw: append([]byte(nil), raw...),
	}
	seen := map[[4]string]bool{}
	for _, wp := range w.Probes {
		p, err := wp.probe()
		key := p.Key()
		if err == nil && seen[key] {
			err = errors.New("is listed twice")
		}
		if err != nil {
			s.Refused = append(s.Refused, fmt.Sprintf("probe %.64q of %.64q: %v", wp.Name, wp.TargetSite, err))
			continue
		}
		seen[key] = true
		if p.Flaw != "" {
			s.Refused = append(s.Refused, fmt.Sprintf("probe %.64q of %.64q: %s", wp.Name, wp.TargetSite, p.Flaw))
		}
		s.Probes = append(s.Probes, p)
	}
	return s, nil
}

func (w wireProbe) probe() (Probe, error) {
	for _, name := range []string{w.Name, w.TargetSite, w.Service} {
		if name == "" || len(name) > maxName {
			return Probe{}, errors.New("name, target_site and service must be given")
		}
	}
	if w.Path == "" {
		w.Path = "user"
	}
	if w.Path != "user" && w.Path != "private" {
		return Probe{}, fmt.Errorf("path %.32q is not user or private", w.Path)
	}
	p := Probe{Name: w.Name, TargetSite: w.TargetSite, Service: w.Service, Path: w.Path}
	options, err := readOptions(w.Options)
	if err == nil {
		p.Question, err = probe.Ask(w.Kind, w.URL, options)
	}
	if err != nil {
		p.Question, p.Flaw = probe.Question{}, fmt.Sprintf("this agent cannot make the probe: %.500s", err)
	}
	if p.Interval, err = millis(w.IntervalMS, time.Second, 500*time.Millisecond, time.Hour); err != nil {
		return Probe{}, fmt.Errorf("interval_ms: %w", err)
	}
	if p.Deadline, err = millis(w.DeadlineMS, 800*time.Millisecond, 10*time.Millisecond, time.Minute); err != nil {
		return Probe{}, fmt.Errorf("deadline_ms: %w", err)
	}
	if w.PhaseMS < 0 || w.PhaseMS > time.Hour.Milliseconds() {
		return Probe{}, fmt.Errorf("phase_ms: %d is out of range", w.PhaseMS)
	}
	p.Phase = (time.Duration(w.PhaseMS) * time.Millisecond) % p.Interval
	return p, nil
}

func readOptions(raw json.RawMessage) (probe.Options, error) {
	var o probe.Options
	if len(raw) == 0 || string(raw) == "null" {
		return o, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return o, fmt.Errorf("options are not understood: %w", err)
	}
	return o, nil
}

func millis(ms int64, standard, low, high time.Duration) (time.Duration, error) {
	if ms == 0 {
		return standard, nil
	}
	if ms < low.Milliseconds() || ms > high.Milliseconds() {
		return 0, fmt.Errorf("%d is not between %d and %d", ms, low.Milliseconds(), high.Milliseconds())
	}
	return time.Duration(ms) * time.Millisecond, nil
}

// Key names the series of a probe.
func (p Probe) Key() [4]string { return [4]string{p.TargetSite, p.Service, p.Name, p.Path} }

// Same reports whether nothing about the probe differs, so that it may go on as it is.
func (p Probe) Same(o Probe) bool {
	return p.Key() == o.Key() && p.Question.Same(o.Question) && p.Flaw == o.Flaw &&
		p.Interval == o.Interval && p.Deadline == o.Deadline && p.Phase == o.Phase
}
