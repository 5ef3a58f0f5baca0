//go:build !linux

package supervise

import "syscall"

// attributes puts a child into its own process group, so that Ctrl-C reaches only the lab.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
