//go:build !linux

package e2e

import (
	"errors"
	"testing"
)

// smallDisk cannot be had here: it is a tmpfs.
func smallDisk(t *testing.T, _ string, _ int64) {
	t.Helper()
	t.Fatal("small disks exist on Linux only: run these tests there")
}

func free(string) (int64, error) { return 0, errors.New("small disks exist on Linux only") }
