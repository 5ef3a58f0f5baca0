//go:build !linux

package e2e

import "syscall"

// dependent cannot be asked for here: only Linux ends children with their parent.
func dependent() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
