package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

const (
	// spacesDir is where `ip netns` keeps its namespaces.
	spacesDir = "/run/netns"
	// spacePrefix begins the names of ours, and those of our small disks; the owner follows.
	spacePrefix = "evk-e2e-"
)

// owner is a process by its number and the time it was started at: numbers are used again.
func owner(pid int) (string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", fmt.Errorf("look at process %d: %w", pid, err)
	}
	// The name, which is in parentheses, may hold anything; the start is the twentieth field after it.
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("look at process %d: %d fields", pid, len(fields))
	}
	return fmt.Sprintf("%d.%s", pid, fields[19]), nil
}

// alive reports whether an owner still runs.
func alive(who string) bool {
	number, _, _ := strings.Cut(who, ".")
	pid, err := strconv.Atoi(number)
	if err != nil {
		return false
	}
	now, err := owner(pid)
	return err == nil && now == who
}

// removeStale removes the namespaces of runs that were killed. Their processes have died with them.
func removeStale() error {
	entries, err := os.ReadDir(spacesDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for left-over namespaces: %w", err)
	}
	ours := regexp.MustCompile(`^` + spacePrefix + `(\d+\.\d+)-`)
	for _, e := range entries {
		m := ours.FindStringSubmatch(e.Name())
		if m == nil || alive(m[1]) {
			continue
		}
		if err := ip("netns", "del", e.Name()); err != nil {
			if _, gone := os.Stat(filepath.Join(spacesDir, e.Name())); !errors.Is(gone, os.ErrNotExist) { // another run may have been faster
				return err
			}
		}
	}
	return nil
}
