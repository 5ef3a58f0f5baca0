package e2e

import "syscall"

// dependent has the kernel end the child when we end, however that happens: a test that ran out of its time leaves
// no lab behind.
func dependent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
