//go:build unix

package main

import (
	"errors"
	"os"
	"syscall"
)

// lock takes the file for this process; it is freed by the returned function or the end of the process.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, rootCause(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(errors.New("another agent uses it; choose another with --data"), file.Close())
	}
	return func() { _ = file.Close() }, nil
}
