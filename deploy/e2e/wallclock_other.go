//go:build !(linux && amd64)

package e2e

import (
	"errors"
	"time"
)

func wallClockJumps() error {
	return errors.New("the wall clock of one process can be set on Linux on amd64 only")
}

// SetWallClock is not possible here.
func (p *Process) SetWallClock(time.Duration) error { return wallClockJumps() }
