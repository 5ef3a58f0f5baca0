package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// smallDisk mounts a disk of so many bytes at dir, until the end of the test. What killed runs have left is unmounted first.
func smallDisk(t *testing.T, dir string, size int64) {
	t.Helper()
	if err := unmountStale(); err != nil {
		t.Fatal(err)
	}
	if err := mountDisk(dir, size, must[string](t)(owner(os.Getpid()))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
}

// mountDisk names the owner as the source of the mount, so that the disk can be told from those of others.
func mountDisk(dir string, size int64, owner string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of a small disk: %w", err)
	}
	if err := syscall.Mount(spacePrefix+owner, dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=700", size)); err != nil {
		return fmt.Errorf("mount a small disk: %w", err)
	}
	return nil
}

// unmountStale takes away the disks whose owners are gone. In a user namespace of our own those of others cannot be.
func unmountStale() error {
	if os.Getenv(insideMark) != "" {
		return nil
	}
	disks, err := smallDisks()
	if err != nil {
		return err
	}
	for dir, owner := range disks {
		if alive(owner) {
			continue
		}
		err := syscall.Unmount(dir, syscall.MNT_DETACH)
		if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) { // another run may have been faster
			return fmt.Errorf("unmount the disk of a killed run at %s: %w", dir, err)
		}
	}
	return nil
}

// smallDisks are the owners of the small disks that are mounted, by their folders.
func smallDisks() (map[string]string, error) {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("look for left-over disks: %w", err)
	}
	plain := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	out := map[string]string{}
	for line := range strings.Lines(string(table)) {
		// As in proc_pid_mountinfo(5): ... mount point (fifth), options ... - type source options.
		mount, disk, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(mount), strings.Fields(disk)
		if len(left) < 5 || len(right) < 2 || right[0] != "tmpfs" {
			continue
		}
		if owner, ours := strings.CutPrefix(right[1], spacePrefix); ours {
			out[plain.Replace(left[4])] = owner
		}
	}
	return out, nil
}

// free is how many bytes can still be written to the disk of a folder.
func free(dir string) (int64, error) {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(dir, &disk); err != nil {
		return 0, fmt.Errorf("ask for the room at %s: %w", dir, err)
	}
	return int64(disk.Bavail) * disk.Bsize, nil
}

// What a killed run has left goes, what a living one has stays.
func TestDisksOfKilledRunsAreUnmounted(t *testing.T) {
	asRoot(t)
	if os.Getenv(insideMark) != "" {
		t.Skip("a user namespace takes its disks along")
	}
	dead, living := t.TempDir()+"/a b", t.TempDir()+"/b"
	if err := errors.Join(mountDisk(dead, 1<<20, "1.1"), mountDisk(living, 1<<20, must[string](t)(owner(os.Getpid())))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(living, 0) })
	smallDisk(t, t.TempDir()+"/c", 1<<20)
	disks := must[map[string]string](t)(smallDisks())
	if _, left := disks[dead]; left || disks[living] == "" {
		t.Errorf("disks after the clearing: %v", disks)
	}
}
