package detectors

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrSnapshot is wrapped by every error of Restore.
var ErrSnapshot = errors.New("snapshot cannot be used")

// snapshotVersion of a model is raised when the meaning of its state changes; older ones are refused and the model warms up.
func snapshotVersion(model string) int {
	switch model {
	// 2: days as long as the series needs, peaks by their distances and forgotten when the days are known; 3: levels that are raised;
	// 4: what is usual is learned without floors
	case "auto", "service":
		return 4
	}
	return 1
}

// envelope is the outer form of every snapshot. JSON writes finite floats so that they read back exactly.
type envelope struct {
	Model   string          `json:"model"`
	Version int             `json:"version"`
	Sum     uint32          `json:"sum"` // CRC-32 (IEEE) of State
	State   json.RawMessage `json:"state"`
}

func seal(model string, state any) ([]byte, error) {
	b, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("encode %s state: %w", model, err)
	}
	// By hand: encoding/json would read through the state, which is JSON already, once more.
	out := fmt.Appendf(make([]byte, 0, len(b)+len(model)+64), `{"model":%q,"version":%d,"sum":%d,"state":`,
		model, snapshotVersion(model), crc32.ChecksumIEEE(b))
	return append(append(out, b...), '}'), nil
}

func unseal(model string, b []byte, state any) error {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	switch {
	case e.Model != model:
		return fmt.Errorf("%w: it is of model %q, want %q", ErrSnapshot, e.Model, model)
	case e.Version != snapshotVersion(model):
		return fmt.Errorf("%w: version %d, want %d", ErrSnapshot, e.Version, snapshotVersion(model))
	case e.Sum != crc32.ChecksumIEEE(e.State):
		return fmt.Errorf("%w: checksum does not match", ErrSnapshot)
	}
	if err := json.Unmarshal(e.State, state); err != nil {
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	}
	return nil
}
