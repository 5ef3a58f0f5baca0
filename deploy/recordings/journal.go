package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// journal is the folder of one recording: what was seen and done, written as it goes. A data set is made of it at any
// time; what is cut off in the last line is not there.
type journal string

// meta is what is known when a recording begins.
type meta struct {
	Name     string        `json:"name"` // of the recording, the first part of its series' ids
	Seed     uint64        `json:"seed"`
	BeganMS  int64         `json:"began_unix_ms"` // first step
	Prefix   time.Duration `json:"prefix_ns"`
	Lasts    time.Duration `json:"lasts_ns"`
	Programs string        `json:"programs"` // their version
}

// tick is what was seen at one step. A value that is missing is not in it.
type tick struct {
	AtMS   int64              `json:"unix_ms"`
	Load   float64            `json:"load"` // requests per second at the top of the day, from this step on
	Values map[string]float64 `json:"values"`
}

// fault is one that was made.
type fault struct {
	ID         int
	Text       string // as one would type it
	Site, Kind string
	Peer       string // link: the other site
	OneWay     bool
	Amount     string
	Start, End time.Time // begun to be done; all of it mended. End is zero while it goes on
}

func (j journal) in(name string) string { return filepath.Join(string(j), name) }

func (j journal) begin(m meta) error {
	if err := os.MkdirAll(string(j), 0o755); err != nil {
		return fmt.Errorf("make the journal: %w", err)
	}
	if _, err := os.Stat(j.in("meta.json")); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s has a recording already: give another -journal or remove it", j)
	}
	raw, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the journal's head: %w", err)
	}
	return os.WriteFile(j.in("meta.json"), append(raw, '\n'), 0o644)
}

func (j journal) tick(t tick) error {
	raw, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode a step: %w", err)
	}
	f, err := os.OpenFile(j.in("ticks.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("write a step: %w", err)
	}
	_, err = f.Write(append(raw, '\n'))
	return errors.Join(err, f.Close())
}

// copyFaults takes the lab's list of faults over.
func (j journal) copyFaults(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the lab's faults: %w", err)
	}
	tmp := j.in("faults.jsonl.new")
	if err := os.WriteFile(tmp, raw, 0o644); err != nil {
		return fmt.Errorf("keep the faults: %w", err)
	}
	return os.Rename(tmp, j.in("faults.jsonl"))
}

func (j journal) meta() (m meta, err error) {
	raw, err := os.ReadFile(j.in("meta.json"))
	if err != nil {
		return m, fmt.Errorf("%s is no journal of a recording: %w", j, err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("read %s: %w", j.in("meta.json"), err)
	}
	return m, nil
}

func (j journal) ticks() ([]tick, error) { return lines[tick](j.in("ticks.jsonl")) }

// event is a line of the lab's list of faults.
type event struct {
	ID     int    `json:"id"`
	Event  string `json:"event"`
	AtNS   int64  `json:"at_unix_ns"`
	DoneNS int64  `json:"done_unix_ns"`
	Text   string `json:"text"`
	Site   string `json:"site"`
	Kind   string `json:"kind"`
}

// faults are those that were made, in the order of their beginning.
func (j journal) faults() ([]fault, error) {
	events, err := lines[event](j.in("faults.jsonl"))
	if err != nil {
		return nil, err
	}
	var out []fault
	at := map[int]int{}
	for _, e := range events {
		switch e.Event {
		case "start":
			at[e.ID] = len(out)
			f := fault{ID: e.ID, Text: e.Text, Site: e.Site, Kind: e.Kind, Start: time.Unix(0, e.AtNS)}
			if rest := strings.Fields(e.Text)[2:]; len(rest) > 0 {
				f.Amount, f.OneWay = rest[0], len(rest) > 1
			}
			if f.Kind == "link" {
				f.Peer, f.Amount = f.Amount, ""
			}
			out = append(out, f)
		case "end":
			if i, ok := at[e.ID]; ok {
				out[i].End = time.Unix(0, e.DoneNS)
			}
		}
	}
	return out, nil
}

// lines reads a file of JSON lines; a last one that is cut off is left out.
func lines[T any](path string) ([]T, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the journal: %w", err)
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	var out []T
	s := bufio.NewScanner(bytes.NewReader(raw))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		var v T
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("read %s line %d: %w", path, len(out)+1, err)
		}
		out = append(out, v)
	}
	return out, s.Err()
}
