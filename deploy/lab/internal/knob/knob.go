// Package knob is a switch between two processes of the lab: a small JSON file that one writes and the other
// looks at when it matters, so that a fault outlives a restart of the process that has it.
package knob

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Shop are the faults of a shop. The zero value is none.
type Shop struct {
	SlowSeconds float64 `json:"slow_s"`
	Errors      float64 `json:"errors"` // share of users' requests, 0 to 1
}

// Bus are the faults of a site's replication.
type Bus struct {
	Paused    bool    `json:"paused"`
	PerSecond float64 `json:"per_second,omitempty"` // most orders applied in a second, of each other site; 0: no limit
}

// Director are the faults of the executor.
type Director struct {
	Lying []string `json:"lying"` // sites about which it says done and does nothing
}

// Write turns the knob: whoever reads next sees the new value as a whole.
func Write(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("write knob: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write knob: %w", err)
	}
	return nil
}

// Read looks at the knob. A knob that nobody has touched has the zero value.
func Read[T any](path string) (T, error) {
	var v T
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || path == "" {
		return v, nil
	}
	if err != nil {
		return v, fmt.Errorf("read knob: %w", err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fmt.Errorf("read knob %s: %w", filepath.Base(path), err)
	}
	return v, nil
}
