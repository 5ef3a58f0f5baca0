package deadman

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/topology"
)

// FileName is the name of the record in the data directory.
const FileName = "page.json"

const maxRecord = 64 << 10

// Record is what an agent remembers of its alarms, by Kind.String. It holds no secret.
type Record map[string]Entry

// Entry is one trouble. Times are in UTC.
type Entry struct {
	Key   string    `json:"key,omitempty"` // of the alert
	Since time.Time `json:"since"`
	Due   time.Time `json:"due,omitzero"`  // when the page was first wanted
	Open  bool      `json:"open"`          // PagerDuty has, or may have, the alert
	Said  time.Time `json:"said,omitzero"` // when it last accepted a trigger
}

// Open reports whether PagerDuty has, or may have, an alert of this agent.
func (r Record) Open() bool {
	for _, e := range r {
		if e.Open {
			return true
		}
	}
	return false
}

// plain is the entry without monotonic readings, as it comes back from disk.
func (e Entry) plain() Entry {
	for _, at := range []*time.Time{&e.Since, &e.Due, &e.Said} {
		*at = at.UTC().Round(0)
	}
	return e
}

// Load reads the record in the directory; none is the zero value.
func Load(dir string) (Record, error) {
	file, err := os.Open(filepath.Join(dir, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open record of pages: %w", err)
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, maxRecord))
	if err != nil {
		return nil, fmt.Errorf("read record of pages: %w", err)
	}
	return parse(raw)
}

func parse(raw []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("record of pages is not the expected JSON: %w", err)
	}
	for kind, e := range r {
		if e.Open && e.Key == "" {
			return nil, fmt.Errorf("record of pages has an open alert without a key at %.32q", kind)
		}
	}
	return r, nil
}

// Keep writes the record whole and durably, or removes it when there is nothing to remember.
func Keep(dir string, r Record) error {
	path := filepath.Join(dir, FileName)
	if len(r) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove record of pages: %w", err)
		}
		return nil
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode record of pages: %w", err)
	}
	if err := topology.WriteFile(path, append(raw, '\n')); err != nil {
		return fmt.Errorf("keep record of pages: %w", err)
	}
	return nil
}
