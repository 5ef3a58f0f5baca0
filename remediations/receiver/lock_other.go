//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package receiver

import (
	"fmt"
	"os"
)

// lockFile locks nothing: this system has no flock. A file made with O_EXCL would outlive a crash and keep the
// executor from starting, which is worse than what it prevents.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock fencing state: %w (its folder must exist and allow writing)", err)
	}
	return f, nil
}
