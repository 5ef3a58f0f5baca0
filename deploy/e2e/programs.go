package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Programs are the paths of the three binaries.
type Programs struct {
	Server, Agent, Lab string
}

// programsDir is the variable that names another folder than bin/ at the root of the module.
const programsDir = "EVENKEEL_BIN"

// FindPrograms finds what `make build` built. Its error says how to get what is missing.
func FindPrograms() (Programs, error) {
	dir := os.Getenv(programsDir)
	if dir == "" {
		root, err := moduleRoot()
		if err != nil {
			return Programs{}, err
		}
		dir = filepath.Join(root, "bin")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Programs{}, fmt.Errorf("resolve the folder of the programs: %w", err)
	}
	p := Programs{
		Server: filepath.Join(dir, "evenkeel-server"), Agent: filepath.Join(dir, "evenkeel-agent"),
		Lab: filepath.Join(dir, "evenkeel-lab"),
	}
	for _, path := range []string{p.Server, p.Agent, p.Lab} {
		info, err := os.Stat(path)
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			return Programs{}, fmt.Errorf("%s is missing: build the programs with `make build`, or name their folder in %s", path, programsDir)
		}
	}
	return p, nil
}

// moduleRoot is the folder with go.mod at or above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the working directory: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory: run inside the repository, or name the folder of the programs in " + programsDir)
		}
		dir = up
	}
}
