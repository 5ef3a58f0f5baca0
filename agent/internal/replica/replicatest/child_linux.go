package replicatest

import "syscall"

// Child has the kernel send a program a signal when the test ends, however that happens. It runs as another account; nil: as we are.
func Child(who *syscall.Credential, last syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who, Pdeathsig: last}
}
