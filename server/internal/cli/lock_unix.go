//go:build unix

package cli

import (
	"errors"
	"os"
	"syscall"

	"github.com/evenkeel/evenkeel/server/internal/core"
)

// claim makes a directory that of this process alone until release is called or the process ends. One that is not there, or
// on a disk without locks, is nobody's: then the server still counts each record once.
func claim(dir string) (release func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return func() {}, nil
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		_ = f.Close()
		return nil, &core.Error{
			Code: core.CodeConflict, Message: "another reconcile is at work in " + dir,
			Hint: "wait until it has ended, then run this again for what it has left",
		}
	}
	return func() { _ = f.Close() }, nil
}
