//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package receiver

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockFile takes the lock or fails at once. The system drops it when the file is closed, however the process ends.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock fencing state: %w (its folder must exist and allow writing)", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("fencing state: another receiver holds %s; end it, or give each executor a state file of its own", path)
		}
		return nil, fmt.Errorf("lock fencing state %s: %w", path, err)
	}
	return f, nil
}
