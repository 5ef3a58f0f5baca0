package replicationlagreceiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/evenkeel/evenkeel/agent/internal/replica"
	"github.com/evenkeel/evenkeel/agent/internal/topology"
)

const (
	memoryFile = "replication.json"
	// keepEvery is how often what is remembered goes to disk. What a kill loses makes figures wider, not wrong.
	keepEvery = 10 * time.Second
)

// memory is what all watchers remember, on disk.
type memory struct {
	path string

	mu   sync.Mutex
	ends map[string]replica.Memory
	dirt bool
}

// recall reads what an earlier run has kept. A file that cannot be read is an error, with which the memory is empty.
func recall(dir string) (*memory, error) {
	m := &memory{ends: map[string]replica.Memory{}}
	if dir == "" {
		return m, nil
	}
	m.path = filepath.Join(dir, memoryFile)
	raw, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &m.ends)
	}
	now := time.Now()
	for key, end := range m.ends {
		// The clock was set back: a copy is not complete in the future.
		if end.LastCaughtUp.After(now) || end.CompleteTo.After(now) || end.LastAlive.After(now) {
			m.ends[key] = replica.Memory{}
		}
	}
	if err != nil {
		m.ends = map[string]replica.Memory{}
		return m, fmt.Errorf("%s cannot be read, and is begun anew: %w", m.path, err)
	}
	return m, nil
}

func (m *memory) of(links []Link) map[string]replica.Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]replica.Memory{}
	for _, l := range links {
		if end, ok := m.ends[l.key()]; ok {
			out[l.key()] = end
		}
	}
	return out
}

func (m *memory) set(ends map[string]replica.Memory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.Copy(m.ends, ends)
	m.dirt = true
}

// keep writes it down if there is something new.
func (m *memory) keep() error {
	m.mu.Lock()
	raw, err := json.Marshal(m.ends)
	dirt := m.dirt && m.path != ""
	m.dirt = false
	m.mu.Unlock()
	if err != nil || !dirt {
		return err
	}
	return topology.WriteFile(m.path, raw)
}
