//go:build !linux

package replicatest

import "syscall"

// Child runs a program as another account; nil: as we are. Only Linux ends it with the test however that happens.
func Child(who *syscall.Credential, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who}
}
