package controlextension

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/evenkeel/evenkeel/agent/internal/topology"
)

const idFile = "agent.id"

// agentID reads the id of this installation, and makes one at the first start.
func agentID(dir string) (string, error) {
	path := filepath.Join(dir, idFile)
	raw, err := os.ReadFile(path)
	id := strings.TrimSpace(string(raw))
	switch {
	case err == nil && strings.HasPrefix(id, "ag_") && len(id) <= 64:
		return id, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("read agent id: %w", err)
	}
	id = randomID("ag_")
	if err := topology.WriteFile(path, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("keep agent id: %w", err)
	}
	return id, nil
}

func randomID(prefix string) string { return prefix + strings.ToLower(rand.Text()[:20]) }
